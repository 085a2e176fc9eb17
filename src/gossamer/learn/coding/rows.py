"""Data in chunks of rows, and where work on them runs: here, in processes, or on a Dask cluster.

Work is a function of a chunk and what belongs to it; sums over chunks are added in fours, in order, so that they do
not depend on where it ran.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from gossamer._core.errors import ShapeError, UnsupportedError
from gossamer._core.lazy import require
from gossamer._core.threads import get_threads, hold_blas

Sums = dict[str, Any]


class LocalRows:
    """Rows of an array, possibly a memory map, in chunks.

    Parameters
    ----------
    X : ndarray, shape (n, d)
    chunk_size : int
        Rows of a chunk.
    n_jobs : int or None
        Processes, by joblib; None works in this one, a chunk a thread.
    """

    def __init__(self, X: np.ndarray, chunk_size: int, n_jobs: int | None = None) -> None:
        self.shape, self.dtype = X.shape, X.dtype
        self.blocks: list[Any] = [X[i : i + chunk_size] for i in range(0, len(X), chunk_size)]
        self.lengths = [len(block) for block in self.blocks]
        self.n_jobs = n_jobs
        self.keeps = n_jobs is None  # results of one pass may wait here for the next one
        self.threads = None if n_jobs is None and len(self.blocks) == 1 else 1

    def map(
        self, task: Callable[..., Any], *columns: Sequence[Any], shared: tuple[Any, ...] = ()
    ) -> list[Any]:
        """``task(*items of a chunk, *shared)`` for every chunk."""
        rows = zip(*columns, strict=True)
        if self.n_jobs is None:
            with hold_blas(), ThreadPoolExecutor(min(get_threads(), len(self.blocks))) as pool:
                return list(pool.map(lambda row: task(*row, *shared), rows))
        if len(self.blocks) == 1 or columns[0] is not self.blocks:
            return [task(*row, *shared) for row in rows]
        from joblib import Parallel, delayed

        return list(Parallel(self.n_jobs)(delayed(task)(*row, *shared) for row in rows))

    def gather(self, results: list[Any]) -> list[Any]:
        """Results as values."""
        return results

    def total(self, results: list[Any]) -> Sums:
        """Their sum, key by key."""
        while len(results) > 1:
            results = [_add(*results[i : i + 4]) for i in range(0, len(results), 4)]
        return results[0]

    def take(self, masks: list[np.ndarray]) -> LocalRows:
        """Only the rows that a mask a chunk chooses."""
        other = object.__new__(LocalRows)
        other.__dict__.update(self.__dict__)
        other.blocks = [block[mask] for block, mask in zip(self.blocks, masks, strict=True)]
        return _measured(other, masks)


class DaskRows:
    """Rows of a Dask array where its chunks are; only results travel.

    Parameters
    ----------
    X : dask.array.Array, shape (n, d)
        Several chunks of columns become one.
    """

    keeps, threads = False, 1

    def __init__(self, X: Any) -> None:
        if not hasattr(X, "to_delayed") or X.ndim != 2:
            raise ShapeError(f"X has shape {X.shape}: expected a matrix")
        if X.dtype.kind not in "fiu":
            raise UnsupportedError(f"X is {X.dtype}: expected real numbers")
        if np.isnan(X.shape).any():
            X = X.compute_chunk_sizes()
        X = X.rechunk({1: -1})
        self.shape, self.dtype = X.shape, X.dtype
        self.lengths = list(X.chunks[0])
        self.blocks = list(X.to_delayed().ravel())

    def map(
        self, task: Callable[..., Any], *columns: Sequence[Any], shared: tuple[Any, ...] = ()
    ) -> list[Any]:
        """As :meth:`LocalRows.map`; results stay where they were made."""
        dask = require("dask", "distributed")
        held = [dask.delayed(item, traverse=False) for item in shared]
        work = dask.delayed(task, pure=False, traverse=False)
        return list(dask.persist(*(work(*row, *held) for row in zip(*columns, strict=True))))

    def gather(self, results: list[Any]) -> list[Any]:
        """Results as values."""
        return list(require("dask", "distributed").compute(*results))

    def total(self, results: list[Any]) -> Sums:
        """Their sum, made as a tree."""
        add = require("dask", "distributed").delayed(_add)
        while len(results) > 1:
            results = [add(*results[i : i + 4]) for i in range(0, len(results), 4)]
        return results[0].compute()

    def take(self, masks: list[np.ndarray]) -> DaskRows:
        """Only the rows that a mask a chunk chooses."""
        other = object.__new__(DaskRows)
        other.__dict__.update(self.__dict__)
        other.blocks = self.map(_choose, self.blocks, masks)
        return _measured(other, masks)


Rows = LocalRows | DaskRows


def _measured(rows: Any, masks: list[np.ndarray]) -> Any:
    rows.lengths = [int(mask.sum()) for mask in masks]
    rows.shape = (sum(rows.lengths), rows.shape[1])
    return rows


def _choose(block: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return block[mask]


def _add(*parts: Sums) -> Sums:
    return {key: sum(itertools.islice((p[key] for p in parts), 1, None), parts[0][key]) for key in parts[0]}


def split(mask: np.ndarray, lengths: list[int]) -> list[np.ndarray]:
    """A mask of all rows, by chunks."""
    return np.split(mask, np.cumsum(lengths)[:-1])


class Columns(NamedTuple):
    """Of every column, (d,)."""

    mean: np.ndarray
    variance: np.ndarray
    least: np.ndarray


def describe_columns(rows: Rows) -> Columns:
    """Mean, variance and least entry of every column, in two passes."""
    first = rows.total(rows.map(_sum, rows.blocks, _starts(rows)))
    mean = first["sum"] / rows.shape[0]
    second = rows.total(rows.map(_squares, rows.blocks, shared=(mean,)))
    return Columns(mean, second["squares"] / rows.shape[0], second["least"].data)


def _starts(rows: Rows) -> list[int]:
    return [0, *itertools.accumulate(rows.lengths)][: len(rows.lengths)]


def _sum(block: Any, start: int) -> Sums:
    block = np.asarray(block)
    if not np.isfinite(block).all():
        raise ValueError(f"Input X contains NaN or infinity in rows {start} to {start + len(block) - 1}")
    return {"sum": block.sum(axis=0, dtype=np.float64)}


def _squares(block: Any, mean: np.ndarray) -> Sums:
    block = np.asarray(block, np.float64)
    return {"squares": np.square(block - mean).sum(axis=0), "least": _Least(block.min(axis=0))}


class _Least:
    """What is least under addition."""

    def __init__(self, data: np.ndarray) -> None:
        self.data = data

    def __add__(self, other: _Least) -> _Least:
        return _Least(np.minimum(self.data, other.data))
