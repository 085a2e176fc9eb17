"""The metric of a projection: how much an error in each direction of the input weighs."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer._core.arrays import Array, to_numpy
from gossamer._core.checks import check_array
from gossamer._core.errors import ArgumentError, ShapeError


def check_metric(metric: Any, width: int, dtype: np.dtype) -> np.ndarray | None:
    """Return a metric as None, a non-negative vector (K,) or a symmetric matrix (K, K), in ``dtype``."""
    if metric is None:
        return None
    array = to_numpy(check_array("metric", metric, ndim=(1, 2))).astype(dtype, copy=False)
    if array.shape not in ((width,), (width, width)):
        raise ShapeError(f"metric has shape {array.shape}: expected ({width},) or ({width}, {width})")
    diagonal = array if array.ndim == 1 else np.diagonal(array)
    if (diagonal < 0).any():
        raise ArgumentError(f"metric has a negative diagonal entry {diagonal.min():.3g}: expected E[x x^T]")
    if array.ndim == 2 and np.abs(array - array.T).max() > 1e-3 * max(np.abs(array).max(), 1e-30):
        raise ArgumentError("metric is not symmetric: expected E[x x^T]")
    return array


def weighted_error(W: Array, W_hat: Array, metric: np.ndarray | None = None) -> float:
    """``trace((W - W_hat) H (W - W_hat)^T)`` in float64.

    Parameters
    ----------
    W, W_hat : arrays or tensors, shape (O, K)
        A matrix and its approximation.
    metric : None or ndarray, shape (K,) or (K, K)
        ``H``; None is the identity, a vector a diagonal.

    Returns
    -------
    float
        The squared error.
    """
    exact = to_numpy(W)
    error = exact.astype(np.result_type(exact.dtype, np.float64)) - to_numpy(W_hat)
    if np.iscomplexobj(error):  # a real metric keeps the two parts apart
        error = np.concatenate([error.real, error.imag])
    if metric is None:
        return float((error**2).sum())
    weight = metric.astype(np.float64)
    return float((error**2 @ weight).sum() if weight.ndim == 1 else ((error @ weight) * error).sum())


def metric_product(W: np.ndarray, metric: np.ndarray | None) -> np.ndarray:
    """``W H`` in float64 for any of the three kinds of metric."""
    wide = W.astype(np.float64, copy=False)
    if metric is None:
        return wide
    weight = metric.astype(np.float64, copy=False)
    return wide * weight if weight.ndim == 1 else wide @ weight
