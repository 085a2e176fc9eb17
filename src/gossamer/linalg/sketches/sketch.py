"""What a sketch is: a random matrix with few rows, multiplied without being formed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import scipy.sparse

from gossamer._core.arrays import Array, is_torch, to_numpy
from gossamer._core.checks import check_array, check_int
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._core.random import RandomState, check_random_state
from gossamer.linalg.operator import StructuredMatrix

Block = Any
"""Consecutive rows: an ndarray (c, k), or a csr_array of that shape."""


class Sketch(ABC):
    """A random matrix S with m rows and n columns and ``E[S^T S] = I``, multiplied without being formed.

    ``S @ A`` takes vectors (n,), matrices (n, k), sparse matrices (the result is an array), structured matrices and
    torch tensors, through which gradients flow. float32 stays float32. Everything random is drawn when the sketch is
    made: products with one sketch belong together, and the same seed gives the same sketch.

    Parameters
    ----------
    n : int
        Columns: the rows of what is sketched.
    m : int
        Rows.

    Notes
    -----
    A subclass supplies :meth:`_rows` and :meth:`_adjoint`. Works wherever SciPy accepts a ``LinearOperator``.
    """

    ndim = 2
    dtype = np.dtype(np.float64)
    __array_ufunc__ = None  # so that numpy_array @ S comes to __rmatmul__

    def __init__(self, n: int, m: int) -> None:
        self.shape = (check_int("m", m, low=1), check_int("n", n, low=1))

    @abstractmethod
    def _rows(self, x: Block, start: int) -> np.ndarray:
        """``S[:, start : start + c] @ x`` for c consecutive rows x; (m, k) of the dtype of x."""

    @abstractmethod
    def _adjoint(self, y: np.ndarray) -> np.ndarray:
        """``S.T @ y`` for y of shape (m, k)."""

    def _structured(self, A: StructuredMatrix) -> np.ndarray:
        return self._rows(to_numpy(A.to_dense()), 0)

    def partial(self, block: Any, start: int = 0) -> np.ndarray:
        """What consecutive rows contribute to a product: ``S[:, start : start + len(block)] @ block``.

        The sum over all blocks of a matrix is the product with the whole, up to rounding, however it is cut.

        Parameters
        ----------
        block : array or sparse matrix, shape (c,) or (c, k)
            Rows ``start, ..., start + c - 1``.
        start : int
            Position of the first of them.
        """
        rows = _check_block("block", block)
        check_int("start", start, low=0)
        if start + rows.shape[0] > self.shape[1]:
            raise ShapeError(
                f"block has rows {start} to {start + rows.shape[0] - 1}: expected at most {self.shape[1]} rows"
            )
        product = self._rows(rows[:, None] if rows.ndim == 1 else rows, start)
        return product[:, 0] if rows.ndim == 1 else product

    def __matmul__(self, x: Any) -> Array:
        """``S @ x`` for x of shape (n,) or (n, k)."""
        if len(getattr(x, "shape", np.shape(x))) == 0 or x.shape[0] != self.shape[1]:
            raise ShapeError(f"x has shape {np.shape(x)}: expected {self.shape[1]} rows to fit S{self.shape}")
        if isinstance(x, StructuredMatrix):
            return self._structured(x)
        if is_torch(x):
            from gossamer.linalg.sketches.autograd import product

            return product(self, check_array("x", x, ndim=(1, 2), finite=False))
        return self.partial(x)

    def __rmatmul__(self, x: Any) -> Array:
        x = check_array("x", x, ndim=(1, 2), finite=False)
        return self.T @ x if x.ndim == 1 else (self.T @ x.T).T

    @property
    def T(self) -> TransposedSketch:
        """The transpose, (n, m), sharing what was drawn."""
        return TransposedSketch(self)

    def to_dense(self) -> np.ndarray:
        """The (m, n) matrix."""
        return self @ np.eye(self.shape[1])

    def matvec(self, x: Array) -> Array:
        """``S @ x`` for one vector."""
        return self @ x

    def matmat(self, x: Array) -> Array:
        """``S @ x`` for a matrix (n, k)."""
        return self @ x

    def rmatvec(self, y: Array) -> Array:
        """``S.T @ y`` for one vector."""
        return self.T @ y

    def rmatmat(self, y: Array) -> Array:
        """``S.T @ y`` for a matrix (m, k)."""
        return self.T @ y

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.shape[0]}x{self.shape[1]}>"


class TransposedSketch:
    """``S.T`` of a :class:`Sketch`."""

    ndim = 2
    dtype = np.dtype(np.float64)
    __array_ufunc__ = None

    def __init__(self, sketch: Sketch) -> None:
        self.T = sketch
        self.shape = sketch.shape[::-1]

    def __matmul__(self, y: Any) -> Array:
        """``S.T @ y`` for y of shape (m,) or (m, k)."""
        y = check_array("y", y.toarray() if scipy.sparse.issparse(y) else y, ndim=(1, 2), finite=False)
        if y.shape[0] != self.shape[1]:
            raise ShapeError(f"y has shape {tuple(y.shape)}: expected {self.shape[1]} rows")
        if is_torch(y):
            from gossamer.linalg.sketches.autograd import product

            return product(self.T, y, transposed=True)
        rows = _check_block("y", y)
        x = self.T._adjoint(rows[:, None] if rows.ndim == 1 else rows)
        return x[:, 0] if rows.ndim == 1 else x

    def to_dense(self) -> np.ndarray:
        """The (n, m) matrix."""
        return self.T.to_dense().T

    def matvec(self, y: Array) -> Array:
        """``S.T @ y`` for one vector."""
        return self @ y

    def rmatvec(self, x: Array) -> Array:
        """``S @ x`` for one vector."""
        return self.T @ x


def _check_block(name: str, block: Any) -> Block:
    if scipy.sparse.issparse(block):
        if block.dtype.kind == "c":
            raise ArgumentError(f"{name} is complex: expected real numbers")
        wide = block.dtype if block.dtype in (np.float32, np.float64) else np.dtype(np.float64)
        return scipy.sparse.csr_array(block).astype(wide, copy=False)
    array = to_numpy(check_array(name, block, ndim=(1, 2), finite=False))
    return array if array.dtype in (np.float32, np.float64) else array.astype(np.float64)


def dense_rows(x: Block, lo: int, hi: int) -> np.ndarray:
    """Rows lo to hi of a block as an array."""
    part = x[lo:hi]
    return part.toarray() if scipy.sparse.issparse(part) else part


def is_empty(x: Block, lo: int, hi: int) -> bool:
    """Whether a sparse block has no entries in rows lo to hi; such rows cost nothing."""
    return scipy.sparse.issparse(x) and x.indptr[lo] == x.indptr[hi]


def random_signs(rng: np.random.Generator, n: int) -> np.ndarray:
    """n independent uniform signs, int8."""
    return (1 - 2 * rng.integers(0, 2, n, dtype=np.int8)).astype(np.int8)


def sampled_rows(rng: np.random.Generator, n: int, m: int, replace: bool) -> np.ndarray:
    """m of n rows, uniformly; without replacement all are different."""
    return rng.choice(n, m, replace=replace)


def check_rows(n: int, m: int, replace: bool) -> None:
    """Refuse to draw more different rows than there are."""
    if not replace and m > n:
        raise ArgumentError(f"m={m}: expected at most n={n} rows without replacement; nearest valid: {n}")


def power_of_two(n: int) -> int:
    """The smallest power of two that is at least n."""
    return 1 << max(n - 1, 0).bit_length()


def seeded(seed: RandomState) -> np.random.Generator:
    """The generator of a sketch."""
    return check_random_state(seed)
