"""How good a clustering is: by links, by attributes, and against a known one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import scipy.sparse
from scipy.special import gammaln

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.graph.cluster.attributes import encode_attributes
from gossamer.graph.inputs import as_adjacency


def modularity(A: Any, labels: Any) -> float:
    r"""Newman's modularity: links inside clusters beyond what degrees explain.

    .. math::

        Q = \sum_c \left[ \frac{W_c}{T} - \left( \frac{d_c}{T} \right)^2 \right]

    with T the sum of all degrees, :math:`d_c` that of cluster c, and :math:`W_c` twice its inner links. Equivalent to
    ``networkx.community.modularity``.

    Parameters
    ----------
    A : sparse matrix, networkx graph, edges, or path, of n nodes
        An undirected graph, as in :func:`as_adjacency`; weights count.
    labels : array, shape (n,)
        The cluster of each node, any values.

    Returns
    -------
    float
        Below 1; 0 for one cluster, and for a graph without edges.

    Raises
    ------
    ShapeError
        If there is not a label for each node.
    """
    A = as_adjacency(A, name="A")
    return Modularity(A)(_labels("labels", labels, A.shape[0]))


class Modularity:
    """:func:`modularity` on one graph for many labellings 0, 1, ...; O(edges) each."""

    def __init__(self, A: scipy.sparse.csr_array) -> None:
        self.source = np.repeat(np.arange(A.shape[0]), np.diff(A.indptr))
        self.target = A.indices
        twice = self.source == A.indices  # a loop has both of its ends here
        self.data = np.where(twice, 2 * A.data, A.data).astype(np.float64)
        self.degree = np.bincount(self.source, self.data, minlength=A.shape[0])

    def __call__(self, labels: np.ndarray) -> float:
        """The modularity of a labelling."""
        total = float(self.degree.sum())
        if not total:
            return 0.0
        inner = float(self.data[labels[self.source] == labels[self.target]].sum())
        return inner / total - float((np.bincount(labels, self.degree) ** 2).sum()) / total**2


def attribute_entropy(attributes: Any, labels: Any) -> float:
    r"""How mixed attributes are within clusters, in bits: 0 if each cluster has one value of each attribute.

    .. math::

        E = \sum_c \frac{n_c}{n} \sum_l H(a_l \mid c)

    Parameters
    ----------
    attributes : array or DataFrame, shape (n, M) or (n,)
        Categories; None and NaN are missing and not counted.
    labels : array, shape (n,)
        The cluster of each node, any values.

    Returns
    -------
    float
        At least 0.

    Raises
    ------
    ShapeError
        If there is not a row of attributes for each label.
    """
    labels = _labels("labels", labels)
    return entropy_of(encode_attributes(attributes, len(labels)), labels)


def entropy_of(columns: Iterable[np.ndarray], labels: np.ndarray) -> float:
    """:func:`attribute_entropy` for codes, -1 where there is none, and labels 0, 1, ..."""
    total = 0.0
    for codes in columns:
        there = codes >= 0
        counts = _contingency(labels[there], codes[there], int(labels.max()) + 1)
        known = counts.sum(axis=1, keepdims=True)
        share = np.divide(counts, known, out=np.zeros(counts.shape), where=known > 0)
        bits = -np.sum(share * np.log2(share, out=np.zeros(share.shape), where=share > 0), axis=1)
        total += float(np.bincount(labels, minlength=len(counts)) @ bits) / len(labels)
    return total


def reduced_mutual_information(labels: Any, truth: Any, *, normalized: bool = False) -> float:
    r"""Mutual information less what it takes to tell the contingency table, in bits a node.

    Unlike plain mutual information it does not reward many small clusters:
    :math:`I - \frac{1}{n} \log_2 \Omega`, with :math:`\Omega` the number of contingency tables with these sizes of
    clusters, in the closed approximation of the paper.

    Parameters
    ----------
    labels, truth : array, shape (n,)
        Two clusterings, any values; the result is symmetric in them.
    normalized : bool
        Divide by the mean of what each clustering gives with itself, so that equal clusterings give 1.

    Returns
    -------
    float
        May be below 0.

    Raises
    ------
    ShapeError
        If the lengths differ.

    References
    ----------
    Newman, Cantwell, Young, "Improved mutual information measure for clustering, classification, and community
    detection", Physical Review E 101, 2020.
    """
    first = _labels("labels", labels)
    second = _labels("truth", truth, len(first))
    value = _reduced(first, second)
    if not normalized:
        return value
    best = (_reduced(first, first) + _reduced(second, second)) / 2
    return value / best if best > 0 else 1.0


def _reduced(first: np.ndarray, second: np.ndarray) -> float:
    n, counts = len(first), _contingency(first, second)
    a, b = counts.sum(axis=1), counts.sum(axis=0)
    information = gammaln(n + 1) + gammaln(counts + 1).sum() - gammaln(a + 1).sum() - gammaln(b + 1).sum()
    return float(information - log_tables(a, b)) / (n * np.log(2))


def log_tables(a: np.ndarray, b: np.ndarray) -> float:
    """About the logarithm of how many tables of counts have the row sums ``a`` and the column sums ``b``."""
    n, R, S = a.sum(), len(a), len(b)
    if R == 1 or S == 1:
        return 0.0
    w = n / (n + R * S / 2)
    x, y = (1 - w) / R + w * a / n, (1 - w) / S + w * b / n
    mu, nu = (R + 1) / (R * (y @ y)) - 1 / R, (S + 1) / (S * (x @ x)) - 1 / S
    gammas = gammaln(mu * R) + gammaln(nu * S)
    gammas -= S * (gammaln(nu) + gammaln(R)) + R * (gammaln(mu) + gammaln(S))
    logs = (R + nu - 2) * np.log(y).sum() + (S + mu - 2) * np.log(x).sum()
    return float((R - 1) * (S - 1) * np.log(n + R * S / 2) + (logs + gammas) / 2)


def _contingency(first: np.ndarray, second: np.ndarray, rows: int = 0) -> np.ndarray:
    rows, columns = max(rows, int(first.max(initial=-1)) + 1), int(second.max(initial=-1)) + 1
    return np.bincount(first * columns + second, minlength=rows * columns).reshape(rows, columns)


def _labels(name: str, labels: Any, n: int | None = None) -> np.ndarray:
    labels = np.asarray(labels)
    if labels.ndim != 1 or (n is not None and len(labels) != n):
        raise ShapeError(f"{name} has shape {labels.shape}: expected ({'n' if n is None else n},)")
    if not len(labels):
        raise ArgumentError(f"{name} is empty: expected a cluster for each node")
    return np.unique(labels, return_inverse=True)[1].reshape(-1)
