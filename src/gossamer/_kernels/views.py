"""The form in which native code receives arrays, and the checks that quantised families share."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer._core.checks import check_choice, check_int
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._kernels.packing import BITS, group_bytes


def ready(array: np.ndarray, dtype: Any = None) -> np.ndarray:
    """``array`` as contiguous, aligned rows of ``dtype``: itself where it already is."""
    return np.require(array, dtype, ("C_CONTIGUOUS", "ALIGNED"))


def zero_views(zero: np.ndarray | None) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Zero points as native code takes them: (integers, raw float16), at most one of which is not None."""
    if zero is None:
        return None, None
    return (None, raw_halves(zero)) if zero.dtype == np.float16 else (ready(zero), None)


def raw_halves(array: np.ndarray) -> np.ndarray:
    """Float16 as raw bits, which is how native code takes them."""
    return ready(array, np.float16).view(np.uint16)


def operand(x: np.ndarray, dtype: Any, width: int | None = None) -> np.ndarray:
    """The right-hand side as ready (K, N) array of ``dtype``."""
    if x.ndim != 2 or (width is not None and x.shape[0] != width):
        raise ShapeError(f"x has shape {x.shape}: expected ({'K' if width is None else width}, N)")
    return ready(x, dtype)


def check_quantiser(bits: int, group: int) -> None:
    """Refuse code widths that are not offered and negative groups (0 is the whole row)."""
    check_choice("bits", bits, BITS)
    check_int("group", group, low=0)


def check_group_arrays(
    qweight: np.ndarray,
    scale: np.ndarray,
    zero: np.ndarray | None,
    groups: tuple[int, ...],
    bits: int,
    group: int,
) -> None:
    """Refuse packed codes, scales and zero points that do not describe ``groups`` groups."""
    expect_array("qweight", qweight, np.uint8, (*groups, group_bytes(bits, group)))
    expect_array("scale", scale, np.float16, groups)
    if not np.isfinite(scale).all():
        raise ArgumentError(f"scale has {int((~np.isfinite(scale)).sum())} NaN or infinite entries")
    if zero is None:
        return
    if zero.dtype == np.float16:
        expect_array("zero", zero, np.float16, groups)
        if not np.isfinite(zero).all():
            raise ArgumentError(f"zero has {int((~np.isfinite(zero)).sum())} NaN or infinite entries")
        return
    if zero.dtype != np.uint8:
        raise ArgumentError(
            f"zero is {zero.dtype}: expected uint8 (packed integers) or float16 (scale * zero)"
        )
    count = int(np.prod(groups))
    expect_array("zero", zero, np.uint8, (-(-count // 2) if bits <= 4 else count,))


def expect_array(name: str, array: np.ndarray, dtype: Any, shape: tuple[int, ...]) -> None:
    """Refuse an array of another dtype or shape."""
    if array.dtype != dtype or array.shape != shape:
        raise ShapeError(
            f"{name} is {array.dtype} of shape {array.shape}: expected {np.dtype(dtype)} of shape {shape}"
        )


def check_pointers(name: str, pointers: np.ndarray, rows: int, stored: int) -> None:
    """Refuse row pointers that do not rise from 0 to the number of stored items."""
    if pointers.shape != (rows + 1,):
        raise ShapeError(f"{name} has shape {pointers.shape}: expected ({rows + 1},)")
    if pointers[0] != 0 or pointers[-1] != stored or (pointers[1:] < pointers[:-1]).any():
        raise ArgumentError(f"{name} must rise from 0 to the number of stored items, {stored}")


def check_ascending(name: str, indices: np.ndarray, pointers: np.ndarray, bound: int) -> None:
    """Refuse indices outside ``[0, bound)`` or not ascending within a row."""
    if not len(indices):
        return
    if indices.min() < 0 or indices.max() >= bound:
        raise ArgumentError(f"{name} spans {indices.min()}..{indices.max()}: expected 0..{bound - 1}")
    falls = indices[1:] <= indices[:-1]
    inner = pointers[1:-1]
    falls[inner[(inner > 0) & (inner < len(indices))] - 1] = False
    if falls.any():
        raise ArgumentError(
            f"{name} does not ascend within a row, first at stored item {int(falls.argmax()) + 1}"
        )
