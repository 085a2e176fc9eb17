"""Group-sparse quantised matrices: only kept groups are stored, each with scale, zero and column."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer._core.checks import check_choice
from gossamer._core.errors import ArgumentError
from gossamer._core.threads import get_threads
from gossamer._kernels import _native
from gossamer._kernels.quant import ACTIVATIONS
from gossamer._kernels.views import (
    check_ascending,
    check_group_arrays,
    check_pointers,
    check_quantiser,
    expect_array,
    operand,
    raw_halves,
    ready,
    zero_views,
)

SCHEDULES = ("task", "row")


def check(
    row_ptr: np.ndarray,
    col: np.ndarray,
    qweight: np.ndarray,
    scale: np.ndarray,
    zero: np.ndarray | None,
    shape: tuple[int, int],
    *,
    bits: int,
    group: int,
) -> None:
    """Refuse factors that native code could not walk safely. O(kept groups); done once, at construction.

    ``row_ptr`` is int32 (O+1,), ``col`` uint16 (n,) with the group indices, ascending within a row,
    ``qweight`` uint8 (n, bits Gp / 8), ``scale`` float16 (n,); ``zero`` is None (symmetric), packed uint8, or
    float16 (n,) holding ``scale * z``.
    """
    check_quantiser(bits, group)
    rows, cols = shape
    size = group or cols
    bound = -(-cols // size) if size else 0
    if bound > 1 << 16:
        raise ArgumentError(
            f"a row of {cols} columns has {bound} groups of {size}: expected at most {1 << 16}"
        )
    kept = len(col)
    expect_array("row_ptr", row_ptr, np.int32, (rows + 1,))
    expect_array("col", col, np.uint16, (kept,))
    check_pointers("row_ptr", row_ptr, rows, kept)
    check_ascending("col", col, row_ptr, bound)
    check_group_arrays(qweight, scale, zero, (kept,), bits, size)


def matmat(
    row_ptr: np.ndarray,
    col: np.ndarray,
    qweight: np.ndarray,
    scale: np.ndarray,
    zero: np.ndarray | None,
    x: np.ndarray,
    *,
    bits: int,
    group: int,
    act: str = "fp32",
    schedule: str = "task",
    low_rank: tuple[Any, Any] = (None, None),
    threads: int | None = None,
) -> np.ndarray:
    """Multiply checked factors with ``x`` of shape (K, N); returns (O, N). ``act`` and ``low_rank``
    are as in ``quant.matmat``.

    ``schedule="task"`` cuts the list of kept groups in equal tasks, whatever rows they belong to, and adds
    what meets in one row in task order; ``"row"`` gives threads equal numbers of rows, the usual way and the
    baseline. A low-rank term is added to a row by the task that holds the row's first group.
    """
    check_choice("act", act, ACTIVATIONS)
    check_choice("schedule", schedule, SCHEDULES)
    x = operand(x, np.float64 if act == "fp32" and x.dtype == np.float64 else np.float32)
    y = np.empty((len(row_ptr) - 1, x.shape[1]), dtype=x.dtype)
    multiply = getattr(_native.gqs, "int8" if act == "int8" else x.dtype.name)
    multiply(
        ready(row_ptr),
        ready(col),
        ready(qweight),
        raw_halves(scale),
        *zero_views(zero),
        x,
        y,
        bits,
        group or x.shape[0],
        schedule == "task",
        get_threads(threads),
        *low_rank,
    )
    return y
