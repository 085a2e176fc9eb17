"""Where batches come from: arrays in memory, arrays on disk, or whatever yields them."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from gossamer._core.errors import ArgumentError
from gossamer._kernels.multiview import DTYPES

BLOCK = 64  # neighbouring rows that are read together from a disk
FINAL_ROWS = 256

Batch = tuple[list[Any], int]
"""One array a view, and the number of rows."""


class Batches:
    """Base: batches of an epoch in random order, and all rows once for the end."""

    epochs_again = True  # whether a second epoch can be had

    def epoch(self, rng: np.random.Generator) -> Iterator[Batch]:
        """Batches of one epoch."""
        raise TypeError(type(self).__name__)

    def once(self) -> Iterator[Batch]:
        """All rows, in order."""
        raise TypeError(type(self).__name__)


class ArrayBatches(Batches):
    """Rows of arrays of shape (N, p_i); of memory maps, blocks of neighbouring rows are shuffled.

    Parameters
    ----------
    arrays : sequence of ndarray
        Same number of rows.
    size : int
        Rows of a batch; what is left at the end joins the last batch if it is less than half of one.
    least : int
        Rows that a batch needs.
    """

    def __init__(self, arrays: Sequence[Any], size: int, least: int = 2) -> None:
        self.arrays = list(arrays)
        self.rows = len(self.arrays[0])
        self.size, self.least = size, least
        self.together = BLOCK if any(on_disk(array) for array in self.arrays) else 1

    def epoch(self, rng: np.random.Generator) -> Iterator[Batch]:
        """Batches of one epoch, in random order."""
        order = self._order(rng)
        for part in cut(self.rows, self.size, self.least):
            rows = order[part]
            yield [self.take(array, rows) for array in self.arrays], len(rows)

    def once(self) -> Iterator[Batch]:
        """All rows, in order, in batches of moderate memory."""
        features = max(array.shape[1] for array in self.arrays)
        size = max(self.size, min(FINAL_ROWS, (1 << 24) // max(features, 1)))
        for start in range(0, self.rows, size):
            rows = np.arange(start, min(start + size, self.rows))
            yield [self.take(array, rows) for array in self.arrays], len(rows)

    def sample(self, count: int, rng: np.random.Generator) -> Batch:
        """So many rows, or a batch if that is more, or all: any of them."""
        rows = np.sort(rng.choice(self.rows, min(max(count, self.size), self.rows), replace=False))
        return [self.take(array, rows) for array in self.arrays], len(rows)

    def take(self, array: Any, rows: np.ndarray) -> Any:
        """The rows in memory, as numbers that the kernels know."""
        return stored(array, rows)

    def _order(self, rng: np.random.Generator) -> np.ndarray:
        if self.together == 1:
            return rng.permutation(self.rows)
        starts = rng.permutation(-(-self.rows // self.together)) * self.together
        rows = (starts[:, None] + np.arange(self.together)).ravel()
        return rows[rows < self.rows]


class StreamBatches(Batches):
    """Batches that an iterable yields, each a sequence of one array a view.

    Parameters
    ----------
    batches : iterable
        Of which a second pass can be had unless it is its own iterator.
    check : callable
        Turns an item into arrays of one number of rows.
    """

    def __init__(self, batches: Iterable[Any], check: Callable[[Any], list[Any]]) -> None:
        self.batches, self.check = batches, check
        self.epochs_again = iter(batches) is not batches

    def epoch(self, rng: np.random.Generator) -> Iterator[Batch]:
        """Batches in the order in which they come."""
        empty = True
        for item in self.batches:
            arrays = self.check(item)
            empty = False
            yield arrays, len(arrays[0])
        if empty:
            raise ArgumentError("the iterable of batches is empty: expected at least one batch")

    def once(self) -> Iterator[Batch]:
        """As an epoch."""
        for item in self.batches:
            arrays = self.check(item)
            yield arrays, len(arrays[0])


def cut(rows: int, size: int, least: int) -> list[slice]:
    """Batches of an epoch."""
    starts = list(range(0, rows, size))
    if len(starts) > 1 and rows - starts[-1] < max(least, (size + 1) // 2):
        starts.pop()
    ends = [*starts[1:], rows]
    return [slice(a, b) for a, b in zip(starts, ends, strict=True)]


def on_disk(array: Any) -> bool:
    """Whether the rows are read from a file as they are used."""
    return isinstance(array, np.memmap)


def stored(array: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Rows as a contiguous copy in a dtype that the kernels know; pages of a memory map are let go as it is read."""
    dtype = array.dtype if array.dtype.name in DTYPES else np.dtype(np.float64)
    if not on_disk(array):
        return np.ascontiguousarray(array[rows], dtype=dtype)
    out = np.empty((len(rows), array.shape[1]), dtype)
    for start in range(0, len(rows), BLOCK):
        out[start : start + BLOCK] = array[rows[start : start + BLOCK]]
        release(array)
    return out


def release(array: Any) -> None:
    """Drop the pages of a memory map from this process, so that its memory stays that of a batch."""
    mapping = getattr(array, "_mmap", None)
    # of mode "c", pages hold changes that no file has
    if (
        mapping is not None
        and hasattr(mmap, "MADV_DONTNEED")
        and getattr(array, "mode", "") in ("r", "r+", "w+")
    ):
        mapping.madvise(mmap.MADV_DONTNEED)
