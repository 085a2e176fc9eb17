"""Low-rank terms ``left (right x)``: added to a result in place, or inside the product of another family."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._core.threads import get_threads
from gossamer._kernels import _native, quant
from gossamer._kernels.views import operand, raw_halves, ready, zero_views


class Codes(NamedTuple):
    """A factor in group codes, as :mod:`gossamer._kernels.quant` holds a matrix; ``group`` 0 is the whole row."""

    qweight: np.ndarray
    scale: np.ndarray
    zero: np.ndarray | None
    bits: int
    group: int
    cols: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self.qweight), self.cols


Factor = np.ndarray | Codes
"""An array (float32, float64, or uint16 that holds raw bfloat16), or codes."""


def check(left: Factor, right: Factor, shape: tuple[int, int]) -> None:
    """Refuse factors that do not fit: ``left`` (O, r) and ``right`` (r, K), both of one dtype or both codes."""
    for factor in (left, right):
        if isinstance(factor, Codes):
            quant.check(
                factor.qweight, factor.scale, factor.zero, factor.shape, bits=factor.bits, group=factor.group
            )
        elif factor.ndim != 2:
            raise ShapeError(f"a low-rank factor has shape {factor.shape}: expected two dimensions")
    if left.shape[1] != right.shape[0]:
        raise ShapeError(f"left {left.shape} and right {right.shape} do not fit: expected (O, r) and (r, K)")
    if (left.shape[0], right.shape[1]) != tuple(shape):
        raise ShapeError(f"left {left.shape} and right {right.shape} make {left.shape[0]}x{right.shape[1]}: "
                         f"expected {shape[0]}x{shape[1]}")  # fmt: skip
    stored = [_storage(factor) for factor in (left, right)]
    if stored[0] != stored[1] or stored[0] not in ("float32", "float64", "uint16", "codes"):
        raise ArgumentError(
            f"left is {stored[0]}, right is {stored[1]}: expected both float32, both float64, both uint16 "
            "(raw bfloat16) or both codes"
        )


def native(low_rank: tuple[Factor, Factor] | None) -> tuple[Any, Any]:
    """Both factors as native products take them; (None, None) without a term."""
    if low_rank is None:
        return None, None
    left, right = (_native_factor(factor) for factor in low_rank)
    return left, right


def add(y: np.ndarray, left: Factor, right: Factor, x: np.ndarray, threads: int | None = None) -> np.ndarray:
    """Add ``left @ (right @ x)`` to ``y`` (O, N) in place; ``x`` is (K, N); returns ``y``."""
    stored = _storage(left)
    wanted = (stored,) if stored in ("float32", "float64") else ("float32", "float64")
    if y.dtype not in wanted or not (y.flags.c_contiguous and y.flags.aligned and y.flags.writeable):
        raise ArgumentError(
            f"y is {y.dtype}: expected writeable contiguous {' or '.join(wanted)}, as it is changed in place"
        )
    x = operand(x, y.dtype, right.shape[1])
    if y.shape != (left.shape[0], x.shape[1]):
        raise ShapeError(f"y has shape {y.shape}: expected ({left.shape[0]}, {x.shape[1]})")
    getattr(_native.lowrank, x.dtype.name)(y, *native((left, right)), x, get_threads(threads))
    return y


def _storage(factor: Factor) -> str:
    return "codes" if isinstance(factor, Codes) else factor.dtype.name


def _native_factor(factor: Factor) -> Any:
    if not isinstance(factor, Codes):
        return _native.lowrank.dense(ready(factor))
    return _native.lowrank.codes(
        ready(factor.qweight),
        raw_halves(factor.scale),
        *zero_views(factor.zero),
        factor.cols,
        factor.bits,
        factor.group or factor.cols,
    )
