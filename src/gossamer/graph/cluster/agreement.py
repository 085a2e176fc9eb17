"""How well clusters agree with known classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix

from gossamer._core.errors import ArgumentError, ShapeError


def cluster_metrics(y_true: Any, y_pred: Any) -> dict[str, float]:
    """Score clusters by known classes: accuracy and F1 after the best matching, mutual information, Rand index.

    Each cluster is matched with one class at most, so that most nodes are right (Hungarian method). Nodes of clusters
    that are left over are wrong; a class that is left over has an F1 of 0.

    Parameters
    ----------
    y_true, y_pred : array, shape (n,)
        Classes and clusters, any names, of which there may be different numbers. Leave nodes without a class out.

    Returns
    -------
    dict of str to float
        ``acc``; ``f1``, the mean over classes; ``nmi``, normalised by the arithmetic mean; ``ari``.

    Raises
    ------
    ShapeError, ArgumentError
        Lengths that differ, or no labels at all.

    Notes
    -----
    Scores of a model selected by these classes are too good: select without them.

    Examples
    --------
    >>> from gossamer.graph import cluster_metrics
    >>> scores = cluster_metrics(["a", "a", "b", "b"], [1, 1, 0, 1])
    >>> {name: round(value, 3) for name, value in scores.items()}
    {'acc': 0.75, 'f1': 0.733, 'nmi': 0.344, 'ari': 0.0}
    """
    y_true, y_pred = np.asarray(y_true), np.asarray(y_pred)
    if y_true.ndim != 1 or y_true.shape != y_pred.shape:
        raise ShapeError(f"y_true has shape {y_true.shape}, y_pred {y_pred.shape}: expected two equal (n,)")
    if not len(y_true):
        raise ArgumentError("y_true has no labels: expected at least one")
    table = contingency_matrix(y_true, y_pred)
    classes, clusters = linear_sum_assignment(table, maximize=True)
    right = table[classes, clusters]
    sizes = table.sum(axis=1)[classes] + table.sum(axis=0)[clusters]
    return {
        "acc": float(right.sum() / table.sum()),
        "f1": float((2 * right / sizes).sum() / len(table)),
        "nmi": float(normalized_mutual_info_score(y_true, y_pred)),
        "ari": float(adjusted_rand_score(y_true, y_pred)),
    }
