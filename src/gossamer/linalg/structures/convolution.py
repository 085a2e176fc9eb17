"""Matrices of convolutions: Toeplitz and triangular, or circulant, held by their taps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gossamer._core.arrays import Array, is_torch, to_numpy
from gossamer._core.checks import check_int
from gossamer._core.errors import FormatError, ShapeError
from gossamer.linalg.operator import Plan, Structure, StructuredMatrix
from gossamer.linalg.transforms.fft_conv.plan import FFTConvPlan, plan_fft_conv
from gossamer.linalg.transforms.fft_conv.run import backward, forward


class ConvolutionMatrix(StructuredMatrix):
    """``C[i, j] = taps[i - j]``, where ``i - j`` wraps around if the family is circular: one factor ``taps`` (m,)."""

    structure: Convolution
    factor_names = ("taps",)

    def _check(self) -> None:
        taps, (rows, columns) = self.factors["taps"], self.shape
        if rows != columns:
            raise ShapeError(f"a convolution's matrix is square: got shape {self.shape}")
        if taps.ndim != 1 or not 1 <= len(taps) <= max(rows, 1):
            raise FormatError(f"taps has shape {tuple(taps.shape)}: expected (m,) with m in 1..{rows}")
        if str(taps.dtype).removeprefix("torch.") not in ("float32", "float64"):
            raise FormatError(f"taps is {taps.dtype}: expected float32 or float64")

    def _dense(self) -> Array:
        taps, n = self.factors["taps"], self.shape[0]
        lag = np.arange(n)[:, None] - np.arange(n)
        if not self.structure.causal:
            lag %= n
        outside = (lag < 0) | (lag >= len(taps))
        lag[outside] = 0
        if is_torch(taps):
            import torch

            return taps[torch.from_numpy(lag)].masked_fill(torch.from_numpy(outside), 0)
        return np.where(outside, taps.dtype.type(0), taps[lag])

    def flops(self, n: int = 1) -> int:
        return n * self._plan(1, self.dtype).flops

    def plan(self, n: int = 1) -> Plan:
        chosen = self._plan(n, self.dtype)
        return Plan(
            "native" if chosen.engine == "codelet" else "structured",
            str(chosen),
            chosen.reason,
            self.flops(n),
            self.nbytes,
        )

    def _plan(self, columns: int, dtype: Any) -> FFTConvPlan:
        return plan_fft_conv(
            self.shape[0],
            len(self.factors["taps"]),
            batch=columns,
            dtype=dtype,
            circular=not self.structure.causal,
        )

    def _rows(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, FFTConvPlan]:
        dtype = x.dtype if x.dtype in (np.float32, np.float64) else np.dtype(np.float64)
        rows = np.ascontiguousarray(x.T, dtype)[:, None, :]
        return rows, to_numpy(self.factors["taps"]).astype(dtype)[None], self._plan(len(rows), dtype)

    def _multiply(self, x: np.ndarray) -> np.ndarray:
        rows, k, plan = self._rows(x)
        return forward(plan, rows, k)[:, 0].T

    def _multiply_transposed(self, y: np.ndarray) -> np.ndarray:
        rows, k, plan = self._rows(y)
        (dx, *_) = backward(plan, rows, np.zeros_like(rows), k, needs=(True, False, False, False, False))
        assert dx is not None
        return dx[:, 0].T

    def _multiply_torch(self, x: Any) -> Any:
        import torch

        if x.dtype not in (torch.float32, torch.float64):
            return self._dense().to(x.dtype) @ x
        from gossamer.linalg.transforms.fft_conv.autograd import tensor_fft_conv

        taps = self.factors["taps"].to(x.dtype)
        plan = self._plan(x.shape[1], str(x.dtype).removeprefix("torch."))
        return tensor_fft_conv(x.T.contiguous()[:, None], taps[None], (None, None, None), plan)[:, 0].T


def FFTConv(k: Array, n: int, causal: bool = True) -> ConvolutionMatrix:
    """The convolution of n numbers with a filter, as a matrix that is applied by fused transforms.

    Parameters
    ----------
    k : array or tensor, shape (m,)
        Taps, at least one; a causal filter's beyond n reach nothing and are dropped.
    n : int
        Numbers in and out.
    causal : bool
        ``y[i] = sum_j k[i - j] x[j]`` over ``j <= i``: lower triangular Toeplitz. Else it wraps around: circulant.

    Returns
    -------
    A : ConvolutionMatrix
        ``A @ x``, ``A.T @ y`` (the correlation), ``A.to_dense()``; shape (n, n).

    Raises
    ------
    FormatError
        If k is not a vector of float32 or float64, or is longer than n where it wraps around.

    Notes
    -----
    O(n log n) a column. The same matrices are members of :class:`Toeplitz` and :class:`Circulant`, which take any of
    their kind and transform by SciPy.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.linalg import FFTConv
    >>> FFTConv(np.array([1.0, 2.0]), 3).to_dense()
    array([[1., 0., 0.],
           [2., 1., 0.],
           [0., 2., 1.]])
    """
    n = check_int("n", n, low=1)
    taps = k[:n] if causal and len(k) > n else k
    return ConvolutionMatrix(Convolution(len(taps), causal), (n, n), {"taps": taps})


@dataclass(frozen=True)
class Convolution(Structure):
    """Square matrices of convolutions with ``taps`` taps, causal or wrapping around.

    Parameters
    ----------
    taps : int, optional
        Taps that may differ from zero; as many as there are rows by default.
    causal : bool
        Lower triangular; else circulant.

    Notes
    -----
    ``project`` is exactly nearest without a metric and in a diagonal one: every tap is
    the (weighted) mean of its diagonal.
    """

    taps: int | None = None
    causal: bool = True
    kind: ClassVar[str] = "convolution"
    matrix: ClassVar[type[StructuredMatrix]] = ConvolutionMatrix

    def __post_init__(self) -> None:
        if self.taps is not None:
            check_int("taps", self.taps, low=1)

    @property
    def nearest_in(self) -> frozenset[str]:
        return frozenset({"none", "diagonal"})

    def _project(self, W: np.ndarray, metric: np.ndarray | None) -> ConvolutionMatrix:
        n = len(W)
        if W.shape != (n, n):
            raise ShapeError(f"W has shape {W.shape}: expected a square matrix for a convolution")
        weight = np.ones(n) if metric is None else metric if metric.ndim == 1 else np.diagonal(metric)
        count = min(n, self.taps or n)
        taps = np.zeros(count)
        wide, weight = W.astype(np.float64), weight.astype(np.float64)
        for lag in range(count):
            columns = np.arange(n - lag if self.causal else n)
            entries, shares = wide[(columns + lag) % n, columns], weight[columns]
            total = shares.sum()
            taps[lag] = (entries * shares).sum() / total if total > 0 else entries.mean()
        return ConvolutionMatrix(self, W.shape, {"taps": taps.astype(W.dtype)})

    def bits_per_weight(self, shape: tuple[int, int]) -> float:
        return 32 * min(self.taps or shape[0], shape[0]) / (shape[0] * shape[1])
