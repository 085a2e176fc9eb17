"""Fused low-rank addition: ``y += left (right x)``, what repairs a compressed product."""

from __future__ import annotations

import numpy as np

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._core.threads import get_threads
from gossamer._kernels import _native
from gossamer._kernels.views import operand, ready


def check(left: np.ndarray, right: np.ndarray, shape: tuple[int, int]) -> None:
    """Refuse factors that do not fit: ``left`` (O, r) and ``right`` (r, K), both float32 or both float64."""
    if left.ndim != 2 or right.ndim != 2 or left.shape[1] != right.shape[0]:
        raise ShapeError(f"left {left.shape} and right {right.shape} do not fit: expected (O, r) and (r, K)")
    if (left.shape[0], right.shape[1]) != tuple(shape):
        raise ShapeError(f"left {left.shape} and right {right.shape} make {left.shape[0]}x{right.shape[1]}: "
                         f"expected {shape[0]}x{shape[1]}")  # fmt: skip
    if left.dtype != right.dtype or left.dtype not in (np.float32, np.float64):
        raise ArgumentError(
            f"left is {left.dtype}, right is {right.dtype}: expected both float32 or both float64"
        )


def add(
    y: np.ndarray, left: np.ndarray, right: np.ndarray, x: np.ndarray, threads: int | None = None
) -> np.ndarray:
    """Add ``left @ (right @ x)`` to ``y`` (O, N) in place; ``x`` is (K, N); returns ``y``."""
    if y.dtype != left.dtype or not (y.flags.c_contiguous and y.flags.aligned and y.flags.writeable):
        raise ArgumentError(
            f"y is {y.dtype}: expected writeable contiguous {left.dtype}, as it is changed in place"
        )
    x = operand(x, left.dtype, right.shape[1])
    if y.shape != (left.shape[0], x.shape[1]):
        raise ShapeError(f"y has shape {y.shape}: expected ({left.shape[0]}, {x.shape[1]})")
    getattr(_native.lowrank, x.dtype.name)(y, ready(left), ready(right), x, get_threads(threads))
    return y
