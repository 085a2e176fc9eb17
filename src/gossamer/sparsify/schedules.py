"""How many weights are gone after each step."""

from __future__ import annotations

import numpy as np

from gossamer._core.checks import check_float, check_int
from gossamer._core.errors import ArgumentError


def geometric_schedule(start: float, end: float, steps: int) -> np.ndarray:
    r"""Sparsities whose *kept* fractions fall geometrically: :math:`1-s_j=(1-s_a)((1-s_b)/(1-s_a))^{j/R}`.

    Each step removes the same share of what is left, so that late steps, which hurt most, are small.

    Parameters
    ----------
    start : float
        Sparsity now, in [0, 1).
    end : float
        Sparsity after the last step, in [start, 1).
    steps : int
        Number R of steps.

    Returns
    -------
    ndarray, shape (steps,)
        Rising, the last one is ``end`` exactly.
    """
    start, end, steps = _checked(start, end, steps)
    kept = (1 - start) * ((1 - end) / (1 - start)) ** (np.arange(1, steps + 1) / steps)
    kept[-1] = 1 - end
    return np.append(1 - kept[:-1], end)


def cubic_schedule(start: float, end: float, steps: int) -> np.ndarray:
    r"""Sparsities on the cubic curve of Zhu and Gupta: :math:`s_j = s_b + (s_a - s_b)(1 - j/R)^3`.

    Fast at first, slow at the end; usual for pruning during training.

    Parameters
    ----------
    start : float
        Sparsity now, in [0, 1).
    end : float
        Sparsity after the last step, in [start, 1).
    steps : int
        Number R of steps.

    Returns
    -------
    ndarray, shape (steps,)
        Rising, the last one is ``end`` exactly.

    References
    ----------
    Zhu, Gupta. To Prune, or Not to Prune. arXiv 1710.01878.
    """
    start, end, steps = _checked(start, end, steps)
    return end + (start - end) * (1 - np.arange(1, steps + 1) / steps) ** 3


def _checked(start: float, end: float, steps: int) -> tuple[float, float, int]:
    start = check_float("start", start, low=0, high=1, closed="left")
    end = check_float("end", end, low=0, high=1, closed="left")
    if end < start:
        raise ArgumentError(f"end={end!r}: expected at least start={start!r}; pruned weights do not return")
    return start, end, check_int("steps", steps, low=1)
