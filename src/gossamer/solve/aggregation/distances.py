"""Squared distances between gradients, from their Gram matrix, and the scores that Krum gives by them."""

from __future__ import annotations

import numpy as np


def squared_distances(K: np.ndarray) -> np.ndarray:
    """``|g_i - g_j|^2`` (p, p) from ``K = G G^T``, with an infinite diagonal."""
    own = np.diagonal(K)
    distances = np.maximum(own[:, None] + own - 2 * K, 0)
    np.fill_diagonal(distances, np.inf)
    return distances


def krum_scores(distances: np.ndarray, f: int) -> np.ndarray:
    """Sum of the ``p - f - 2`` smallest squared distances of each gradient to the others (at least one)."""
    return np.sort(distances, axis=1)[:, : max(len(distances) - f - 2, 1)].sum(axis=1)
