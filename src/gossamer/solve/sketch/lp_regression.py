"""Regression in a p-norm: a linear program for p = 1, Newton's method above."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.linalg
import scipy.optimize
import scipy.sparse

from gossamer._core.arrays import to_numpy
from gossamer._core.checks import check_array, check_float
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.solve.iteration import Callback, SolverResult, Watch
from gossamer.solve.sketch.coreset import Coreset
from gossamer.solve.sketch.leverage import check_rows_matrix, whitener
from gossamer.solve.sketch.lewis import weighted_gram
from gossamer.solve.sketch.power_loss import curvature, slope, smoothed, stages
from gossamer.solve.sketch.row_blocks import MatrixBlocks

SIMPLEX = 5000  # rows up to which the simplex method is no slower than interior points


@dataclass(frozen=True, kw_only=True)
class LpResult(SolverResult):
    """What :func:`lp_regression` returns.

    Attributes
    ----------
    fun : float
        ``sum w_i |a_i x - b_i|^p`` over the rows that were used.
    gap : float
        For p = 1, how far ``fun`` can be above the minimum at most, by the dual.
    rows_used : int
        Rows of positive weight.
    """

    fun: float = math.nan
    gap: float = math.nan
    rows_used: int = 0


def lp_regression(
    A: Any,
    b: Any,
    p: float,
    *,
    sample_weight: Any = None,
    coreset: Coreset | None = None,
    tol: float = 1e-10,
    maxiter: int = 200,
    callback: Callback | None = None,
) -> LpResult:
    r"""Minimise :math:`\sum_i w_i |a_i x - b_i|^p`, on all rows or on a coreset.

    Robust to outliers for p near one, close to the smallest largest residual for large p.

    Parameters
    ----------
    A : array or sparse matrix, shape (n, d)
        Real and finite. With dependent columns one of the solutions is returned, and a :class:`RuntimeWarning`.
    b : array, shape (n,)
        Right side. With a coreset only its rows are read.
    p : float
        At least one, finite.
    sample_weight : array, shape (n,), optional
        Weights of the powers, not negative.
    coreset : Coreset, optional
        Solve on these rows with these weights, drawn by :func:`lp_coreset` from A and b; or from A alone where values
        of b are dear.
    tol : float
        For p > 1 the relative decrement of Newton's method: twice what a step would gain, over the value.
    maxiter : int
        Most Newton steps.
    callback : callable, optional
        Called with an :class:`Iteration`, for p > 1.

    Returns
    -------
    LpResult

    Raises
    ------
    ArgumentError, ShapeError
        For p < 1 or infinite, weights that are negative or all zero, and shapes that do not fit.

    Notes
    -----
    p = 1: the dual linear program ``max b y, A^T y = 0, |y| <= w`` by HiGHS, interior points and crossover where
    rows are many; x are its multipliers. Else Newton steps
    of ``2 n d^2`` operations in a basis in which A has orthonormal columns, with step lengths halved where needed;
    below two residuals are smoothed at zero, by 1e-8 of their size in the end; above three the exponent rises step by
    step. p = 2 is one factorisation.

    References
    ----------
    Woodruff and Yasuda, "Sharper bounds for lp sensitivity sampling", ICML 2023, arXiv 2306.00732.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.solve import lp_regression
    >>> A = np.ones((5, 1))
    >>> b = np.array([0.0, 1, 2, 3, 100])
    >>> float(lp_regression(A, b, 1).x[0])
    2.0
    """
    p = check_float("p", p, low=1)
    check_float("tol", tol, low=0, closed="neither")
    A, b, weights = _rows_used(A, b, p, sample_weight, coreset)
    X = whitener(A)
    Q = np.asarray(A @ X)
    if p == 1:
        return _linear_program(Q, b, weights, X)
    return _newton(Q, b, weights, p, X, Watch("decrement", tol=tol, maxiter=maxiter, callback=callback))


def _rows_used(
    A: Any, b: Any, p: float, sample_weight: Any, coreset: Coreset | None
) -> tuple[Any, np.ndarray, np.ndarray]:
    n = A.shape[0] if hasattr(A, "shape") else len(A)
    b = to_numpy(check_array("b", b, ndim=1, finite=coreset is None)).astype(np.float64)
    if b.shape != (n,):
        raise ShapeError(f"b has shape {b.shape}: expected ({n},), as many as A has rows")
    weights = None
    if sample_weight is not None:
        weights = to_numpy(check_array("sample_weight", sample_weight, ndim=1)).astype(np.float64)
        if weights.shape != (n,) or weights.min(initial=0) < 0:
            raise ArgumentError(f"sample_weight: expected {n} numbers >= 0, one a row")
    if coreset is None:
        weights = np.ones(n) if weights is None else weights
        index = np.flatnonzero(weights > 0)
        weights = weights[index]
    else:
        if coreset.n != n or coreset.p != p:
            raise ArgumentError(
                f"coreset is of {coreset.n} rows and p={coreset.p:g}: expected {n} rows and p={p:g}"
            )
        index, more = coreset.index, weights
        weights = coreset.weight if more is None else coreset.weight * more[index]
        index, weights = index[weights > 0], weights[weights > 0]
    if not len(index):
        raise ArgumentError("sample_weight: expected at least one positive weight")
    if len(index) == n:
        return check_rows_matrix("A", A), b, weights
    rows = scipy.sparse.csr_array(A)[index] if scipy.sparse.issparse(A) else to_numpy(A)[index]
    return check_rows_matrix("A", rows), check_array("b", b[index], ndim=1), weights


def _linear_program(Q: np.ndarray, b: np.ndarray, weights: np.ndarray, X: np.ndarray) -> LpResult:
    """``max b y`` with ``Q^T y = 0`` and ``|y| <= w``: multipliers of the equations are the coefficients."""
    size = float(np.abs(b).max(initial=0.0)) or 1.0
    bounds = np.stack([-weights, weights], axis=1)
    problem = {"A_eq": Q.T, "b_eq": np.zeros(Q.shape[1]), "bounds": bounds}
    # presolve compares columns with each other, in time n^2 here, and has nothing to find
    method = "highs-ds" if len(b) <= SIMPLEX else "highs-ipm"
    done = scipy.optimize.linprog(-b / size, **problem, method=method, options={"presolve": False})
    if not done.success:
        done = scipy.optimize.linprog(-b / size, **problem, method="highs")
    if not done.success:
        return LpResult(
            success=False,
            message=f"HiGHS: {done.message}",
            status=3,
            method="linear program",
            rows_used=len(b),
        )
    z = -np.asarray(done.eqlin.marginals) * size
    fun = float(weights @ np.abs(Q @ z - b))
    gap = fun - float(b @ done.x)
    return LpResult(
        x=X @ z,
        fun=fun,
        gap=gap,
        value=gap,
        nit=int(done.nit),
        message=f"within {gap:.2g} of the dual",
        method="linear program",
        rows_used=len(b),
    )


def _newton(
    Q: np.ndarray, b: np.ndarray, weights: np.ndarray, p: float, X: np.ndarray, watch: Watch
) -> LpResult:
    root, rows = np.sqrt(weights), MatrixBlocks(Q)
    z = scipy.linalg.lstsq(Q * root[:, None], b * root, lapack_driver="gelsy", check_finite=False)[0]
    r = Q @ z - b
    scale = float(np.abs(r).max(initial=0.0))
    if scale <= 1e-14 * float(np.abs(b).max(initial=0.0)) or p == 2:
        watch(X @ z, 0.0)
        return _result(watch, X @ z, r, weights, p, "least squares")
    typical = float(np.average(np.abs(r), weights=weights)) / scale
    steps, over = 0, False
    path = stages(p, typical, 1e-8)
    for exponent, mu in path:
        last = (exponent, mu) == path[-1]
        for _ in range(watch.maxiter):
            s = r / scale
            gradient = Q.T @ (weights * slope(s, exponent, mu))
            H = sum(rows.each(weighted_gram, weights * curvature(s, exponent, mu)))
            H[np.diag_indices_from(H)] += 1e-14 * np.trace(H) / len(H)
            move = -np.linalg.solve(H, gradient)
            value = float(weights @ smoothed(s, exponent, mu))
            decrement = -float(gradient @ move)
            over = last and watch(X @ z, max(decrement / value, 0.0) if value else 0.0)
            if over or decrement <= watch.tol * value:
                break
            length, change = 1.0, Q @ move
            while length > 1e-12:
                trial = float(weights @ smoothed(s + length * change, exponent, mu))
                if trial <= value - 0.1 * length * decrement:
                    break
                length /= 2
            else:
                watch.give_up("no step lowers the value")
                over = True
                break
            steps += 1
            z = z + scale * length * move
            r = Q @ z - b
        if over:
            break
    return replace(_result(watch, X @ z, r, weights, p, "newton"), nit=steps)


def _result(
    watch: Watch, x: np.ndarray, r: np.ndarray, weights: np.ndarray, p: float, method: str
) -> LpResult:
    fun = float(weights @ np.abs(r) ** p)
    return watch.result(x, kind=LpResult, fun=fun, rows_used=len(r), method=method)
