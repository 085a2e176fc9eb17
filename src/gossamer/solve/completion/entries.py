"""The observed entries of a matrix, by columns and by rows: what is not stored is missing, a stored zero is a zero."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp

from gossamer._core.checks import check_choice, check_finite, check_int
from gossamer._core.errors import ArgumentError, ShapeError, UnsupportedError
from gossamer._kernels.completion import Observed


class Entries:
    """Observed entries in both orders, O(|Omega|) of memory.

    Parameters
    ----------
    start, index, value : ndarray
        Of a CSR matrix in canonical format.
    shape : (int, int)
    """

    def __init__(
        self, start: np.ndarray, index: np.ndarray, value: np.ndarray, shape: tuple[int, int]
    ) -> None:
        self.shape, self.count = (int(shape[0]), int(shape[1])), len(value)
        turned = sp.csr_array((value, index, start), shape=self.shape).tocsc()
        self.rows = Observed(start, index, value, self.shape[1])
        self.columns = Observed(turned.indptr, turned.indices, turned.data, self.shape[0])

    @property
    def norm(self) -> float:
        """Frobenius norm of what was observed."""
        return math.sqrt(self.total(lambda i, j, v: float(np.sum(v.astype(np.float64) ** 2))))

    @property
    def mean(self) -> float:
        """Of what was observed; 0 where nothing was."""
        return self.total(lambda i, j, v: float(np.sum(v, dtype=np.float64))) / max(self.count, 1)

    def total(self, f: Callable[[np.ndarray, np.ndarray, np.ndarray], float]) -> float:
        """Sum of ``f(rows, cols, vals)`` over parts of the entries."""
        return math.fsum(f(*self.rows.places(a, b)) for a, b in self.rows.spans())

    def centred(self, mean: float) -> Entries:
        """The same places with values less their mean."""
        other = copy.copy(self)
        other.rows, other.columns = self.rows.shifted(mean), self.columns.shifted(mean)
        return other

    def row_of(self) -> np.ndarray:
        """Row of each entry, in the order of rows."""
        return np.repeat(np.arange(self.shape[0], dtype=self.rows.index.dtype), self.rows.degrees)

    def part(self, chosen: np.ndarray) -> Entries:
        """The entries of a mask in the order of rows."""
        start = np.concatenate([[0], np.cumsum(chosen)])[self.rows.start].astype(self.rows.index.dtype)
        return Entries(start, self.rows.index[chosen], self.rows.value[chosen], self.shape)


def check_triples(
    rows: Any, cols: Any, vals: Any, shape: Any, *, dtype: Any = "float64", duplicates: str = "error"
) -> Entries:
    """Entries from places and values, checked.

    Raises
    ------
    ArgumentError, ShapeError
        Lengths differ, an index lies outside the shape, a value is not finite (in ``dtype``), or a place has two
        different values and ``duplicates`` is not "mean".
    """
    check_choice("duplicates", duplicates, ("error", "mean"))
    kind = np.dtype(check_choice("dtype", np.dtype(dtype).name, ("float32", "float64")))
    m, n = check_shape(shape)
    i, j = check_places("rows", rows, m), check_places("cols", cols, n)
    v = np.asarray(vals)
    if v.dtype.kind not in "biuf" or v.ndim != 1 or not len(i) == len(j) == len(v):
        raise ShapeError(
            f"rows, cols and vals have lengths {len(i)}, {len(j)} and shape {v.shape}: expected equally many"
        )
    check_finite("vals", v)
    with np.errstate(over="ignore"):
        v = v.astype(kind)
    check_finite(f"vals as {kind}", v)
    wide = np.int64 if max(m, n, len(v)) > np.iinfo(np.int32).max else np.int32
    i, j = i.astype(wide), j.astype(wide)
    by_row = sp.coo_array((v, (i, j)), shape=(m, n)).tocsr()
    if by_row.nnz < len(v):  # duplicates were added up
        i, j, v = _merge(i, j, v, n, duplicates)
        by_row = sp.coo_array((v, (i, j)), shape=(m, n)).tocsr()
    by_row.sort_indices()
    return Entries(by_row.indptr, by_row.indices, by_row.data, (m, n))


def check_entries(name: str, M: Any, dtype: Any = None) -> Entries:
    """Entries of a sparse matrix (all that are stored) or of a dense one whose missing entries are NaN."""
    if isinstance(M, Entries):
        return M
    if sp.issparse(M):
        if np.issubdtype(M.dtype, np.complexfloating):
            raise ArgumentError(f"{name} is complex: expected real numbers")
        coo = M.tocoo()
        kind = coo.dtype if coo.dtype in (np.float32, np.float64) else np.float64
        return check_triples(coo.row, coo.col, coo.data, coo.shape, dtype=dtype or kind)
    try:
        array = np.asarray(M)
    except ValueError:
        raise UnsupportedError(
            f"{name} is a {type(M).__name__}: expected a sparse matrix or an array"
        ) from None
    if array.dtype.kind not in "biuf":
        raise UnsupportedError(
            f"{name} is {array.dtype}: expected a sparse matrix or an array of real numbers"
        )
    if array.ndim != 2:
        raise ShapeError(f"{name} has shape {array.shape}: expected a 2-D array")
    kind = array.dtype if array.dtype in (np.float32, np.float64) else np.float64
    rows, cols = np.nonzero(~np.isnan(array.astype(kind, copy=False)))
    return check_triples(rows, cols, array[rows, cols], array.shape, dtype=dtype or kind)


def check_shape(shape: Any) -> tuple[int, int]:
    """Two positive integers."""
    try:
        m, n = shape
    except (TypeError, ValueError):
        raise ShapeError(f"shape={shape!r}: expected (m, n)") from None
    return check_int("shape[0]", m, low=1), check_int("shape[1]", n, low=1)


def check_rank(rank: Any, entries: Entries, *, warn: bool = True) -> int:
    """A rank that the shape allows; a warning where the entries are fewer than the unknowns."""
    m, n = entries.shape
    k = check_int("rank", rank, low=1, high=min(m, n))
    unknowns = k * (m + n - k)
    if warn and entries.count < unknowns:
        warnings.warn(
            f"{entries.count} entries are fewer than the {unknowns} unknowns of a {m} x {n} matrix of rank {k}: "
            f"the completion is not determined",
            RuntimeWarning,
            stacklevel=3,
        )
    return k


def check_places(name: str, places: Any, bound: int) -> np.ndarray:
    """Indices below ``bound``."""
    array = np.asarray(places)
    if array.size == 0:
        array = array.astype(np.int64)
    if array.dtype.kind not in "iu" or array.ndim != 1:
        raise ArgumentError(
            f"{name} are {array.dtype} of shape {array.shape}: expected one dimension of integers"
        )
    if len(array) and (array.min() < 0 or array.max() >= bound):
        raise ArgumentError(
            f"{name} span {array.min()}..{array.max()}: expected 0..{bound - 1}, by the shape"
        )
    return array


def _merge(
    i: np.ndarray, j: np.ndarray, v: np.ndarray, n: int, duplicates: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One entry a place: the value that all duplicates agree on, or their mean."""
    keys, first, group = np.unique(i.astype(np.int64) * n + j, return_index=True, return_inverse=True)
    differs = v != v[first][group]
    if differs.any() and duplicates == "error":
        e = int(np.argmax(differs))
        raise ArgumentError(
            f"({i[e]}, {j[e]}) has values {v[first[group[e]]]:g} and {v[e]:g}: expected one, or duplicates='mean'"
        )
    mean = np.bincount(group, v.astype(np.float64)) / np.bincount(group)
    value = np.where(np.bincount(group, differs) > 0, mean, v[first]).astype(v.dtype)
    return (keys // n).astype(i.dtype), (keys % n).astype(j.dtype), value
