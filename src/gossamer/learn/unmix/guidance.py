"""How pure a pixel is, from its abundances: the map that guides its sparsity."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.ndimage import median_filter

from gossamer._core.checks import check_choice


def hoyer_sparseness(A: Any) -> np.ndarray:
    """Hoyer's sparseness of each row, ``(sqrt(K) - |a|_1 / |a|_2) / (sqrt(K) - 1)``: 0 for even, 1 for pure pixels.

    Parameters
    ----------
    A : array, shape (N, K)
        Abundances, not negative; K >= 2.

    Returns
    -------
    ndarray, shape (N,)
        Rows of zeros have 0.

    References
    ----------
    Hoyer, "Non-negative matrix factorization with sparseness constraints", JMLR 2004.
    """
    A = np.asarray(A)
    root = np.sqrt(A.shape[1])
    norms = np.linalg.norm(A, axis=1)
    ratio = np.divide(A.sum(axis=1), norms, out=np.full(len(A), root, A.dtype), where=norms > 0)
    return (root - ratio) / (root - 1)


def gini_index(A: np.ndarray) -> np.ndarray:
    """Gini index of each row, scaled so that a pure pixel has 1: (N,)."""
    K = A.shape[1]
    ordered = np.sort(A, axis=1)
    sums = ordered.sum(axis=1)
    ranked = ordered @ (K - np.arange(1, K + 1) + 0.5)
    share = np.divide(ranked, sums, out=np.full(len(A), K / 2), where=sums > 0)
    return (1 - 2 * share / K) * K / (K - 1)


def largest_share(A: np.ndarray) -> np.ndarray:
    """``(K max a / sum a - 1) / (K - 1)`` of each row: (N,)."""
    K = A.shape[1]
    sums = A.sum(axis=1)
    share = np.divide(A.max(axis=1), sums, out=np.full(len(A), 1 / K), where=sums > 0)
    return (K * share - 1) / (K - 1)


def purity(A: np.ndarray, sides: np.ndarray, gram: np.ndarray, channels: int) -> np.ndarray:
    """How likely each pixel is a single endmember rather than the mixture A, by the Bayesian information criterion.

    The misfit of a mixture a is ``a G a - 2 a^T b`` in units of the noise; K - 1 shares fewer are worth
    ``(K - 1) log channels`` of it, and half the difference is the logarithm of the odds.

    Parameters
    ----------
    A, sides : ndarray, shape (N, K)
        Shares, and ``X P M^T`` with the inverse variances P of channels.
    gram : ndarray, shape (K, K)
        ``M P M^T``.
    channels : int
        How many there are.

    Returns
    -------
    ndarray, shape (N,)
        Probabilities.
    """
    mixed = np.einsum("nk,nk->n", A @ gram - 2 * sides, A)
    single = (np.diag(gram) - 2 * sides).min(axis=1)
    odds = ((A.shape[1] - 1) * np.log(max(channels, 1)) - (single - mixed)) / 2
    return 1 / (1 + np.exp(-np.clip(odds, -50, 50)))


MEASURES = {"hoyer": hoyer_sparseness, "gini": gini_index, "max": largest_share}
CHOICES = ("evidence", *MEASURES)


def guidance_map(A: np.ndarray, measure: str, h_max: float) -> np.ndarray:
    """Sparseness of each pixel, cut to [0, h_max]: (N,)."""
    return np.clip(MEASURES[check_choice("guidance", measure, MEASURES)](A), 0, h_max)


def smoothed(h: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The 3 x 3 median of a map over an image of ``shape``: (N,)."""
    return median_filter(h.reshape(shape), size=3, mode="nearest").ravel()
