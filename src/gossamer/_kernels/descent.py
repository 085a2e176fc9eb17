"""Columns of sparse matrices, and forests of graphs, as block coordinate descent uses them."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._core.threads import get_threads
from gossamer._kernels import _native
from gossamer._kernels.csr import check
from gossamer._kernels.views import ready

_ALL = np.empty(0, np.int64)
SOLVED, CYCLE, PIVOT = range(3)


class Lines:
    """The columns of a CSC matrix, or the rows of a CSR matrix: checked once, in canonical format.

    Parameters
    ----------
    matrix : scipy.sparse CSC or CSR array or matrix
        float32 or float64, without duplicates.
    """

    def __init__(self, matrix: Any) -> None:
        rows, columns = matrix.shape
        self.count, self.width = (columns, rows) if matrix.format == "csc" else (rows, columns)
        self.start, self.index = ready(matrix.indptr), ready(matrix.indices)
        self.value = ready(matrix.data)
        check(self.start, self.index, self.value, (self.count, self.width))
        if not matrix.has_canonical_format:
            raise ArgumentError("matrix has duplicate or unsorted entries: expected canonical format")
        self._name = f"{self.value.dtype.name}_{self.index.dtype.name}"

    def dots(self, w: np.ndarray, ids: np.ndarray | None = None, threads: int | None = None) -> np.ndarray:
        """``a_i . w`` for the lines ``ids`` (all if None) and w of shape (width,). O(nnz of the lines)."""
        w = _vector("w", w, self.width)
        chosen = _ALL if ids is None else _ids(ids, self.count)
        out = np.empty(self.count if ids is None else len(chosen))
        self._call("dots", chosen, ids is None, w, out, get_threads(threads))
        return out

    def scatter(self, d: np.ndarray, z: np.ndarray, ids: np.ndarray | None = None) -> None:
        """``z += sum_k d[k] a_{ids[k]}`` in place. O(nnz of the lines)."""
        chosen = _ALL if ids is None else _ids(ids, self.count)
        d = _vector("d", d, self.count if ids is None else len(chosen))
        self._call("scatter", chosen, ids is None, d, _output("z", z, self.width))

    def gram(
        self, ids: np.ndarray, weight: np.ndarray | None = None, threads: int | None = None
    ) -> np.ndarray:
        """``A_b^T diag(weight) A_b`` of shape (|b|, |b|), ones for weights if None."""
        chosen = _ids(ids, self.count)
        weights = np.empty(0) if weight is None else _vector("weight", weight, self.width)
        out = np.empty((len(chosen), len(chosen)))
        if self.width:
            self._call("gram", chosen, self.width, weights, out, get_threads(threads))
        else:
            out[:] = 0
        return out

    def row_sums(self, rows: Lines, ids: np.ndarray, threads: int | None = None) -> np.ndarray:
        """``sum_j |a_i . a_j|`` for i in ``ids``; ``rows`` are the lines of the same matrix the other way round."""
        if (rows.count, rows.width, rows._name) != (self.width, self.count, self._name):
            raise ShapeError(f"rows are {rows.count} x {rows.width}: expected {self.width} x {self.count}")
        chosen = _ids(ids, self.count)
        out = np.empty(len(chosen))
        self._call("row_sums", rows.start, rows.index, rows.value, chosen, out, get_threads(threads))
        return out

    def _call(self, name: str, *arguments: Any) -> None:
        getattr(_native.descent, f"{name}_{self._name}")(self.start, self.index, self.value, *arguments)


class Graph:
    """The pattern, and values if there are any, of a symmetric CSR matrix; the diagonal is no edge.

    Parameters
    ----------
    matrix : scipy.sparse CSR array, shape (n, n)
        In canonical format. That it is symmetric is the caller's business.
    """

    def __init__(self, matrix: Any) -> None:
        lines = Lines(matrix)
        if lines.count != lines.width:
            raise ShapeError(f"matrix has shape {matrix.shape}: expected a square one")
        self.nodes, self.start, self.index = lines.count, lines.start, lines.index
        self.value = ready(lines.value, np.float64)
        self._name = self.index.dtype.name
        self._place = np.full(self.nodes, -1, np.int64)

    def greedy_forest(self, score: np.ndarray) -> np.ndarray:
        """Ascending ids of a maximal forest, nodes by decreasing score. O(n + |E| alpha)."""
        score = _scores(_vector("score", score, self.nodes))
        out = np.empty(self.nodes, np.int64)
        return out[: self._call("greedy_forest", score, out)].copy()

    def forests(self, order: np.ndarray) -> np.ndarray:
        """Number of the forest of each node, in which nodes settle in ``order``. O(|E| forests alpha)."""
        label = np.empty(self.nodes, np.int64)
        self._call("forests", self._permutation(order), label)
        return label

    def colours(self, order: np.ndarray) -> np.ndarray:
        """Colour of each node, no two neighbours alike; nodes choose in ``order``. O(|E| + n colours)."""
        label = np.empty(self.nodes, np.int64)
        self._call("colours", self._permutation(order), label)
        return label

    def eliminate(self, nodes: np.ndarray, rhs: np.ndarray) -> tuple[int, int, np.ndarray]:
        """``A_bb^{-1} rhs`` on distinct nodes that induce a forest, after SOLVED, CYCLE or PIVOT and where."""
        nodes = _ids(nodes, self.nodes)
        rhs = _vector("rhs", rhs, len(nodes))
        x = np.empty(len(nodes))
        # two threads may share a graph: the marks of one call are its own
        place, self._place = self._place, np.empty(0, np.int64)
        if len(place) != self.nodes:
            place = np.full(self.nodes, -1, np.int64)
        outcome, where = self._call("eliminate", self.value, nodes, rhs, x, place)
        self._place = place
        return outcome, where, x

    def _permutation(self, order: np.ndarray) -> np.ndarray:
        order = _ids(order, self.nodes)
        if len(order) != self.nodes or (np.bincount(order, minlength=self.nodes) != 1).any():
            raise ArgumentError(f"order has {len(order)} entries: expected each of {self.nodes} nodes once")
        return order

    def _call(self, name: str, *arguments: Any) -> Any:
        return getattr(_native.descent, f"{name}_{self._name}")(self.start, self.index, *arguments)


def coordinates(
    hessian: np.ndarray,
    lam: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    x: np.ndarray,
    gradient: np.ndarray,
    sweeps: int,
    tol: float,
) -> int:
    """Cyclic coordinate descent on ``1/2 x^T H x + c^T x + sum lam |x|`` within bounds, in place.

    ``gradient`` is ``H x + c``, and is kept so. Ends when no step times its curvature exceeds ``tol``; returns the
    sweeps made. O(t^2) a sweep.
    """
    size = len(x)
    if hessian.shape != (size, size):
        raise ShapeError(f"hessian has shape {hessian.shape}: expected {(size, size)}")
    sides = [_vector(name, v, size) for name, v in (("lam", lam), ("low", low), ("high", high))]
    x, gradient = _output("x", x, size), _output("gradient", gradient, size)
    return _native.descent.coordinates(
        ready(hessian, np.float64), *sides, x, gradient, int(sweeps), float(tol)
    )


def largest(score: np.ndarray, count: int) -> np.ndarray:
    """Ascending ids of the ``count`` largest scores, the first of equal ones. O(n + count log count)."""
    score = _scores(_vector("score", score, len(score)))
    if not 0 <= count <= len(score):
        raise ArgumentError(f"count={count}: expected 0..{len(score)}")
    out = np.empty(count, np.int64)
    _native.descent.largest(score, out)
    return out


def _ids(ids: np.ndarray, count: int) -> np.ndarray:
    ids = ready(ids, np.int64)
    if ids.ndim != 1:
        raise ShapeError(f"ids have shape {ids.shape}: expected one dimension")
    if len(ids) and (ids.min() < 0 or ids.max() >= count):
        raise ArgumentError(f"ids span {ids.min()}..{ids.max()}: expected 0..{count - 1}")
    return ids


def _scores(score: np.ndarray) -> np.ndarray:
    if np.isnan(score).any():
        raise ArgumentError(f"score has {int(np.isnan(score).sum())} NaN entries: they have no order")
    return score


def _vector(name: str, v: np.ndarray, size: int) -> np.ndarray:
    if v.shape != (size,):
        raise ShapeError(f"{name} has shape {v.shape}: expected ({size},)")
    return ready(v, np.float64)


def _output(name: str, v: np.ndarray, size: int) -> np.ndarray:
    if v.shape != (size,) or v.dtype != np.float64 or not (v.flags.c_contiguous and v.flags.writeable):
        raise ShapeError(
            f"{name} is {v.dtype} of shape {v.shape}: expected writeable contiguous float64 ({size},)"
        )
    return v
