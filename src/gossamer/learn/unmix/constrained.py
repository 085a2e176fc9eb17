"""Abundances that are not negative and sum to one, exactly, for all pixels at once."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from gossamer._core.checks import check_array, check_float
from gossamer._core.errors import ShapeError

BACKUP = 3  # full exchanges that may fail to improve before single ones


def fcls(X: Any, M: Any, *, sum_to_one: float = 15.0, weights: Any = None) -> np.ndarray:
    r"""Fully constrained least squares: ``min |x - M^T a|^2 + delta^2 (1 - sum a)^2`` over ``a >= 0``, for each pixel.

    Solved exactly by block principal pivoting: all pixels with the same set of positive abundances share one
    factorisation.

    Parameters
    ----------
    X : array, shape (N, L)
        Pixels by channels.
    M : array, shape (K, L)
        Endmembers.
    sum_to_one : float
        delta, relative to the largest value of X; 0 asks for nothing but signs.
    weights : array, shape (L,), optional
        Weights of the squared residuals of channels.

    Returns
    -------
    ndarray, shape (N, K)
        Abundances.

    Raises
    ------
    ShapeError
        If X and M have other numbers of channels.

    Notes
    -----
    O(N L K) for the products and O(N K^2 + sets K^3) an exchange. Equivalent to ``scipy.optimize.nnls`` with a row of
    delta appended, pixel by pixel.

    References
    ----------
    Heinz, Chang, IEEE TGRS 2001; Kim, Park, "Fast nonnegative matrix factorization", SIAM J. Sci. Comput. 2011.
    """
    X, M = check_array("X", X, ndim=2), check_array("M", M, ndim=2)
    if X.shape[1] != M.shape[1]:
        raise ShapeError(f"X has {X.shape[1]} channels and M {M.shape[1]}: expected as many")
    delta = check_float("sum_to_one", sum_to_one, low=0)
    if weights is not None:
        weights = np.asarray(weights, np.float64)
        if weights.shape != (X.shape[1],) or not (weights >= 0).all():
            raise ShapeError(f"weights has shape {weights.shape}: expected ({X.shape[1]},) numbers >= 0")
    dtype = np.result_type(X, M)
    scale = float(X.max(initial=0.0)) or 1.0
    M64 = M.astype(np.float64)
    weighted = M64 if weights is None else M64 * weights
    gram = weighted @ M64.T + (delta * scale) ** 2
    sides = X @ weighted.T.astype(dtype) + dtype.type((delta * scale) ** 2)
    return nonnegative_least_squares(gram, sides.astype(np.float64)).astype(dtype)


def nonnegative_least_squares(gram: np.ndarray, sides: np.ndarray) -> np.ndarray:
    """Minimise ``a^T G a / 2 - a^T b`` over ``a >= 0`` for every row b of ``sides``: (N, K), float64.

    Parameters
    ----------
    gram : ndarray, shape (K, K)
        G, symmetric and positive definite (a ridge at rounding is added).
    sides : ndarray, shape (N, K)
        Right sides.
    """
    K = len(gram)
    G = gram + 1e-14 * np.trace(gram) * np.eye(K)
    passive = sides > 0
    a = _solve(G, sides, passive)
    tolerance = 1e-11 * np.abs(sides).max(axis=1, initial=0.0)[:, None] + 1e-300
    best = np.full(len(sides), K + 1)
    left = np.full(len(sides), BACKUP)
    active = np.arange(len(sides))
    for _ in range(100 * K):
        slope = a[active] @ G - sides[active]
        wrong = np.where(passive[active], a[active] < -1e-13, slope < -tolerance[active])
        count = wrong.sum(axis=1)
        keep = count > 0
        active, wrong, count = active[keep], wrong[keep], count[keep]
        if not len(active):
            break
        better = count < best[active]
        best[active[better]], left[active[better]] = count[better], BACKUP
        full = better | (left[active] > 0)
        left[active[~better]] -= 1
        last = K - 1 - np.argmax(wrong[:, ::-1], axis=1)
        single = np.zeros_like(wrong)
        single[np.arange(len(active)), last] = True
        passive[active] ^= np.where(full[:, None], wrong, single)
        a[active] = _solve(G, sides[active], passive[active])
    return np.maximum(a, 0)


def _solve(G: np.ndarray, sides: np.ndarray, passive: np.ndarray) -> np.ndarray:
    """Unconstrained minima over the passive entries, zero elsewhere."""
    out = np.zeros_like(sides)
    if not len(sides):
        return out
    codes, members = np.unique(np.packbits(passive, axis=1), axis=0, return_inverse=True)
    order = np.argsort(members.ravel(), kind="stable")
    bounds = np.searchsorted(members.ravel()[order], np.arange(len(codes) + 1))
    for start, end in itertools.pairwise(bounds.tolist()):
        rows = order[start:end]
        chosen = np.flatnonzero(passive[rows[0]])
        if len(chosen):
            solution = np.linalg.solve(G[np.ix_(chosen, chosen)], sides[np.ix_(rows, chosen)].T)
            out[np.ix_(rows, chosen)] = solution.T
    return out
