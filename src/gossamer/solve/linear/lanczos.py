"""Lanczos' tridiagonalisation, every vector made orthogonal to all before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import eigh_tridiagonal

from gossamer._core.checks import check_array, check_float, check_int
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.solve.operators import check_operator


@dataclass(frozen=True)
class Lanczos:
    """An orthonormal basis of a Krylov space, in which a symmetric matrix is tridiagonal.

    Attributes
    ----------
    alpha : ndarray of float64, shape (k,)
        The diagonal.
    beta : ndarray of float64, shape (k - 1,)
        Beside the diagonal, positive.
    vectors : ndarray of float64, shape (k, n)
        The basis, a vector a row.
    """

    alpha: np.ndarray
    beta: np.ndarray
    vectors: np.ndarray

    def ritz(self, low: float = -np.inf) -> tuple[np.ndarray, np.ndarray]:
        """Ritz values above ``low``, ascending, shape (j,), and their vectors of norm 1, shape (j, n)."""
        values, rotation = eigh_tridiagonal(self.alpha, self.beta)
        kept = values > low
        return values[kept], rotation[:, kept].T @ self.vectors


def lanczos(A: Any, start: Any, steps: int, *, tol: float = 1e-10) -> Lanczos:
    r"""Tridiagonalise a symmetric matrix on the Krylov space of a vector: :math:`A V^T = V^T T` up to one last term.

    Without orthogonalisation against all earlier vectors, rounding brings vectors back that have converged, and Ritz
    values appear several times. Here it is done in full, a second time where the first one has cancelled much.

    Parameters
    ----------
    A : array, sparse matrix, StructuredMatrix or LinearOperator, shape (n, n)
        Symmetric; only products are taken.
    start : array, shape (n,)
        Not zero.
    steps : int
        Vectors; at most n are computed.
    tol : float
        Ends early, with an invariant space, where ``beta`` is at most this times the largest ``alpha`` and ``beta``.

    Returns
    -------
    Lanczos

    Raises
    ------
    ArgumentError, ShapeError, UnsupportedError
        If the arguments do not fit together, or ``start`` is zero.

    Notes
    -----
    ``steps`` products and ``2 n steps**2`` flops; ``8 n steps`` bytes.

    References
    ----------
    Lanczos, "An iteration method for the solution of the eigenvalue problem of linear differential and integral
    operators", 1950. Daniel, Gragg, Kaufman and Stewart, "Reorthogonalization and stable algorithms for updating the
    Gram-Schmidt QR factorization", 1976.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.solve import lanczos
    >>> lanczos(np.diag([1.0, 2.0, 5.0]), np.ones(3), 3).ritz()[0].round(12)
    array([1., 2., 5.])
    """
    operator = check_operator("A", A)
    n = operator.shape[0]
    first = np.array(check_array("start", start, ndim=1), np.float64)
    if first.shape != (n,):
        raise ShapeError(f"start has shape {first.shape}: expected ({n},)")
    size = float(np.linalg.norm(first))
    if size == 0:
        raise ArgumentError("start is zero: expected a vector that spans a Krylov space")
    check_float("tol", tol, low=0)
    count = min(check_int("steps", steps, low=1), n)
    V, alpha, beta = np.empty((count, n)), np.empty(count), np.empty(count)
    V[0], scale = first / size, 0.0
    for j in range(count):
        w = np.asarray(operator.matvec(V[j]), np.float64)
        alpha[j] = V[j] @ w
        w = w - alpha[j] * V[j] - (beta[j - 1] * V[j - 1] if j else 0)
        scale = max(scale, abs(alpha[j]))
        before, after = np.inf, float(np.linalg.norm(w))
        while 0 < after < 0.7 * before:  # false after a pass that took little away
            w -= (V[: j + 1] @ w) @ V[: j + 1]
            before, after = after, float(np.linalg.norm(w))
        beta[j] = after
        scale = max(scale, after)
        if j + 1 == count or after <= tol * scale:
            return Lanczos(alpha[: j + 1], beta[:j], V[: j + 1])
        V[j + 1] = w / after
    raise AssertionError("unreachable")
