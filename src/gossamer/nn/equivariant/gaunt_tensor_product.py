"""The Gaunt tensor product as a layer, with the weights that replace those of Clebsch-Gordan paths."""

from __future__ import annotations

import torch

from gossamer._core.checks import check_choice, check_int
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.linalg.transforms.spherical.harmonics import check_degree
from gossamer.nn.equivariant.degree_weights import output_scales, spread_over_orders
from gossamer.nn.equivariant.gaunt_product import gaunt_product

WEIGHTS = ("none", "l", "l-channel")


class GauntTensorProduct(torch.nn.Module):
    r"""Tensor product of two features, channel by channel, with weights :math:`w_{l_1} w_{l_2} w_{l_3}` of rank one.

    .. math:: z^{l_3} = w_{l_3} \sum_{l_1 l_2} G \; (w_{l_1} x^{l_1}) (w_{l_2} y^{l_2})

    Where a product by Clebsch-Gordan coefficients has a weight for each path (l1, l2, l3), this has one for each degree
    of each factor. Starts with :math:`w_{l_3}` such that independent coefficients of variance 1 (e3nn's ``component``
    normalisation) give coefficients of variance 1. All paths keep parity :math:`(-1)^l`; the cross product of vectors
    is not among them: ``with_cross`` adds it.

    Parameters
    ----------
    L1, L2, L3 : int
        Degrees of the factors and of the result.
    channels : int
        Of both factors.
    weight : {"l-channel", "l", "none"}
        A weight for each degree and channel, for each degree, or none at all (the plain product).
    shared : bool
        Weights are parameters. If false, :meth:`forward` takes ``weights`` (..., ``weight_numel``), for example from a
        network that sees the distance; they multiply the starting values.
    with_cross : bool
        Add the path 1 x 1 -> 1 by the cross product, with a weight that starts at the square root of 1/2. Parity is
        then broken, as the result of this path is a pseudovector.
    engine : str
        As in :func:`gaunt_product`.

    Attributes
    ----------
    weight_numel : int
        Weights that :meth:`forward` takes where they are not shared: of x, of y, of z, in this order.

    References
    ----------
    Luo, Chen, Krishnapriyan. Gaunt Tensor Products. ICLR 2024, arXiv 2401.10216.

    Examples
    --------
    >>> import torch
    >>> from gossamer.nn import GauntTensorProduct
    >>> product = GauntTensorProduct(3, 3, 3, channels=16)
    >>> product(torch.randn(10, 16, 16), torch.randn(10, 16, 16)).shape
    torch.Size([10, 16, 16])
    """

    weight1: torch.Tensor
    weight2: torch.Tensor
    weight3: torch.Tensor

    def __init__(
        self,
        L1: int,
        L2: int,
        L3: int,
        channels: int,
        weight: str = "l-channel",
        shared: bool = True,
        *,
        with_cross: bool = False,
        engine: str = "auto",
    ) -> None:
        super().__init__()
        self.degrees = (check_degree("L1", L1), check_degree("L2", L2), check_degree("L3", L3))
        self.channels = check_int("channels", channels, low=1)
        self.weight, self.shared, self.engine = check_choice("weight", weight, WEIGHTS), bool(shared), engine
        if with_cross and min(self.degrees) < 1:
            raise ArgumentError(f"with_cross=True: expected degrees of at least 1, not {self.degrees}")
        self.with_cross = bool(with_cross)
        rows = {"none": 0, "l": 1, "l-channel": self.channels}[self.weight]
        self.weight_numel = 0 if self.shared else rows * sum(L + 1 for L in self.degrees)
        start = [
            torch.ones(rows, L1 + 1),
            torch.ones(rows, L2 + 1),
            torch.tensor(output_scales(L1, L2, L3)).repeat(rows, 1),
        ]
        if rows:
            for name, values in zip(("weight1", "weight2", "weight3"), start):
                if self.shared:
                    self.register_parameter(name, torch.nn.Parameter(values))
                else:
                    self.register_buffer(name, values)
        if self.with_cross:
            self.cross_weight = torch.nn.Parameter(torch.full((self.channels,), 0.5**0.5))

    def forward(self, x: torch.Tensor, y: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
        """(..., channels, (L3 + 1)^2) of x (..., channels, (L1 + 1)^2) and y (..., channels or 1, (L2 + 1)^2)."""
        if x.ndim < 2 or x.shape[-2] != self.channels:
            raise ShapeError(
                f"x has shape {tuple(x.shape)}: expected (..., {self.channels}, {(self.degrees[0] + 1) ** 2})"
            )
        plain_x, plain_y = x, y
        scales = self._scales(weights)
        if scales:
            x, y = x * spread_over_orders(scales[0]), y * spread_over_orders(scales[1])
        z = gaunt_product(x, y, *self.degrees, engine=self.engine)
        if scales:
            z = z * spread_over_orders(scales[2])
        if self.with_cross:
            vectors = torch.broadcast_tensors(plain_x[..., 1:4], plain_y[..., 1:4])
            cross = self.cross_weight[:, None] * torch.linalg.cross(*vectors)
            z = torch.cat([z[..., :1], z[..., 1:4] + cross, z[..., 4:]], -1)
        return z

    def _scales(self, weights: torch.Tensor | None) -> list[torch.Tensor]:
        if self.shared == (weights is not None) and self.weight != "none":
            raise ArgumentError(
                f"weights is {'given' if weights is not None else 'None'}: expected "
                f"{'None, as they are parameters (shared=True)' if self.shared else 'a tensor (shared=False)'}"
            )
        if self.weight == "none":
            return []
        own = [self.weight1, self.weight2, self.weight3]
        if weights is None:
            return own
        if weights.shape[-1] != self.weight_numel:
            raise ShapeError(f"weights has shape {tuple(weights.shape)}: expected (..., {self.weight_numel})")
        given = weights.split([values.numel() for values in own], -1)
        return [values * part.reshape(*part.shape[:-1], *values.shape) for values, part in zip(own, given)]

    def extra_repr(self) -> str:
        """Degrees, channels and the kind of weights."""
        return f"{self.degrees}, channels={self.channels}, weight={self.weight!r}, shared={self.shared}"
