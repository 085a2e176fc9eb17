"""The geometric median of gradients, by Weiszfeld's iteration in their Gram matrix."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer._core.checks import check_float, check_int
from gossamer.solve.aggregation.distances import squared_distances
from gossamer.solve.aggregation.gradients import Gradients


def geometric_median(G: Any, *, max_iter: int = 200, tol: float = 1e-10) -> Any:
    r"""Return the point with the smallest sum of distances to the gradients, :math:`\min_x \sum_i \|x - g_i\|`.

    Parameters
    ----------
    G : array or tensor, shape (p, n), or list of p arrays or tensors, shape (n,)
        Gradients.
    max_iter : int
        Most iterations.
    tol : float
        Relative fall of the sum of distances that ends them.

    Raises
    ------
    ArgumentError
        ``max_iter`` or ``tol`` out of range.

    Notes
    -----
    ``O(p^2 n)`` for the Gram matrix and ``O(p n)`` for the result; an iteration is ``O(p^2)``. Whether a gradient is
    the median itself is decided first (the pull of the others on it is at most its multiplicity), so that no distance
    is 0 afterwards.

    References
    ----------
    Vardi, Zhang. The multivariate L1-median and associated data depth. PNAS 2000. Pillutla, Kakade, Harchaoui. Robust
    aggregation for federated learning. IEEE TSP 2022.
    """
    max_iter, tol = check_int("max_iter", max_iter, low=1), check_float("tol", tol, low=0)
    gradients, K = Gradients.of(G).finite_gram()
    return gradients.combine(_weiszfeld(K, max_iter, tol))


def _weiszfeld(K: np.ndarray, max_iter: int, tol: float) -> np.ndarray:
    p = len(K)
    own = np.diagonal(K)
    between = np.sqrt(squared_distances(K))
    np.fill_diagonal(between, 0)
    close = between <= 1e-8 * np.sqrt(own + own[:, None])  # the same point, but for rounding
    pull = np.where(close, 0, 1 / np.where(close, 1, between))
    a = pull - np.diag(
        pull.sum(axis=1)
    )  # row k: coefficients of the sum of unit vectors from g_k to the others
    force = np.sqrt(np.maximum(np.einsum("ki,ij,kj->k", a, K, a), 0))
    held = force <= close.sum(axis=1) + 1e-9
    if held.any():
        return np.eye(p)[int(held.argmax())]
    a = np.full(p, 1 / p)
    before = np.inf
    for _ in range(max_iter):
        square = a @ K @ a - 2 * K @ a + own
        distance = np.sqrt(np.maximum(square, 1e-28 * own.max()))
        total = float(distance.sum())
        if before - total <= tol * total:
            break
        before = total
        a = 1 / distance
        a /= a.sum()
    return a
