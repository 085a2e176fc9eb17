"""A linear causal graph of the columns of a table, with the noise of each of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data

from gossamer._core.checks import check_choice
from gossamer.solve import LinearDAGResult, colide_ev, colide_nv, to_dag, topological_order

SOLVES = {"ev": colide_ev, "nv": colide_nv}


class CoLiDE(BaseEstimator):
    r"""Sparse directed acyclic graph of direct linear effects between columns, by CoLiDE.

    The model is :math:`x_j = \sum_i W_{ij} x_i + z_j`. Graph and standard deviations of z are estimated together, so
    that ``lam`` needs less care than in least squares. What it says about interventions is true if effects are linear,
    no common cause is missing, and either noise variances are about equal or noise is far from them in known units:
    compare with :func:`gossamer.solve.sortnregress`, and do not standardise columns that share a unit.

    Parameters
    ----------
    noise : {"nv", "ev"}
        One noise scale a column, or one for all. "ev" identifies the graph where it is true.
    lam : float
        Weight of the l1 norm.
    threshold : float
        Weights of at most this size are no edges; in units of the data.
    init : {"zero", "ev"}
        With ``noise="nv"``: start from nothing, or from the weights found with one scale.
    T, mu, mu_factor, s, warm_iter, max_iter, lr, tol, checkpoint, sigma_floor, acyclicity, solver
        As for :func:`gossamer.solve.colide_ev`.
    covariance : {None, "precomputed"}
        "precomputed": X is the covariance (over n) of the columns, for instance of :func:`gossamer.solve.partial_cov`.
    warm_start : bool
        Whether to start from the weights of the last fit.

    Attributes
    ----------
    adjacency_ : ndarray, shape (n_features, n_features)
        Weights of the acyclic graph; ``[i, j]`` is the effect of column i on j.
    weights_raw_ : ndarray, shape (n_features, n_features)
        Weights before the threshold; small ones may close cycles.
    noise_std_ : ndarray, shape (n_features,)
        Standard deviation of the noise of each column, all equal with "ev".
    order_ : ndarray, shape (n_features,)
        Columns such that causes come before effects.
    location_ : ndarray, shape (n_features,)
        Means of the columns; zero with a precomputed covariance.
    n_iter_ : int
        Iterations.
    history_ : dict of str to list
        Objective, score, measure of cycles and scale at every checkpoint.
    n_features_in_ : int
        Columns of the data.

    Notes
    -----
    Passes every check of scikit-learn's ``check_estimator``. Sparse input is refused: centring would fill it. There
    is no ``transform`` and no ``predict``; see :meth:`residuals`, :meth:`score` and :meth:`total_effects`. Nothing is
    random.

    References
    ----------
    Saboksayr, Mateos, Tepper, "CoLiDE: Concomitant Linear DAG Estimation", ICLR 2024, arXiv 2310.02895.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.learn import CoLiDE
    >>> rng = np.random.default_rng(0)
    >>> rain = rng.normal(size=500)
    >>> river = 2 * rain + rng.normal(size=500)
    >>> mill = -1.5 * river + rng.normal(size=500)
    >>> model = CoLiDE(noise="ev", lr=1e-3, warm_iter=3000, max_iter=6000).fit(np.c_[mill, rain, river])
    >>> model.order_
    array([1, 2, 0])
    >>> model.total_effects()[1].round(0)  # of rain on mill, rain itself, river
    array([-3.,  1.,  2.])
    """

    def __init__(
        self,
        noise: str = "nv",
        lam: float = 0.05,
        threshold: float = 0.3,
        init: str = "zero",
        *,
        T: int = 4,
        mu: float = 1.0,
        mu_factor: float = 0.1,
        s: Sequence[float] | float = (1.0, 0.9, 0.8, 0.7),
        warm_iter: int = 20_000,
        max_iter: int = 70_000,
        lr: float = 3e-4,
        tol: float = 1e-6,
        checkpoint: int = 1000,
        sigma_floor: float = 1e-2,
        acyclicity: str = "logdet",
        solver: str = "adam",
        covariance: str | None = None,
        warm_start: bool = False,
    ) -> None:
        self.noise = noise
        self.lam = lam
        self.threshold = threshold
        self.init = init
        self.T = T
        self.mu = mu
        self.mu_factor = mu_factor
        self.s = s
        self.warm_iter = warm_iter
        self.max_iter = max_iter
        self.lr = lr
        self.tol = tol
        self.checkpoint = checkpoint
        self.sigma_floor = sigma_floor
        self.acyclicity = acyclicity
        self.solver = solver
        self.covariance = covariance
        self.warm_start = warm_start

    def fit(self, X: Any, y: Any = None) -> CoLiDE:
        """Estimate the graph of the columns of X, (n_samples, n_features), or of their covariance; y is ignored."""
        check_choice("noise", self.noise, SOLVES)
        check_choice("init", self.init, ("zero", "ev"))
        given = check_choice("covariance", self.covariance, (None, "precomputed")) is not None
        start = getattr(self, "weights_raw_", None) if self.warm_start else None
        X = validate_data(
            self, X, dtype=(np.float64, np.float32), ensure_min_samples=2, ensure_min_features=2
        )
        nit, history = 0, None
        if start is None and self.noise == "nv" and self.init == "ev":
            common = self._solve("ev", X, given, None)
            start, nit, history = common.W, common.nit, common.history
        result = self._solve(self.noise, X, given, start)
        self.weights_raw_ = result.W
        self.adjacency_ = to_dag(result.W, self.threshold)
        self.noise_std_ = np.full(X.shape[1], result.sigma) if self.noise == "ev" else result.sigma
        self.order_ = topological_order(self.adjacency_)
        self.location_ = np.zeros(X.shape[1]) if given else X.mean(axis=0, dtype=np.float64)
        self.n_iter_ = nit + result.nit
        self.history_ = (
            result.history
            if history is None
            else {name: history[name] + entries for name, entries in result.history.items()}
        )
        return self

    def _solve(self, noise: str, X: np.ndarray, given: bool, start: np.ndarray | None) -> LinearDAGResult:
        return SOLVES[noise](
            X, self.lam, T=self.T, mu=self.mu, mu_factor=self.mu_factor, s=self.s, warm_iter=self.warm_iter,
            max_iter=self.max_iter, lr=self.lr, tol=self.tol, checkpoint=self.checkpoint,
            sigma_floor=self.sigma_floor, w_init=start, is_cov=given, acyclicity=self.acyclicity, solver=self.solver,
        )  # fmt: skip

    def residuals(self, X: Any) -> np.ndarray:
        """What the graph does not explain, ``(X - location_) (I - adjacency_)``: (n_samples, n_features).

        A row with one large residual, in units of ``noise_std_``, has its anomaly begin in that column.
        """
        check_is_fitted(self, "adjacency_")
        X = validate_data(self, X, dtype=np.float64, reset=False) - self.location_
        return X - X @ self.adjacency_

    def score(self, X: Any, y: Any = None) -> float:
        """Mean log-likelihood of rows under the acyclic graph with Gaussian noise of ``noise_std_``; y is ignored."""
        z = self.residuals(X) / self.noise_std_
        constant = np.log(self.noise_std_).sum() + 0.5 * len(self.noise_std_) * np.log(2 * np.pi)
        return float(-0.5 * np.square(z).sum(axis=1).mean() - constant)

    def total_effects(self) -> np.ndarray:
        """Change of column j for a unit of intervention on i, along all paths: ``(I - adjacency_)^-1``."""
        check_is_fitted(self, "adjacency_")
        # a nilpotent matrix in the order of its graph: the inverse is exact triangular substitution
        order = self.order_
        total = np.eye(len(order))
        for j in order:
            total[:, j] += total @ self.adjacency_[:, j]
        return total
