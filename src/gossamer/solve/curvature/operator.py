"""What every inverse Fisher matrix offers, whatever holds it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.sparse.linalg import LinearOperator

from gossamer._core.arrays import Array, is_torch, like, to_numpy
from gossamer._core.checks import check_array, check_float, check_int
from gossamer._core.errors import ArgumentError, ShapeError


class InverseOperator(LinearOperator):
    """A symmetric positive definite (d, d) operator with blocks of coordinates.

    Parameters
    ----------
    d : int
        Coordinates.
    damp : float
        Damping, above 0.
    block : int, optional
        Coordinates in different blocks of this size do not interact; None is one block.
    dtype : dtype
        Of products with NumPy arrays in SciPy's protocol.
    """

    def __init__(self, d: int, damp: float, block: int | None, dtype: Any) -> None:
        self.damp = check_float("damp", damp, low=0, closed="neither")
        self.d = check_int("d", d, low=1)
        self.block = min(check_int("block", block, low=1), self.d) if block is not None else self.d
        super().__init__(np.dtype(dtype), (self.d, self.d))

    @abstractmethod
    def _product(self, x: np.ndarray) -> np.ndarray:
        """``F^-1 x`` for x of shape (d,) or (d, r)."""

    @abstractmethod
    def _diagonal(self) -> np.ndarray:
        """Diagonal of ``F^-1`` in float64."""

    @abstractmethod
    def _gram(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Entries ``F^-1[left_i, right_j]`` inside one block, in float64; leading axes are batches."""

    def mul(self, x: Array) -> Array:
        """``F^-1 x`` for x of shape (d,) or (d, r), NumPy or torch; keeps the kind and the dtype of x."""
        x = check_array("x", x, ndim=(1, 2), finite=False)
        if x.shape[0] != self.d:
            raise ShapeError(f"x has shape {tuple(x.shape)}: expected {self.d} rows")
        y = self._product(to_numpy(x))
        return like(y, x).to(x.dtype) if is_torch(x) else y.astype(x.dtype, copy=False)

    def diag(self) -> np.ndarray:
        """Diagonal of ``F^-1``, shape (d,), float64. O(dm)."""
        return self._diagonal()

    def element(self, a: int, b: int) -> float:
        """Entry ``F^-1[a, b]``. O(m)."""
        if not (-self.d <= a < self.d and -self.d <= b < self.d):
            raise ArgumentError(f"a={a}, b={b}: expected coordinates below {self.d}")
        a, b = a % self.d, b % self.d
        return self._element(a, b) if a // self.block == b // self.block else 0.0

    def _element(self, a: int, b: int) -> float:
        return float(self._gram(np.array([a]), np.array([b]))[0, 0])

    def column(self, a: int) -> np.ndarray:
        """Column ``F^-1[:, a]``, shape (d,), float64. O(dm), or O(block m)."""
        a = check_int("a", a, low=0, high=self.d - 1)
        from_, to = a - a % self.block, min(a - a % self.block + self.block, self.d)
        out = np.zeros(self.d)
        out[from_:to] = self._gram(np.arange(from_, to), np.array([a]))[:, 0]
        return out

    def submatrix(self, idx: Any) -> np.ndarray:
        """``F^-1[idx, idx]``, float64. Leading axes of ``idx`` (..., k) are batches: result (..., k, k)."""
        idx = np.asarray(idx)
        if idx.dtype.kind not in "iu" or idx.ndim < 1:
            raise ArgumentError(f"idx is {idx.dtype} of rank {idx.ndim}: expected integer coordinates")
        if idx.size and (idx.min() < 0 or idx.max() >= self.d):
            raise ArgumentError(f"idx spans {idx.min()}..{idx.max()}: expected 0..{self.d - 1}")
        block = idx // self.block
        return np.where(block[..., :, None] == block[..., None, :], self._gram(idx, idx), 0.0)

    def blocks(self) -> Iterator[slice]:
        """The blocks of coordinates, in order; the last one may be short."""
        for start in range(0, self.d, self.block):
            yield slice(start, min(start + self.block, self.d))

    def to_dense(self) -> np.ndarray:
        """The (d, d) matrix in float64, for small d."""
        return self.submatrix(np.arange(self.d))

    def _matvec(self, x: np.ndarray) -> np.ndarray:
        return self._product(np.asarray(x).reshape(-1))

    def _matmat(self, x: np.ndarray) -> np.ndarray:
        return self._product(np.asarray(x))

    def _adjoint(self) -> InverseOperator:
        return self

    def _transpose(self) -> InverseOperator:
        return self


def check_gradients(G: Any, dtype: Any = None) -> np.ndarray:
    """View ``G`` as an (m, d) float32 or float64 NumPy array; a row that is not finite is named."""
    rows = to_numpy(check_array("G", G, ndim=2, finite=False))
    wanted = np.dtype(dtype) if dtype is not None else rows.dtype
    if wanted not in (np.float32, np.float64):
        wanted = np.dtype(np.float32)
    if 0 in rows.shape:
        raise ArgumentError(f"G has shape {rows.shape}: expected at least one gradient and one coordinate")
    # a sum is finite only if its terms are, unless it overflows: then every entry is looked at
    suspects = [i for i, row in enumerate(rows) if not np.isfinite(row.sum()) and not np.isfinite(row).all()]
    if suspects:
        raise ArgumentError(f"gradient {suspects[0]} of {len(rows)} has NaN or infinite entries")
    return rows.astype(wanted, copy=False)
