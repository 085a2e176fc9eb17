"""Regression on parities of binary features: which sets of them interact, and how strongly."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import LassoCV, OrthogonalMatchingPursuit, OrthogonalMatchingPursuitCV
from sklearn.utils.validation import check_is_fitted, validate_data

from gossamer._core.checks import check_choice, check_int
from gossamer._core.errors import ArgumentError, bad_argument
from gossamer._core.random import RandomState
from gossamer.linalg import SparseWHTResult, sparse_wht

MOST_TERMS = 20_000


class SparseWalshRegressor(RegressorMixin, BaseEstimator):
    r"""A function of binary features as a short sum of parities, ``f(x) = sum_S c_S prod_{i in S} (-1)^{x_i}``.

    Two ways to fit it. *Active*: ``fit(f)`` with a callable chooses the inputs and asks f for their values, by
    :func:`gossamer.linalg.sparse_wht`; all orders are found, with about ``K n`` queries. *Passive*: ``fit(X, y)`` on
    given data cannot choose; it is an l1 or greedy regression on all parities of at most ``max_order`` columns, which
    is not SPRIGHT and finds nothing of a higher order.

    Parameters
    ----------
    K : int, optional
        Number of terms expected: active, see :func:`sparse_wht`; passive, terms kept by "omp" (by cross-validation
        if None).
    n_features : int, optional
        Bits of an input of a callable; needed for ``fit(f)`` only.
    max_order : int
        Passive: largest number of columns in a term.
    solver : {"lasso", "omp"}
        Passive: l1 with a cross-validated penalty and least squares on what it selects, or orthogonal matching pursuit.
    threshold : {"median", None}
        Passive: columns that are not 0/1 are cut at their median; None refuses them.
    method, sigma, snr_db, C, b, P, max_queries, max_degree
        Active: as for :func:`gossamer.linalg.sparse_wht`.
    random_state : int, Generator or None
        Active: source of the queried inputs.

    Attributes
    ----------
    terms_ : list of tuple of int
        Columns of each term; the empty one is the constant.
    coef_ : ndarray, shape (n_terms,)
        Coefficient of each term.
    cuts_ : ndarray, shape (n_features,)
        A feature above its cut counts as 1.
    result_ : SparseWHTResult or None
        Of an active fit.
    n_features_in_ : int
        Columns of an input.

    Raises
    ------
    ArgumentError
        For a callable without ``n_features``, columns that are not 0/1 with ``threshold=None``, and more than 20,000
        parities.

    Notes
    -----
    Passes every check of scikit-learn's ``check_estimator`` as a passive regressor by "lasso"; by "omp" all but
    ``check_regressors_train``, which asks for more than one cut at the median of its one informative feature explains.
    An active fit takes a callable in place of X, which that contract does not know: pipelines and cross-validation
    take passive fits.

    References
    ----------
    Li, Bradley, Pawar, Ramchandran, "SPRIGHT", arXiv 1508.06336, 2015.

    Examples
    --------
    >>> from gossamer.learn import SparseWalshRegressor
    >>> model = SparseWalshRegressor(K=2, n_features=20, random_state=0)
    >>> model = model.fit(lambda bits: 3.0 * (bits[:, 2] ^ bits[:, 9]))
    >>> [(columns, round(value, 6)) for columns, value in model.interactions(2)]
    [((), 1.5), ((2, 9), -1.5)]
    """

    def __init__(
        self,
        K: int | None = None,
        *,
        n_features: int | None = None,
        max_order: int = 2,
        solver: str = "lasso",
        threshold: str | None = "median",
        method: str = "coded",
        sigma: float | None = None,
        snr_db: float | None = None,
        C: int = 3,
        b: int | None = None,
        P: int | None = None,
        max_queries: int | None = None,
        max_degree: int | None = None,
        random_state: RandomState = None,
    ) -> None:
        self.K = K
        self.n_features = n_features
        self.max_order = max_order
        self.solver = solver
        self.threshold = threshold
        self.method = method
        self.sigma = sigma
        self.snr_db = snr_db
        self.C = C
        self.b = b
        self.P = P
        self.max_queries = max_queries
        self.max_degree = max_degree
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> SparseWalshRegressor:
        """Fit to a callable by queries, or to data.

        Parameters
        ----------
        X : callable or array of shape (n_samples, n_features)
            A callable takes bits (q, n_features) uint8 and returns q numbers.
        y : array of shape (n_samples,), optional
            Targets; None for a callable.
        """
        return self._fit_active(X, y) if callable(X) else self._fit_passive(X, y)

    def _fit_active(self, f: Any, y: Any) -> SparseWalshRegressor:
        if y is not None:
            raise ArgumentError("y is given with a callable X: expected None, its values are asked for")
        if self.n_features is None:
            raise bad_argument("n_features", None, "the number of bits that the callable takes")
        self.result_: SparseWHTResult | None = sparse_wht(
            f, self.n_features, self.K, method=self.method, sigma=self.sigma, snr_db=self.snr_db, C=self.C, b=self.b,
            P=self.P, max_queries=self.max_queries, max_degree=self.max_degree, random_state=self.random_state,
        )  # fmt: skip
        self.n_features_in_ = self.result_.n
        self.cuts_ = np.full(self.result_.n, 0.5)
        pairs = self.result_.interactions()
        self.terms_, self.coef_ = [columns for columns, _ in pairs], np.array([value for _, value in pairs])
        return self

    def _fit_passive(self, X: Any, y: Any) -> SparseWalshRegressor:
        solver = check_choice("solver", self.solver, ("lasso", "omp"))
        check_choice("threshold", self.threshold, ("median", None))
        X, y = validate_data(self, X, y, dtype=np.float64, ensure_min_samples=2, y_numeric=True)
        self.result_ = None
        self.cuts_ = self._cuts(X)
        terms = self._parities(X.shape[1])
        design = _products(self.cuts_ < X, terms)
        kept = np.flatnonzero(np.ptp(design, axis=0) > 0)
        selected = kept[self._select(design[:, kept], y, solver)] if len(kept) else kept
        basis = np.column_stack([np.ones(len(y)), design[:, selected]])
        coef = np.linalg.lstsq(basis, y, rcond=None)[0]
        self.terms_, self.coef_ = [(), *(terms[i] for i in selected)], coef
        return self

    def _cuts(self, X: np.ndarray) -> np.ndarray:
        binary = np.isin(X, (0, 1)).all(axis=0)
        if self.threshold is None and not binary.all():
            raise ArgumentError(
                f"column {int(np.argmin(binary))} of X is not 0/1: set threshold='median' to cut it"
            )
        return np.where(binary, 0.5, np.median(X, axis=0))

    def _parities(self, columns: int) -> list[tuple[int, ...]]:
        order = min(check_int("max_order", self.max_order, low=1), columns)
        count = sum(math.comb(columns, size) for size in range(1, order + 1))
        if count > MOST_TERMS:
            raise bad_argument(
                "max_order", self.max_order, f"at most {MOST_TERMS} parities, {columns} columns have {count}"
            )
        return [term for size in range(1, order + 1) for term in itertools.combinations(range(columns), size)]

    def _select(self, design: np.ndarray, y: np.ndarray, solver: str) -> np.ndarray:
        """Columns of the design to keep."""
        folds = min(5, len(y))
        if solver == "lasso":
            coef = LassoCV(cv=folds, alphas=30, max_iter=5000).fit(design, y).coef_
        elif self.K is None:
            most = min(design.shape[1], max(len(y) // 2, 1))
            coef = OrthogonalMatchingPursuitCV(cv=folds, max_iter=most).fit(design, y).coef_
        else:
            most = min(check_int("K", self.K, low=1), design.shape[1], len(y))
            coef = OrthogonalMatchingPursuit(n_nonzero_coefs=most).fit(design, y).coef_
        # least squares needs fewer columns than rows: the largest stay
        order = np.argsort(-np.abs(coef), kind="stable")[: max(len(y) // 2, 1)]
        return np.sort(order[coef[order] != 0])

    def predict(self, X: Any) -> np.ndarray:
        """Values of the fitted sum: (n_samples,) for X of shape (n_samples, n_features)."""
        check_is_fitted(self, "coef_")
        X = validate_data(self, X, dtype=np.float64, reset=False)
        values = np.zeros(len(X))
        bits = self.cuts_ < X
        for term, value in zip(self.terms_, self.coef_, strict=True):
            values += value * (1.0 - 2.0 * (bits[:, term].sum(axis=1) & 1))
        return values

    def interactions(self, max_order: int | None = None) -> list[tuple[tuple[int, ...], float]]:
        """Terms of at most ``max_order`` columns with their coefficients, the largest first."""
        check_is_fitted(self, "coef_")
        order = np.argsort(-np.abs(self.coef_), kind="stable")
        limit = self.n_features_in_ if max_order is None else check_int("max_order", max_order, low=0)
        pairs = [(self.terms_[i], float(self.coef_[i])) for i in order]
        return [pair for pair in pairs if len(pair[0]) <= limit]


def _products(bits: np.ndarray, terms: list[tuple[int, ...]]) -> np.ndarray:
    """``(-1)^(number of ones in the term)``: (n_samples, n_terms)."""
    signs = 1.0 - 2.0 * bits
    out = np.empty((len(bits), len(terms)))
    for i, term in enumerate(terms):
        out[:, i] = signs[:, term].prod(axis=1)
    return out
