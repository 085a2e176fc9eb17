"""How good a selection of columns is: for a classifier, and for clustering."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.metrics import normalized_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix
from sklearn.model_selection import train_test_split
from sklearn.utils.validation import check_X_y

from gossamer._core.checks import check_float, check_int
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._core.random import RandomState, check_random_state
from gossamer._core.results import Result


@dataclass(frozen=True, kw_only=True, repr=False)
class SelectionScores(Result):
    """Scores of a selection of columns.

    Attributes
    ----------
    accuracy : float
        Of an extra-trees classifier on the rows that it was not trained on.
    clustering_accuracy : float
        Share of rows whose cluster is matched with their class, at the best matching.
    nmi : float
        Normalised mutual information of clusters and classes.
    """

    accuracy: float = 0.0
    clustering_accuracy: float = 0.0
    nmi: float = 0.0


def selection_scores(
    X: Any,
    y: Any,
    columns: Any,
    *,
    test: Any = None,
    test_size: float = 0.2,
    n_estimators: int = 50,
    n_init: int = 10,
    random_state: RandomState = None,
) -> SelectionScores:
    """Score a selection of columns by classification and by clustering, as papers on feature selection do.

    Extra trees are trained on the selected columns; k-means with as many clusters as classes, the best of ``n_init``
    starts, is matched to the classes by the Hungarian method.

    Parameters
    ----------
    X : array or sparse matrix, shape (N, n)
        The whole table.
    y : array, shape (N,)
        Classes.
    columns : array
        Indices, or a mask of shape (n,).
    test : (array, array), optional
        Rows and classes that the classifier is judged by; by default a stratified share of X.
    test_size : float
        That share.
    n_estimators : int
        Trees.
    n_init : int
        Starts of k-means.
    random_state : int, Generator or None
        Of the split, the trees and the starts.

    Returns
    -------
    SelectionScores

    Raises
    ------
    ArgumentError, ShapeError
        For a selection that is empty or does not fit X, and for a single class.
    """
    X, y = check_X_y(X, y, accept_sparse="csr", dtype="numeric")
    columns = np.asarray(columns)
    if columns.dtype == bool:
        if columns.shape != (X.shape[1],):
            raise ShapeError(f"columns is a mask of shape {columns.shape}: expected ({X.shape[1]},)")
        columns = np.flatnonzero(columns)
    if columns.ndim != 1 or not len(columns) or columns.dtype.kind not in "iu":
        raise ArgumentError("columns: expected at least one index of a column, or a mask")
    if columns.min() < 0 or columns.max() >= X.shape[1]:
        raise ArgumentError(f"columns span {columns.min()}..{columns.max()}: expected 0..{X.shape[1] - 1}")
    classes = np.unique(y)
    if len(classes) < 2:
        raise ArgumentError("y has one class: expected at least two")
    share = check_float("test_size", test_size, low=0, high=1, closed="neither")
    seeds = check_random_state(random_state).integers(2**31, size=3).tolist()
    rows = X[:, columns]
    if test is None:
        fitted, held, labels, expected = train_test_split(
            rows, y, test_size=share, stratify=y, random_state=seeds[0]
        )
    else:
        held, expected = check_X_y(*test, accept_sparse="csr", dtype="numeric")
        if held.shape[1] != X.shape[1]:
            raise ShapeError(f"test has {held.shape[1]} columns: expected {X.shape[1]}")
        fitted, held, labels = rows, held[:, columns], y
    trees = ExtraTreesClassifier(check_int("n_estimators", n_estimators, low=1), random_state=seeds[1])
    accuracy = trees.fit(fitted, labels).score(held, expected)
    means = KMeans(len(classes), n_init=check_int("n_init", n_init, low=1), random_state=seeds[2])
    clusters = means.fit_predict(rows.astype(np.float64) if scipy.sparse.issparse(rows) else rows)
    return SelectionScores(
        message=f"{len(columns)} of {X.shape[1]} columns",
        accuracy=float(accuracy),
        clustering_accuracy=clustering_accuracy(y, clusters),
        nmi=float(normalized_mutual_info_score(y, clusters)),
    )


def clustering_accuracy(y: Any, clusters: Any) -> float:
    """Share of rows whose cluster is matched with their class, at the best one-to-one matching.

    Parameters
    ----------
    y, clusters : array, shape (N,)
        Classes and clusters.

    Returns
    -------
    float
        In (0, 1].
    """
    table = contingency_matrix(y, clusters)
    return float(table[linear_sum_assignment(table, maximize=True)].sum() / table.sum())
