"""Walsh-Hadamard transforms in natural order."""

from __future__ import annotations

import math

import numpy as np

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._core.threads import get_threads
from gossamer._kernels import _native

DTYPES = ("float32", "float64", "int32", "int64")


def transform(
    x: np.ndarray, out: np.ndarray, axis: int, scale: float = 1.0, threads: int | None = None
) -> np.ndarray:
    """``out = scale H x`` along one axis of a power of two; ``out`` may be ``x``.

    Both are C-contiguous and of one of :data:`DTYPES`; complex numbers come as pairs, with a last axis of 2. Integers
    wrap around on overflow and take no scale.
    """
    for name, array in (("x", x), ("out", out)):
        if array.dtype.name not in DTYPES or not (array.flags.c_contiguous and array.flags.aligned):
            raise ArgumentError(
                f"{name} is {array.dtype}: expected contiguous rows of one of {', '.join(DTYPES)}"
            )
    if x.shape != out.shape or x.dtype != out.dtype:
        raise ShapeError(f"out is {out.dtype} {out.shape}: expected {x.dtype} {x.shape}, as x")
    n = x.shape[axis]
    if n < 1 or n & (n - 1):
        raise ShapeError(f"x has length {n} along axis {axis}: expected a power of two")
    if not out.flags.writeable:
        raise ArgumentError("out is read-only")
    if scale != 1 and x.dtype.kind == "i":
        raise ArgumentError(f"scale={scale!r}: integers take none")
    if x.size:
        axis %= x.ndim
        outer, inner = math.prod(x.shape[:axis]), math.prod(x.shape[axis + 1 :])
        run = getattr(_native.walsh, x.dtype.name)
        factor = int(scale) if x.dtype.kind == "i" else float(scale)
        run(x.reshape(-1), out.reshape(-1), outer, n.bit_length() - 1, inner, factor, get_threads(threads))
    return out
