"""Least squares problems whose rows a sparse pattern picks from a factor, and products of factors at given places."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gossamer._core.checks import check_choice
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._core.threads import get_threads
from gossamer._kernels import _native
from gossamer._kernels.csr import check, matmat
from gossamer._kernels.views import ready

SPAN = 1 << 21  # entries that are looked at together
METHODS = {"exact": 0, "qr": 1, "cg": 2, "shared": 2, "sketch": 3}


class Observed:
    """Entries of a matrix by lines: the columns of a CSC matrix, or the rows of a CSR matrix; stored zeros count.

    Parameters
    ----------
    start : ndarray, shape (lines + 1,)
    index : ndarray, int32 or int64
        Place of each entry within its line, below ``width``.
    value : ndarray, float32 or float64
    width : int
    """

    def __init__(self, start: np.ndarray, index: np.ndarray, value: np.ndarray, width: int) -> None:
        self.count, self.width = len(start) - 1, int(width)
        index, value = ready(index), ready(value)
        check(ready(np.asarray(start), index.dtype), index, value, (self.count, self.width))
        self.start, self.index, self.value = ready(start, np.int64), index, value
        self._name = f"{value.dtype.name}_{index.dtype.name}"
        self.degrees = np.diff(self.start)
        # the long lines first: a thread that takes one at the end would let the others wait
        self.order = np.argsort(-self.degrees, kind="stable").astype(np.int64)

    def spans(self) -> Iterator[tuple[int, int]]:
        """Ranges of lines with about ``SPAN`` entries each, in order."""
        line = 0
        while line < self.count:
            end = max(int(np.searchsorted(self.start, self.start[line] + SPAN, "right")) - 1, line + 1)
            yield line, end
            line = end

    def places(self, a: int, b: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Line, place and value of every entry of lines a to b."""
        span = slice(self.start[a], self.start[b])
        line = np.repeat(np.arange(a, b, dtype=self.index.dtype), self.degrees[a:b])
        return line, self.index[span], self.value[span]

    def times(self, X: np.ndarray, threads: int | None = None) -> np.ndarray:
        """Product of the matrix of these lines, other entries zero, with X (width, c): (lines, c)."""
        return matmat(self.start.astype(self.index.dtype), self.index, self.value, X, threads)

    def empty_values(self) -> np.ndarray:
        """Room for as many values."""
        return np.empty_like(self.value)

    def shifted(self, mean: float, other: np.ndarray | None = None) -> Observed:
        """The same places with ``value - mean - other[place]``."""
        value = self.empty_values()
        kind = self.value.dtype.type
        for a, b in self.spans():
            span = slice(self.start[a], self.start[b])
            part = self.value[span] - kind(mean)
            value[span] = part if other is None else part - other[self.index[span]]
        return self.with_values(value)

    def with_values(self, value: np.ndarray) -> Observed:
        """The same places with other values of the same dtype."""
        if value.shape != self.value.shape or value.dtype != self.value.dtype:
            raise ShapeError(
                f"value is {value.dtype} of shape {value.shape}: expected {self.value.dtype} {self.value.shape}"
            )
        other = object.__new__(Observed)  # without what a subclass keeps elsewhere
        other.__dict__.update(self.__dict__, value=ready(value))
        return other

    def regress(
        self,
        factor: np.ndarray,
        ridge: np.ndarray,
        x: np.ndarray,
        *,
        method: str,
        rtol: float = 0.0,
        reduction: float = 0.0,
        steps: int = 100,
        preconditioner: np.ndarray | None = None,
        seed: int = 0,
        ids: np.ndarray | None = None,
        loss: bool = False,
        threads: int | None = None,
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Minimise ``|factor[places of line j] x_j - values of line j|^2 + ridge[j] |x_j|^2``, x in place.

        Returns the steps of each line, -1 where the matrix is rank deficient to working precision and x was left as
        it was, and the losses without the ridge.
        """
        check_choice("method", method, METHODS)
        rank = factor.shape[1] if factor.ndim == 2 else 0
        if rank < 1 or factor.shape != (self.width, rank):
            raise ShapeError(f"factor has shape {factor.shape}: expected ({self.width}, k) with k >= 1")
        if ridge.shape != (self.count,) or not (ridge >= 0).all():
            raise ArgumentError(f"ridge has shape {ridge.shape}: expected ({self.count},) numbers >= 0")
        if x.shape != (self.count, rank) or x.dtype != self.value.dtype or not x.flags.c_contiguous:
            raise ShapeError(
                f"x is {x.dtype} of shape {x.shape}: expected contiguous {self.value.dtype} ({self.count}, {rank})"
            )
        triangle = np.empty((0, rank), x.dtype) if preconditioner is None else ready(preconditioner, x.dtype)
        if preconditioner is not None and (
            triangle.shape != (rank, rank) or not (np.diagonal(triangle) != 0).all()
        ):
            raise ShapeError(
                f"preconditioner has shape {triangle.shape}: expected a triangle ({rank}, {rank}) with inverse"
            )
        chosen = self.order if ids is None else self._ids(ids)
        taken = np.zeros(self.count, np.int64)
        losses = np.zeros(self.count if loss else 0)
        getattr(_native.completion, f"regress_{self._name}")(
            self.start, self.index, self.value, ready(factor, x.dtype), ready(ridge, np.float64), triangle, chosen,
            METHODS[method], float(rtol), float(reduction), int(steps), int(seed) & (2**64 - 1), x, taken, losses,
            get_threads(threads),
        )  # fmt: skip
        return taken, losses if loss else None

    def owned(self, ids: np.ndarray) -> np.ndarray:
        """Those of some lines whose entries are here: all."""
        return ids

    def share(self, ids: np.ndarray, mine: np.ndarray, *arrays: np.ndarray | None) -> None:
        """Bring numbers of lines that were found elsewhere: there are none."""

    def _ids(self, ids: np.ndarray) -> np.ndarray:
        ids = ready(ids, np.int64)
        if ids.ndim != 1 or (len(ids) and (ids.min() < 0 or ids.max() >= self.count)):
            raise ArgumentError(f"ids span beyond 0..{self.count - 1}")
        return ids


def dots(
    u: np.ndarray, v: np.ndarray, rows: np.ndarray, columns: np.ndarray, threads: int | None = None
) -> np.ndarray:
    """``u[rows[e]] . v[columns[e]]`` for every e. 2 k flops an entry."""
    if u.ndim != 2 or v.ndim != 2 or u.shape[1] != v.shape[1] or u.dtype != v.dtype:
        raise ShapeError(f"u and v are {u.dtype} {u.shape} and {v.dtype} {v.shape}: expected the same width")
    if rows.ndim != 1 or rows.shape != columns.shape:
        raise ShapeError(
            f"rows and columns have shapes {rows.shape} and {columns.shape}: expected equal ones"
        )
    for name, places, bound in (("rows", rows, len(u)), ("columns", columns, len(v))):
        if len(places) and (places.min() < 0 or places.max() >= bound):
            raise ArgumentError(f"{name} span {places.min()}..{places.max()}: expected 0..{bound - 1}")
    index: Any = rows.dtype if rows.dtype == columns.dtype and rows.dtype == np.int32 else np.int64
    out = np.empty(len(rows), u.dtype)
    entry = getattr(_native.completion, f"dots_{u.dtype.name}_{np.dtype(index).name}")
    entry(ready(u), ready(v), ready(rows, index), ready(columns, index), out, get_threads(threads))
    return out
