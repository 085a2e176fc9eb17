"""Circulant matrices: circular convolutions, diagonal in the Fourier basis."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import scipy.fft

from gossamer._core.arrays import Array, is_torch, to_numpy
from gossamer._core.errors import FormatError, ShapeError
from gossamer.linalg.metric import metric_product
from gossamer.linalg.operator import Plan, Structure, StructuredMatrix

_SMALL = 64
"""Sides up to this are multiplied as dense matrices, which is faster."""


class CirculantMatrix(StructuredMatrix):
    """``C[i, j] = column[(i - j) mod n]``: one factor ``column`` (n,), float32 or float64."""

    structure: Circulant
    factor_names = ("column",)

    @classmethod
    def of(cls, column: Array) -> CirculantMatrix:
        """The matrix with this first column, as :func:`scipy.linalg.circulant` takes it."""
        return cls(Circulant(), (len(column), len(column)), {"column": column})

    def _check(self) -> None:
        column, (rows, columns) = self.factors["column"], self.shape
        if rows != columns:
            raise ShapeError(f"a circulant matrix is square: got shape {self.shape}")
        if tuple(column.shape) != (rows,):
            raise FormatError(f"column has shape {tuple(column.shape)}: expected ({rows},)")
        if str(column.dtype).removeprefix("torch.") not in ("float32", "float64"):
            raise FormatError(f"column is {column.dtype}: expected float32 or float64")

    def eigenvalues(self) -> np.ndarray:
        """The n eigenvalues: the discrete Fourier transform of the first column."""
        return scipy.fft.fft(to_numpy(self.factors["column"]))

    def _transposed(self) -> CirculantMatrix:
        column = self.factors["column"]
        if is_torch(column):
            return CirculantMatrix(self.structure, self.shape, {"column": column.flip(0).roll(1)})
        return CirculantMatrix(self.structure, self.shape, {"column": np.roll(column[::-1], 1)})

    def _dense(self) -> Array:
        n, column = self.shape[0], self.factors["column"]
        places = (np.arange(n)[:, None] - np.arange(n)) % n
        if is_torch(column):
            import torch

            return column[torch.from_numpy(places).to(column.device)]
        return column[places]

    def flops(self, n: int = 1) -> int:
        side = self.shape[0]
        if side <= _SMALL:
            return 2 * side * side * n
        return n * int(5 * side * math.log2(side) + 3 * side)  # that of the column is shared by all

    def plan(self, n: int = 1) -> Plan:
        if self.shape[0] <= _SMALL:
            reason = "too small for transforms to pay"
            return Plan("dense", "blas", reason, self.flops(n), 4 * self.shape[0] ** 2)
        reason = "diagonal in the Fourier basis: three transforms"
        return Plan("structured", "fft", reason, self.flops(n), self.nbytes)

    def _multiply(self, x: np.ndarray) -> np.ndarray:
        n, column = len(x), to_numpy(self.factors["column"]).astype(x.dtype, copy=False)
        if n <= _SMALL:
            return to_numpy(self._dense()).astype(x.dtype, copy=False) @ x
        return scipy.fft.irfft(scipy.fft.rfft(column)[:, None] * scipy.fft.rfft(x, axis=0), n, axis=0)

    def _multiply_transposed(self, y: np.ndarray) -> np.ndarray:
        return self._transposed()._multiply(y)

    def _multiply_torch(self, x: Any) -> Any:
        import torch

        n = self.shape[0]
        if n <= _SMALL or x.dtype not in (torch.float32, torch.float64):
            return self._dense().to(x.dtype) @ x
        spectrum = torch.fft.rfft(self.factors["column"].to(x.dtype))[:, None] * torch.fft.rfft(x, dim=0)
        return torch.fft.irfft(spectrum, n, dim=0)


@dataclass(frozen=True)
class Circulant(Structure):
    r"""Square matrices whose rows are the first row turned: ``C[i, j] = c[(i - j) mod n]``.

    Products are circular convolutions, ``O(n log n)`` a column.

    Notes
    -----
    ``project`` is exactly nearest in every metric. Without one every wrapped diagonal becomes its mean, in a diagonal
    one its weighted mean. In a full one the normal equations are circulant themselves and are solved by FFT,
    ``O(n^2 log n)`` with the product ``W H``; where the metric says nothing the answer follows the means.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.linalg import Circulant
    >>> Circulant().project(np.array([[1.0, 5.0], [3.0, 3.0]])).to_dense()
    array([[2., 4.],
           [4., 2.]])
    """

    kind: ClassVar[str] = "circulant"
    matrix: ClassVar[type[StructuredMatrix]] = CirculantMatrix

    @property
    def nearest_in(self) -> frozenset[str]:
        return frozenset({"none", "diagonal", "full"})

    def _project(self, W: np.ndarray, metric: np.ndarray | None) -> CirculantMatrix:
        n = len(W)
        if W.shape != (n, n):
            raise ShapeError(f"W has shape {W.shape}: expected a square matrix for a circulant one")
        means = _wrapped_sums(W) / n
        if metric is None:
            column = means
        elif metric.ndim == 1:
            # every wrapped diagonal meets every input once, so that all have the same total weight
            total = metric.astype(np.float64).sum()
            column = _wrapped_sums(W * metric.astype(np.float64)) / total if total > 0 else means
        else:
            lags = _wrapped_sums(metric)
            power = scipy.fft.fft(lags).real
            rest = scipy.fft.fft(_wrapped_sums(metric_product(W, metric))) - power * scipy.fft.fft(means)
            seen = power > n * np.finfo(np.float64).eps * max(power.max(), 1e-300)
            column = means + scipy.fft.ifft(np.divide(rest, power, out=np.zeros_like(rest), where=seen)).real
        return CirculantMatrix(self, W.shape, {"column": column.astype(W.dtype)})

    def bits_per_weight(self, shape: tuple[int, int]) -> float:
        return 32 / shape[1]


def _wrapped_sums(M: np.ndarray) -> np.ndarray:
    """Sums (n,) over ``i`` of ``M[i, (i - d) mod n]`` in float64."""
    n = len(M)
    places = (np.arange(n)[:, None] - np.arange(n)) % n
    return np.take_along_axis(M.astype(np.float64), places, axis=1).sum(axis=0)
