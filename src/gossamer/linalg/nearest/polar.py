"""The unitary factor of a square matrix, by an SVD or by Newton-Schulz steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gossamer._core.checks import check_array, check_choice
from gossamer._core.errors import ShapeError

METHODS = ("auto", "svd", "newton-schulz")
SMALL = 64
STEPS = 24  # beyond, singular values differ by more than 1e4 and an SVD is cheaper
SAFETY = 1.25


@dataclass(frozen=True)
class PolarFactor:
    """What :func:`polar_factor` found.

    Attributes
    ----------
    unitary : ndarray, shape (n, n)
        Q of ``G = Q H`` with H positive semidefinite; of the dtype of G.
    method : str
        "svd" or "newton-schulz": which one gave it.
    steps : int
        Newton-Schulz steps taken, also where they did not converge.
    vector : ndarray, shape (n,)
        Near the leading right singular vector: the start for a matrix that differs little.
    """

    unitary: np.ndarray
    method: str
    steps: int
    vector: np.ndarray


def polar_factor(G: Any, *, method: str = "auto", vector: Any = None) -> PolarFactor:
    r"""Orthogonal (unitary) matrix nearest to a square matrix: ``U V^H`` of ``G = U \Sigma V^H``.

    Newton-Schulz takes :math:`X \leftarrow \tfrac12 X (3 I - X^H X)` from :math:`X = G / \|G\|_2`: matrix products
    alone, two a step, about ``log_1.5`` of the condition plus five steps. Where G is singular, the SVD completes the
    factor deterministically.

    Parameters
    ----------
    G : array, shape (n, n)
        float32, float64 or complex.
    method : {"auto", "svd", "newton-schulz"}
        "auto" is the SVD below n = 64, else Newton-Schulz. Steps that have not converged after 24, because G is nearly
        singular, give way to the SVD, and ``method`` of the result says so.
    vector : array, shape (n,), optional
        Of an earlier result, for a matrix that has changed little: saves most of the power iteration for the norm.

    Returns
    -------
    PolarFactor

    Raises
    ------
    ShapeError, ArgumentError
        G is not square, or has NaN or infinite entries.

    Notes
    -----
    O(n^3). Orthogonal to 1e-10 in float64 and 1e-5 in float32. A previous factor is no start for Newton-Schulz, whose
    steps keep the factor of what they start from: only the norm carries over.

    References
    ----------
    Higham, "Functions of Matrices", SIAM 2008, chapter 8.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.linalg import polar_factor
    >>> polar_factor(np.diag([2.0, -0.5])).unitary.round(6).tolist()
    [[1.0, 0.0], [0.0, -1.0]]
    """
    check_choice("method", method, METHODS)
    G = np.asarray(check_array("G", G, ndim=2, real=False))
    n = len(G)
    if G.shape != (n, n):
        raise ShapeError(f"G has shape {G.shape}: expected a square matrix")
    start = None if vector is None else np.asarray(vector)
    if start is not None and start.shape != (n,):
        raise ShapeError(f"vector has shape {start.shape}: expected ({n},)")
    if method == "svd" or (method == "auto" and n < SMALL):
        return _by_svd(G, 0)
    norm, start = _norm(G, start)
    if not norm > 0:
        return _by_svd(G, 0)
    X = G / np.asarray(SAFETY * norm, G.real.dtype)
    limit = 1e-5 if G.real.dtype == np.float32 else 1e-10
    for step in range(STEPS + 1):
        square = X.conj().T @ X
        square[np.diag_indices(n)] -= 1
        error = float(np.abs(square).max())
        if error <= limit:
            return PolarFactor(X, "newton-schulz", step, start)
        if not error < 2:  # the norm was taken for too small
            return _by_svd(G, step)
        X = X - 0.5 * (X @ square)
    return _by_svd(G, STEPS)


def _by_svd(G: np.ndarray, steps: int) -> PolarFactor:
    U, _, Vh = np.linalg.svd(G)
    return PolarFactor(U @ Vh, "svd", steps, Vh[0].conj() if len(Vh) else np.zeros(0, G.dtype))


def _norm(G: np.ndarray, start: np.ndarray | None) -> tuple[float, np.ndarray]:
    """Largest singular value from below, by the power method, and the vector."""
    rounds = 3 if start is not None else 12
    v = G.conj().sum(axis=0) + G[0].conj() if start is None else start.astype(G.dtype)
    norm = 0.0
    for _ in range(rounds):
        size = float(np.linalg.norm(v))
        if not size > 0:
            v = np.ones(len(G), G.dtype)
            size = float(np.linalg.norm(v))
        image = G @ (v / size)
        norm = max(norm, float(np.linalg.norm(image)))
        v = G.conj().T @ image
    size = float(np.linalg.norm(v))
    return norm, v / size if size > 0 else np.ones(len(G), G.dtype)
