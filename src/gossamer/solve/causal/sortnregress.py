"""Order variables by their variances, regress each on those before it: what a simulated graph gives away for free."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from gossamer._core.arrays import to_numpy
from gossamer._core.checks import check_array
from gossamer._core.lazy import require
from gossamer.solve.causal.acyclicity import check_weights
from gossamer.solve.causal.moments import check_covariance


def sortnregress(X: Any) -> np.ndarray:
    """Estimate a linear DAG from the order of the marginal variances (needs scikit-learn).

    Each variable is regressed on all with a smaller variance: least squares, then a lasso on predictors weighted by it,
    chosen by BIC. In simulated graphs variances grow along edges, so that this simple rule is hard to beat there; it
    knows nothing once columns are standardised. Compare with it before believing in a graph.

    Parameters
    ----------
    X : array, shape (n, d)
        Observations in rows.

    Returns
    -------
    ndarray, shape (d, d), float64
        Weights of a DAG.

    Raises
    ------
    ArgumentError
        As for :func:`colide_ev`.

    References
    ----------
    Reisach, Seiler, Weichwald, "Beware of the simulated DAG!", NeurIPS 2021, arXiv 2102.13647.
    """
    linear = require("sklearn.linear_model", "learn")
    check_covariance(X, False)
    rows = to_numpy(check_array("X", X, ndim=2)).astype(np.float64)
    rows = rows - rows.mean(axis=0)
    order = np.argsort(rows.var(axis=0), kind="stable")
    W = np.zeros((rows.shape[1], rows.shape[1]))
    for place in range(1, len(order)):
        before, target = order[:place], order[place]
        weight = np.abs(np.linalg.lstsq(rows[:, before], rows[:, target], rcond=None)[0])
        # BIC wants an estimate of the noise, which more predictors than rows do not leave
        noise = None if len(rows) > place + 1 else float(rows[:, target].var())
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=RuntimeWarning)
            lasso = linear.LassoLarsIC(criterion="bic", noise_variance=noise)
            lasso.fit(rows[:, before] * weight, rows[:, target])
        W[before, target] = lasso.coef_ * weight
    return W


def varsortability(X: Any, W: Any) -> float:
    """Share of directed paths of the true graph along which the marginal variance grows.

    1: the order of variances is an order of the graph; 1/2: it says nothing. Ties count half. Paths are counted once
    a length and pair of ends, as in the paper.

    Parameters
    ----------
    X : array, shape (n, d)
        Observations in rows.
    W : array, shape (d, d)
        Weights of the true graph; edges where not zero.

    Returns
    -------
    float
        In [0, 1]; NaN for a graph without edges.

    Raises
    ------
    ArgumentError
        If the shapes do not fit.

    References
    ----------
    Reisach, Seiler, Weichwald, "Beware of the simulated DAG!", NeurIPS 2021, arXiv 2102.13647.
    """
    variances = to_numpy(check_array("X", X, ndim=2)).astype(np.float64).var(axis=0)
    edges = check_weights("W", W, len(variances)) != 0
    gap = variances[None, :] - variances[:, None]
    tie = np.abs(gap) <= 1e-9 * np.maximum(variances[None, :], variances[:, None])
    worth = np.where(tie, 0.5, (gap > 0).astype(float))
    paths, total, right = edges.astype(float), 0.0, 0.0
    for _ in range(len(edges) - 1):
        joined = paths > 0
        total, right = total + joined.sum(), right + worth[joined].sum()
        paths = (paths @ edges > 0).astype(float)
    return float(right / total) if total else float("nan")
