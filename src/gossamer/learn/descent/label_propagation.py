"""Labels spread over a graph of neighbours, by forests."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import scipy.sparse
from scipy.sparse.csgraph import connected_components
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.neighbors import NearestNeighbors
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from gossamer._core.checks import check_int
from gossamer._core.errors import ArgumentError
from gossamer._core.random import RandomState
from gossamer.solve import BCDResult, LabelPropagation, block_coordinate_descent


class BCDLabelPropagation(ClassifierMixin, BaseEstimator):
    """Semi-supervised classification: labels spread harmonically over the graph of nearest neighbours.

    For each class, ``min sum_ij W_ij (f_i - f_j)^2`` with f held at 1 on samples of the class and at 0 on those of
    others; W joins a sample with its neighbours. The blocks are maximal forests, solved exactly.

    Parameters
    ----------
    n_neighbors : int
        Neighbours that a sample is joined with, either way; at most one fewer than there are samples is used.
    select : str
        ``"forest-gsd"``, ``"forest-gs"`` or ``"forest-random"``.
    max_iter : int
        Most block iterations for a class.
    tol : float
        Converged when the largest gradient is ``tol`` of the first.
    random_state : int, Generator or None
        For random forests.

    Attributes
    ----------
    classes_ : ndarray, shape (n_classes,)
        Labels, without -1.
    label_distributions_ : ndarray, shape (m, n_classes)
        What each sample ends with.
    transduction_ : ndarray, shape (m,)
        The class of each sample.
    n_iter_ : int
        Block iterations, at least 1.
    results_ : list of BCDResult
        One a class, or a single one for two classes; empty if all samples came with labels.
    n_features_in_ : int
        Columns of X.

    Raises
    ------
    ArgumentError
        If no sample has a label.

    Notes
    -----
    -1 in y is "no label", as in :class:`sklearn.semi_supervised.LabelPropagation`. Samples that the graph joins with no
    label get the shares of the classes among labels, with a warning. New samples get the mean of their neighbours.
    Passes scikit-learn's ``check_estimator`` but for ``check_classifiers_classes``, which takes -1 for a class and
    leaves scikit-learn's own estimators of this kind out by their names.

    References
    ----------
    Nutini, Laradji, Schmidt, "Let's Make Block Coordinate Descent Converge Faster", arXiv 1712.08859.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.learn import BCDLabelPropagation
    >>> X = np.r_[np.linspace(0, 1, 20), np.linspace(5, 6, 20)][:, None]
    >>> y = np.full(40, -1)
    >>> y[[3, 30]] = 0, 1
    >>> BCDLabelPropagation(n_neighbors=2).fit(X, y).transduction_.tolist() == [0] * 20 + [1] * 20
    True
    """

    def __init__(
        self,
        n_neighbors: int = 5,
        *,
        select: str = "forest-gsd",
        max_iter: int = 1000,
        tol: float = 1e-6,
        random_state: RandomState = None,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.select = select
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> BCDLabelPropagation:
        """Fit to X (m, n_features) and y (m,), where -1 is unknown."""
        check_int("n_neighbors", self.n_neighbors, low=1)
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        known = y != -1
        self.classes_ = np.unique(y[known])
        if not len(self.classes_):
            raise ArgumentError("y has no labels: expected some that are not -1")
        W = self._neighbours(X)
        label = np.searchsorted(self.classes_, y[known])
        shares = np.eye(len(self.classes_))[label]
        F = np.empty((len(X), len(self.classes_)))
        F[:] = shares.mean(axis=0)
        F[known] = shares
        joined = self._joined(W, known)
        self.results_: list[BCDResult] = []
        if (joined & ~known).any() and len(self.classes_) > 1:
            F[joined] = self._spread(W[joined][:, joined], F[joined], known[joined])
        self.label_distributions_ = F
        self.transduction_ = self.classes_[F.argmax(axis=1)]
        self.n_iter_ = max([result.nit for result in self.results_] + [1])
        return self

    def _neighbours(self, X: np.ndarray) -> Any:
        count = min(self.n_neighbors, len(X) - 1)
        if not count:
            self._index = NearestNeighbors(n_neighbors=1).fit(X)
            return scipy.sparse.csr_array((len(X), len(X)))
        self._index = NearestNeighbors(n_neighbors=count).fit(X)
        directed = scipy.sparse.csr_array(self._index.kneighbors_graph())
        return scipy.sparse.csr_array(directed.maximum(directed.T))

    def _joined(self, W: Any, known: np.ndarray) -> np.ndarray:
        """Samples in components that hold a label."""
        _, component = connected_components(W, directed=False)
        joined = np.isin(component, component[known])
        if not joined.all():
            warnings.warn(
                f"{int((~joined).sum())} samples are joined with no label: they get the shares of the classes",
                RuntimeWarning,
                stacklevel=3,
            )
        return joined

    def _spread(self, W: Any, F: np.ndarray, known: np.ndarray) -> np.ndarray:
        sides = range(F.shape[1]) if F.shape[1] > 2 else [1]
        for c in sides:
            problem = LabelPropagation(W, np.where(known, 2 * F[:, c] - 1, 0.0))
            result = block_coordinate_descent(
                problem,
                select=self.select,
                maxiter=self.max_iter,
                tol=self.tol,
                random_state=self.random_state,
            )
            self.results_.append(result)
            F[:, c] = (problem.complete(result.x) + 1) / 2
        if F.shape[1] == 2:
            F[:, 0] = 1 - F[:, 1]
        return F

    def predict_proba(self, X: Any) -> np.ndarray:
        """Mean of the distributions of the nearest training samples: (m, n_classes)."""
        check_is_fitted(self, "label_distributions_")
        X = validate_data(self, X, dtype=np.float64, reset=False)
        near = self._index.kneighbors(X, return_distance=False)
        return self.label_distributions_[near].mean(axis=1)

    def predict(self, X: Any) -> np.ndarray:
        """Classes (m,)."""
        shares = self.predict_proba(X)
        return self.classes_[shares.argmax(axis=1)]
