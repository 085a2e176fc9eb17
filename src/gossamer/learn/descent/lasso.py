"""The Lasso by block coordinate descent."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from gossamer._core.checks import check_float
from gossamer._core.random import RandomState
from gossamer.learn.descent.design import SIZE, with_constant
from gossamer.solve import BCDResult, Lasso, block_coordinate_descent


class BCDLasso(RegressorMixin, BaseEstimator):
    r"""Linear regression with absolute values, ``1/(2m) ||X w + c - y||^2 + alpha ||w||_1``.

    The objective of :class:`sklearn.linear_model.Lasso`, minimised on a block of coordinates at a time. By default the
    block is the ``block_size`` coordinates with most to gain, and its minimum is exact: with blocks as large as the
    support the fit ends after finitely many iterations.

    Parameters
    ----------
    alpha : float
        Weight of the absolute values.
    fit_intercept : bool
        Fit c, which is not penalised.
    partition, select, update : str
        As for :func:`gossamer.solve.block_coordinate_descent`.
    block_size : int, optional
        Coordinates in a block; at most 64 by default.
    max_iter : int
        Most block iterations.
    tol : float
        Converged when the largest proximal step is ``tol`` of the first.
    random_state : int, Generator or None
        For random rules.

    Attributes
    ----------
    coef_ : ndarray, shape (n_features,)
        w.
    intercept_ : float
        c.
    n_iter_ : int
        Block iterations, at least 1.
    result_ : BCDResult
        History, active set and all; its x is w, followed by c for sparse data.
    n_features_in_ : int
        Columns of X.

    Raises
    ------
    ArgumentError
        If alpha is negative, or the rules do not go together.

    Notes
    -----
    Passes scikit-learn's ``check_estimator``. Dense data are centred in a copy; sparse ones get a column of ones.

    References
    ----------
    Nutini, Laradji, Schmidt, "Let's Make Block Coordinate Descent Converge Faster", arXiv 1712.08859.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.learn import BCDLasso
    >>> X = np.random.default_rng(0).normal(size=(50, 10))
    >>> model = BCDLasso(alpha=0.1).fit(X, 3 * X[:, 4] + 1)
    >>> np.flatnonzero(model.coef_).tolist()
    [4]
    """

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        fit_intercept: bool = True,
        partition: str = "variable",
        select: str = "gsd",
        update: str = "prox-newton",
        block_size: int | None = None,
        max_iter: int = 1000,
        tol: float = 1e-8,
        random_state: RandomState = None,
    ) -> None:
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.partition = partition
        self.select = select
        self.update = update
        self.block_size = block_size
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        """Sparse data are welcome."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def fit(self, X: Any, y: Any) -> BCDLasso:
        """Fit to X (m, n_features), dense or sparse, and y (m,)."""
        alpha = check_float("alpha", self.alpha, low=0)
        X, y = validate_data(self, X, y, accept_sparse="csc", dtype=(np.float64, np.float32), y_numeric=True)
        m, n = X.shape
        y = np.asarray(y, np.float64)
        lam = np.full(n, alpha * m)
        x_mean, y_mean = np.zeros(n), 0.0
        if self.fit_intercept and not scipy.sparse.issparse(X):
            x_mean, y_mean = X.mean(axis=0, dtype=np.float64), float(y.mean())
            X, y = np.asfortranarray(X - x_mean.astype(X.dtype)), y - y_mean
        elif self.fit_intercept:
            X, lam = with_constant(X), np.r_[lam, 0.0]
        size = min(SIZE, X.shape[1]) if self.block_size is None else self.block_size
        self.result_: BCDResult = block_coordinate_descent(
            Lasso(X, y, lam), partition=self.partition, select=self.select, update=self.update, block_size=size,
            maxiter=self.max_iter, tol=self.tol, random_state=self.random_state,
        )  # fmt: skip
        x = self.result_.x.astype(np.float64)
        self.coef_ = self.result_.x[:n]
        self.intercept_ = float(x[n]) if len(x) > n else y_mean - float(x_mean @ x)
        self.n_iter_ = max(self.result_.nit, 1)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """``X w + c``: (m,)."""
        check_is_fitted(self, "coef_")
        X = validate_data(self, X, accept_sparse="csr", dtype=(np.float64, np.float32), reset=False)
        return X @ self.coef_ + self.intercept_
