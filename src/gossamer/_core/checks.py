"""Checks at the door. Each returns the value in the form that the inside may trust."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from typing import Any

import numpy as np

from gossamer._core.arrays import is_torch
from gossamer._core.errors import ArgumentError, ShapeError, bad_argument, unknown_choice


def check_int(name: str, value: Any, *, low: int | None = None, high: int | None = None) -> int:
    """Return ``value`` as ``int`` within ``[low, high]``; booleans and floats are refused."""
    bounds = f"an integer{'' if low is None else f' >= {low}'}{'' if high is None else f' and <= {high}'}"
    if isinstance(value, (bool, np.bool_)):
        raise bad_argument(name, value, bounds)
    try:
        number = operator.index(value)
    except TypeError:
        raise bad_argument(name, value, bounds) from None
    if (low is not None and number < low) or (high is not None and number > high):
        nearest = max(low if low is not None else number, min(number, high if high is not None else number))
        raise bad_argument(name, value, bounds, f"nearest valid: {nearest}")
    return number


def check_float(
    name: str, value: Any, *, low: float = -math.inf, high: float = math.inf, closed: str = "both"
) -> float:
    """Return ``value`` as a finite ``float`` in the interval; ``closed`` is both, left, right or neither."""
    left, right = closed in ("both", "left"), closed in ("both", "right")
    interval = f"a number in {'[' if left else '('}{low}, {high}{']' if right else ')'}"
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise bad_argument(name, value, interval) from None
    inside = (low <= number if left else low < number) and (number <= high if right else number < high)
    if not math.isfinite(number) or not inside:
        raise bad_argument(name, value, interval)
    return number


def check_choice(name: str, value: Any, choices: Iterable[Any]) -> Any:
    """Return ``value`` if it is a member of ``choices``."""
    options = list(choices)
    if value not in options:
        raise unknown_choice(name, value, options)
    return value


def check_array(
    name: str, value: Any, *, ndim: int | tuple[int, ...], finite: bool = True, real: bool = True
) -> Any:
    """Return ``value`` as a floating NumPy array or torch tensor of the given rank.

    Integers become float64. Torch tensors stay torch tensors. NaN and infinity are refused when
    ``finite``, complex input when ``real``.
    """
    ranks = (ndim,) if isinstance(ndim, int) else ndim
    if is_torch(value):
        array, complex_input, floating = value, value.is_complex(), value.is_floating_point()
        if not floating and not complex_input:
            array = array.double()
    else:
        try:
            array = np.asarray(value)
        except ValueError as error:
            raise bad_argument(name, type(value).__name__, "a rectangular array") from error
        if array.dtype.kind not in "biufc":
            raise bad_argument(name, type(value).__name__, "an array of real numbers")
        complex_input = np.iscomplexobj(array)
        if not complex_input and not np.issubdtype(array.dtype, np.floating):
            array = array.astype(np.float64)
    if complex_input and real:
        raise ArgumentError(f"{name} is complex: expected real numbers")
    if array.ndim not in ranks:
        wanted = " or ".join(f"{rank}-D" for rank in ranks)
        raise ShapeError(f"{name} has shape {tuple(array.shape)}: expected a {wanted} array")
    if finite:
        check_finite(name, array)
    return array


def check_finite(name: str, array: Any) -> None:
    """Refuse NaN and infinity, saying how many there are and where the first one is."""
    good = array.isfinite() if is_torch(array) else np.isfinite(array)
    if not bool(good.all()):
        bad = ~(good.cpu().numpy() if is_torch(good) else good)
        first = tuple(int(i) for i in np.argwhere(bad)[0])
        raise ArgumentError(f"{name} has {int(bad.sum())} NaN or infinite entries, the first at {first}")
