"""Weights that have one value for each degree, which is all that a rotation allows."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch

from gossamer.linalg.transforms.spherical.coefficients import gaunt_path_factor


def spread_over_orders(weight: torch.Tensor) -> torch.Tensor:
    """(..., L + 1) to (..., (L + 1)^2): the value of a degree for each of its orders."""
    return weight.index_select(-1, order_degrees(weight.shape[-1] - 1).to(weight.device))


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


@lru_cache(maxsize=512)
def power_scales(L: int, power: int, L_out: int, mixed: bool) -> tuple[float, ...]:
    r"""Factors of every degree after which a power of a function has mean square 1, for coefficients of variance 1.

    With coefficients :math:`x` independent and normal, :math:`f_l(p) = \sum_m x_{lm} Y_{lm}(p)` is a normal field of
    covariance :math:`c_l(t) = \tfrac{2 l + 1}{4 \pi} P_l(t)`, t the cosine between two points. A product of ``power``
    functions with covariance K(t) has the mean square :math:`2 \pi \int K(t) P_l(t) \, dt` in each coefficient of
    degree l. The moments :math:`E f^k(p) f^k(q) = \sum_j j! \binom{k}{j}^2 ((k - j - 1)!!)^2 c(t)^j c(1)^{k - j}`, with
    k - j even, give K: that of :math:`\sum_l f_l` if all factors are one function, and for ``mixed`` the mean over
    factors :math:`\sum_l w_{il} f_l` with independent weights of mean 0 and variance 1, in which degrees pair up.
    """
    whole = power * L
    nodes, weights = np.polynomial.legendre.leggauss((whole + L_out) // 2 + 1)
    P = np.polynomial.legendre.legvander(nodes, max(L, L_out))
    variance = (2 * np.arange(L + 1) + 1) / (4 * np.pi)
    parts = (
        zip(variance, (P[:, : L + 1] * variance).T) if mixed else [(variance.sum(), P[:, : L + 1] @ variance)]
    )
    # coefficients of z^k / k! multiply as the factors are shared out among the degrees
    series = np.zeros((power + 1, len(nodes)))
    series[0] = 1
    for own, c in parts:
        terms = [_normal_moment(k, own, c) / math.factorial(k) for k in range(power + 1)]
        series = np.stack([sum(series[i] * terms[k - i] for i in range(k + 1)) for k in range(power + 1)])
    K = series[power] * math.factorial(power)
    squares = 2 * np.pi * (weights * K) @ P[:, : L_out + 1]
    return tuple(float(square**-0.5) if l <= whole else 1.0 for l, square in enumerate(squares))


def _normal_moment(k: int, variance: float, covariance: np.ndarray) -> np.ndarray:
    """Mean of the k-th powers of two normal numbers, multiplied."""
    total = np.zeros_like(covariance)
    for j in range(k % 2, k + 1, 2):
        pairs = math.prod(range(k - j - 1, 0, -2))
        total += math.factorial(j) * (math.comb(k, j) * pairs) ** 2 * covariance**j * variance ** (k - j)
    return total


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
        weight = self.weight.index_select(0, order_degrees(self.L).to(x.device))
        return torch.einsum("...cs,sdc->...ds", x, weight)

    def extra_repr(self) -> str:
        """Degree and channels."""
        return f"L={self.L}, channels={self.weight.shape[2]} -> {self.weight.shape[1]}"
