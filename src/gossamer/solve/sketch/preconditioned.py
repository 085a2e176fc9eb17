"""From a sketch to full precision: LSQR preconditioned by its triangular factor, and Newton steps with fresh ones."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import scipy.linalg

from gossamer.solve.iteration import Watch
from gossamer.solve.sketch.tall import Ridged


class Factor:
    """The triangular factor of a sketched problem and its solution.

    Attributes
    ----------
    R : ndarray, shape (d, d)
        ``R^T R = (S A)^T (S A) + ridge I``.
    x : ndarray, shape (d, k)
        The sketched solution.
    deviation : ndarray, shape (d, k)
        Its standard deviation, coefficient by coefficient, as if the sketch were Gaussian.
    shrink : float
        ``1 - sqrt(d / m)``: the smallest singular value that A times the inverse of R is expected to have.
    """

    def __init__(self, SA: np.ndarray, Sb: np.ndarray, ridge: float) -> None:
        m, d = SA.shape
        whole = np.concatenate([SA, Sb], axis=1)
        if ridge:
            whole = np.concatenate([whole, math.sqrt(ridge) * np.eye(d, whole.shape[1], dtype=whole.dtype)])
        triangle = scipy.linalg.qr(whole, mode="r", overwrite_a=True, check_finite=False)[0]
        self.R, right = triangle[:d, :d], triangle[:d, d:]
        size = np.linalg.norm(self.R, axis=0)
        if not np.all(np.abs(np.diagonal(self.R)) > d * np.finfo(SA.dtype).eps * size):
            raise np.linalg.LinAlgError(
                f"the sketched matrix is rank deficient: increase m={m} or use ridge; columns of A may depend on "
                "each other"
            )
        self.shrink = max(1 - math.sqrt(d / m), 0.0)
        self.x = self.solve(right)
        self.inverse_rows = np.linalg.norm(self.solve(np.eye(d, dtype=SA.dtype)), axis=1)
        residual = np.linalg.norm(triangle[d:, d:], axis=0)
        self.deviation = np.outer(self.inverse_rows, residual / math.sqrt(max(m - d, 1)))
        if m == d:
            self.deviation[:] = np.inf

    def solve(self, y: np.ndarray) -> np.ndarray:
        """``R^{-1} y``."""
        return scipy.linalg.solve_triangular(self.R, y, check_finite=False)

    def solve_transposed(self, y: np.ndarray) -> np.ndarray:
        """``R^{-T} y``."""
        return scipy.linalg.solve_triangular(self.R, y, trans="T", check_finite=False)

    def bound(self, x: np.ndarray, gradient: np.ndarray, residual: np.ndarray) -> np.ndarray:
        """How far coefficients are from the solution: (d, k), from norms of ``R^{-T} A^T r`` and of r.

        A gradient is not known better than to a unit of rounding of what cancels in it.
        """
        size = residual + np.linalg.norm(self.R @ x, axis=0)
        rounding = np.finfo(x.dtype).eps * float(np.linalg.cond(self.R)) * size
        gap = self.shrink**2
        return np.outer(self.inverse_rows, (gradient + rounding) / gap if gap else np.inf * size)


def preconditioned_lsqr(
    problem: Ridged, factor: Callable[[], Factor], watch: Watch
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """LSQR on ``A R^{-1}`` for all right sides at once, from the sketched solution on.

    Returns the solution (d, k), norms of residuals (k,), and bounds of the error of each coefficient (d, k).
    """
    one = factor()
    start, b = one.x, problem.sides()
    whole = _sizes(b)
    u = b - problem.times(start)
    beta = _normalise(u)
    v = one.solve_transposed(problem.adjoint(u))
    alpha = _normalise(v)
    y, w = np.zeros_like(v), v.copy()
    phi_bar, rho_bar = beta, alpha
    gradient = alpha * beta

    def x() -> np.ndarray:
        return start + one.solve(y)

    over = watch(start, float((gradient / whole).max(initial=0.0)))
    while not over:
        u = problem.times(one.solve(v)) - alpha * u
        beta = _normalise(u)
        v = one.solve_transposed(problem.adjoint(u)) - beta * v
        alpha = _normalise(v)
        rho = np.hypot(rho_bar, beta)
        rho[rho == 0] = 1.0  # this side is solved: nothing moves any more
        c, s = rho_bar / rho, beta / rho
        theta, rho_bar = s * alpha, -c * alpha
        phi, phi_bar = c * phi_bar, s * phi_bar
        y += (phi / rho) * w
        w = v - (theta / rho) * w
        gradient = phi_bar * alpha * np.abs(c)
        over = watch(x() if watch.callback else start, float((gradient / whole).max(initial=0.0)))
    solution = x()
    norms = problem.residual_norms(solution)
    return solution, norms, one.bound(solution, gradient, norms)


def hessian_sketch(
    problem: Ridged, factor: Callable[[], Factor], watch: Watch
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Newton steps ``x += t ((S A)^T S A + ridge I)^{-1} A^T (b - A x)`` with a fresh S each; returns as LSQR does."""
    one = factor()
    x, b = one.x, problem.sides()
    whole = _sizes(b)
    while True:
        residual = b - problem.times(x)
        gradient = one.solve_transposed(problem.adjoint(residual))
        norms = np.linalg.norm(gradient, axis=0)
        if watch(x, float((norms / whole).max(initial=0.0))):
            sizes = problem.residual_norms(x)
            return x, sizes, one.bound(x, norms, sizes)
        ratio = (1 - one.shrink) ** 2  # d / m
        x = x + np.asarray((1 - ratio) ** 2 / (1 + ratio), x.dtype) * one.solve(gradient)
        one = factor()


def _normalise(v: np.ndarray) -> np.ndarray:
    """Divide columns by their norms in place, zero columns by one; the norms."""
    norms = np.linalg.norm(v, axis=0)
    v /= np.where(norms > 0, norms, 1)
    return norms


def _sizes(b: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(b, axis=0)
    return np.where(norms > 0, norms, 1)
