"""Group-quantised matrices: ``y = W x`` with ``w = (q - z) scale``, codes of 2, 3, 4 or 8 bits."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer._core.checks import check_choice
from gossamer._core.errors import ShapeError
from gossamer._core.threads import get_threads
from gossamer._kernels import _native
from gossamer._kernels.views import (
    check_group_arrays,
    check_quantiser,
    operand,
    raw_halves,
    ready,
    zero_views,
)

ACTIVATIONS = ("fp32", "int8")


def check(
    qweight: np.ndarray,
    scale: np.ndarray,
    zero: np.ndarray | None,
    shape: tuple[int, int],
    *,
    bits: int,
    group: int,
) -> None:
    """Refuse factors that native code could not walk safely. O(groups); done once, at construction.

    ``qweight`` is uint8 (O, n, bits Gp / 8), ``scale`` float16 (O, n) with ``n = ceil(K / group)`` groups a
    row; ``zero`` is None (symmetric), packed uint8, or float16 (O, n) holding ``scale * z``. ``group=0``
    is a row.
    """
    check_quantiser(bits, group)
    rows, cols = shape
    size = group or cols
    groups = (rows, -(-cols // size) if size else 0)
    check_group_arrays(qweight, scale, zero, groups, bits, size)


def matmat(
    qweight: np.ndarray,
    scale: np.ndarray,
    zero: np.ndarray | None,
    x: np.ndarray,
    *,
    bits: int,
    group: int,
    act: str = "fp32",
    low_rank: tuple[Any, Any] = (None, None),
    threads: int | None = None,
) -> np.ndarray:
    """Multiply checked factors with ``x`` of shape (K, N); returns (O, N).

    ``act="fp32"`` computes in the dtype of ``x``, float32 or float64. ``act="int8"`` first rounds each column
    of ``x``, in blocks of 32, to ``round(127 x / max|x|)``, multiplies integers, and returns float32. ``low_rank``
    is a term from :func:`gossamer._kernels.lowrank.native` that is added, in floating point, to rows as they are made.
    """
    check_choice("act", act, ACTIVATIONS)
    x = operand(x, np.float64 if act == "fp32" and x.dtype == np.float64 else np.float32)
    group = group or x.shape[0]
    if group and qweight.shape[1] != -(-x.shape[0] // group):
        raise ShapeError(f"x has {x.shape[0]} rows: expected {qweight.shape[1]} groups of {group}")
    y = np.empty((len(qweight), x.shape[1]), dtype=x.dtype)
    multiply = getattr(_native.quant, "int8" if act == "int8" else x.dtype.name)
    multiply(
        ready(qweight),
        raw_halves(scale),
        *zero_views(zero),
        x,
        y,
        bits,
        group,
        get_threads(threads),
        *low_rank,
    )
    return y
