"""Sparse Bayesian learning with a support that is a Kronecker product."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from gossamer._core.arrays import to_numpy
from gossamer._core.checks import check_array, check_choice, check_float, check_int
from gossamer._core.errors import ShapeError
from gossamer.linalg import KroneckerMatrix
from gossamer.solve.bayes.evidence import Plan, SparseBayesResult, check_factors, maximise_evidence
from gossamer.solve.bayes.posterior import KroneckerModel, Model
from gossamer.solve.bayes.variances import Update, alternating, coupled, rank_one, single_sweep
from gossamer.solve.iteration import Callback

PRUNE_REL = {"am": 1e-2, "svd": 1e-3, "ksbl": 1e-2}


def kro_sbl(
    factors: Any,
    y: Any,
    *,
    method: str = "svd",
    noise_var: float | None = None,
    noiseless: bool = False,
    coupling: Sequence[float | None] | None = None,
    max_iter: int = 150,
    tol: float = 1e-4,
    inner_tol: float = 1e-5,
    max_inner: int = 1000,
    prune_rel: str | float | Sequence[float] = "auto",
    prune_abs: float = 0.0,
    gamma_init: Sequence[Any] | None = None,
    callback: Callback | None = None,
) -> SparseBayesResult:
    r"""Recover a sparse x seen through a Kronecker product of matrices, its support being a Kronecker product too.

    The data are ``y = (A_1 kron ... kron A_I) x + n``.

    The prior is :math:`x \sim N(0, \mathrm{diag}(\gamma_1 \otimes \dots \otimes \gamma_I))`. Expectation maximisation
    of the evidence drives most variances to zero: neither the sparsity nor a weight has to be known, and the
    posterior says how certain the rest is. Nothing of the size of the product is formed: an iteration costs
    :math:`O(\sum_i M_i^3 + M_i^2 N_i)` and mode products, ``O(I n m max(n, m)^(I-1))`` for equal sizes n by m.

    "svd" is fast and, in the paper and here, as accurate as any; "am" never lets the cost rise, which is what to take
    where convergence matters more. Where nonzeros come in runs, give ``coupling``.

    Parameters
    ----------
    factors : list of array, shapes (M_i, N_i), or KroneckerMatrix
        Real or complex. The last factor varies fastest in x: ``x.reshape(N_1, ..., N_I)``.
    y : array, shape (M,) or (M, P)
        Measurements, M the product of the M_i; columns are snapshots that share the variances.
    method : {"svd", "am", "ksbl"}
        Update of the variances: successive best rank-one fits; alternating exact minimisation; one sweep of it
        (an earlier method, for comparison).
    noise_var : float, optional
        Variance of the noise (of a complex number as a whole); learnt if None.
    noiseless : bool
        Take the limit of no noise, mode by mode, instead.
    coupling : sequence of float or None, optional
        One number in [0, 1] a mode: how much an atom shares with its neighbours; 0 or None, nothing. Makes the update
        that of PC-KroSBL, an approximate alternating one: the cost can rise a little.
    max_iter : int
        Most iterations.
    tol : float
        Converged when the variances change by less than this, relatively.
    inner_tol, max_inner : float, int
        The same for the sweeps of "am" within an iteration.
    prune_rel : "auto", float or sequence of float
        Atoms are dropped whose variance is below this share of the largest of their mode. "auto": 1e-2 for "am" and
        "ksbl", 1e-3 for "svd", half of that if the noise is learnt, 0 if ``noiseless``.
    prune_abs : float
        And below this; modes but the last have variances of unit norm.
    gamma_init : list of array, shapes (N_i,), optional
        Positive variances to start from; ones by default. The start has the unit of x squared: one far below the
        nonzeros tells atoms apart sooner and, with a known noise, often better; one far above keeps more of them.
    callback : callable, optional
        Called with an :class:`Iteration` each iteration; ends the loop by returning True.

    Returns
    -------
    SparseBayesResult
        Posterior mean and variances, prior variances, noise, support.

    Raises
    ------
    ArgumentError
        For shapes that do not fit, NaN, a noise variance that is not positive, couplings that are not one number in
        [0, 1] a mode.

    Warns
    -----
    RuntimeWarning
        If y is zero, in which case x is.

    References
    ----------
    He and Joseph, "Bayesian Algorithms for Kronecker-structured Sparse Vector Recovery With Application to IRS-MIMO
    Channel Estimation", IEEE Transactions on Signal Processing, 2024, arXiv 2307.14719.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.solve import kro_sbl
    >>> rng = np.random.default_rng(0)
    >>> A, B = rng.normal(size=(6, 10)), rng.normal(size=(8, 12))
    >>> x = np.zeros((10, 12))
    >>> x[np.ix_([2, 7], [3, 4])] = 1
    >>> y = np.kron(A, B) @ x.reshape(-1) + 0.01 * rng.normal(size=48)
    >>> result = kro_sbl([A, B], y)
    >>> [s.tolist() for s in result.support]
    [[2, 7], [3, 4]]
    """
    if isinstance(factors, KroneckerMatrix):
        factors = [factors.factors["left"], factors.factors["right"]]
    matrices = check_factors(factors)
    check_choice("method", method, PRUNE_REL)
    inner_tol, max_inner = (
        check_float("inner_tol", inner_tol, low=0),
        check_int("max_inner", max_inner, low=1),
    )
    update = _update(method, inner_tol, max_inner, _couplings(coupling, len(matrices)))
    learn = noise_var is None and not noiseless
    plan = Plan(
        noise_var, noiseless, max_iter, tol, _shares(prune_rel, method, learn, noiseless, len(matrices)),
        check_float("prune_abs", prune_abs, low=0), gamma_init, callback,
    )  # fmt: skip

    def model(columns: Any, gammas: Any) -> Model:
        return KroneckerModel(columns, gammas, noiseless)

    return maximise_evidence(matrices, y, model, update, plan)


def _update(method: str, inner_tol: float, max_inner: int, couplings: list[float]) -> Update:
    if any(couplings):
        return coupled(couplings)
    if method == "am":
        return alternating(inner_tol, max_inner)
    return rank_one if method == "svd" else single_sweep


def _couplings(coupling: Sequence[float | None] | None, modes: int) -> list[float]:
    if coupling is None:
        return [0.0] * modes
    if len(coupling) != modes:
        raise ShapeError(f"coupling has {len(coupling)} entries: expected {modes}, one a factor")
    return [check_float(f"coupling[{i}]", beta or 0.0, low=0, high=1) for i, beta in enumerate(coupling)]


def _shares(given: Any, method: str, learn: bool, noiseless: bool, modes: int) -> list[float]:
    if isinstance(given, str):
        check_choice("prune_rel", given, ("auto",))
        return [0.0 if noiseless else PRUNE_REL[method] * (0.5 if learn else 1.0)] * modes
    shares = to_numpy(check_array("prune_rel", given, ndim=(0, 1))).reshape(-1).tolist()
    if len(shares) not in (1, modes):
        raise ShapeError(f"prune_rel has {len(shares)} entries: expected 1 or {modes}")
    shares *= modes // len(shares)
    return [
        check_float(f"prune_rel[{i}]", math.inf if share is None else share, low=0, high=1, closed="left")
        for i, share in enumerate(shares)
    ]
