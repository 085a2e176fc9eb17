"""A graph for samples that have none: each with those most similar to it."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse

from gossamer._core.checks import check_array, check_choice, check_finite, check_int
from gossamer._core.errors import ShapeError

METRICS = ("heat", "cosine", "dot")
_BLOCK = 1 << 23  # similarities in memory at a time


def knn_graph(X: Any, k: int = 5, *, metric: str = "heat", weighted: bool = False) -> scipy.sparse.csr_array:
    r"""Link each sample with the k most similar ones, in both directions.

    ``"heat"``: :math:`e^{-|x - y|^2 / h}`, h the mean squared distance of linked samples, for measurements.
    ``"cosine"``: of the angle. ``"dot"``: inner product of rows scaled to absolute sum 1, for counts of words. By
    cosine and inner product only positive similarities link, so that a row of zeros is an isolated node.

    Parameters
    ----------
    X : array or sparse matrix, shape (n, f)
        Samples.
    k : int
        Neighbours, from 1 to n - 1; of equally similar ones any.
    metric : {"heat", "cosine", "dot"}
        What similar means.
    weighted : bool
        Weights are similarities; else 1.

    Returns
    -------
    scipy.sparse.csr_array of float64, shape (n, n)
        Symmetric, without self-loops. A pair is linked if either has the other among its k.

    Raises
    ------
    ArgumentError, ShapeError
        Settings out of range; X with NaN or infinity, or not two-dimensional.

    Notes
    -----
    O(n^2 f) time in blocks of rows; for a million samples build a graph with an index of approximate neighbours.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.graph import knn_graph
    >>> knn_graph(np.array([[0.0], [1.0], [1.5], [9.0]]), 1).toarray()
    array([[0., 1., 0., 0.],
           [1., 0., 1., 0.],
           [0., 1., 0., 1.],
           [0., 0., 1., 0.]])
    """
    check_choice("metric", metric, METRICS)
    X = _rows(X)
    n = X.shape[0]
    k = check_int("k", k, low=1, high=n - 1)
    squares = _sums(X, lambda x: x**2)
    if metric != "heat":
        length = np.sqrt(squares) if metric == "cosine" else _sums(X, abs)
        inverse = np.divide(1.0, length, out=np.zeros(n), where=length > 0)
        X = scipy.sparse.diags_array(inverse).tocsr() @ X
    columns, closeness = np.empty((n, k), np.int64), np.empty((n, k))
    step = max(1, _BLOCK // n)
    for start in range(0, n, step):
        product = X[start : start + step] @ X.T
        s = product.toarray() if scipy.sparse.issparse(product) else product
        if metric == "heat":  # minus the squared distance
            s = 2 * s - squares - squares[start : start + step, None]
        here = np.arange(len(s))
        s[here, start + here] = -np.inf
        nearest = np.argpartition(s, n - k, axis=1)[:, n - k :]
        columns[start : start + step] = nearest
        closeness[start : start + step] = np.take_along_axis(s, nearest, axis=1)
    if metric == "heat":
        distance = np.maximum(-closeness, 0)
        closeness = np.exp(-distance / (distance.mean() or 1.0))
    data = np.where(closeness > 0, closeness if weighted else 1.0, 0.0)
    found = scipy.sparse.coo_array(
        (data.ravel(), (np.repeat(np.arange(n), k), columns.ravel())), shape=(n, n)
    )
    found = scipy.sparse.csr_array(found)
    found = scipy.sparse.csr_array(found.maximum(found.T))
    found.eliminate_zeros()
    return found


def _rows(X: Any) -> Any:
    if scipy.sparse.issparse(X):
        X = scipy.sparse.csr_array(X).astype(np.float64)
        check_finite("X", X.data)
    else:
        X = np.asarray(check_array("X", X, ndim=2), np.float64)
    if X.ndim != 2 or X.shape[0] < 2:
        raise ShapeError(f"X has shape {X.shape}: expected (n, f) with n >= 2")
    return X


def _sums(X: Any, function: Any) -> np.ndarray:
    """Sums over each row of a function that keeps zero."""
    return np.asarray(function(X).sum(axis=1)).ravel()
