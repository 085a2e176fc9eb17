"""SA-Cluster: medoids by random walks on the graph with attributes as nodes."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse
from sklearn.base import BaseEstimator, ClusterMixin

from gossamer._core.checks import check_float, check_int
from gossamer._core.errors import CostError
from gossamer.graph.cluster.augmented import augment_with_attributes
from gossamer.graph.cluster.criteria import Modularity, entropy_of
from gossamer.graph.simple_graph import simple_adjacency

MOST_NODES = 10_000


class SACluster(ClusterMixin, BaseEstimator):
    r"""K-medoids by how likely short random walks connect two nodes, through links and through shared attributes.

    .. math::

        R = \sum_{k=0}^{\ell} c (1 - c)^k P^k

    on the graph that :func:`augment_with_attributes` builds. Edges of an attribute have a weight that the clusters
    vote on: it rises where nodes share the attribute with the medoid of their cluster. The baseline that
    :class:`AttributedAMGClustering` is compared with; dense, so for some thousand nodes.

    Parameters
    ----------
    n_clusters : int
        From 2 to the number of nodes.
    restart : float
        c, the probability that a walk ends at a step, between 0 and 1.
    length : int
        Most steps of a walk.
    max_iter : int
        Most rounds; it ends when labels stay.
    sigma : float
        Of the density by which the first medoids are chosen.

    Attributes
    ----------
    labels_ : ndarray of int64, shape (n,)
        The cluster of each node.
    medoids_ : ndarray of int64, shape (n_clusters,)
        Its most central node.
    attribute_weights_ : ndarray, shape (M,)
        After the last vote; their mean is 1, as is the weight of a link.
    modularity_, entropy_ : float
        Of the labels.
    n_iter_ : int
        Rounds.

    Raises
    ------
    ArgumentError, ShapeError
        If ``n_clusters`` or the attributes do not fit the graph.
    CostError
        Above 10,000 nodes.

    References
    ----------
    Zhou, Cheng, Yu, "Graph clustering based on structural/attribute similarities", VLDB 2009.
    """

    def __init__(
        self,
        n_clusters: int,
        *,
        restart: float = 0.2,
        length: int = 5,
        max_iter: int = 10,
        sigma: float = 0.1,
    ) -> None:
        self.n_clusters = n_clusters
        self.restart = restart
        self.length = length
        self.max_iter = max_iter
        self.sigma = sigma

    def fit(self, A: Any, attributes: Any) -> SACluster:
        """Cluster the nodes of an undirected graph ``A``, of any form, by links and ``attributes`` (n, M)."""
        graph = simple_adjacency(A, weighted=False)
        n = graph.shape[0]
        K = check_int("n_clusters", self.n_clusters, low=2, high=n)
        check_float("restart", self.restart, low=0, high=1, closed="neither")
        check_float("sigma", self.sigma, low=0, closed="neither")
        for name in ("length", "max_iter"):
            check_int(name, getattr(self, name), low=1)
        if n > MOST_NODES:
            raise CostError(f"A has {n} nodes: the distances take {8e-9 * n**2:.1f} GB; at most {MOST_NODES}")
        whole, index = augment_with_attributes(graph, attributes)
        weights = np.ones(index.shape[1])
        R = self._walks(whole, index, weights)
        medoids, before = self._first(R, K), None
        for round_ in range(1, self.max_iter + 1):
            self.n_iter_ = round_
            labels = self._assign(R, medoids)
            if before is not None and np.array_equal(labels, before):
                break
            before = labels
            medoids = np.array([self._centre(R, np.flatnonzero(labels == c)) for c in range(K)])
            weights = self._vote(index, labels, medoids, weights)
            R = self._walks(whole, index, weights)
        self.labels_, self.medoids_, self.attribute_weights_ = labels, medoids, weights
        self.modularity_ = Modularity(graph)(labels)
        self.entropy_ = entropy_of(index.T, labels)
        return self

    def fit_predict(self, A: Any, attributes: Any) -> np.ndarray:
        """Cluster the nodes of a graph and return ``labels_``."""
        return self.fit(A, attributes).labels_

    def _walks(self, whole: scipy.sparse.csr_array, index: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """R between nodes, (n, n), when the edges of attributes have these weights."""
        n = len(index)
        weight_of = np.ones(whole.shape[0])
        for column, weight in zip(index.T, weights):
            weight_of[column[column >= 0]] = weight
        step = whole.copy()
        source = np.repeat(np.arange(whole.shape[0]), np.diff(whole.indptr))
        step.data = np.where(source < n, weight_of[whole.indices], 1.0)
        total = np.bincount(source, step.data, minlength=whole.shape[0])
        step.data /= total[source]
        reached = np.eye(n, whole.shape[0])
        R = self.restart * reached[:, :n]
        for k in range(1, self.length + 1):
            reached = reached @ step
            R += self.restart * (1 - self.restart) ** k * reached[:, :n]
        return R

    def _first(self, R: np.ndarray, K: int) -> np.ndarray:
        """Nodes in dense places: those that walks reach most, with a share that saturates."""
        density = (1 - np.exp(-(R**2) / (2 * self.sigma**2))).sum(axis=1)
        return np.argsort(-density, kind="stable")[:K]

    @staticmethod
    def _assign(R: np.ndarray, medoids: np.ndarray) -> np.ndarray:
        labels = R[:, medoids].argmax(axis=1)
        labels[medoids] = np.arange(len(medoids))
        return labels

    @staticmethod
    def _centre(R: np.ndarray, members: np.ndarray) -> int:
        rows = R[members]
        return int(members[((rows - rows.mean(axis=0)) ** 2).sum(axis=1).argmin()])

    @staticmethod
    def _vote(index: np.ndarray, labels: np.ndarray, medoids: np.ndarray, weights: np.ndarray) -> np.ndarray:
        votes = ((index == index[medoids][labels]) & (index >= 0)).sum(axis=0)
        return (weights + len(weights) * votes / max(int(votes.sum()), 1)) / 2
