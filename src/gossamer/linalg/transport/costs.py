"""Costs of transport: a matrix, or distances of points that are never stored."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.spatial.distance import cdist

from gossamer._core.arrays import to_numpy
from gossamer._core.checks import check_array, check_choice
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._kernels.transport import METRICS, Cost


class PointCost:
    """Costs between two sets of points, made again wherever they are needed instead of being stored.

    Hand it to a solver of :mod:`gossamer.solve` in place of the matrix: neither costs nor plan are then held, and
    memory is O(n + m) plus the entries that are kept. Each pass does ``3 d`` more operations an entry.

    Parameters
    ----------
    X : array, shape (n, d)
        Points that send.
    Y : array, shape (m, d), optional
        Points that receive; ``X`` by default.
    metric : {"sqeuclidean", "euclidean", "cityblock"}
        As in :func:`scipy.spatial.distance.cdist`.

    Raises
    ------
    ShapeError, ArgumentError
        If the points do not fit together or are not finite, or there is no such metric.

    Examples
    --------
    >>> from gossamer.solve import PointCost
    >>> PointCost([[0.0], [3.0]], metric="cityblock").to_dense().tolist()
    [[0.0, 3.0], [3.0, 0.0]]
    """

    def __init__(self, X: Any, Y: Any = None, *, metric: str = "sqeuclidean") -> None:
        self.metric = check_choice("metric", metric, METRICS)
        self.X = _points("X", X)
        self.Y = self.X if Y is None else _points("Y", Y)
        if self.X.shape[1] != self.Y.shape[1]:
            raise ShapeError(f"X has shape {self.X.shape}, Y {self.Y.shape}: expected as many coordinates")
        self.kernel = Cost(x=self.X, y=self.Y, metric=metric)

    @property
    def shape(self) -> tuple[int, int]:
        """Points that send, and points that receive."""
        return len(self.X), len(self.Y)

    def to_dense(self) -> np.ndarray:
        """The matrix of costs, shape (n, m)."""
        return self.tile(0, len(self.X))

    def tile(self, first: int, last: int) -> np.ndarray:
        """Rows ``first`` to ``last`` of it."""
        return cdist(self.X[first:last], self.Y, self.metric)

    def take(self, rows: np.ndarray, columns: np.ndarray) -> PointCost:
        """The costs between some of the points."""
        return PointCost(self.X[rows], self.Y[columns], metric=self.metric)


class StoredCost:
    """A matrix of costs in double precision; infinite where nothing may go, if that is allowed."""

    def __init__(self, C: np.ndarray) -> None:
        self.C = C
        self.kernel = Cost(C)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.C.shape[0], self.C.shape[1]

    def to_dense(self) -> np.ndarray:
        """The matrix itself."""
        return self.C

    def tile(self, first: int, last: int) -> np.ndarray:
        """Rows ``first`` to ``last``."""
        return self.C[first:last]

    def take(self, rows: np.ndarray, columns: np.ndarray) -> StoredCost:
        """Some of the rows and columns."""
        return StoredCost(np.ascontiguousarray(self.C[np.ix_(rows, columns)]))


def check_cost(C: Any, *, allow_inf: bool = False) -> PointCost | StoredCost:
    """Return a matrix of costs, or costs of points, in the form that transport works on.

    Raises
    ------
    ShapeError
        If it is not a matrix with entries.
    ArgumentError
        If it has NaN or -infinity, or infinity and ``allow_inf`` is False, or a row or column of nothing else.
    """
    if isinstance(C, PointCost):
        return C
    array = to_numpy(check_array("C", C, ndim=2, finite=False))
    if not array.size:
        raise ShapeError(f"C has shape {array.shape}: expected at least one row and one column")
    array = np.require(array, np.float64, ("C_CONTIGUOUS", "ALIGNED"))
    finite = np.isfinite(array)
    if not finite.all():
        if not allow_inf:
            raise ArgumentError(
                f"C has {(~finite).sum()} NaN or infinite entries, the first at "
                f"{tuple(map(int, np.argwhere(~finite)[0]))}: expected finite costs; "
                "a large one forbids a pair, or allow_inf=True"
            )
        if np.isnan(array).any() or np.isneginf(array).any():
            raise ArgumentError("C has NaN or -infinity: expected numbers, or +infinity where nothing may go")
    return StoredCost(array)


def _points(name: str, points: Any) -> np.ndarray:
    array = to_numpy(check_array(name, points, ndim=2))
    if not len(array):
        raise ShapeError(f"{name} has shape {array.shape}: expected at least one point")
    return np.require(array, np.float64, ("C_CONTIGUOUS", "ALIGNED"))
