"""Batches of symmetric matrices: eigenvalues clipped to an interval, positive definite solves."""

from __future__ import annotations

import math

import numpy as np
from scipy.linalg.lapack import dposv

from gossamer._core.errors import ArgumentError


def clip_eigenvalues(H: np.ndarray, low: float, high: float = math.inf) -> tuple[np.ndarray, int]:
    """Project symmetric parts onto ``{low I <= H <= high I}`` in the Frobenius norm, which clips eigenvalues.

    Parameters
    ----------
    H : ndarray, shape (k, d, d)
        Symmetrised first.
    low, high : float
        Allowed eigenvalues.

    Returns
    -------
    projected : ndarray, shape (k, d, d)
        O(k d^3), by a Cholesky factorisation where nothing needs clipping and eigenvectors where something does.
    count : int
        Matrices that had an eigenvalue outside.
    """
    H = 0.5 * (H + H.swapaxes(-1, -2))
    if _inside(H, low, high):
        return H, 0
    w, Q = np.linalg.eigh(H)
    out = (w[:, 0] < low) | (w[:, -1] > high)
    clipped = (Q * np.clip(w, low, high)[:, None, :]) @ Q.swapaxes(-1, -2)
    clipped = 0.5 * (clipped + clipped.swapaxes(-1, -2))
    return np.where(out[:, None, None], clipped, H), int(out.sum())


def solve_positive(H: np.ndarray, B: np.ndarray) -> np.ndarray:
    """Solve ``H[k] x = B[k]`` by Cholesky factorisations, O(k d^3).

    Parameters
    ----------
    H : ndarray, shape (k, d, d)
        Symmetric positive definite.
    B : ndarray, shape (k, d)
        Right sides.
    """
    out = np.empty_like(B)
    for k in range(len(B)):
        _, out[k], info = dposv(H[k], B[k], lower=1)
        if info:
            raise ArgumentError(f"matrix {k} is not positive definite: pivot {info} of its Cholesky factor")
    return out


def _inside(H: np.ndarray, low: float, high: float) -> bool:
    one = np.eye(H.shape[-1])
    try:
        np.linalg.cholesky(H - low * one)
        if high < math.inf:
            np.linalg.cholesky(high * one - H)
    except np.linalg.LinAlgError:
        return False
    return True
