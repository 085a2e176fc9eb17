"""The alternating updates of unmixing: robust channels, endmembers, abundances, and the objective that they lower."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gossamer._kernels.unmix import Sums

TINY = 1e-300


@dataclass(frozen=True)
class Penalty:
    """What the objective adds to the residuals.

    Attributes
    ----------
    lam : float
        Of the sparsity term ``sum (a + xi)^(1 - h)``.
    xi : float
        Keeps its slope finite at zero.
    delta : float
        Of the sum-to-one term ``delta^2 / 2 sum (1 - sum a)^2``.
    eps : float
        Smooths the norm of a channel's residual at zero; None squares the norms.
    """

    lam: float
    xi: float
    delta: float
    eps: float | None


class Factors:
    """Endmembers, and abundances that lie with their pixels, under one objective.

    Parameters
    ----------
    blocks : Blocks
        Pixels with positive shares and guidance.
    M : ndarray, shape (K, L)
    live : ndarray of bool, shape (L,)
        Channels that are not zero.
    penalty : Penalty
    pixels : int
        How many are not zero.
    """

    def __init__(self, blocks: Any, M: np.ndarray, live: np.ndarray, penalty: Penalty, pixels: int) -> None:
        self.blocks, self.M, self.live, self.penalty = blocks, M.astype(np.float64), live, penalty
        self.pixels = pixels
        self.c = 1.0
        blocks.call("raise_to_floor")
        self.look()
        self.rescale()

    def look(self) -> None:
        """Sum up with endmembers, shares and guidance as they are."""
        self._sweep(self.live.astype(np.float64), 0)

    def step(self, inner: int) -> None:
        """Weights, endmembers, abundances once each; never raises J."""
        u = self.weights()
        self.M = update_endmembers(self.M, self.sums.back, self.sums.gram, inner)
        self._sweep(u, inner)

    def _sweep(self, u: np.ndarray, steps: int) -> None:
        p = self.penalty
        parts = self.blocks.call("sweep", self.M, u, steps, p.lam, p.xi, p.delta)
        self.sums = Sums(*(sum(values) for values in zip(*parts, strict=True)))

    def _norms(self) -> np.ndarray:
        assert self.penalty.eps is not None
        return np.sqrt(self.sums.squares + self.penalty.eps**2)

    def rescale(self) -> None:
        """Choose c so that the mean weight of channels is 1; changes the objective."""
        if self.penalty.eps is not None:
            self.c = 1 / float(np.mean(1 / self._norms()[self.live])) if self.live.any() else 1.0

    def weights(self) -> np.ndarray:
        """Weights u of the channels: (L,), 0 for channels of zeros."""
        return np.where(self.live, 1.0 if self.penalty.eps is None else self.c / self._norms(), 0.0)

    def precision(self, least: float) -> np.ndarray:
        """Inverse variances of the noise of channels: (L,), 0 for channels of zeros; at most ``1 / least^2``."""
        return np.where(self.live, 1 / (self.sums.squares / self.pixels + least**2), 0.0)

    def objective(self, c: float | None = None) -> float:
        """J at what was last summed up."""
        p = self.penalty
        if p.eps is None:
            total = 0.5 * float(self.sums.squares.sum())
        else:
            total = (self.c if c is None else c) * float(self._norms()[self.live].sum())
        sparse, one = self.sums.terms
        return total + p.lam * float(sparse) + p.delta**2 / 2 * float(one)


def update_endmembers(M: np.ndarray, back: np.ndarray, gram: np.ndarray, inner: int) -> np.ndarray:
    """``M <- M o (A^T X) / (A^T A M)``, ``inner`` times; weights of channels cancel.

    Parameters
    ----------
    M : ndarray, shape (K, L)
    back, gram : ndarray
        ``X^T A`` (L, K) and ``A^T A`` (K, K).
    inner : int
    """
    for _ in range(inner):
        M = M * back.T / (gram @ M + TINY)
    return M
