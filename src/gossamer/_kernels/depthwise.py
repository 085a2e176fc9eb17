"""Short convolutions of every channel with a few taps of its own."""

from __future__ import annotations

import numpy as np

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._core.threads import get_threads
from gossamer._kernels import _native
from gossamer._kernels.views import expect_array

TYPES = {"float32": np.float32, "float64": np.float64, "uint16": np.float32}
"""What arrays hold (uint16 is raw bfloat16), and the arithmetic that they get."""


def convolve(
    x: np.ndarray,
    taps: np.ndarray,
    bias: np.ndarray | None,
    left: int,
    outputs: int,
    *,
    by_token: bool = False,
    threads: int | None = None,
) -> np.ndarray:
    """``y[t] = bias + sum_j taps[j] x[t + j - left]`` for x (batch, channels, length) or (batch, length, channels)."""
    channels, _ = _check(x, taps, left, by_token)
    if bias is not None:
        expect_array("bias", bias, taps.dtype, (channels,))
    shape = (x.shape[0], outputs, channels) if by_token else (x.shape[0], channels, outputs)
    y = np.empty(shape, x.dtype)
    if y.size:
        run = getattr(_native.depthwise, f"convolve_{_held(x)}")
        run(
            x,
            taps,
            None if bias is None else np.ascontiguousarray(bias),
            y,
            left,
            by_token,
            get_threads(threads),
        )
    return y


def correlate(
    x: np.ndarray,
    dy: np.ndarray,
    count: int,
    left: int,
    *,
    by_token: bool = False,
    threads: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of :func:`convolve` with respect to its ``count`` taps and its bias."""
    kind = TYPES.get(x.dtype.name, np.float32)
    channels = x.shape[2 if by_token else 1] if x.ndim == 3 else 0
    dtaps, dbias = np.zeros((channels, count), kind), np.zeros(channels, kind)
    _check(x, dtaps, left, by_token)
    if dy.dtype != x.dtype or dy.ndim != 3 or dy.shape[0] != x.shape[0]:
        raise ShapeError(f"dy is {dy.dtype} {dy.shape}: expected {x.dtype} with {x.shape[0]} sequences")
    if dy.shape[2 if by_token else 1] != channels or not dy.flags.c_contiguous:
        raise ShapeError(f"dy has shape {dy.shape}: expected contiguous rows of {channels} channels")
    if dy.size:
        run = getattr(_native.depthwise, f"correlate_{_held(x)}")
        run(x, dy, dtaps, dbias, left, by_token, get_threads(threads))
    return dtaps, dbias


def _held(x: np.ndarray) -> str:
    return "bfloat16" if x.dtype == np.uint16 else x.dtype.name


def _check(x: np.ndarray, taps: np.ndarray, left: int, by_token: bool) -> tuple[int, int]:
    if x.dtype.name not in TYPES or x.ndim != 3 or not x.flags.c_contiguous:
        raise ArgumentError(
            f"x is {x.dtype} {x.shape}: expected contiguous float32, float64 or raw bfloat16, 3-D"
        )
    channels, length = (x.shape[2], x.shape[1]) if by_token else x.shape[1:]
    expect_array("taps", taps, TYPES[x.dtype.name], (channels, taps.shape[-1]))
    if taps.shape[1] < 1 or not taps.flags.c_contiguous:
        raise ArgumentError(f"taps has shape {taps.shape}: expected contiguous (channels, taps), taps >= 1")
    if left < 0:
        raise ArgumentError(f"left={left}: expected zero or more")
    return channels, length
