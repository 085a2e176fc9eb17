"""Rows of one dense or CSR matrix in which every block has its own range, gathered and multiplied block by block."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse

from gossamer._core.checks import check_array, check_finite
from gossamer._core.errors import ArgumentError


class Rows:
    """A matrix of samples; block i owns the rows ``starts[i] .. starts[i] + sizes[i] - 1``.

    Parameters
    ----------
    name : str
        For messages.
    X : array or sparse matrix, shape (n, d)
        Float64 inside; sparse matrices stay sparse (CSR).
    sizes : ndarray of int, shape (m,), optional
        Rows of each block, in order. None: every block has all rows.
    intercept : bool
        Put a column of ones before the first.
    """

    def __init__(
        self, name: str, X: Any, sizes: np.ndarray | None = None, *, intercept: bool = False
    ) -> None:
        if scipy.sparse.issparse(X):
            self.X: Any = scipy.sparse.csr_array(X, dtype=np.float64)
            if not self.X.has_canonical_format:
                self.X = self.X.copy()
                self.X.sum_duplicates()
            check_finite(name, self.X.data)
            if intercept:
                ones = scipy.sparse.csr_array(np.ones((self.X.shape[0], 1)))
                self.X = scipy.sparse.hstack([ones, self.X], format="csr")
        else:
            self.X = np.ascontiguousarray(check_array(name, X, ndim=2), dtype=np.float64)
            if intercept:
                self.X = np.hstack([np.ones((len(self.X), 1)), self.X])
        self.n, self.d = self.X.shape
        if self.n == 0:
            raise ArgumentError(f"{name} has no rows: expected at least one sample")
        self.sizes = sizes
        if sizes is not None:
            if np.any(sizes < 1) or sizes.sum() != self.n:
                raise ArgumentError(
                    f"{name} has {self.n} rows: expected the sum of {len(sizes)} positive sizes"
                )
            self.starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])

    def draw(self, blocks: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
        """Row numbers (I, size), uniform with replacement within each block."""
        if self.sizes is None:
            return rng.integers(0, self.n, (len(blocks), size))
        own = self.sizes[blocks, None]
        return self.starts[blocks, None] + rng.integers(0, own, (len(blocks), size))

    def every(self, blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """All row numbers of the blocks, padded by their first to one length, and weights that sum to one a block."""
        if self.sizes is None:
            index = np.broadcast_to(np.arange(self.n), (len(blocks), self.n))
            return index, np.full(index.shape, 1 / self.n)
        own = self.sizes[blocks, None]
        place = np.arange(own.max())[None, :]
        return self.starts[blocks, None] + np.where(place < own, place, 0), np.where(
            place < own, 1 / own, 0.0
        )

    def take(self, index: np.ndarray) -> Gathered:
        """The rows of these numbers (I, R)."""
        return SparseRows(self.X, index) if scipy.sparse.issparse(self.X) else Gathered(self.X[index])

    def everywhere(self) -> SharedRows:
        """All rows, the same for every block, without a copy."""
        return SharedRows(self.X)


class Gathered:
    """Rows A (I, R, d)."""

    def __init__(self, A: np.ndarray) -> None:
        self.A = A

    def dot(self, W: np.ndarray) -> np.ndarray:
        """``A[i] @ W[i]``, (I, R)."""
        return (self.A @ W[:, :, None])[:, :, 0]

    def t_dot(self, C: np.ndarray) -> np.ndarray:
        """``A[i].T @ C[i]``, (I, d)."""
        return (C[:, None, :] @ self.A)[:, 0]

    def gram(self, C: np.ndarray) -> np.ndarray:
        """``A[i].T @ diag(C[i]) @ A[i]``, (I, d, d)."""
        return (self.A * C[:, :, None]).swapaxes(1, 2) @ self.A


class SparseRows(Gathered):
    """The same from a CSR matrix: products in O(non-zeros)."""

    def __init__(self, X: Any, index: np.ndarray) -> None:
        self.shape, self.d = index.shape, X.shape[1]
        taken = X[index.ravel()]
        self.data, self.columns = taken.data, taken.indices.astype(np.int64)
        self.row = np.repeat(np.arange(index.size), np.diff(taken.indptr))
        self.place = self.row // index.shape[1] * self.d + self.columns  # in the flattened (I, d)
        self.taken = taken

    def dot(self, W: np.ndarray) -> np.ndarray:
        """``A[i] @ W[i]``, (I, R)."""
        products = self.data * W.ravel()[self.place]
        return np.bincount(self.row, products, self.shape[0] * self.shape[1]).reshape(self.shape)

    def t_dot(self, C: np.ndarray) -> np.ndarray:
        """``A[i].T @ C[i]``, (I, d)."""
        products = self.data * C.ravel()[self.row]
        return np.bincount(self.place, products, self.shape[0] * self.d).reshape(self.shape[0], self.d)

    def gram(self, C: np.ndarray) -> np.ndarray:
        """``A[i].T @ diag(C[i]) @ A[i]``, (I, d, d); the rows are made dense."""
        return Gathered(self.taken.toarray().reshape(*self.shape, self.d)).gram(C)


class SharedRows(Gathered):
    """All rows of a matrix for every block: products are matrix products."""

    def __init__(self, X: Any) -> None:
        self.X = X

    def dot(self, W: np.ndarray) -> np.ndarray:
        """``X @ W[i]``, (I, n)."""
        return np.asarray((self.X @ W.T).T)

    def t_dot(self, C: np.ndarray) -> np.ndarray:
        """``X.T @ C[i]``, (I, d)."""
        return np.asarray((self.X.T @ C.T).T)

    def gram(self, C: np.ndarray) -> np.ndarray:
        """``X.T @ diag(C[i]) @ X``, (I, d, d)."""
        if scipy.sparse.issparse(self.X):
            return np.stack([(self.X.T @ scipy.sparse.diags_array(c) @ self.X).toarray() for c in C])
        return np.stack([(self.X.T * c) @ self.X for c in C])


def sigmoid(t: np.ndarray) -> np.ndarray:
    """``1 / (1 + exp(-t))``, without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * t))
