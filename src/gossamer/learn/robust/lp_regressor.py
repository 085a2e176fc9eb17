"""Linear regression in a p-norm, on all rows or on a small weighted set of them."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import scipy.sparse
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from gossamer._core.checks import check_float, check_int
from gossamer._core.random import RandomState
from gossamer.solve import Coreset, lp_coreset, lp_regression


class LpRegressor(RegressorMixin, BaseEstimator):
    r"""Linear model that minimises :math:`\sum_i w_i |x_i \beta + \beta_0 - y_i|^p`.

    p near one is robust to outliers in y, p = 2 is least squares, large p comes close to the smallest largest residual.
    With ``coreset`` rows are drawn first, by scores of the data with y, and only they are fitted.

    Parameters
    ----------
    p : float
        At least one.
    coreset : int, optional
        Rows to fit on, about; all by default.
    scores : str
        What rows are drawn by, as for :func:`gossamer.solve.lp_coreset`.
    fit_intercept : bool
        Whether to add a constant.
    tol : float
        Of the solver, see :func:`gossamer.solve.lp_regression`.
    max_iter : int
        Most Newton steps.
    random_state : int, Generator or None
        Source of the draws.

    Attributes
    ----------
    coef_ : ndarray, shape (n_features,)
        Slopes.
    intercept_ : float
        The constant.
    coreset_ : Coreset or None
        The rows that were drawn.
    n_iter_ : int
        Newton steps, or iterations of the linear program.
    n_features_in_ : int
        Columns of the data.

    Notes
    -----
    Passes every check of scikit-learn's ``check_estimator``. With p = 1 there can be several solutions; one of them is
    found.

    References
    ----------
    Woodruff and Yasuda, "Sharper bounds for lp sensitivity sampling", ICML 2023, arXiv 2306.00732.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.learn import LpRegressor
    >>> X = np.arange(20.0)[:, None]
    >>> y = 3 * X[:, 0] + 1
    >>> y[5] = 1000
    >>> model = LpRegressor(p=1).fit(X, y)
    >>> round(float(model.coef_[0]), 6), round(float(model.intercept_), 6)
    (3.0, 1.0)
    """

    def __init__(
        self,
        p: float = 1.5,
        *,
        coreset: int | None = None,
        scores: str = "lewis",
        fit_intercept: bool = True,
        tol: float = 1e-10,
        max_iter: int = 200,
        random_state: RandomState = None,
    ) -> None:
        self.p = p
        self.coreset = coreset
        self.scores = scores
        self.fit_intercept = fit_intercept
        self.tol = tol
        self.max_iter = max_iter
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> LpRegressor:
        """Fit to X of shape (n_samples, n_features) and y of shape (n_samples,), with weights of the powers."""
        check_float("p", self.p, low=1)
        X, y = validate_data(self, X, y, dtype=np.float64, y_numeric=True, accept_sparse="csr")
        weights = None
        if sample_weight is not None:
            weights = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        A = X
        if self.fit_intercept:
            ones = np.ones((X.shape[0], 1))
            A = (
                scipy.sparse.hstack([X, ones], format="csr")
                if scipy.sparse.issparse(X)
                else np.hstack([X, ones])
            )
        drawn: Coreset | None = None
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="A has rank")  # dependent columns are usual in data
            if self.coreset is not None and self.coreset < X.shape[0]:
                check_int("coreset", self.coreset, low=1)
                drawn = lp_coreset(
                    A,
                    self.p,
                    self.coreset,
                    scores=self.scores,
                    b=y,
                    sample_weight=weights,
                    random_state=self.random_state,
                )
                weights = None  # the weights of the coreset have them
            result = lp_regression(
                A, y, self.p, sample_weight=weights, coreset=drawn, tol=self.tol, maxiter=self.max_iter
            )
        self.coreset_ = drawn
        self.coef_ = result.x[: X.shape[1]]
        self.intercept_ = float(result.x[-1]) if self.fit_intercept else 0.0
        self.n_iter_ = max(result.nit, 1)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Values of the fitted model: (n_samples,)."""
        check_is_fitted(self, "coef_")
        X = validate_data(self, X, dtype=np.float64, reset=False, accept_sparse="csr")
        return X @ self.coef_ + self.intercept_

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
