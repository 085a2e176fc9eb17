"""Matrices of low rank that are known in full, seen in part."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from gossamer._core.checks import check_float, check_int
from gossamer._core.random import RandomState, check_random_state


@dataclass(frozen=True)
class LowRankSample:
    """``U diag(S) V^T``, and the entries of it that were drawn.

    Attributes
    ----------
    rows, cols : ndarray of int64, shape (N,)
    vals : ndarray, shape (N,)
        Entries with noise.
    U, V : ndarray, shapes (m, k) and (n, k)
        Orthonormal.
    S : ndarray, shape (k,)
        Singular values; entries of the matrix have mean square 1.
    """

    rows: np.ndarray = field(repr=False)
    cols: np.ndarray = field(repr=False)
    vals: np.ndarray = field(repr=False)
    U: np.ndarray = field(repr=False)
    V: np.ndarray = field(repr=False)
    S: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """Of the matrix."""
        return len(self.U), len(self.V)

    def at(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """Entries without noise."""
        return np.einsum("ek,ek->e", self.U[i] * self.S, self.V[j])

    def to_dense(self) -> np.ndarray:
        """The matrix without noise, shape (m, n)."""
        return (self.U * self.S) @ self.V.T

    def relative_error(self, U: np.ndarray, V: np.ndarray) -> float:
        """``|U V^T - M|_F / |M|_F`` without forming either. O((m + n) k^2)."""
        left = np.linalg.qr(np.hstack([self.U * self.S, U]))[1]
        right = np.linalg.qr(np.hstack([self.V, -V]))[1]
        return float(np.linalg.norm(left @ right.T) / np.linalg.norm(self.S))


def incoherent_low_rank(
    m: int,
    n: int,
    k: int,
    *,
    kappa: float = 1.0,
    p: float = 0.2,
    noise: float = 0.0,
    coherence: float = 1.0,
    random_state: RandomState = None,
) -> LowRankSample:
    """Draw a matrix of rank k and see each entry with probability p.

    Parameters
    ----------
    m, n, k : int
        Shape and rank.
    kappa : float
        Largest over smallest singular value; they are spaced evenly.
    p : float
        Probability of an entry.
    noise : float
        Standard deviation of what is added to entries of mean square 1.
    coherence : float
        1: rows of the factors are alike. Larger: one row in fifty is about this many times longer than the others.
    random_state : int, Generator or None
        Source of everything.

    Returns
    -------
    LowRankSample

    Raises
    ------
    ArgumentError
        A parameter out of range.
    """
    m, n = check_int("m", m, low=1), check_int("n", n, low=1)
    k = check_int("k", k, low=1, high=min(m, n))
    kappa, coherence = check_float("kappa", kappa, low=1), check_float("coherence", coherence, low=1)
    p, noise = check_float("p", p, low=0, high=1), check_float("noise", noise, low=0)
    rng = check_random_state(random_state)

    def basis(count: int) -> np.ndarray:
        weight = np.where(rng.random(count) < 0.02, coherence, 1.0)
        return np.linalg.qr(weight[:, None] * rng.standard_normal((count, k)))[0]

    U, V = basis(m), basis(n)
    S = np.linspace(kappa, 1, k)
    S *= np.sqrt(m * n / np.sum(S**2))
    step = max(1, (1 << 22) // n)
    seen = [np.nonzero(rng.random((min(step, m - top), n)) < p) for top in range(0, m, step)]
    rows = np.concatenate([i + top for (i, _), top in zip(seen, range(0, m, step))])
    cols = np.concatenate([j for _, j in seen])
    vals = np.empty(len(rows))
    for part in range(0, len(rows), 1 << 18):
        e = slice(part, part + (1 << 18))
        vals[e] = np.einsum("ek,ek->e", U[rows[e]] * S, V[cols[e]])
    return LowRankSample(rows, cols, vals + noise * rng.standard_normal(len(vals)), U, V, S)
