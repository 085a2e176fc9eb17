"""Compressed sparse rows: ``y = A x`` on float32 and float64, int32 and int64 indices."""

from __future__ import annotations

import numpy as np

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._core.threads import get_threads
from gossamer._kernels import _native
from gossamer._kernels.views import operand, ready


def check(indptr: np.ndarray, indices: np.ndarray, data: np.ndarray, shape: tuple[int, int]) -> None:
    """Refuse a CSR triple that native code could not walk safely. O(nnz), once, at construction."""
    rows, cols = shape
    if indptr.shape != (rows + 1,) or indices.shape != data.shape or indices.ndim != 1:
        raise ShapeError(
            f"CSR of shape {shape}: indptr {indptr.shape}, indices {indices.shape} and data {data.shape} "
            "do not fit"
        )
    if indptr.dtype != indices.dtype or indptr.dtype not in (np.int32, np.int64):
        raise ArgumentError(
            f"CSR indices are {indptr.dtype} and {indices.dtype}: expected both int32 or both int64"
        )
    if data.dtype not in (np.float32, np.float64):
        raise ArgumentError(f"CSR data are {data.dtype}: expected float32 or float64")
    if indptr[0] != 0 or indptr[-1] != len(indices) or (np.diff(indptr) < 0).any():
        raise ArgumentError("indptr must rise from 0 to the number of stored entries")
    if len(indices) and (indices.min() < 0 or indices.max() >= cols):
        raise ArgumentError(f"column indices span {indices.min()}..{indices.max()}: expected 0..{cols - 1}")


def matmat(
    indptr: np.ndarray, indices: np.ndarray, data: np.ndarray, x: np.ndarray, threads: int | None = None
) -> np.ndarray:
    """Multiply a checked CSR matrix with ``x`` of shape (K, N) and the dtype of ``data``; returns (O, N)."""
    x = operand(x, data.dtype)
    y = np.empty((len(indptr) - 1, x.shape[1]), dtype=data.dtype)
    multiply = getattr(_native.csr, f"{data.dtype.name}_{indices.dtype.name}")
    multiply(ready(indptr), ready(indices), ready(data), x, y, get_threads(threads))
    return y
