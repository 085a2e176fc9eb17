"""One power of a walk on a graph: rows of edges times a panel, scaled, measured and added to a total in one pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import scipy.sparse

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._core.threads import get_threads
from gossamer._kernels import _native
from gossamer._kernels.views import check_pointers, expect_array, ready

_PIECE = 4096  # edges and rows that a thread takes at a time
_MOMENT_ROWS, _MOMENT_PIECES = (
    256,
    512,
)  # rows that are summed together, at least; pieces of a column, at most


@dataclass(frozen=True)
class Edges:
    """Rows of a graph as native code takes them; made by :func:`edges`."""

    indptr: np.ndarray
    indices: np.ndarray
    weights: np.ndarray | None
    scale: np.ndarray | None
    cuts: np.ndarray
    columns: int

    @property
    def rows(self) -> int:
        """How many."""
        return len(self.indptr) - 1


@dataclass(frozen=True)
class After:
    """What happens to a row y_i: kept in ``y``, its square added to ``squares``, a multiple of it to ``total``.

    The multiple is ``coefficients[i]``, or ``alpha / |y_i|`` without coefficients.
    """

    y: np.ndarray | None = None
    squares: np.ndarray | None = None
    total: np.ndarray | None = None
    coefficients: np.ndarray | None = None
    alpha: float = 1.0

    def of(self, rows: slice) -> After:
        """The same for some of the rows."""
        y, squares, total, coefficients = (
            None if array is None else array[rows]
            for array in (self.y, self.squares, self.total, self.coefficients)
        )
        return After(y, squares, total, coefficients, self.alpha)


def edges(
    indptr: np.ndarray,
    indices: np.ndarray,
    weights: np.ndarray | None,
    scale: np.ndarray | None,
    columns: int,
) -> Edges:
    """Check a graph's rows, and cut them into pieces of about equal work. Without weights every edge has weight 1."""
    indptr, indices = ready(indptr, np.int64), ready(indices, np.int32)
    rows = len(indptr) - 1
    check_pointers("indptr", indptr, rows, len(indices))
    if len(indices) and (indices.min() < 0 or indices.max() >= columns):
        raise ArgumentError(f"indices span {indices.min()}..{indices.max()}: expected 0..{columns - 1}")
    if weights is not None:
        weights = ready(weights)
        expect_array("weights", weights, np.float32, indices.shape)
    if scale is not None:
        scale = ready(scale)
        expect_array("scale", scale, np.float32, (rows,))
    work = indptr + np.arange(rows + 1)
    cuts = np.unique(np.searchsorted(work, np.arange(0, work[-1] + 1, _PIECE)))
    cuts = np.unique(np.concatenate([[0], cuts, [rows]])).astype(np.int64)
    return Edges(indptr, indices, weights, scale, cuts, columns)


def split(whole: Edges, parts: int) -> Iterator[tuple[slice, Edges]]:
    """Rows in ``parts`` blocks of about equal work, fewer where there are fewer rows."""
    work = whole.indptr + np.arange(whole.rows + 1)
    cuts = np.unique(np.searchsorted(work, np.linspace(0, work[-1], parts + 1)))
    for start, stop in pairwise(cuts.tolist()):
        first, last = whole.indptr[start], whole.indptr[stop]
        yield (
            slice(start, stop),
            edges(
                whole.indptr[start : stop + 1] - first,
                whole.indices[first:last],
                None if whole.weights is None else whole.weights[first:last],
                None if whole.scale is None else whole.scale[start:stop],
                whole.columns,
            ),
        )


def dense(edges: Edges, x: np.ndarray, after: After, threads: int | None = None) -> None:
    """Multiply with a dense panel (columns, width)."""
    if x.shape[0] != edges.columns or x.ndim != 2 or x.dtype != np.float32:
        raise ShapeError(f"x is {x.dtype} of shape {x.shape}: expected float32 ({edges.columns}, width)")
    _check(edges, x.shape[1], after)
    _native.propagate.dense(*_edges(edges), ready(x), *_after(after), get_threads(threads))


