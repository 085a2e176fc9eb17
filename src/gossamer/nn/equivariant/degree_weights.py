"""Weights that have one value for each degree, which is all that a rotation allows."""

from __future__ import annotations

from functools import lru_cache

import torch

from gossamer.linalg.transforms.spherical.coefficients import gaunt_path_factor


def spread_over_orders(weight: torch.Tensor) -> torch.Tensor:
    """(..., L + 1) to (..., (L + 1)^2): the value of a degree for each of its orders."""
    return weight[..., order_degrees(weight.shape[-1] - 1).to(weight.device)]


@lru_cache(maxsize=65)
def order_degrees(L: int) -> torch.Tensor:
    """The degree of every coefficient."""
    return torch.tensor([l for l in range(L + 1) for _ in range(2 * l + 1)])


@lru_cache(maxsize=512)
def output_scales(L1: int, L2: int, L3: int) -> tuple[float, ...]:
    r"""Factors of every degree after which the product of coefficients of variance 1 has variance 1.

    For independent coefficients the variance in degree l3 is :math:`\sum G^2 / (2 l_3 + 1)`, over the paths
    :math:`\sum_{l_1 l_2} c^2 / (2 l_3 + 1)`; degrees beyond the product keep the factor 1.
    """
    scales = []
    for l3 in range(L3 + 1):
        variance = sum(
            gaunt_path_factor(l1, l2, l3) ** 2 / (2 * l3 + 1)
            for l1 in range(L1 + 1)
            for l2 in range(abs(l1 - l3), min(L2, l1 + l3) + 1)
        )
        scales.append(variance**-0.5 if variance else 1.0)
    return tuple(scales)


class DegreeLinear(torch.nn.Module):
    r"""Mix channels, for each degree by a matrix of its own: :math:`z^l_{d} = \sum_c W^l_{dc} x^l_c`.

    Every equivariant linear map between such features is of this form. Weights start normal with variance
    ``1 / channels_in``.

    Parameters
    ----------
    L : int
        Largest degree.
    channels_in, channels_out : int
        Features before and after.
    """

    def __init__(self, L: int, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.L = L
        self.weight = torch.nn.Parameter(torch.randn(L + 1, channels_out, channels_in) / channels_in**0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., channels_in, (L + 1)^2) to (..., channels_out, (L + 1)^2)."""
        parts = [self.weight[l] @ x[..., l * l : (l + 1) ** 2] for l in range(self.L + 1)]
        return torch.cat(parts, -1)

    def extra_repr(self) -> str:
        """Degree and channels."""
        return f"L={self.L}, channels={self.weight.shape[2]} -> {self.weight.shape[1]}"
