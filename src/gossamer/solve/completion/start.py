"""Where alternating minimisation starts: the leading left singular vectors of what was observed, clipped."""

from __future__ import annotations

import numpy as np

from gossamer.solve.completion.entries import Entries

POWER_STEPS = 4
OVERSAMPLING = 8
FEW = 4  # times k (m + n) entries, below which a start is within the noise of its own sampling
WARM_SWEEPS = 20
FALL = 0.7


def spectral_start(
    entries: Entries, rank: int, rng: np.random.Generator, threads: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The dominant left singular vectors (m, rank) and values of the observed entries, divided by their share.

    The others count as zero. A randomised range finder with four power steps: ``10 N (k + 8)`` multiply-adds.
    """
    m, n = entries.shape
    width = min(rank + OVERSAMPLING, m, n)
    kind = entries.rows.value.dtype
    Q = np.linalg.qr(entries.rows.times(rng.standard_normal((n, width)).astype(kind), threads))[0]
    for _ in range(POWER_STEPS):
        Q = np.linalg.qr(entries.columns.times(np.ascontiguousarray(Q), threads))[0]
        Q = np.linalg.qr(entries.rows.times(np.ascontiguousarray(Q), threads))[0]
    inner = entries.columns.times(np.ascontiguousarray(Q), threads)  # (Q^T A)^T
    squares, left = np.linalg.eigh(inner.T @ inner)
    values = np.sqrt(np.maximum(squares[::-1], 0)) * (m * n / max(entries.count, 1))
    return np.ascontiguousarray(Q @ left[:, ::-1][:, :rank]), values[:rank]


def falling_ridges(entries: Entries, rank: int, values: np.ndarray, sweeps: int) -> tuple[float, ...]:
    """Ridges for the first sweeps where entries are few, none where there are enough.

    Lines that see little would be sent far off by the errors of the start. The first ridge is twice what a line of
    observed rows of a balanced factor has as mean square, ``|Omega| / (m n)`` times the mean singular value.
    """
    m, n = entries.shape
    base = 2 * entries.count / (m * n) * float(np.mean(values))
    if entries.count >= FEW * rank * (m + n) or base == 0:
        return ()
    return tuple(base * FALL**t for t in range(min(sweeps, WARM_SWEEPS)))


def random_start(m: int, rank: int, rng: np.random.Generator, dtype: np.dtype) -> np.ndarray:
    """Orthonormal (m, rank), uniform."""
    return np.linalg.qr(rng.standard_normal((m, rank)))[0].astype(dtype)


def estimate_incoherence(U: np.ndarray) -> float:
    """``max(1, sqrt(m / k) q)``, q the norm that 99 of 100 rows stay below: rows that stick out do not count."""
    m, k = U.shape
    norms = np.linalg.norm(U, axis=1)
    return max(1.0, float(np.sqrt(m / k) * np.quantile(norms, 0.99)))


def clip_start(U: np.ndarray, mu: float | None) -> tuple[np.ndarray, int]:
    """Zero the entries above ``2 mu sqrt(k / m)``, orthonormalise; returns how many there were."""
    m, k = U.shape
    bound = 2 * (estimate_incoherence(U) if mu is None else mu) * np.sqrt(k / m)
    large = np.abs(U) > bound
    if not large.any():
        return U, 0
    return np.ascontiguousarray(np.linalg.qr(np.where(large, U.dtype.type(0), U))[0]), int(large.sum())
