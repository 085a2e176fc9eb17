"""A tall least-squares problem as the modes of a sketched solver see it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import scipy.sparse

from gossamer._core.arrays import to_numpy
from gossamer._core.checks import check_array, check_finite
from gossamer._core.errors import ArgumentError, ShapeError, UnsupportedError
from gossamer.linalg.operator import StructuredMatrix
from gossamer.linalg.sketches.sketch import Sketch
from gossamer.linalg.sketches.tensor_srht import tensor_factors
from gossamer.linalg.structures.khatri_rao import khatri_rao


class Tall(Protocol):
    """``min ||A x - b||`` with n rows, d columns and k right sides."""

    n: int
    d: int
    k: int
    dtype: np.dtype
    lengths: tuple[int, ...]  # rows of the factors of a Kronecker product; empty otherwise
    vector: bool  # whether b came as one vector

    def sketched(self, S: Sketch) -> tuple[np.ndarray, np.ndarray]:
        """``S A`` (m, d) and ``S b`` (m, k), with the same S."""

    def times(self, x: np.ndarray) -> np.ndarray:
        """``A x``, (n, k)."""

    def adjoint(self, r: np.ndarray) -> np.ndarray:
        """``A^T r``, (d, k)."""

    def sides(self) -> np.ndarray:
        """``b``, (n, k)."""

    def rows(self) -> Any:
        """A itself, for sampling by leverage."""


class TallMatrix:
    """The problem with a matrix in memory.

    Parameters
    ----------
    A : array, sparse matrix or StructuredMatrix, shape (n, d)
        The matrix.
    b : array (n,) or (n, k), sparse matrix, or sequence of tuples of vectors
        Right sides; tuples are factors of tensor products that sum to one right side.
    weights : array, shape (n,), optional
        Row i counts ``weights[i]`` times: it is scaled by the root.
    """

    def __init__(self, A: Any, b: Any, weights: Any = None) -> None:
        self.A = _check_matrix(A)
        self.n, self.d = self.A.shape
        if self.n < self.d or self.d < 1:
            raise ShapeError(
                f"A has shape {self.A.shape}: expected at least as many rows as columns, and one"
            )
        self.dtype = np.dtype(self.A.dtype)
        self.lengths = self._lengths()
        self.b = self._check_sides(b)
        self.k = 1 if isinstance(self.b, list) else self.b.shape[1]
        self.vector = isinstance(self.b, list) or getattr(b, "ndim", np.ndim(b)) == 1
        if weights is not None:
            self._weigh(to_numpy(check_array("weights", weights, ndim=1)))

    def _lengths(self) -> tuple[int, ...]:
        """Rows of the factors of a Kronecker product; empty for other matrices."""
        factors = tensor_factors(self.A) if isinstance(self.A, StructuredMatrix) else []
        return tuple(len(f) for f in factors) if len(factors) > 1 else ()

    def _check_sides(self, b: Any) -> Any:
        if isinstance(b, (list, tuple)) and b and isinstance(b[0], (list, tuple)):
            return _check_terms(b, self.lengths, self.dtype)
        if scipy.sparse.issparse(b):
            b = scipy.sparse.csr_array(b.reshape((-1, 1)) if b.ndim == 1 else b)
            check_finite("b", b.data)
        else:
            b = to_numpy(check_array("b", b, ndim=(1, 2)))
            b = b[:, None] if b.ndim == 1 else b
        if b.shape[0] != self.n:
            raise ShapeError(f"b has shape {b.shape}: expected {self.n} rows, as many as A has")
        return b.astype(self.dtype, copy=False)

    def _weigh(self, weights: np.ndarray) -> None:
        if weights.shape != (self.n,) or weights.min(initial=0) < 0:
            raise ArgumentError(f"weights: expected {self.n} numbers >= 0, one a row of A")
        if isinstance(self.A, StructuredMatrix) or not isinstance(self.b, np.ndarray):
            raise UnsupportedError("weights: expected None where A is structured or b is sparse")
        root = np.sqrt(weights)[:, None].astype(self.dtype)
        if scipy.sparse.issparse(self.A):
            self.A = scipy.sparse.csr_array(self.A.multiply(root))
        else:
            self.A = self.A * root
        self.b = self.b * root

    def sketched(self, S: Sketch) -> tuple[np.ndarray, np.ndarray]:
        """``S A`` (m, d) and ``S b`` (m, k), with the same S."""
        SA = S @ self.A
        if isinstance(self.b, list):
            return SA, (S @ khatri_rao(*self.b)).sum(axis=1, keepdims=True)
        return SA, S @ self.b

    def times(self, x: np.ndarray) -> np.ndarray:
        """``A x``, (n, k)."""
        return self.A @ x

    def adjoint(self, r: np.ndarray) -> np.ndarray:
        """``A^T r``, (d, k)."""
        return self.A.T @ r

    def sides(self) -> np.ndarray:
        """``b``, (n, k)."""
        if isinstance(self.b, list):
            return to_numpy(khatri_rao(*self.b).to_dense()).sum(axis=1, keepdims=True)
        return self.b.toarray() if scipy.sparse.issparse(self.b) else self.b

    def rows(self) -> Any:
        """A itself, for sampling by leverage."""
        return to_numpy(self.A.to_dense()) if isinstance(self.A, StructuredMatrix) else self.A


class Ridged:
    """``[A; sqrt(ridge) I]`` and ``[b; 0]``: a ridge as d more rows."""

    def __init__(self, tall: Tall, ridge: float) -> None:
        self.tall, self.root = tall, tall.dtype.type(math.sqrt(ridge))

    def times(self, x: np.ndarray) -> np.ndarray:
        """The product with x, (n + d, k)."""
        return np.concatenate([self.tall.times(x), self.root * x])

    def adjoint(self, r: np.ndarray) -> np.ndarray:
        """The product of the transpose with r, (d, k)."""
        return self.tall.adjoint(r[: self.tall.n]) + self.root * r[self.tall.n :]

    def residual_norms(self, x: np.ndarray) -> np.ndarray:
        """``||b - A x||`` without the ridge, (k,)."""
        return np.linalg.norm(self.tall.sides() - self.tall.times(x), axis=0)

    def sides(self) -> np.ndarray:
        """The right sides, (n + d, k)."""
        return np.concatenate([self.tall.sides(), np.zeros((self.tall.d, self.tall.k), self.tall.dtype)])


def _check_matrix(A: Any) -> Any:
    if isinstance(A, StructuredMatrix):
        for name, factor in A.factors.items():
            check_finite(f"factor {name} of A", factor)
        return A
    if scipy.sparse.issparse(A):
        if A.dtype.kind == "c":
            raise ArgumentError("A is complex: expected real numbers")
        wide = A.dtype if A.dtype in (np.float32, np.float64) else np.dtype(np.float64)
        csr = scipy.sparse.csr_array(A).astype(wide, copy=False)
        check_finite("A", csr.data)
        return csr
    array = to_numpy(check_array("A", A, ndim=2, finite=False))
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float64)
    if not np.isfinite(array.sum()):  # one pass; a sum can also overflow
        check_finite("A", array)
    return array


def _check_terms(terms: Sequence[Any], lengths: tuple[int, ...], dtype: np.dtype) -> list[np.ndarray]:
    """The factors of a sum of tensor products, one matrix (n_i, terms) a factor."""
    if not lengths:
        raise ArgumentError("b is a list of factors: expected so only where A is a Kronecker product")
    columns = [[to_numpy(check_array("b", v, ndim=1)) for v in term] for term in terms]
    if any(tuple(len(v) for v in term) != lengths for term in columns):
        raise ShapeError(f"b has factors of other lengths than A: expected {lengths} in every term")
    return [np.stack(vectors, axis=1).astype(dtype) for vectors in zip(*columns, strict=True)]
