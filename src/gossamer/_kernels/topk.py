"""The largest positive entries of a matrix: by row, by column, of all, by a score; and all above a bound."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gossamer._core.checks import check_int
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._core.threads import get_threads
from gossamer._kernels import _native
from gossamer._kernels.views import ready

_SAMPLE = 200_000


class Kept(NamedTuple):
    """Entries by line, ascending within a line: ``where[start[l]:start[l + 1]]`` are those of line l."""

    start: np.ndarray
    where: np.ndarray
    value: np.ndarray


def rows(z: np.ndarray, k: int, threads: int | None = None) -> Kept:
    """The k largest positive entries of every row; of equal ones the first. One pass over ``z``."""
    z, k = _matrix("z", z), check_int("k", k, low=1, high=z.shape[1])
    index, value, held = _lines(z, np.full(len(z), k))
    getattr(_native.topk, f"rows_{z.dtype}")(z, k, index, value, held, get_threads(threads))
    return _packed(index, value, held, np.arange(len(z)) * k)


def columns(z: np.ndarray, m: np.ndarray, threads: int | None = None) -> Kept:
    """The ``m[j]`` largest positive entries of every column j; of equal ones the first. Lines are columns."""
    z, m = _matrix("z", z), ready(m, np.int64)
    if m.shape != (z.shape[1],) or (len(m) and (m.min() < 0 or m.max() > len(z))):
        raise ArgumentError(f"m: expected {z.shape[1]} integers between 0 and {len(z)}")
    room = np.concatenate([[0], np.cumsum(m)]).astype(np.int64)
    index, value, held = _lines(z, m)
    getattr(_native.topk, f"columns_{z.dtype}")(z, room, index, value, held, get_threads(threads))
    return _packed(index, value, held, room[:-1])


def scored(
    z: np.ndarray,
    slope: np.ndarray,
    k: int,
    *,
    base: float,
    weight: float,
    scale: float = 0.0,
    clip: float = np.inf,
    against: bool = False,
    threads: int | None = None,
) -> Kept:
    """The k entries of every row with the largest positive ``z * (base + weight * min(|slope|, clip) / scale)``.

    ``scale=0`` is the mean of ``|slope|`` over the row; where that is 0, or for a negative scale, a row is taken by
    ``z`` alone. With ``against`` only negative slopes count. Values are those of ``z``.
    """
    z, slope, k = _matrix("z", z), _matrix("slope", slope), check_int("k", k, low=1, high=z.shape[1])
    if slope.shape != z.shape or slope.dtype != z.dtype:
        raise ShapeError(f"slope is {slope.dtype} {slope.shape}: expected {z.dtype} {z.shape}")
    index, value, held = _lines(z, np.full(len(z), k))
    getattr(_native.topk, f"scored_{z.dtype}")(
        z, slope, k, float(base), float(weight), float(scale), float(clip), bool(against), index, value, held,
        get_threads(threads),
    )  # fmt: skip
    return _packed(index, value, held, np.arange(len(z)) * k)


def above(z: np.ndarray, bound: np.ndarray, threads: int | None = None) -> Kept:
    """All entries of column j above ``bound[j]``, by row. Two passes."""
    z = _matrix("z", z)
    bound = ready(bound, z.dtype)
    if bound.shape != (z.shape[1],):
        raise ShapeError(f"bound has shape {bound.shape}: expected ({z.shape[1]},)")
    held, threads = np.zeros(len(z), np.int64), get_threads(threads)
    getattr(_native.topk, f"count_above_{z.dtype}")(z, bound, held, threads)
    start = np.concatenate([[0], np.cumsum(held)]).astype(np.int64)
    index, value = np.empty(start[-1], np.int32), np.empty(start[-1], z.dtype)
    getattr(_native.topk, f"fill_above_{z.dtype}")(z, bound, start, index, value, threads)
    return Kept(start, index, value)


def largest(z: np.ndarray, count: int, threads: int | None = None) -> Kept:
    """The ``count`` largest positive entries of the whole matrix, by row; of equal ones the first.

    A bound guessed from every few rows leaves few candidates; where it was too high, all positive entries are.
    """
    z, count = _matrix("z", z), check_int("count", count, low=1, high=z.size)
    guess = _guess(z, count)
    found = above(z, np.full(z.shape[1], guess, z.dtype), threads)
    if len(found.value) < count and guess > 0:
        found = above(z, np.zeros(z.shape[1], z.dtype), threads)
    if len(found.value) <= count:
        return found
    at = len(found.value) - count
    cut = np.partition(found.value, at)[at]
    keep = found.value > cut
    ties = np.flatnonzero(found.value == cut)[: count - int(keep.sum())]
    keep[ties] = True
    kept_before = np.concatenate([[0], np.cumsum(keep)])
    return Kept(kept_before[found.start], found.where[keep], found.value[keep])


def _guess(z: np.ndarray, count: int) -> float:
    """A bound that somewhat more than ``count`` entries exceed, judged by a sample; 0 where the sample cannot tell."""
    stride = max(1, z.size // _SAMPLE)
    sample = z[::stride]
    at = int(1.5 * count * sample.size / z.size) + 64
    if at >= sample.size:
        return 0.0
    return max(0.0, float(np.partition(sample, sample.size - at, axis=None)[sample.size - at]))


def _matrix(name: str, z: np.ndarray) -> np.ndarray:
    if z.ndim != 2 or z.dtype not in (np.float32, np.float64):
        raise ShapeError(f"{name} is {z.dtype} of shape {z.shape}: expected a float32 or float64 matrix")
    if not len(z) or not 0 < z.shape[1] < 2**31 or len(z) >= 2**31:
        raise ShapeError(
            f"{name} has shape {z.shape}: expected at least one row and column, and fewer than 2**31"
        )
    return ready(z)


def _lines(z: np.ndarray, room: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    total = int(room.sum())
    return np.empty(total, np.int32), np.empty(total, z.dtype), np.zeros(len(room), np.int64)


def _packed(index: np.ndarray, value: np.ndarray, held: np.ndarray, room: np.ndarray) -> Kept:
    """Lines moved together where some have fewer entries than places."""
    start = np.concatenate([[0], np.cumsum(held)]).astype(np.int64)
    if start[-1] == len(index):
        return Kept(start, index, value)
    places = np.arange(start[-1]) + np.repeat(room - start[:-1], held)
    return Kept(start, index[places], value[places])
