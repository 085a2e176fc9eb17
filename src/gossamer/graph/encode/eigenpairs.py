"""The smallest eigenpairs of a symmetric matrix, all copies of multiple eigenvalues included."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse
from scipy.sparse.linalg import splu

from gossamer._core.checks import check_choice
from gossamer._core.errors import CostError, bad_argument

DENSE = 512
"""Up to this many rows the dense solver is faster, and exact about multiplicities."""
TOLERANCE = 1e-11
"""Length of a residual of the inverse, over its eigenvalue, at which a pair is found."""
BLOCKS, STEPS = 12, 300
"""Blocks that are kept at most, and steps before giving up."""
METHODS = ("auto", "dense", "sparse")


def smallest_eigenpairs(L: Any, k: int, method: str = "auto") -> tuple[np.ndarray, np.ndarray]:
    """The ``min(k, n)`` smallest eigenvalues in ascending order, and orthonormal eigenvectors in columns.

    Parameters
    ----------
    L : ndarray or sparse matrix, shape (n, n)
        Symmetric, its eigenvalues not far below zero.
    k : int
        How many.
    method : {"auto", "dense", "sparse"}
        LAPACK on all of L, O(n^3), or block Lanczos on the inverse of a factored L, for k < n; the second above 512
        rows where at most a quarter of the eigenvalues is asked for.
    """
    check_choice("method", method, METHODS)
    n = L.shape[0]
    k = min(k, n)
    if method == "auto":
        method = "dense" if n <= DENSE or 4 * k > n else "sparse"
    if method == "sparse":
        if k >= n:
            raise bad_argument("method", "sparse", f"'dense' for all of {n} eigenvalues")
        return _block_lanczos(scipy.sparse.csc_array(L), k)
    dense = L.toarray() if scipy.sparse.issparse(L) else np.asarray(L, np.float64)
    return scipy.linalg.eigh(dense, subset_by_index=(0, k - 1))


def _block_lanczos(L: scipy.sparse.csc_array, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Block Lanczos on the inverse of ``L - shift``: a block of k vectors meets k copies of an eigenvalue.

    One vector at a time, as ARPACK has it, meets a multiple eigenvalue once, and breaks down where few are distinct.
    """
    n = L.shape[0]
    shift = -1e-3 * max(float(abs(L).max()), 1.0)
    solve = splu((L - shift * scipy.sparse.eye_array(n)).tocsc()).solve
    size = min(k + 2, n)
    block = np.linalg.qr(np.random.default_rng(0).standard_normal((n, size)))[0]
    Q, SQ = np.empty((n, 0)), np.empty((n, 0))
    for _ in range(STEPS):
        Q, SQ = np.hstack([Q, block]), np.hstack([SQ, solve(block)])
        H = Q.T @ SQ
        theta, Y = np.linalg.eigh((H + H.T) / 2)
        theta, Y = theta[::-1][:size], Y[:, ::-1][:, : 2 * size]
        residual = SQ @ Y[:, :size] - (Q @ Y[:, :size]) * theta
        lengths = np.linalg.norm(residual, axis=0) / theta
        if Q.shape[1] >= n or lengths[:k].max() <= TOLERANCE:
            break
        if Q.shape[1] > BLOCKS * size:
            Q, SQ = Q @ Y, SQ @ Y
        block = _new_directions(residual, Q)
        if not block.shape[1]:
            break
    else:
        raise CostError(
            f"method='sparse' has not converged in {STEPS} steps: expected a graph that 'dense' can take"
        )
    V = np.linalg.qr(Q @ Y[:, :k])[0]
    return shift + 1 / theta[:k], V


def _new_directions(W: np.ndarray, Q: np.ndarray) -> np.ndarray:
    """An orthonormal basis of what W has beside Q, without what is rounding."""
    for _ in range(2):
        scale = np.linalg.norm(W, axis=0)
        W = W[:, scale > 0] / scale[scale > 0]
        W = W - Q @ (Q.T @ W)
        basis, R, _ = scipy.linalg.qr(W, mode="economic", pivoting=True)
        W = basis[:, np.abs(np.diag(R)) > 1e-8]
        if not W.shape[1]:
            break
    return W


__all__ = ["DENSE", "METHODS", "smallest_eigenpairs"]
