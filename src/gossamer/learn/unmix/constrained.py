"""Abundances that are not negative and sum to one, exactly, for all pixels at once."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer._core.checks import check_array, check_float
from gossamer._core.errors import ShapeError
from gossamer._kernels import unmix


def fcls(X: Any, M: Any, *, sum_to_one: float = 15.0, weights: Any = None) -> np.ndarray:
    r"""Fully constrained least squares: ``min |x - M^T a|^2 + delta^2 (1 - sum a)^2`` over ``a >= 0``, for each pixel.

    Solved exactly, by active sets on the normal equations.

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
    O(N L K) for the products and O(K^3) an exchange and pixel, of which there are about as many as positive
    abundances. Equivalent to ``scipy.optimize.nnls`` with a row of delta appended, pixel by pixel.

    References
    ----------
    Heinz, Chang, IEEE TGRS 2001; Lawson, Hanson, "Solving Least Squares Problems", 1974, chapter 23.
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


def nonnegative_least_squares(gram: np.ndarray, sides: np.ndarray, threads: int | None = None) -> np.ndarray:
    """Minimise ``a^T G a / 2 - a^T b`` over ``a >= 0`` for every row b of ``sides``: (N, K), float64.

    Parameters
    ----------
    gram : ndarray, shape (K, K)
        G, symmetric and positive definite (a ridge at rounding is added).
    sides : ndarray, shape (N, K)
        Right sides.
    threads : int, optional
    """
    return unmix.nonnegative(gram, sides, threads)
