"""Centred clipping: steps towards the mean of gradients that are clipped around the current point."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer._core.arrays import Array, to_numpy
from gossamer._core.checks import check_array, check_float, check_int
from gossamer._core.errors import ShapeError
from gossamer.solve.aggregation.gradients import Gradients


def centered_clipping(G: Any, *, tau: float = 10.0, n_iter: int = 3, start: Array | None = None) -> Any:
    r"""Return :math:`v_L` of :math:`v \leftarrow v + \frac1p \sum_i (g_i - v) \min(1, \tau / \|g_i - v\|)`.

    Parameters
    ----------
    G : array or tensor, shape (p, n), or list of p arrays or tensors, shape (n,)
        Gradients.
    tau : float
        Radius, in units of gradient norms: no worker moves the result further than ``tau / p`` an iteration.
    n_iter : int
        Iterations.
    start : array or tensor, shape (n,), optional
        :math:`v_0`, for instance what the step before returned; zero by default.

    Raises
    ------
    ArgumentError, ShapeError
        ``tau`` or ``n_iter`` is not positive, or ``start`` does not fit.

    References
    ----------
    Karimireddy, He, Jaggi. Learning from history for Byzantine robust optimization. ICML 2021.
    """
    tau = check_float("tau", tau, low=0, closed="neither")
    n_iter = check_int("n_iter", n_iter, low=1)
    gradients = Gradients.of(G)
    if start is None:
        gradients, K = gradients.finite_gram()
        return gradients.combine(_clipped(K, np.zeros(gradients.p), gradients.p, tau, n_iter))
    v = to_numpy(check_array("start", start, ndim=1)).astype(gradients.dtype, copy=False)
    if v.shape != (gradients.n,):
        raise ShapeError(f"start has shape {v.shape}: expected ({gradients.n},)")
    gradients, K = gradients.finite().with_row(v).finite_gram()
    p = gradients.p - 1
    return gradients.combine(_clipped(K, np.eye(p + 1)[p], p, tau, n_iter))


def _clipped(K: np.ndarray, a: np.ndarray, p: int, tau: float, n_iter: int) -> np.ndarray:
    for _ in range(n_iter):
        square = a @ K @ a - 2 * K[:p] @ a + np.diagonal(K)[:p]
        distance = np.sqrt(np.maximum(square, 0))
        share = np.minimum(1, tau / np.maximum(distance, 1e-300)) / p
        a = a * (1 - share.sum())
        a[:p] += share
    return a
