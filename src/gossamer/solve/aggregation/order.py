"""Means of workers' values that stand together when a coordinate is sorted."""

from __future__ import annotations

import numpy as np


def middle(ordered: np.ndarray) -> np.ndarray:
    """Median of every column of a block whose columns ascend."""
    p = len(ordered)
    return (ordered[(p - 1) // 2] + ordered[p // 2]) / 2 if p % 2 == 0 else ordered[p // 2].copy()


def inner_mean(ordered: np.ndarray, f: int) -> np.ndarray:
    """Mean of every ascending column without its f lowest and f highest values."""
    return ordered[f : len(ordered) - f].mean(axis=0)


def mean_of_closest(ordered: np.ndarray, center: np.ndarray, count: int) -> np.ndarray:
    """Mean of the ``count`` values of every ascending column that are closest to ``center`` (of ties, the lower).

    They stand together: the window moves up while the value that would enter is closer than the one that would leave.
    """
    total = ordered[:count].sum(axis=0)
    moves = np.ones(ordered.shape[1], bool)
    for low in range(len(ordered) - count):
        leaves, enters = ordered[low], ordered[low + count]
        moves &= enters - center < center - leaves
        if not moves.any():
            break
        total += np.where(moves, enters - leaves, 0)
    return total / count
