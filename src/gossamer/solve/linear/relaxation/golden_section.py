"""The minimum of a function of one number by golden section."""

from __future__ import annotations

import math
from collections.abc import Callable

from gossamer._core.checks import check_float, check_int
from gossamer._core.errors import bad_argument

GOLDEN = (math.sqrt(5) - 1) / 2


def golden_section(
    function: Callable[[float], float], low: float, high: float, *, evaluations: int = 12
) -> tuple[float, float]:
    """Narrow an interval down around the minimum of a function, and return the best point that was met.

    For a function that falls, then rises, the interval shrinks by 0.618 an evaluation. Iteration counts are integers:
    where the two points inside are equal, the right end is given up.

    Parameters
    ----------
    function : callable
        Takes a float, returns a number.
    low, high : float
        Ends of the interval.
    evaluations : int
        Calls of ``function``, at least 2.

    Returns
    -------
    x, value : float
        The point of least value among those evaluated; the first one of several.

    Raises
    ------
    ArgumentError
        If the interval is empty.

    Examples
    --------
    >>> from gossamer.solve import golden_section
    >>> x, value = golden_section(lambda x: (x - 1.3) ** 2, 0.0, 2.0, evaluations=30)
    >>> round(x, 4)
    1.3
    """
    low, high = check_float("low", low), check_float("high", high)
    if not low < high:
        raise bad_argument("high", high, f"more than low={low!r}")
    check_int("evaluations", evaluations, low=2)
    met: list[tuple[float, float]] = []

    def evaluate(x: float) -> float:
        met.append((float(function(x)), x))
        return met[-1][0]

    left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    at_left, at_right = evaluate(left), evaluate(right)
    while len(met) < evaluations:
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - GOLDEN * (high - low)
            at_left = evaluate(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + GOLDEN * (high - low)
            at_right = evaluate(right)
    value, x = min(met, key=lambda pair: pair[0])
    return x, value