def sparse(edges: Edges, x: scipy.sparse.csr_array, after: After, threads: int | None = None) -> None:
    """Multiply with a sparse panel (columns, width) of float32."""
    if x.shape[0] != edges.columns or x.dtype != np.float32:
        raise ShapeError(f"x is {x.dtype} of shape {x.shape}: expected float32 ({edges.columns}, width)")
    _check(edges, x.shape[1], after)
    indptr, indices = ready(x.indptr, np.int64), ready(x.indices, np.int32)
    check_pointers("x.indptr", indptr, x.shape[0], len(indices))
    if len(indices) != len(x.data) or (len(indices) and (indices.min() < 0 or indices.max() >= x.shape[1])):
        raise ArgumentError(f"x has columns outside 0..{x.shape[1] - 1}, or not as many as values")
    _native.propagate.sparse(
        *_edges(edges), indptr, indices, ready(x.data), x.shape[1], *_after(after), get_threads(threads)
    )


def scale(
    y: np.ndarray,
    coefficients: np.ndarray,
    out: np.ndarray,
    column: int,
    *,
    add: bool,
    threads: int | None = None,
) -> None:
    """Write rows of ``y`` (n, width), times their coefficients, to columns of ``out`` from ``column``, or add them."""
    expect_array("coefficients", coefficients, np.float32, (len(y),))
    _writable("out", out)
    if (
        y.dtype != np.float32
        or y.ndim != 2
        or out.ndim != 2
        or len(out) != len(y)
        or not 0 <= column <= out.shape[1] - y.shape[1]
    ):
        raise ShapeError(
            f"y is {y.dtype} of shape {y.shape}: expected float32 columns of out {out.shape} from {column}"
        )
    _native.propagate.scale(
        ready(y), ready(coefficients), np.asarray(out), int(column), add, get_threads(threads)
    )


def moments(x: np.ndarray, threads: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Means and variances of the columns of ``x`` (n, width), in float64: the same for any number of threads."""
    if x.ndim != 2 or x.dtype != np.float32 or not len(x):
        raise ShapeError(f"x is {x.dtype} of shape {x.shape}: expected float32 (n, width) with n >= 1")
    x = ready(np.asarray(x))
    piece = max(_MOMENT_ROWS, -(-len(x) // _MOMENT_PIECES))
    sums, squares = np.empty((2, -(-len(x) // piece), x.shape[1]))
    _native.propagate.moments(x, ready(x[0]), sums, squares, piece, get_threads(threads))
    shifted = sums.sum(axis=0) / len(x)
    variance = np.maximum(squares.sum(axis=0) / len(x) - shifted**2, 0)
    return x[0] + shifted, variance


def standardize(x: np.ndarray, mean: np.ndarray, inverse: np.ndarray, threads: int | None = None) -> None:
    """Subtract ``mean`` and multiply by ``inverse`` in each column of ``x`` (n, width), in place."""
    if x.ndim != 2:
        raise ShapeError(f"x has shape {x.shape}: expected (n, width)")
    _writable("x", x)
    expect_array("mean", mean, np.float64, (x.shape[1],))
    expect_array("inverse", inverse, np.float64, (x.shape[1],))
    _native.propagate.standardize(np.asarray(x), ready(mean), ready(inverse), get_threads(threads))


def _writable(name: str, array: np.ndarray) -> None:
    if array.dtype != np.float32 or not (
        array.flags.c_contiguous and array.flags.aligned and array.flags.writeable
    ):
        raise ShapeError(
            f"{name} is {array.dtype} with strides {array.strides}: expected writable rows of float32"
        )


def _check(edges: Edges, width: int, after: After) -> None:
    for name, dtype, shape in (
        ("y", np.float32, (edges.rows, width)),
        ("squares", np.float64, (edges.rows,)),
        ("total", np.float32, (edges.rows, width)),
        ("coefficients", np.float32, (edges.rows,)),
    ):
        array = getattr(after, name)
        if array is None:
            continue
        expect_array(name, array, dtype, shape)
        if name != "coefficients" and not (array.flags.c_contiguous and array.flags.aligned):
            raise ShapeError(f"{name} has strides {array.strides}: expected contiguous rows")


def _edges(edges: Edges) -> tuple[np.ndarray | None, ...]:
    # arrays that came from another process may not be aligned
    parts = (edges.indptr, edges.indices, edges.weights, edges.scale, edges.cuts)
    return tuple(None if part is None else ready(part) for part in parts)


def _after(after: After) -> tuple[np.ndarray | float | None, ...]:
    coefficients = None if after.coefficients is None else ready(after.coefficients)
    return after.y, after.squares, after.total, coefficients, float(after.alpha)
