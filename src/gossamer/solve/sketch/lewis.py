"""Lewis weights: leverage scores of the reweighted matrix that they themselves define."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import scipy.linalg

from gossamer._core.checks import check_float, check_int
from gossamer.solve.iteration import ConvergenceWarning
from gossamer.solve.sketch.leverage import BLOCK, check_rows_matrix, quadratic_forms, whitener

SMALLEST = 1e-300


def lewis_weights(A: Any, p: float, *, tol: float = 1e-10, max_iter: int = 200) -> np.ndarray:
    r"""Lewis weights of the rows for exponent p.

    .. math:: w_i = \tau_i(W^{1/2 - 1/p} A), \qquad w_i^{2/p} = a_i (A^T W^{1 - 2/p} A)^{-1} a_i^T

    They sum to the rank of A and bound sensitivities: :math:`\sigma_i \le w_i` for :math:`p \le 2` and
    :math:`\sigma_i \le d^{p/2-1} w_i` above. Cheap, and good scores to sample rows by. For p = 2 they are the leverage
    scores.

    Parameters
    ----------
    A : array or sparse matrix, shape (n, d)
        Real and finite.
    p : float
        Positive.
    tol : float
        Largest relative change of a weight in the last step.
    max_iter : int
        Most steps; a :class:`ConvergenceWarning` says where they were not enough.

    Returns
    -------
    ndarray, shape (n,)
        float64; zero for rows that are zero.

    Raises
    ------
    ArgumentError
        For p <= 0 and entries that are not finite.

    Notes
    -----
    ``3 n d^2`` operations a step. In logarithms a step goes a share of the way to the leverage scores of the reweighted
    matrix: p/2 of it for p <= 2, which contracts by ``1 - p/2``, and ``2 p / (p + 2)`` of it above, which near the
    solution contracts by ``(p - 2) / (p + 2)``; it is halved where a step makes things worse.

    References
    ----------
    Cohen and Peng, "Lp row sampling by Lewis weights", STOC 2015. Woodruff and Yasuda, "Sharper bounds for lp
    sensitivity sampling", ICML 2023, arXiv 2306.00732.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.solve import lewis_weights
    >>> w = lewis_weights(np.random.default_rng(0).normal(size=(50, 4)), 1)
    >>> round(float(w.sum()), 8)
    4.0
    """
    p = check_float("p", p, low=0, closed="neither")
    check_float("tol", tol, low=0, closed="neither")
    check_int("max_iter", max_iter, low=1)
    A = check_rows_matrix("A", A)
    weights, change = iterate_weights(A, p, tol, max_iter)
    if change > tol:
        warnings.warn(
            f"Lewis weights still change by {change:.2g} > tol={tol:g} after max_iter={max_iter} steps",
            ConvergenceWarning,
            stacklevel=2,
        )
    return weights


def iterate_weights(
    A: Any, p: float, tol: float, max_iter: int = 200, *, orthonormal: bool = False
) -> tuple[np.ndarray, float]:
    """:func:`lewis_weights` of a checked matrix, whose columns may be known to be orthonormal; and the last change."""
    out = np.zeros(A.shape[0])
    Q = A if orthonormal else np.asarray(A @ whitener(A))
    held = np.flatnonzero(np.einsum("ij,ij->i", Q, Q) > 0)
    if not len(held):
        return out, 0.0
    Q = Q if len(held) == len(Q) else Q[held]
    logs = np.full(len(held), np.log(Q.shape[1] / len(held)))
    share, change, before = (p / 2 if p <= 2 else 2 * p / (p + 2)), np.inf, np.inf
    for _ in range(max_iter):
        step = reweighted_log_scores(Q, logs, p) - logs
        change = float(np.abs(step).max())
        if change <= tol:
            break
        if change > before:
            share /= 2
        before = change
        logs = np.maximum(logs + share * step, np.log(SMALLEST))
    out[held] = np.exp(logs + step)
    return out, change


def reweighted_log_scores(Q: np.ndarray, logs: np.ndarray, p: float) -> np.ndarray:
    """Logarithms of the leverage scores of ``W^{1/2 - 1/p} Q`` for weights given by logarithms."""
    power = (1 - 2 / p) * logs
    largest = power.max()
    factor = gram_factor(Q, np.exp(power - largest))
    forms = quadratic_forms(Q, factor)
    return np.log(np.maximum(forms, SMALLEST)) + power - largest


def gram_factor(Q: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """X with ``X X^T = (Q^T diag(weights) Q)^{-1}``, by blocks of rows."""
    d = Q.shape[1]
    G = np.zeros((d, d))
    step = max(BLOCK // max(d, 1), 1)
    for lo in range(0, len(Q), step):
        part = Q[lo : lo + step]
        G += (part * weights[lo : lo + step, None]).T @ part
    try:
        lower = scipy.linalg.cholesky(G, lower=True, check_finite=False)
    except np.linalg.LinAlgError:  # weights of very different sizes: the spectrum is all there is
        values, vectors = np.linalg.eigh(G)
        kept = values > d * np.finfo(float).eps * values[-1]
        return vectors[:, kept] / np.sqrt(values[kept])
    return scipy.linalg.solve_triangular(lower, np.eye(d), lower=True, trans="T", check_finite=False)
