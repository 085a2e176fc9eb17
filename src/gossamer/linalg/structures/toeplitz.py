"""Toeplitz matrices: constant along every diagonal; convolutions and stationary covariances."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import scipy.fft
import scipy.linalg

from gossamer._core.arrays import Array, is_torch, to_numpy
from gossamer._core.errors import FormatError
from gossamer.linalg.metric import metric_product
from gossamer.linalg.operator import Plan, Structure, StructuredMatrix

_FFT_COST = 4
"""An operation of an FFT takes about as long as four of a matrix product."""


class ToeplitzMatrix(StructuredMatrix):
    """``T[i, j] = diagonals[i - j + K - 1]``: one factor ``diagonals`` (O + K - 1,), float32 or float64.

    It holds the first row from right to left, then the first column from its second entry down.
    """

    structure: Toeplitz
    factor_names = ("diagonals",)

    @classmethod
    def of(cls, column: Array, row: Array | None = None) -> ToeplitzMatrix:
        """The matrix with this first column and row, as :func:`scipy.linalg.toeplitz` takes them.

        Parameters
        ----------
        column : array or tensor, shape (O,)
        row : array or tensor, shape (K,), optional
            Its first entry is not looked at; the column by default (a symmetric matrix).
        """
        row = column if row is None else row
        diagonals: Array
        if is_torch(column):
            import torch

            diagonals = torch.cat([row[1:].flip(0), column])
        else:
            diagonals = np.concatenate([row[:0:-1], column])
        return cls(Toeplitz(), (len(column), len(row)), {"diagonals": diagonals})

    def _check(self) -> None:
        diagonals, expected = self.factors["diagonals"], (sum(self.shape) - 1,)
        if tuple(diagonals.shape) != expected:
            raise FormatError(f"diagonals has shape {tuple(diagonals.shape)}: expected {expected}")
        if str(diagonals.dtype).removeprefix("torch.") not in ("float32", "float64"):
            raise FormatError(f"diagonals is {diagonals.dtype}: expected float32 or float64")

    def _transposed(self) -> ToeplitzMatrix:
        diagonals = self.factors["diagonals"]
        flipped = diagonals.flip(0) if is_torch(diagonals) else np.ascontiguousarray(diagonals[::-1])
        return ToeplitzMatrix(self.structure, self.shape[::-1], {"diagonals": flipped})

    def _dense(self) -> Array:
        rows, columns = self.shape
        places = np.arange(rows)[:, None] - np.arange(columns) + columns - 1
        diagonals = self.factors["diagonals"]
        if is_torch(diagonals):
            import torch

            return diagonals[torch.from_numpy(places).to(diagonals.device)]
        return diagonals[places]

    def flops(self, n: int = 1) -> int:
        return (
            _transform_flops(self._length, n) if self._by_transform else 2 * self.shape[0] * self.shape[1] * n
        )

    def plan(self, n: int = 1) -> Plan:
        if self._by_transform:
            reason = f"three transforms of length {self._length} in place of {self.shape[0]} dot products"
            return Plan("structured", "fft", reason, self.flops(n), self.nbytes)
        reason = "too small for transforms to pay"
        return Plan("dense", "blas", reason, self.flops(n), 4 * self.shape[0] * self.shape[1])

    @property
    def _length(self) -> int:
        return scipy.fft.next_fast_len(sum(self.shape) - 1, real=True)

    @property
    def _by_transform(self) -> bool:
        return _FFT_COST * _transform_flops(self._length, 1) < 2 * self.shape[0] * self.shape[1]

    def _multiply(self, x: np.ndarray) -> np.ndarray:
        if not self._by_transform:
            return to_numpy(self._dense()).astype(x.dtype, copy=False) @ x
        diagonals = to_numpy(self.factors["diagonals"]).astype(x.dtype, copy=False)
        spectrum = scipy.fft.rfft(diagonals, self._length)[:, None] * scipy.fft.rfft(x, self._length, axis=0)
        return scipy.fft.irfft(spectrum, self._length, axis=0)[self.shape[1] - 1 :][: self.shape[0]]

    def _multiply_transposed(self, y: np.ndarray) -> np.ndarray:
        return self._transposed()._multiply(y)

    def _multiply_torch(self, x: Any) -> Any:
        import torch

        if not self._by_transform or x.dtype not in (torch.float32, torch.float64):
            return self._dense().to(x.dtype) @ x
        diagonals, length = self.factors["diagonals"].to(x.dtype), self._length
        spectrum = torch.fft.rfft(diagonals, length)[:, None] * torch.fft.rfft(x, length, dim=0)
        return torch.fft.irfft(spectrum, length, dim=0)[self.shape[1] - 1 :][: self.shape[0]]


def _transform_flops(length: int, n: int) -> int:
    """Two real transforms a column and a product of spectra; that of the diagonals is shared and not counted."""
    return n * int(5 * length * math.log2(max(length, 2)) + 3 * length)


@dataclass(frozen=True)
class Toeplitz(Structure):
    r"""Matrices that are constant along their diagonals, square or not: ``T[i, j] = t[i - j]``.

    Products are convolutions, done by FFT where that pays: ``O((O + K) log(O + K))`` a column.

    Notes
    -----
    ``project`` is exactly nearest in every metric. Without one each diagonal becomes its mean, in a diagonal one its
    weighted mean. A full one couples the diagonals: with

    .. math:: A_{\delta\delta'} = \sum_i H_{i-\delta,\, i-\delta'}, \qquad b_\delta = \sum_i (W H)_{i,\, i-\delta}

    the answer is :math:`A^{-1} b`, ``O((O + K)^3)``; where the metric says nothing it follows the means.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.linalg import Toeplitz
    >>> A = Toeplitz().project(np.array([[1.0, 2.0], [3.0, 3.0]]))
    >>> A.to_dense()
    array([[2., 2.],
           [3., 2.]])
    """

    kind: ClassVar[str] = "toeplitz"
    matrix: ClassVar[type[StructuredMatrix]] = ToeplitzMatrix

    @property
    def nearest_in(self) -> frozenset[str]:
        return frozenset({"none", "diagonal", "full"})

    def _project(self, W: np.ndarray, metric: np.ndarray | None) -> ToeplitzMatrix:
        weight = np.ones(W.shape[1]) if metric is None or metric.ndim == 2 else metric.astype(np.float64)
        shares = _diagonal_sums(np.broadcast_to(weight, W.shape))
        means = _diagonal_sums(np.ones(W.shape) * W) / _diagonal_sums(np.ones(W.shape))
        sums = _diagonal_sums(W.astype(np.float64) * weight)
        diagonals = np.divide(sums, shares, out=means, where=shares > 0)
        if metric is not None and metric.ndim == 2:
            gram = _diagonal_gram(metric.astype(np.float64), W.shape)
            rest = _diagonal_sums(metric_product(W, metric)) - gram @ diagonals
            diagonals = diagonals + scipy.linalg.lstsq(gram, rest)[0]
        return ToeplitzMatrix(self, W.shape, {"diagonals": diagonals.astype(W.dtype)})

    def bits_per_weight(self, shape: tuple[int, int]) -> float:
        return 32 * (sum(shape) - 1) / (shape[0] * shape[1])


def _diagonal_sums(M: np.ndarray) -> np.ndarray:
    """Sums (O + K - 1,) along the diagonals of (O, K), in the order of the factor."""
    rows, columns = M.shape
    sheared = np.zeros((rows, rows + columns))
    sheared[:, :columns] = M[:, ::-1]
    # row i moved right by i: entry (i, j) comes to column i - j + K - 1
    return sheared.ravel()[: rows * (rows + columns - 1)].reshape(rows, -1).sum(axis=0)


def _diagonal_gram(H: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """``A[d, d'] = sum_i H[i - d, i - d']`` (O + K - 1, O + K - 1), by running sums along the diagonals of ``H``."""
    rows, columns = shape
    offsets = np.arange(-(columns - 1), rows)
    gram = np.zeros((len(offsets), len(offsets)))
    for apart in range(columns):  # d' - d; the other half by symmetry
        along = np.concatenate(
            [[0.0], np.cumsum(np.diagonal(H, -apart))]
        )  # H[j, j - apart], j from `apart` on
        first = offsets[: len(offsets) - apart]
        low = np.maximum(apart, -first)
        high = np.maximum(np.minimum(columns, rows - first), low)
        gram[np.arange(len(first)), np.arange(len(first)) + apart] = along[high - apart] - along[low - apart]
    return gram + np.triu(gram, 1).T
