"""Sparse Bayesian learning with a variance of its own for every entry: the baseline without structure."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer._core.checks import check_float
from gossamer.solve.bayes.evidence import Plan, SparseBayesResult, check_factors, maximise_evidence
from gossamer.solve.bayes.posterior import PlainModel
from gossamer.solve.iteration import Callback


def sbl(
    A: Any,
    y: Any,
    *,
    noise_var: float | None = None,
    max_iter: int = 150,
    tol: float = 1e-4,
    prune_rel: float | None = None,
    prune_abs: float = 0.0,
    gamma_init: Any = None,
    callback: Callback | None = None,
) -> SparseBayesResult:
    r"""Recover a sparse x from ``y = A x + n`` by expectation maximisation of the evidence.

    :math:`\gamma \leftarrow \mathrm{diag}(\Sigma_x) + |\mu|^2`, the posterior by the Cholesky factor of the covariance
    of y: ``O(M^2 N + M^3)`` an iteration.

    Parameters
    ----------
    A : array, shape (M, N)
        Real or complex.
    y : array, shape (M,) or (M, P)
        Measurements; columns are snapshots that share the variances.
    noise_var : float, optional
        Variance of the noise; learnt if None.
    max_iter, tol, prune_abs, callback
        As for :func:`kro_sbl`.
    prune_rel : float, optional
        Share of the largest variance below which atoms are dropped; 1e-3, or half of it if the noise is learnt.
    gamma_init : array, shape (N,), optional
        Positive variances to start from; ones by default.

    Returns
    -------
    SparseBayesResult
        With one mode.

    Raises
    ------
    ArgumentError
        As for :func:`kro_sbl`.

    References
    ----------
    Tipping, "Sparse Bayesian learning and the relevance vector machine", JMLR 1, 2001; Wipf and Rao, IEEE
    Transactions on Signal Processing 52, 2004.
    """
    share = prune_rel
    if share is None:
        share = 1e-3 if noise_var is not None else 5e-4
    share = check_float("prune_rel", share, low=0, high=1, closed="left")
    start = None if gamma_init is None else [gamma_init]
    plan = Plan(
        noise_var, False, max_iter, tol, [share], check_float("prune_abs", prune_abs, low=0), start, callback
    )
    return maximise_evidence(check_factors([A]), y, PlainModel, _update, plan)


def _update(moments: np.ndarray, gammas: list[np.ndarray], kept: list[np.ndarray]) -> list[np.ndarray]:
    return [moments]
