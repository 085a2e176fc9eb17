"""Products of a feature with itself up to some number of factors, the many-body features of MACE and ACE."""

from __future__ import annotations

import torch

from gossamer._core.checks import check_int
from gossamer._core.errors import ShapeError
from gossamer.linalg.transforms.spherical.harmonics import check_degree
from gossamer.nn.equivariant.degree_weights import power_scales, spread_over_orders
from gossamer.nn.equivariant.gaunt_product import gaunt_multiply, gaunt_power


class GauntManyBody(torch.nn.Module):
    r"""Sum of products of a feature with itself, with weights for the degrees of every factor and of the result.

    .. math:: z^{l} = \sum_{\nu = 1}^{\nu_\max} s_{\nu l} \, W_\nu[\text{element}, \text{channel}, l] \,
              \Bigl( \prod_{i = 1}^{\nu} F_{w_{\nu i} x} \Bigr)^{l}, \quad
              (w x)^{l} = w[\text{channel}, l] \, x^{l}

    The term of one factor is x itself cut to ``L_out``. Each product is formed on one grid that is fine enough for all
    of it; chained products that are cut in between would lose what a later factor brings down again. The constants
    :math:`s_{\nu l}` make the mean square of each degree of each product 1 for normal coefficients of variance 1.

    With weights :math:`w_{\nu i} = 1`, the default and the paper's code, products are powers, and every square is
    :math:`\sum_l |x^l|^2` in degree 0, whatever the weights: degrees can be added but never subtracted. With weights of
    the factors they can, as with those of paths :math:`(l_1, l_2, l)`.

    Parameters
    ----------
    L_in, L_out : int
        Degrees of the feature and of the result.
    correlation : int
        :math:`\nu_\max`, from 1 to 4.
    channels, elements : int
        Sizes of the weights W, which start normal with variance 1 over the number of terms.
    factor_weights : bool
        Give every factor of two and more weights of its own, which start normal with variance 1. Slower by about the
        number of factors, and in short trainings slower to learn.
    engine : str
        As in :func:`gaunt_power`.

    Notes
    -----
    O(nu^3 L^3) operations a channel, times nu with weights of factors; Clebsch-Gordan products of all coupled paths
    take O(L^(3 nu)).

    References
    ----------
    Luo, Chen, Krishnapriyan. Gaunt Tensor Products. ICLR 2024, arXiv 2401.10216.

    Examples
    --------
    >>> import torch
    >>> from gossamer.nn import GauntManyBody
    >>> layer = GauntManyBody(3, 2, correlation=3, channels=8, elements=2)
    >>> layer(torch.randn(5, 8, 16), torch.eye(2)[[0, 1, 1, 0, 1]]).shape
    torch.Size([5, 8, 9])
    """

    scale: torch.Tensor

    def __init__(
        self,
        L_in: int,
        L_out: int,
        correlation: int = 3,
        channels: int = 64,
        elements: int = 1,
        *,
        factor_weights: bool = False,
        engine: str = "auto",
    ) -> None:
        super().__init__()
        self.L_in, self.L_out = check_degree("L_in", L_in), check_degree("L_out", L_out)
        self.correlation = check_int("correlation", correlation, low=1, high=4)
        self.channels, self.engine = check_int("channels", channels, low=1), engine
        self.elements = check_int("elements", elements, low=1)
        shape = (self.correlation, self.elements, self.channels, self.L_out + 1)
        self.weight = torch.nn.Parameter(torch.randn(shape) / self.correlation**0.5)
        self.factor_weight = None
        if factor_weights:
            count = self.correlation * (self.correlation + 1) // 2 - 1  # 2 + 3 + ...
            self.factor_weight = torch.nn.Parameter(torch.randn(count, self.channels, self.L_in + 1))
        scales = [power_scales(L_in, n + 1, L_out, bool(factor_weights)) for n in range(self.correlation)]
        self.register_buffer("scale", torch.tensor(scales)[:, None, None], persistent=False)

    def forward(self, x: torch.Tensor, onehot: torch.Tensor) -> torch.Tensor:
        """(n, channels, (L_in + 1)^2) and elements (n, elements), one-hot, to (n, channels, (L_out + 1)^2)."""
        if onehot.ndim != 2 or onehot.shape[1] != self.elements or len(onehot) != len(x):
            raise ShapeError(f"onehot has shape {tuple(onehot.shape)}: expected ({len(x)}, {self.elements})")
        if x.ndim != 3 or x.shape[1] != self.channels:
            raise ShapeError(
                f"x has shape {tuple(x.shape)}: expected (n, {self.channels}, {(self.L_in + 1) ** 2})"
            )
        weights = torch.einsum("ne,vecl->vncl", onehot.to(self.weight.dtype), self.weight * self.scale)
        total = x.new_zeros(*x.shape[:2], (self.L_out + 1) ** 2)
        for power, weight in enumerate(weights, 1):
            L = min(self.L_out, power * self.L_in)  # the degree of a product is limited too
            term = spread_over_orders(weight[..., : L + 1]) * self._product(x, power, L)
            total = total + torch.nn.functional.pad(term, (0, total.shape[-1] - term.shape[-1]))
        return total

    def _product(self, x: torch.Tensor, power: int, L: int) -> torch.Tensor:
        if power == 1:
            return x[..., : (L + 1) ** 2]
        if self.factor_weight is None:
            return gaunt_power(x, power, self.L_in, L, self.engine)
        first = power * (power - 1) // 2 - 1
        own = spread_over_orders(self.factor_weight[first : first + power])
        return gaunt_multiply([x * weight for weight in own], (self.L_in,) * power, L, self.engine)

    def extra_repr(self) -> str:
        """Degrees, number of factors and sizes."""
        return (
            f"{self.L_in} -> {self.L_out}, correlation={self.correlation}, channels={self.channels}, "
            f"elements={self.elements}"
        )
