"""Functions of the distance: Bessel functions with a smooth cutoff, and a network on top of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch

from gossamer._core.checks import check_float, check_int


class BesselBasis(torch.nn.Module):
    r"""Radial functions :math:`s_n \sin(n \pi r / r_c) / r`, times a polynomial that ends at r_c.

    .. math:: 1 - \tfrac{(p + 1)(p + 2)}{2} d^p + p (p + 2) d^{p + 1} - \tfrac{p (p + 1)}{2} d^{p + 2},
              \quad d = r / r_c

    has p - 1 continuous derivatives at the cutoff, and is 0 beyond it. The constants :math:`s_n` give each function
    mean square 1 over the ball of radius r_c, so that networks get inputs of unit size: the orthonormal functions of
    the reference, :math:`s_n = \sqrt{2 / r_c}`, are smaller by more than :math:`\sqrt{r_c^3 / 3}`.

    Parameters
    ----------
    count : int
        Functions n = 1..count.
    r_max : float
        The cutoff r_c.
    p : int
        Order of the polynomial.

    References
    ----------
    Gasteiger, Groß, Günnemann. Directional Message Passing for Molecular Graphs. ICLR 2020, arXiv 2003.03123.
    """

    order: torch.Tensor
    scale: torch.Tensor

    def __init__(self, count: int = 8, r_max: float = 5.0, p: int = 5) -> None:
        super().__init__()
        self.count, self.p = check_int("count", count, low=1), check_int("p", p, low=2)
        self.r_max = check_float("r_max", r_max, low=0, closed="neither")
        self.register_buffer("order", torch.arange(1, count + 1))
        nodes, weights = np.polynomial.legendre.leggauss(2 * count + p + 16)
        r = torch.from_numpy((nodes + 1) * self.r_max / 2)
        squares = (self._waves(r) * r[:, None]).square()
        mean = 1.5 / self.r_max**2 * (torch.from_numpy(weights)[:, None] * squares).sum(0)
        self.register_buffer("scale", mean.rsqrt().to(torch.get_default_dtype()), persistent=False)

    def forward(self, lengths: torch.Tensor) -> torch.Tensor:
        """(edges,) to (edges, count)."""
        return self._waves(lengths) * self.scale

    def _waves(self, lengths: torch.Tensor) -> torch.Tensor:
        d, p = lengths / self.r_max, self.p
        envelope = (
            1 - (p + 1) * (p + 2) / 2 * d**p + p * (p + 2) * d ** (p + 1) - p * (p + 1) / 2 * d ** (p + 2)
        )
        envelope = torch.where(d < 1, envelope, 0)
        phase = (lengths * (math.pi / self.r_max))[:, None]
        return torch.sin(phase * self.order) * (envelope / lengths)[:, None]


class RadialMLP(torch.nn.Module):
    """A network on Bessel functions of the distance; without biases, so that it ends with them at the cutoff.

    Parameters
    ----------
    outputs : int
        Values for each edge.
    hidden : sequence of int
        Widths of the hidden layers.
    count, r_max, p
        Of the :class:`BesselBasis`.
    """

    def __init__(
        self, outputs: int, hidden: Sequence[int] = (64, 64), count: int = 8, r_max: float = 5.0, p: int = 5
    ) -> None:
        super().__init__()
        self.basis = BesselBasis(count, r_max, p)
        widths = [count, *hidden, check_int("outputs", outputs, low=1)]
        self.layers = torch.nn.ModuleList(
            torch.nn.Linear(a, b, bias=False) for a, b in itertools.pairwise(widths)
        )
        for weight in self.parameters():
            torch.nn.init.normal_(weight, std=weight.shape[1] ** -0.5)

    def forward(self, lengths: torch.Tensor) -> torch.Tensor:
        """(edges,) to (edges, outputs)."""
        x = self.basis(lengths)
        for i, layer in enumerate(self.layers):
            # 1.679 gives SiLU of normal numbers a second moment of 1
            x = layer(x) if i == len(self.layers) - 1 else torch.nn.functional.silu(layer(x)) * 1.679
        return x
