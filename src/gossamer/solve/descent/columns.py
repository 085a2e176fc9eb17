"""Columns of a data matrix, dense or sparse: products with a few of them, in double precision."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse

from gossamer._core.checks import check_array, check_finite
from gossamer._core.errors import ArgumentError
from gossamer._kernels import fisher
from gossamer._kernels.descent import Lines

CACHE_BYTES = 128 << 20
"""Most memory that products between dense columns may take."""
PIECE = 1 << 22
"""Entries of a sparse matrix that are looked at together."""


def columns_of(A: Any) -> DenseColumns | SparseColumns:
    """Wrap an array or a sparse matrix; CSC and dense arrays of float32 and float64 are not copied."""
    if not scipy.sparse.issparse(A):
        return DenseColumns(check_array("A", A, ndim=2))
    if np.issubdtype(A.dtype, np.complexfloating):
        raise ArgumentError("A is complex: expected real numbers")
    csc = scipy.sparse.csc_array(A)
    if csc.dtype not in (np.float32, np.float64):
        csc = csc.astype(np.float64)
    if not csc.has_canonical_format:
        csc = csc.copy()
        csc.sum_duplicates()
    check_finite("A", csc.data)
    return SparseColumns(csc)


class DenseColumns:
    """Columns of a dense array of shape (m, n)."""

    def __init__(self, A: np.ndarray) -> None:
        self.A = A if A.dtype in (np.float32, np.float64) else A.astype(np.float64)
        self.shape, self.dtype = self.A.shape, self.A.dtype
        self.nnz = self.A.size
        self._slot = np.full(self.shape[1], -1, np.int64)
        self._products = np.empty((0, self.shape[1]))

    def take(self, b: np.ndarray) -> np.ndarray:
        """``A_b`` in double precision: (m, |b|)."""
        return self.A[:, b].astype(np.float64, copy=False)

    def dots(self, w: np.ndarray, b: np.ndarray | None = None) -> np.ndarray:
        """``A_b^T w``, of all columns if b is None."""
        if b is not None:
            return self.take(b).T @ w
        if self.dtype == np.float64:
            return self.A.T @ w
        if self.A.flags.f_contiguous:
            return fisher.project(self.A.T, w)
        return -fisher.combine(self.A, w, np.zeros(self.shape[1]), 0.0)

    def add(self, b: np.ndarray, d: np.ndarray) -> np.ndarray:
        """``A_b d``: (m,)."""
        moved = np.flatnonzero(d)
        return self.take(b[moved]) @ d[moved]

    def matvec(self, x: np.ndarray) -> np.ndarray:
        """``A x``."""
        if self.dtype == np.float64:
            return self.A @ x
        if self.A.flags.f_contiguous:
            return -fisher.combine(self.A.T, x, np.zeros(self.shape[0]), 0.0)
        return fisher.project(self.A, x)

    def gram(self, b: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
        """``A_b^T diag(weight) A_b``."""
        if weight is None:
            products = self.products(b)
            if products is not None:
                return products[:, b]
        block = self.take(b)
        return block.T @ (block if weight is None else block * weight[:, None])

    def products(self, b: np.ndarray) -> np.ndarray | None:
        """``A_b^T A`` of shape (|b|, n), kept for the next call; None where that would take too much memory."""
        n = self.shape[1]
        if 8 * n * len(b) > CACHE_BYTES:
            return None
        new = b[self._slot[b] < 0]
        if len(new):
            used = int((self._slot >= 0).sum())
            if 8 * n * (used + len(new)) > CACHE_BYTES:
                self._slot[:], new, used = -1, b, 0
            if used + len(new) > len(self._products):
                room = min(n, max(2 * len(self._products), used + len(new)), CACHE_BYTES // (8 * n))
                grown = np.empty((room, n))
                grown[:used] = self._products[:used]
                self._products = grown
            self._slot[new] = np.arange(used, used + len(new))
            block = self.take(new)
            if self.dtype == np.float64:
                np.matmul(block.T, self.A, out=self._products[used : used + len(new)])
            else:
                for row, column in zip(self._products[used : used + len(new)], block.T):
                    row[:] = self.dots(np.ascontiguousarray(column))
        return self._products[self._slot[b]]

    def squares(self) -> np.ndarray:
        """``||a_i||^2`` of all columns."""
        return np.einsum("ij,ij->j", self.A, self.A, dtype=np.float64)

    def row_norms_cubed(self, b: np.ndarray) -> float:
        """``sum_j ||A_jb||^3``."""
        return float((np.square(self.take(b)).sum(axis=1) ** 1.5).sum())

    def cubes(self) -> np.ndarray:
        """``sum_j |a_ji|^3`` of all columns."""
        return (np.abs(self.A, dtype=np.float64) ** 3).sum(axis=0)

    def row_sums(self, ids: np.ndarray) -> np.ndarray:
        """``sum_j |a_i . a_j|`` for i in ids, in pieces: A^T A is never formed."""
        pieces = [ids[i : i + 256] for i in range(0, len(ids), 256)]
        wide = self.A.astype(np.float64, copy=False)
        return np.concatenate([np.abs(self.take(p).T @ wide).sum(axis=1) for p in pieces] or [np.zeros(0)])

    def touched(self, v: np.ndarray) -> np.ndarray | None:
        """No rows of a dense array are worth telling apart."""
        return None


class SparseColumns:
    """Columns of a CSC matrix of shape (m, n)."""

    def __init__(self, A: Any) -> None:
        self.A = A
        self.shape, self.dtype, self.nnz = A.shape, A.dtype, A.nnz
        self.lines = Lines(A)

    @cached_property
    def rows(self) -> Lines:
        """The same matrix by rows, built when it is first asked for."""
        return Lines(self.A.tocsr())

    def take(self, b: np.ndarray) -> np.ndarray:
        """``A_b`` in double precision: (m, |b|)."""
        return self.A[:, b].toarray().astype(np.float64, copy=False)

    def dots(self, w: np.ndarray, b: np.ndarray | None = None) -> np.ndarray:
        """``A_b^T w``, of all columns if b is None."""
        return self.lines.dots(w, b)

    def add(self, b: np.ndarray, d: np.ndarray) -> np.ndarray:
        """``A_b d``: (m,)."""
        v = np.zeros(self.shape[0])
        self.lines.scatter(d, v, b)
        return v

    def matvec(self, x: np.ndarray) -> np.ndarray:
        """``A x``."""
        v = np.zeros(self.shape[0])
        self.lines.scatter(x, v)
        return v

    def gram(self, b: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
        """``A_b^T diag(weight) A_b``."""
        return self.lines.gram(b, weight)

    def products(self, b: np.ndarray) -> np.ndarray | None:
        """Not kept: the rows that a block touches are fewer."""
        return None

    def squares(self) -> np.ndarray:
        """``||a_i||^2`` of all columns."""
        return self._sums(np.square)

    def cubes(self) -> np.ndarray:
        """``sum_j |a_ji|^3`` of all columns."""
        return self._sums(lambda values: np.abs(values) ** 3)

    def row_norms_cubed(self, b: np.ndarray) -> float:
        """``sum_j ||A_jb||^3``."""
        part = self.A[:, b]
        squares = np.bincount(part.indices, part.data.astype(np.float64) ** 2, minlength=self.shape[0])
        return float((squares**1.5).sum())

    def row_sums(self, ids: np.ndarray) -> np.ndarray:
        """``sum_j |a_i . a_j|`` for i in ids; A^T A is never formed."""
        return self.lines.row_sums(self.rows, ids)

    def touched(self, v: np.ndarray) -> np.ndarray | None:
        """Rows that a step moved, or None where walking through them is more work than all columns."""
        hit = np.flatnonzero(v)
        start = self.rows.start
        return hit if 2 * int((start[hit + 1] - start[hit]).sum()) < self.nnz else None

    def _sums(self, function: Any) -> np.ndarray:
        """Sums over each column, a few million entries at a time."""
        start, data = self.A.indptr, self.A.data
        cuts = np.unique(np.searchsorted(start, np.arange(0, self.nnz, PIECE)))
        sums = np.zeros(self.shape[1])
        for first, last in zip(cuts, [*cuts[1:], self.shape[1]]):
            part = function(data[start[first] : start[last]].astype(np.float64))
            column = np.repeat(np.arange(last - first), np.diff(start[first : last + 1]))
            sums[first:last] = np.bincount(column, part, minlength=last - first)
        return sums
