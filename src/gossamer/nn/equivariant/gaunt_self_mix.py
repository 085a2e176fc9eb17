"""A feature mixed over channels, multiplied by itself, and mixed again."""

from __future__ import annotations

import torch

from gossamer._core.checks import check_int
from gossamer.linalg.transforms.spherical.harmonics import check_degree
from gossamer.nn.equivariant.degree_weights import DegreeLinear, output_scales, spread_over_orders
from gossamer.nn.equivariant.gaunt_product import gaunt_product


class GauntSelfMix(torch.nn.Module):
    r"""Equivariant nonlinearity: :math:`z = B \, (A x \otimes A' x)`, with linear maps over channels for each degree.

    Takes the place of activations on a grid or of gates in blocks of the Equiformer type.

    Parameters
    ----------
    L : int
        Degree of the feature.
    channels : int
        Of the feature, and of the result unless ``channels_out`` says otherwise.
    L_out : int, optional
        Degree of the result; L by default.
    channels_out : int, optional
        Channels of the result.
    same : bool
        Multiply one mix by itself (A = A'), as in the paper, or two by each other.
    engine : str
        As in :func:`gaunt_product`.

    References
    ----------
    Luo, Chen, Krishnapriyan. Gaunt Tensor Products. ICLR 2024, arXiv 2401.10216.
    """

    scale: torch.Tensor

    def __init__(
        self,
        L: int,
        channels: int,
        L_out: int | None = None,
        channels_out: int | None = None,
        *,
        same: bool = True,
        engine: str = "auto",
    ) -> None:
        super().__init__()
        self.L, self.L_out = check_degree("L", L), L if L_out is None else check_degree("L_out", L_out)
        self.channels, self.engine = check_int("channels", channels, low=1), engine
        self.mix = DegreeLinear(L, channels, channels)
        self.other = None if same else DegreeLinear(L, channels, channels)
        self.out = DegreeLinear(self.L_out, channels, channels if channels_out is None else channels_out)
        self.register_buffer("scale", torch.tensor(output_scales(L, L, self.L_out)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., channels, (L + 1)^2) to (..., channels_out, (L_out + 1)^2)."""
        first = self.mix(x)
        second = first if self.other is None else self.other(x)
        z = gaunt_product(first, second, self.L, self.L, self.L_out, engine=self.engine)
        return self.out(z * spread_over_orders(self.scale))
