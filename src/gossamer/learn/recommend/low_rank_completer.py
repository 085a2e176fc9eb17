"""Impute missing entries by a matrix of low rank."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from gossamer._core.checks import check_int
from gossamer._core.errors import ShapeError
from gossamer._core.random import RandomState
from gossamer.solve import CompletionResult, matrix_completion, multi_response_regression


class LowRankCompleter(TransformerMixin, BaseEstimator):
    r"""Fill in a table that is near a matrix of low rank, ``X ~ U V^T`` on what was observed.

    ``transform`` keeps what is observed and fills in the rest; for new rows, coefficients are regressed on V.

    Parameters
    ----------
    rank : int
        Rank; cut to the smaller side of X.
    method : {"auto", "exact", "qr", "cg", "shared", "sketch"}
        Solver of the regressions, see :func:`gossamer.solve.multi_response_regression`.
    ridge : float
        Penalty of the factors; wanted where rows have fewer observations than the rank.
    weighted_ridge : bool
        Multiply the penalty of a row or column by its number of observations.
    max_iter : int
        Most sweeps.
    tol : float
        See :func:`gossamer.solve.matrix_completion`.
    warm_start : bool
        Start a further ``fit`` from the factors of the last one, if shapes agree.
    random_state : int, Generator or None
        Of the start.
    n_jobs : int, optional
        Threads; the result does not depend on them.

    Attributes
    ----------
    components_ : ndarray, shape (rank, n_features)
        ``V^T``.
    result_ : CompletionResult
        Of the fit: factors, history, incoherence.
    rank_, n_iter_ : int
        Rank and sweeps of the fit.
    n_features_in_ : int
        Columns of X.

    Raises
    ------
    ArgumentError
        Parameters out of range.

    Notes
    -----
    X is dense with NaN for what is missing, or sparse: then every *stored* entry is an observation, zeros too, and all
    others are missing. Passes scikit-learn's ``check_estimator``. Only ``transform`` forms a dense matrix.

    References
    ----------
    Gu, Song, Yin, Zhang, "Low rank matrix completion via robust alternating minimization in nearly linear time",
    arXiv 2302.11068.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.learn import LowRankCompleter
    >>> X = np.outer(np.arange(1.0, 7), [1.0, 2, 3, 4])
    >>> X[np.arange(4), np.arange(4)] = np.nan
    >>> filled = LowRankCompleter(rank=1, tol=1e-10, random_state=0).fit_transform(X)
    >>> [float(round(x, 6)) for x in np.diagonal(filled)]
    [1.0, 4.0, 9.0, 16.0]
    """

    def __init__(
        self,
        rank: int = 10,
        *,
        method: str = "auto",
        ridge: float = 0.0,
        weighted_ridge: bool = False,
        max_iter: int = 50,
        tol: float = 1e-8,
        warm_start: bool = False,
        random_state: RandomState = None,
        n_jobs: int | None = None,
    ) -> None:
        self.rank = rank
        self.method = method
        self.ridge = ridge
        self.weighted_ridge = weighted_ridge
        self.max_iter = max_iter
        self.tol = tol
        self.warm_start = warm_start
        self.random_state = random_state
        self.n_jobs = n_jobs

    def fit(self, X: Any, y: Any = None) -> LowRankCompleter:
        """Fit factors to what is observed.

        Parameters
        ----------
        X : array with NaN, or sparse matrix, shape (n_samples, n_features)
            float32 stays float32.
        y : ignored
        """
        X = self._checked(X, reset=True)
        rows, cols, vals = _triples(X)
        self.rank_ = min(check_int("rank", self.rank, low=1), *X.shape)
        init: Any = "spectral"
        before = getattr(self, "result_", None)
        if (
            self.warm_start
            and before is not None
            and (*before.shape, len(before.S)) == (*X.shape, self.rank_)
        ):
            init = (before.U, before.V)
        self.result_: CompletionResult = matrix_completion(
            rows, cols, vals, X.shape, self.rank_, method=self.method, ridge=self.ridge, maxiter=self.max_iter,
            weighted_ridge=self.weighted_ridge, tol=self.tol, init=init, dtype=X.dtype, threads=self.n_jobs,
            random_state=self.random_state,
        )  # fmt: skip
        self.components_ = np.ascontiguousarray(self.result_.V.T)
        self.n_iter_ = max(self.result_.nit, 1)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """X with its missing entries filled in, dense, shape (n_samples, n_features)."""
        check_is_fitted(self, "components_")
        X = self._checked(X, reset=False)
        filled = self._codes(X) @ self.components_.astype(X.dtype)
        rows, cols, vals = _triples(X)
        filled[rows, cols] = vals
        return filled

    def encode(self, X: Any) -> np.ndarray:
        """Coefficients of rows on V from what is observed of them, shape (n_samples, rank)."""
        check_is_fitted(self, "components_")
        return self._codes(self._checked(X, reset=False))

    def inverse_transform(self, codes: Any) -> np.ndarray:
        """Rows of the low-rank matrix for coefficients as :meth:`encode` gives, (n_samples, n_features)."""
        check_is_fitted(self, "components_")
        codes = np.asarray(codes)
        if codes.ndim != 2 or codes.shape[1] != self.rank_:
            raise ShapeError(f"codes have shape {codes.shape}: expected (n_samples, {self.rank_})")
        return codes @ self.components_

    def predict_entries(self, rows: Any, cols: Any) -> np.ndarray:
        """Entries of the low-rank matrix at places of the fitted table, shape (len(rows),)."""
        check_is_fitted(self, "components_")
        return self.result_.predict(rows, cols)

    def _codes(self, X: Any) -> np.ndarray:
        rows, cols, vals = _triples(X)
        turned = sp.coo_array((vals, (cols, rows)), shape=X.shape[::-1]).tocsc()
        codes, _ = multi_response_regression(
            self.components_.T.astype(X.dtype), turned, method="exact", ridge=self.ridge,
            weighted_ridge=self.weighted_ridge, threads=self.n_jobs,
        )  # fmt: skip
        return codes

    def _checked(self, X: Any, *, reset: bool) -> Any:
        return validate_data(
            self,
            X,
            reset=reset,
            dtype=[np.float64, np.float32],
            accept_sparse=["csr", "csc", "coo"],
            ensure_all_finite="allow-nan",
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _triples(X: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places and values of what is observed: stored entries, or entries that are not NaN."""
    if sp.issparse(X):
        coo = X.tocoo()
        known = ~np.isnan(coo.data)
        return coo.row[known], coo.col[known], coo.data[known]
    rows, cols = np.nonzero(~np.isnan(X))
    return rows, cols, X[rows, cols]
