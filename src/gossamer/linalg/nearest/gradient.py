"""Projected gradient descent in a metric, for families that project exactly only in the Frobenius norm."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np

from gossamer._core.arrays import to_numpy
from gossamer.linalg.metric import metric_product, weighted_error
from gossamer.linalg.operator import StructuredMatrix

Member = TypeVar("Member", bound=StructuredMatrix)


def descend(
    project: Callable[[np.ndarray], Member], W: np.ndarray, metric: np.ndarray | None, sweeps: int
) -> Member:
    r"""Start at ``project(W)`` and step ``A <- project(A + (W - A) H / ||H||_2)`` while the error falls.

    The step minimises, over the family, a quadratic that lies above the error and touches it at ``A``: with an
    exact ``project`` no step can raise the error. O(O K^2) a step for a full metric.

    Parameters
    ----------
    project : callable
        The projection in the Frobenius norm.
    W : ndarray, shape (O, K)
        What to approximate.
    metric : None or ndarray, shape (K,) or (K, K)
        None returns ``project(W)``.
    sweeps : int
        Most steps to take.
    """
    best = project(W)
    if metric is None:
        return best
    size = float(metric.max() if metric.ndim == 1 else np.linalg.eigvalsh(metric.astype(np.float64))[-1])
    if size <= 0:
        return best
    dense = to_numpy(best.to_dense())
    error = weighted_error(W, dense, metric)
    for _ in range(sweeps):
        target = dense + metric_product(W - dense, metric) / size
        member = project(target.astype(W.dtype, copy=False))
        dense = to_numpy(member.to_dense())
        new_error = weighted_error(W, dense, metric)
        if not new_error < error:
            break
        best, error = member, new_error
    return best
