"""Logistic regression by block coordinate descent."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import expit, softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from gossamer._core.checks import check_choice, check_float
from gossamer._core.errors import ArgumentError
from gossamer._core.random import RandomState
from gossamer.learn.descent.design import SIZE, with_constant
from gossamer.solve import BCDResult, Logistic, MultinomialLogistic, block_coordinate_descent


class BCDLogisticRegression(ClassifierMixin, BaseEstimator):
    """Logistic regression, ``C sum_j loss(y_j, x_j w + c) + penalty(w)``.

    The objective of :class:`sklearn.linear_model.LogisticRegression`, minimised on a block of coordinates at a time by
    Newton steps, proximal ones for absolute values.

    Parameters
    ----------
    penalty : {"l2", "l1", None}
        ``1/2 ||w||^2``, ``||w||_1`` or nothing; the intercept is not penalised.
    C : float
        Weight of the losses.
    multi_class : {"auto", "multinomial", "ovr"}
        For more than two classes: one softmax model, or one binary model a class; "auto" is softmax. Two classes are
        one binary model, but for "multinomial".
    fit_intercept : bool
        Fit c.
    partition, select, update : str
        As for :func:`gossamer.solve.block_coordinate_descent`; ``update="auto"`` is Newton.
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
    classes_ : ndarray, shape (n_classes,)
        Labels.
    coef_ : ndarray, shape (1 or n_classes, n_features)
        w.
    intercept_ : ndarray, shape (1 or n_classes,)
        c.
    n_iter_ : ndarray
        Block iterations of each model, at least 1.
    results_ : list of BCDResult
        One a model.
    n_features_in_ : int
        Columns of X.

    Raises
    ------
    ArgumentError
        For an unknown penalty, C <= 0, or a single class.

    Notes
    -----
    Passes scikit-learn's ``check_estimator``.

    References
    ----------
    Nutini, Laradji, Schmidt, "Let's Make Block Coordinate Descent Converge Faster", arXiv 1712.08859.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.learn import BCDLogisticRegression
    >>> X = np.random.default_rng(0).normal(size=(200, 5))
    >>> model = BCDLogisticRegression(penalty="l1", C=0.1).fit(X, X[:, 2] > 0)
    >>> np.flatnonzero(model.coef_[0]).tolist()
    [2]
    """

    def __init__(
        self,
        penalty: str | None = "l2",
        C: float = 1.0,
        multi_class: str = "auto",
        *,
        fit_intercept: bool = True,
        partition: str = "variable",
        select: str = "gsd",
        update: str = "auto",
        block_size: int | None = None,
        max_iter: int = 1000,
        tol: float = 1e-6,
        random_state: RandomState = None,
    ) -> None:
        self.penalty = penalty
        self.C = C
        self.multi_class = multi_class
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

    def fit(self, X: Any, y: Any) -> BCDLogisticRegression:
        """Fit to X (m, n_features), dense or sparse, and classes y (m,)."""
        penalty = check_choice("penalty", self.penalty, ("l1", "l2", None))
        weight = 1 / check_float("C", self.C, low=0, closed="right")
        how = check_choice("multi_class", self.multi_class, ("auto", "multinomial", "ovr"))
        X, y = validate_data(self, X, y, accept_sparse="csc", dtype=(np.float64, np.float32))
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        n, k = X.shape[1], len(self.classes_)
        if k < 2:
            raise ArgumentError(f"y has 1 class, {self.classes_[0]!r}: the classifier needs at least 2")
        design = with_constant(X) if self.fit_intercept else X
        weights = np.r_[np.full(n, weight), np.zeros(design.shape[1] - n)]
        softmax_model = how == "multinomial" or (how == "auto" and k > 2)
        weights = np.repeat(weights, k) if softmax_model else weights
        penalties = {"l1": {"l1": weights}, "l2": {"l2": weights}, None: {}}[penalty]
        if softmax_model:
            problems: list[Any] = [MultinomialLogistic(design, np.eye(k)[labels], **penalties)]
        else:
            sides = range(k) if k > 2 else [1]
            problems = [Logistic(design, np.where(labels == c, 1.0, -1.0), **penalties) for c in sides]
        self.results_: list[BCDResult] = [self._solve(problem) for problem in problems]
        if softmax_model:
            W = self.results_[0].x.reshape(-1, k).T
        else:
            W = np.stack([result.x for result in self.results_])
        self._softmax = softmax_model
        self.coef_ = W[:, :n]
        self.intercept_ = W[:, n] if self.fit_intercept else np.zeros(len(W), W.dtype)
        self.n_iter_ = np.array([max(result.nit, 1) for result in self.results_], np.int32)
        return self

    def _solve(self, problem: Any) -> BCDResult:
        smooth = problem.penalty.kind == "none"
        update = ("newton" if smooth else "prox-newton") if self.update == "auto" else self.update
        size = min(SIZE, problem.n) if self.block_size is None else self.block_size
        return block_coordinate_descent(
            problem, partition=self.partition, select=self.select, update=update, block_size=size,
            maxiter=self.max_iter, tol=self.tol, random_state=self.random_state,
        )  # fmt: skip

    def decision_function(self, X: Any) -> np.ndarray:
        """Scores (m, n_classes), or (m,) of the second class for two."""
        check_is_fitted(self, "coef_")
        X = validate_data(self, X, accept_sparse="csr", dtype=(np.float64, np.float32), reset=False)
        scores = X @ self.coef_.T + self.intercept_
        if len(self.classes_) == 2:
            return scores[:, 1] - scores[:, 0] if self._softmax else scores[:, 0]
        return scores

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities (m, n_classes)."""
        scores = self.decision_function(X)
        if scores.ndim == 1:
            upper = expit(scores)
            return np.stack([1 - upper, upper], axis=1)
        if self._softmax:
            return softmax(scores, axis=1)
        shares = expit(scores)
        return shares / shares.sum(axis=1, keepdims=True)

    def predict(self, X: Any) -> np.ndarray:
        """Classes (m,)."""
        scores = self.decision_function(X)
        which = (scores > 0).astype(np.int64) if scores.ndim == 1 else scores.argmax(axis=1)
        return self.classes_[which]
