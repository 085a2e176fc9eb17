"""Incomplete Cholesky factors of sparse matrices, and the difference star on grids whose faces have weights."""

from __future__ import annotations

import math

import numpy as np

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._core.threads import get_threads
from gossamer._kernels import _native
from gossamer._kernels.views import check_ascending, check_pointers, expect_array, ready


class IncompleteFactor:
    """``L`` with ``L L^T`` equal to A on the places of A; of the lower triangle of A by columns.

    Parameters
    ----------
    indptr, indices : ndarray, int32 or int64
        Rows ascend within a column; the first of each is the diagonal entry.
    data : ndarray of float64
        Positive on the diagonal. Not modified.
    """

    def __init__(self, indptr: np.ndarray, indices: np.ndarray, data: np.ndarray) -> None:
        n = len(indptr) - 1
        if indptr.dtype != indices.dtype or indptr.dtype not in (np.int32, np.int64):
            raise ArgumentError(
                f"indices are {indptr.dtype} and {indices.dtype}: expected both int32 or both int64"
            )
        if indices.shape != data.shape or indices.ndim != 1:
            raise ShapeError(
                f"indices have shape {indices.shape} and data {data.shape}: expected the same (nnz,)"
            )
        check_pointers("indptr", indptr, n, len(indices))
        check_ascending("indices", indices, indptr, n)
        if (np.diff(indptr) < 1).any() or not np.array_equal(indices[indptr[:-1]], np.arange(n)):
            raise ArgumentError(
                "indices: expected a lower triangle whose columns begin with their diagonal entry"
            )
        self.n, self._indptr, self._indices = n, ready(indptr), ready(indices)
        self._given = ready(data, np.float64)
        self._data = self._given.copy()
        self._kind = indices.dtype.name

    def factor(self, modified: float = 0.0, shift: float = 0.0) -> int:
        """Factor anew; the column at which a pivot is too small, or -1."""
        self._data[:] = self._given
        run = getattr(_native.elliptic, f"factor_{self._kind}")
        return run(self._indptr, self._indices, self._data, float(modified), float(shift))

    def solve(self, r: np.ndarray) -> np.ndarray:
        """``L^-T L^-1 r``, shape (n,)."""
        expect_array("r", r, np.float64, (self.n,))
        z = np.empty(self.n)
        getattr(_native.elliptic, f"solve_{self._kind}")(self._indptr, self._indices, self._data, ready(r), z)
        return z

    def lower(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """``L`` as (data, indices, indptr) of a CSC matrix."""
        data = self._data.copy()
        data[self._indptr[:-1]] = 1 / data[self._indptr[:-1]]
        return data, self._indices, self._indptr


def star(diagonal: np.ndarray, weights: np.ndarray, x: np.ndarray, threads: int | None = None) -> np.ndarray:
    """``diagonal x - sum of weights times neighbours`` for fields x of shape (count, n).

    ``diagonal`` has shape grid, of one to three axes, and ``weights`` (axes, \\*grid): of the face to the next cell
    along each axis, zero on the last cells along it.
    """
    grid, n = diagonal.shape, diagonal.size
    if not 1 <= len(grid) <= 3:
        raise ShapeError(f"diagonal has shape {grid}: expected one to three axes")
    expect_array("diagonal", diagonal, np.float64, grid)
    expect_array("weights", weights, np.float64, (len(grid), *grid))
    if x.ndim != 2 or x.shape[1] != n:
        raise ShapeError(f"x has shape {x.shape}: expected (count, {n})")
    strides = [math.prod(grid[axis + 1 :]) for axis in range(len(grid))]
    x = ready(x, np.float64)
    y = np.empty_like(x)
    _native.elliptic.star(
        ready(diagonal).reshape(-1),
        ready(weights).reshape(len(grid), -1),
        *strides,
        *(0,) * (3 - len(grid)),
        x,
        y,
        get_threads(threads),
    )
    return y
