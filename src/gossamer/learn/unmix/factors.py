"""The alternating updates of unmixing: robust channels, endmembers, abundances, and the objective that they lower."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

BLOCK = 1 << 16  # pixels that are read at once
FLOOR = 1e-9  # of abundances: a zero would stay for ever
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


class Pixels:
    """Scaled pixels, read in blocks: an array, a memory map, or anything that slices into arrays.

    Parameters
    ----------
    X : array, shape (N, L)
    scale : float
        What the values are divided by.
    dtype : dtype
        Of the blocks.
    """

    def __init__(self, X: Any, scale: float, dtype: Any) -> None:
        self.X, self.scale, self.dtype, self.shape = X, scale, np.dtype(dtype), tuple(X.shape)
        self.squares = np.zeros(self.shape[1])
        for _, rows in self.blocks():
            self.squares += np.einsum("nl,nl->l", rows, rows, dtype=np.float64)

    def blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Slices of pixels with their values."""
        for start in range(0, self.shape[0], BLOCK):
            here = slice(start, min(start + BLOCK, self.shape[0]))
            rows = np.asarray(self.X[here], self.dtype)
            yield here, rows if self.scale == 1 else rows * self.dtype.type(1 / self.scale)

    def back(self, A: np.ndarray) -> np.ndarray:
        """``X^T A``: (L, K), float64 sums over blocks."""
        total = np.zeros((self.shape[1], A.shape[1]))
        for here, rows in self.blocks():
            total += rows.T @ A[here]
        return total

    def residuals(self, M: np.ndarray, A: np.ndarray, back: np.ndarray, gram: np.ndarray) -> np.ndarray:
        """``|x_l - A m_l|^2`` of each channel: (L,)."""
        found = self.squares - 2 * np.einsum("kl,lk->l", M, back) + np.einsum("kl,kj,jl->l", M, gram, M)
        # a small difference of large numbers says nothing: these channels are summed directly
        threshold = 1e-6 if self.dtype == np.float64 else 1e-3
        doubtful = np.flatnonzero((found < threshold * self.squares) & (self.squares > 0))
        if len(doubtful):
            exact = np.zeros(len(doubtful))
            for here, rows in self.blocks():
                r = rows[:, doubtful] - A[here] @ M[:, doubtful].astype(self.dtype)
                exact += np.einsum("nl,nl->l", r, r, dtype=np.float64)
            found[doubtful] = exact
        return np.maximum(found, 0)


class Factors:
    """Endmembers and abundances under one objective, improved in place.

    Parameters
    ----------
    pixels : Pixels
    M : ndarray, shape (K, L)
        float64.
    A : ndarray, shape (N, K)
        Of the dtype of the pixels.
    h : ndarray, shape (N,)
        Guidance: ``p = 1 - h`` of each pixel.
    penalty : Penalty
    """

    def __init__(self, pixels: Pixels, M: np.ndarray, A: np.ndarray, h: np.ndarray, penalty: Penalty) -> None:
        self.pixels, self.penalty = pixels, penalty
        self.M, self.A = M.astype(np.float64), np.maximum(A, FLOOR).astype(pixels.dtype)
        self.h = h.astype(pixels.dtype)
        self.c = 1.0
        self.look()
        self.rescale()

    def look(self) -> None:
        """Take in what depends on the present abundances and endmembers."""
        self._back = self.pixels.back(self.A)
        self._gram = self.A.T.astype(np.float64) @ self.A
        self._squares = self.pixels.residuals(self.M, self.A, self._back, self._gram)

    def _norms(self) -> np.ndarray:
        assert self.penalty.eps is not None
        return np.sqrt(self._squares + self.penalty.eps**2)

    def rescale(self) -> None:
        """Choose c so that the mean weight of channels is 1; changes the objective."""
        if self.penalty.eps is not None:
            live = self.pixels.squares > 0
            self.c = 1 / float(np.mean(1 / self._norms()[live])) if live.any() else 1.0

    def weights(self) -> np.ndarray:
        """Weights u of the channels: (L,), 0 for channels of zeros."""
        live = self.pixels.squares > 0
        return np.where(live, 1.0 if self.penalty.eps is None else self.c / self._norms(), 0.0)

    def objective(self, c: float | None = None) -> float:
        """J at what was last looked at."""
        p = self.penalty
        if p.eps is None:
            total = 0.5 * float(self._squares.sum())
        else:
            total = (self.c if c is None else c) * float(self._norms()[self.pixels.squares > 0].sum())
        A, h = self.A.astype(np.float64), self.h.astype(np.float64)[:, None]
        if p.lam:
            total += p.lam * float(((A + p.xi) ** (1 - h)).sum())
        return total + p.delta**2 / 2 * float(((1 - A.sum(axis=1)) ** 2).sum())

    def step(self, inner: int) -> None:
        """Weights, endmembers, abundances once each; never raises J."""
        u = self.weights()
        self.M = update_endmembers(self.M, self._back, self._gram, inner)
        self.improve_abundances(u, inner)
        self.look()

    def improve_abundances(self, u: np.ndarray, inner: int) -> None:
        """Steps of the abundances alone, with given weights of the channels."""
        weighted = (self.M * u).T
        gram = (self.M * u) @ self.M.T
        for here, rows in self.pixels.blocks():
            sides = rows @ weighted.astype(self.pixels.dtype)
            update_abundances(self.A[here], sides, gram, self.h[here], self.penalty, inner)


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


def update_abundances(
    A: np.ndarray, sides: np.ndarray, gram: np.ndarray, h: np.ndarray, penalty: Penalty, inner: int
) -> None:
    """``A <- A o (X U M^T + delta^2) / (A (M U M^T + delta^2) + lam (1 - h) (A + xi)^-h)``, ``inner`` times in place.

    Parameters
    ----------
    A : ndarray, shape (N, K)
        Changed.
    sides, gram : ndarray
        ``X U M^T`` (N, K) and ``M U M^T`` (K, K).
    h : ndarray, shape (N,)
    penalty : Penalty
    inner : int
    """
    dtype = A.dtype
    square = dtype.type(penalty.delta**2)
    gram = (gram + penalty.delta**2).astype(dtype)
    above = sides + square
    rate, power = dtype.type(penalty.lam) * (1 - h)[:, None], -h[:, None]
    for _ in range(inner):
        below = A @ gram
        if penalty.lam:
            below += rate * (A + dtype.type(penalty.xi)) ** power
        below += np.finfo(dtype).tiny
        A *= above / below
        np.maximum(A, dtype.type(FLOOR), out=A)
