"""The rows of a tall matrix, a block at a time: in memory, in a file, or on a cluster."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import scipy.sparse

NUMBERS = 1 << 16  # of a block in memory: half a megabyte stays in the cache from one product to the next


class RowBlocks(Protocol):
    """What algorithms that look at rows in passes ask of a matrix (n, d)."""

    n: int
    d: int

    def each(self, f: Callable[..., Any], *columns: np.ndarray, **shared: Any) -> list[Any]:
        """``f(block, *parts, **shared)`` of every block, in order; columns (n,) are cut as the rows are."""

    def take(self, index: np.ndarray) -> np.ndarray:
        """Some rows, dense: (len(index), d)."""


class MatrixBlocks:
    """Blocks of an ndarray, a memory map or a csr_array.

    Parameters
    ----------
    A : ndarray or csr_array, shape (n, d)
        Checked, float64.
    b : ndarray, shape (n,), optional
        One more column, put to a block when it is looked at.
    """

    def __init__(self, A: Any, b: np.ndarray | None = None) -> None:
        self.A, self.b = A, b
        self.n, self.d = A.shape[0], A.shape[1] + (b is not None)

    def each(self, f: Callable[..., Any], *columns: np.ndarray, **shared: Any) -> list[Any]:
        """``f(block, *parts, **shared)`` of every block, in order."""
        step = max(NUMBERS // max(self.d, 1), 4 * self.d, 1)
        cuts = [*range(0, self.n, step), self.n] if self.n else [0, 0]
        return [
            f(self._rows(slice(lo, hi)), *(column[lo:hi] for column in columns), **shared)
            for lo, hi in itertools.pairwise(cuts)
        ]

    def take(self, index: np.ndarray) -> np.ndarray:
        """Some rows, dense."""
        rows = self._rows(index)
        return rows.toarray() if scipy.sparse.issparse(rows) else np.asarray(rows)

    def _rows(self, which: Any) -> Any:
        if self.b is None:
            return self.A[which]
        if scipy.sparse.issparse(self.A):
            return scipy.sparse.hstack([self.A[which], self.b[which, None]], format="csr")
        return np.concatenate([self.A[which], self.b[which, None]], axis=1)


def triangles(blocks: RowBlocks) -> np.ndarray:
    """Triangular factors of the blocks, one below the other: products with the transpose are those of the matrix."""
    return np.concatenate(blocks.each(_triangle))


def _triangle(block: Any) -> np.ndarray:
    dense = block.toarray() if scipy.sparse.issparse(block) else np.asarray(block, np.float64)
    return np.asarray(np.linalg.qr(dense, mode="r")) if len(dense) > dense.shape[1] else dense


def squared_norms(blocks: RowBlocks, X: np.ndarray) -> np.ndarray:
    """Squared norms of the rows of the product with X (d, r): (n,)."""
    return np.concatenate(blocks.each(_squared_norms, X=X))


def _squared_norms(block: Any, X: np.ndarray) -> np.ndarray:
    part = np.asarray(block @ X)
    return np.einsum("ij,ij->i", part, part)
