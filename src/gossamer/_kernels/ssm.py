"""Diagonal state-space models: kernels of sums of exponentials, and recurrences, forward and backward."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer._core.checks import check_int
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._core.threads import get_threads
from gossamer._kernels import _native
from gossamer._kernels.views import expect_array, ready

DTYPES = {"complex64": np.float32, "complex128": np.float64}


def kernel(c: np.ndarray, z: np.ndarray, length: int, threads: int | None = None) -> np.ndarray:
    """``out[h, l] = Re sum_n c[h, n] z[h, n]^l`` for complex c and z (rows, n): real (rows, length)."""
    _check_modes(c, z)
    out = np.empty((len(c), check_int("length", length, low=0)), DTYPES[c.dtype.name])
    if out.size:
        _entry("kernel", c)(_pairs(c), _pairs(z), out, get_threads(threads))
    return out


def kernel_back(
    c: np.ndarray, z: np.ndarray, slope: np.ndarray, threads: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Slopes in c and z, conjugated as torch has them, of a number whose slope in the kernel is ``slope``."""
    _check_modes(c, z)
    if slope.ndim != 2:
        raise ShapeError(f"slope has shape {slope.shape}: expected ({len(c)}, length)")
    expect_array("slope", slope, DTYPES[c.dtype.name], (len(c), slope.shape[1]))
    dc, dz = np.empty(c.shape, c.dtype), np.empty(c.shape, c.dtype)
    if c.size:
        back = _entry("kernel_back", c)
        back(_pairs(c), _pairs(z), ready(slope), _pairs(dc), _pairs(dz), get_threads(threads))
    return dc, dz


def scan(
    a: np.ndarray,
    b: np.ndarray,
    initial: np.ndarray | None = None,
    reverse: bool = False,
    threads: int | None = None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """``x[:, k] = a x[:, k - 1] + b[:, k]`` for complex a (states,), b (batch, length, states).

    In reverse, ``x[:, k] = a x[:, k + 1] + b[:, k]``, ``initial`` (batch, states) is the state behind the last step.
    ``out`` takes the result and may be b.
    """
    _check_steps(a, b, initial)
    x = _target(out, b)
    if b.size:
        start = None if initial is None else _pairs(initial)
        _entry("scan", b)(_pairs(a), _pairs(b), start, bool(reverse), _pairs(x), get_threads(threads))
    return x


def scan_back(
    a: np.ndarray,
    x: np.ndarray,
    slope: np.ndarray,
    initial: np.ndarray | None = None,
    reverse: bool = False,
    threads: int | None = None,
    out: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Slopes in a (states,), b (batch, length, states) and initial (batch, states), from x and the slope in it.

    ``out`` takes the slope in b and may be ``slope``.
    """
    _check_steps(a, x, initial)
    expect_array("slope", slope, x.dtype, x.shape)
    db = _target(out, x)
    da, dinitial = (np.zeros((len(x), len(a)), x.dtype) for _ in range(2))
    if x.size:
        start = None if initial is None else _pairs(initial)
        back = _entry("scan_back", x)
        slopes = _pairs(db), _pairs(da), _pairs(dinitial)
        back(_pairs(a), _pairs(x), start, bool(reverse), _pairs(slope), *slopes, get_threads(threads))
    return da.sum(axis=0), db, dinitial


def _check_modes(c: np.ndarray, z: np.ndarray) -> None:
    if c.ndim != 2 or c.dtype.name not in DTYPES:
        raise ArgumentError(f"c is {c.dtype} of shape {c.shape}: expected complex64 or complex128 (rows, n)")
    expect_array("z", z, c.dtype, c.shape)


def _check_steps(a: np.ndarray, b: np.ndarray, initial: np.ndarray | None) -> None:
    if b.ndim != 3 or b.dtype.name not in DTYPES:
        raise ArgumentError(
            f"b is {b.dtype} of shape {b.shape}: expected complex64 or complex128 (batch, length, states)"
        )
    expect_array("a", a, b.dtype, b.shape[2:])
    if initial is not None:
        expect_array("initial", initial, b.dtype, (b.shape[0], b.shape[2]))


def _target(out: np.ndarray | None, like: np.ndarray) -> np.ndarray:
    if out is None:
        return np.empty(like.shape, like.dtype)
    expect_array("out", out, like.dtype, like.shape)
    if not (out.flags.c_contiguous and out.flags.aligned and out.flags.writeable):
        raise ArgumentError("out is read-only or not in rows: expected a writeable, C-contiguous array")
    return out


def _pairs(values: np.ndarray) -> np.ndarray:
    """Complex numbers as contiguous pairs of reals: a view where they already are."""
    array = ready(values)
    return array.view(DTYPES[array.dtype.name]).reshape(*array.shape, 2)


def _entry(name: str, values: np.ndarray) -> Any:
    return getattr(_native.ssm, f"{name}_{np.dtype(DTYPES[values.dtype.name]).name}")
