"""How many weights are gone after each step."""

from __future__ import annotations

import math

import numpy as np

from gossamer._core.checks import check_choice, check_float, check_int
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


def update_ratio(
    step: int, total_steps: int, start: float = 0.5, end: float = 0.005, schedule: str = "cosine"
) -> float:
    r"""Share of the live weights that move at a step: :math:`e + (s - e)(1 + \cos(\pi t / T)) / 2`.

    Large moves explore while weights are young; small ones at the end let them settle.

    Parameters
    ----------
    step : int
        t, from 0 to T.
    total_steps : int
        T.
    start, end : float
        s and e, in [0, 1].
    schedule : {"cosine", "linear"}
        The curve between them.

    Returns
    -------
    float
        Between ``start`` and ``end``. Equivalent to ``torch.optim.lr_scheduler.CosineAnnealingLR``.
    """
    total_steps = check_int("total_steps", total_steps, low=1)
    part = check_int("step", step, low=0, high=total_steps) / total_steps
    start = check_float("start", start, low=0, high=1)
    end = check_float("end", end, low=0, high=1)
    check_choice("schedule", schedule, ("cosine", "linear"))
    left = (1 + math.cos(math.pi * part)) / 2 if schedule == "cosine" else 1 - part
    return end + (start - end) * left


def _checked(start: float, end: float, steps: int) -> tuple[float, float, int]:
    start = check_float("start", start, low=0, high=1, closed="left")
    end = check_float("end", end, low=0, high=1, closed="left")
    if end < start:
        raise ArgumentError(f"end={end!r}: expected at least start={start!r}; pruned weights do not return")
    return start, end, check_int("steps", steps, low=1)
