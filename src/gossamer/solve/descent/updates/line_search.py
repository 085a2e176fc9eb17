"""How far to go along a direction."""

from __future__ import annotations

import math
import sys

from gossamer.solve.descent.problems.problem import Path

SUFFICIENT = 1e-4
MOST_TRIALS = 60
ROUNDING = 4 * sys.float_info.epsilon
"""What an objective may seem to rise by, relative to itself, because sums are rounded."""


def armijo(path: Path, start: float, slope: float) -> float:
    """A step a with ``F(x + a d) <= F(x) + 1e-4 a slope``, for ``slope = g^T d < 0``; 0 if rounding leaves none.

    Tries 1, then the minimum of the parabola through what is known, then of cubics through the last two values,
    within 0.1 and 0.6 of the step before.
    """
    step, last, slack = 1.0, (math.nan, math.nan), ROUNDING * abs(start)
    for trial in range(MOST_TRIALS):
        value = path.value(step)
        if value <= start + SUFFICIENT * step * slope + slack:
            return step
        if trial == 0 or not math.isfinite(value) or not math.isfinite(last[1]):
            guess = _parabola(start, slope, step, value)
        else:
            guess = _cubic(start, slope, step, value, *last)
        last = (step, value)
        step = min(max(guess, 0.1 * step), 0.6 * step) if math.isfinite(guess) else 0.5 * step
    return 0.0


def _parabola(start: float, slope: float, a: float, value: float) -> float:
    curvature = value - start - slope * a
    return -slope * a * a / (2 * curvature) if curvature > 0 else math.nan


def _cubic(start: float, slope: float, a: float, value: float, a0: float, value0: float) -> float:
    """The minimum of the cubic with this start and slope that passes through both values."""
    u, v = (value - start - slope * a) / a**2, (value0 - start - slope * a0) / a0**2
    third, second = (u - v) / (a - a0), (v * a - u * a0) / (a - a0)
    if third == 0:
        return -slope / (2 * second) if second > 0 else math.nan
    root = second * second - 3 * third * slope
    return (-second + math.sqrt(root)) / (3 * third) if root >= 0 else math.nan


def backtrack(path: Path, start: float, decrease: float) -> float:
    """A step a, 1 or halves of it, with ``F(x + a d) <= F(x) + 1e-4 a decrease``; 0 if rounding leaves none."""
    step = 1.0
    for _ in range(MOST_TRIALS):
        if path.value(step) <= start + SUFFICIENT * step * decrease + ROUNDING * abs(start):
            return step
        step *= 0.5
    return 0.0
