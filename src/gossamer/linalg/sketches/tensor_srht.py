"""The SRHT of tensor products, from the transforms of their factors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse

from gossamer._core.arrays import to_numpy
from gossamer._core.checks import check_array, check_int
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._core.random import RandomState
from gossamer.linalg.arithmetic.kronecker_products import KroneckerProductMatrix
from gossamer.linalg.operator import StructuredMatrix
from gossamer.linalg.sketches.sketch import Block, Sketch, dense_rows, power_of_two, random_signs, seeded
from gossamer.linalg.structures.khatri_rao import KhatriRaoMatrix
from gossamer.linalg.structures.kronecker import KroneckerMatrix
from gossamer.linalg.transforms.sparse_wht.bits import characters
from gossamer.linalg.transforms.walsh_hadamard import fwht

BUFFER = 1 << 22


class TensorSRHT(Sketch):
    r"""A sketch of vectors of length ``n_1 n_2 ...`` that never forms them where they are products of factors.

    .. math:: (S (x \otimes y))_k = \frac{1}{\sqrt m} (H_1 D_1 x)_{i_k} (H_2 D_2 y)_{j_k}

    with Hadamard matrices of entries +1 and -1, signs of their own for every factor, and m rows ``(i_k, j_k)`` drawn
    uniformly with replacement. Every entry of S is :math:`\pm 1/\sqrt m`.

    Parameters
    ----------
    shape : sequence of int
        ``(n_1, n_2, ...)``, two or more; S has their product as its number of columns.
    m : int
        Rows.
    seed : int, Generator or None
        Source of signs and rows.

    Notes
    -----
    A Kronecker product of matrices (n_i, d_i) costs ``sum n_i d_i log n_i + m prod d_i``, a Khatri-Rao product of
    matrices with d columns ``d (sum n_i log n_i + m)``; a vector of length n costs ``n log n``, and one with few
    entries ``m`` a row that has any.

    References
    ----------
    Ahle, Kapralov, Knudsen, Pagh, Velingker, Woodruff, Zandieh, "Oblivious sketching of high-degree polynomial
    kernels", SODA 2020. Song, Ye, Yang, Zhang, arXiv 2302.00248, ICML 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.linalg import TensorSRHT, kron
    >>> A = kron(np.random.default_rng(0).normal(size=(100, 3)), np.eye(50, 2))
    >>> S = TensorSRHT((100, 50), 64, seed=0)
    >>> bool(np.allclose(S @ A, S @ A.to_dense()))
    True
    """

    def __init__(self, shape: Sequence[int], m: int, *, seed: RandomState = None) -> None:
        if len(shape) < 2:
            raise ArgumentError(f"shape={tuple(shape)!r}: expected two or more lengths")
        self.lengths = tuple(check_int(f"shape[{i}]", n, low=1) for i, n in enumerate(shape))
        super().__init__(math.prod(self.lengths), m)
        rng = seeded(seed)
        self.signs = [random_signs(rng, n) for n in self.lengths]
        self.index = [rng.integers(0, power_of_two(n), m) for n in self.lengths]

    def factor(self, axis: int, x: np.ndarray) -> np.ndarray:
        """``(H D x)`` of one axis at the sampled places, without the factor: (m, k) for x of shape (n_axis, k)."""
        n = self.lengths[axis]
        padded = np.zeros((power_of_two(n), x.shape[1]), x.dtype)
        np.multiply(x, self.signs[axis][:, None].astype(x.dtype), out=padded[:n])
        return fwht(padded, axis=0, inplace=True)[self.index[axis]]

    def _structured(self, A: StructuredMatrix) -> np.ndarray:
        factors = tensor_factors(A)
        if tuple(len(f) for f in factors) != self.lengths:
            return super()._structured(A)
        products = [self.factor(axis, f) for axis, f in enumerate(factors)]
        out = products[0]
        for other in products[1:]:
            if isinstance(A, KhatriRaoMatrix):
                out = out * other
            else:
                out = (out[:, :, None] * other[:, None, :]).reshape(len(out), -1)
        return out * out.dtype.type(1 / math.sqrt(self.shape[0]))

    def _rows(self, x: Block, start: int) -> np.ndarray:
        if x.shape[0] < self.shape[1] or scipy.sparse.issparse(x):
            return self._few(x, start)
        k = x.shape[1]
        axes = range(len(self.lengths))
        out = np.empty((self.shape[0], k), x.dtype)
        padded = tuple(power_of_two(n) for n in self.lengths)
        width = max(BUFFER // math.prod(padded), 1)
        for first in range(0, k, width):
            part = x[:, first : first + width]
            whole = np.zeros((*padded, part.shape[1]), x.dtype)
            inside = whole[tuple(slice(n) for n in self.lengths)]
            inside[...] = part.reshape(*self.lengths, -1)
            for axis in axes:
                inside *= self._along(axis, self.signs[axis].astype(x.dtype))
            for axis in axes:
                fwht(whole, axis=axis, inplace=True)
            out[:, first : first + width] = whole[tuple(self.index)]
        return out * x.dtype.type(1 / math.sqrt(self.shape[0]))

    def _few(self, x: Block, start: int) -> np.ndarray:
        """A block of rows, or the rows of a sparse matrix that have entries, by the entries of S."""
        if scipy.sparse.issparse(x):
            held = np.flatnonzero(np.diff(x.indptr))
            x = x[held]
        else:
            held = np.arange(x.shape[0])
        out = np.zeros((self.shape[0], x.shape[1]), x.dtype)
        step = max(BUFFER // self.shape[0], 1)
        for lo in range(0, len(held), step):
            hi = min(lo + step, len(held))
            out += self._columns(held[lo:hi] + start).astype(x.dtype) @ dense_rows(x, lo, hi)
        return out

    def _columns(self, columns: np.ndarray) -> np.ndarray:
        """Entries of S in some columns, by counting bits: (m, len(columns))."""
        places = np.unravel_index(columns, self.lengths)
        entries = np.full((self.shape[0], len(columns)), 1 / math.sqrt(self.shape[0]))
        for index, signs, place in zip(self.index, self.signs, places, strict=True):
            entries *= characters(index, place) * signs[place]
        return entries

    def _adjoint(self, y: np.ndarray) -> np.ndarray:
        padded = tuple(power_of_two(n) for n in self.lengths)
        whole = np.zeros((*padded, y.shape[1]), y.dtype)
        np.add.at(whole, tuple(self.index), y)
        for axis in range(len(padded)):
            fwht(whole, axis=axis, inplace=True)
        inside = whole[tuple(slice(n) for n in self.lengths)]
        for axis, signs in enumerate(self.signs):
            inside *= self._along(axis, signs.astype(y.dtype))
        return inside.reshape(self.shape[1], -1) * y.dtype.type(1 / math.sqrt(self.shape[0]))

    def _along(self, axis: int, values: np.ndarray) -> np.ndarray:
        shape = [1] * (len(self.lengths) + 1)
        shape[axis] = -1
        return values.reshape(shape)


def tensor_factors(A: Any) -> list[np.ndarray]:
    """The dense factors of a Kronecker or Khatri-Rao product, Kronecker products of such taken apart; else ``[A]``."""
    if isinstance(A, (KroneckerMatrix, KhatriRaoMatrix)):
        return [to_numpy(factor) for factor in A.factors.values()]
    if isinstance(A, KroneckerProductMatrix):
        parts = [part for part in A.parts if not isinstance(part, KhatriRaoMatrix)]
        return (
            [f for part in parts for f in tensor_factors(part)] if len(parts) == len(A.parts) else [dense(A)]
        )
    if isinstance(A, StructuredMatrix):
        return [dense(A)]
    raise ShapeError(f"A is a {type(A).__name__}: expected a structured matrix")


def dense(A: StructuredMatrix) -> np.ndarray:
    """A structured matrix as an array."""
    return to_numpy(check_array("A", A.to_dense(), ndim=2))
