"""Clusters of an attributed graph from the smooth vectors of bootstrap multigrid."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClusterMixin

from gossamer._core.checks import check_choice, check_float, check_int
from gossamer._core.random import RandomState, check_random_state
from gossamer.graph.cluster.augmented import augment_with_attributes
from gossamer.graph.cluster.block_kmeans import BlockKMeansResult, block_kmeans
from gossamer.graph.cluster.criteria import Modularity, entropy_of
from gossamer.graph.cluster.laplacian import laplacian_spd
from gossamer.graph.cluster.smooth_vectors import orthonormal_coordinates
from gossamer.graph.simple_graph import simple_adjacency
from gossamer.solve.multigrid.bootstrap import BootstrapAMG

SELECT = ("modularity", "inertia")


class AttributedAMGClustering(ClusterMixin, BaseEstimator):
    """Clusters of nodes by their links and by categorical attributes, in linear time and without eigenvectors.

    Attributes become nodes (:func:`augment_with_attributes`); what bootstrap multigrid leaves of random vectors embeds
    all nodes (:func:`smooth_vectors`); a K-means that sees a node together with its attributes
    (:func:`block_kmeans`) runs many times, and the labelling of the highest modularity counts.

    Attributes help where links alone are ambiguous. Where links are clear, noisy attributes drown them: fit without
    attributes as well, and compare. A single attribute with as many values as clusters comes back as it is.

    Parameters
    ----------
    n_clusters : int
        From 2 to the number of nodes.
    max_hierarchies : int
        Most dimensions of the embedding, less one.
    conv_ratio, solver_it
        Of :class:`BootstrapAMG`: when the composite converges fast enough, and steps for each vector.
    restarts : int
        Runs of K-means.
    max_iter : int
        Most iterations of a run.
    batch_size : int, optional
        Mini-batches in K-means, for more than 100,000 nodes; fewer restarts do as well there.
    select : str
        What the labelling of most restarts counts has most of: ``"modularity"`` on the graph without attributes, or
        ``"inertia"``, the least of it.
    weighted : bool
        Whether weights of links count in the embedding and in modularity; if not, every link has weight 1.
    attribute_weight : float
        Of the edges between nodes and values of attributes.
    balance : bool
        Give the points of nodes and of each attribute the same variance.
    normalize : bool
        Give coordinates of each node length 1, as normalised spectral clustering does.
    random_state : int, Generator or None
        Of all draws.
    n_jobs : int, optional
        Threads for K-means.

    Attributes
    ----------
    labels_ : ndarray of int64, shape (n,)
        The cluster of each node.
    modularity_ : float
        Of the labels on the graph without attributes.
    entropy_ : float
        Of the attributes within the clusters, in bits; NaN without attributes.
    embedding_ : ndarray, shape (n_ext, q)
        Orthonormal coordinates of nodes and of values.
    value_index_ : ndarray of int64, shape (n, M)
        Row of ``embedding_`` of each node's values, -1 where they are missing.
    n_hierarchies_ : int
        Hierarchies that the composite took.
    rho_ : list of float
        How fast it converged with one of them, two, and so on.
    n_iter_ : int
        Iterations of the best run of K-means.

    Raises
    ------
    ArgumentError, ShapeError
        If ``n_clusters`` or the attributes do not fit the graph, or the graph is directed.

    Notes
    -----
    A graph is no matrix of samples, so that scikit-learn's ``check_estimator`` does not apply; parameters, cloning and
    ``fit_predict`` follow its contract. O(r^2) multigrid cycles of O(n + edges) each, with r hierarchies, then
    ``restarts max_iter`` iterations of ``2 K q n`` flops.

    References
    ----------
    D'Ambra, De Santis, Vassilevski, Cutillo, "Extending bootstrap AMG for clustering of attributed graphs", Applied
    Mathematics and Computation 447, 2023, arXiv 2109.09610.

    Examples
    --------
    >>> import networkx as nx
    >>> from gossamer.graph import AttributedAMGClustering
    >>> graph, colour = nx.barbell_graph(10, 0), ["red"] * 10 + ["blue"] * 10
    >>> labels = AttributedAMGClustering(2, random_state=0).fit(graph, colour).labels_
    >>> bool((labels[:10] == labels[0]).all() and (labels[10:] != labels[0]).all())
    True
    """

    def __init__(
        self,
        n_clusters: int,
        *,
        max_hierarchies: int = 40,
        conv_ratio: float = 1e-6,
        solver_it: int = 15,
        restarts: int = 100,
        max_iter: int = 10,
        batch_size: int | None = None,
        select: str = "modularity",
        weighted: bool = False,
        attribute_weight: float = 1.0,
        balance: bool = False,
        normalize: bool = False,
        random_state: RandomState = None,
        n_jobs: int | None = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.max_hierarchies = max_hierarchies
        self.conv_ratio = conv_ratio
        self.solver_it = solver_it
        self.restarts = restarts
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.select = select
        self.weighted = weighted
        self.attribute_weight = attribute_weight
        self.balance = balance
        self.normalize = normalize
        self.random_state = random_state
        self.n_jobs = n_jobs

    def fit(self, A: Any, attributes: Any = None) -> AttributedAMGClustering:
        """Cluster the nodes of a graph.

        Parameters
        ----------
        A : sparse matrix, networkx graph, edges, or path, of n nodes
            An undirected graph, as in :func:`as_adjacency`; self-loops are dropped with a warning.
        attributes : array or DataFrame, shape (n, M) or (n,), optional
            Categories; None and NaN are missing. Without attributes links alone decide.
        """
        score, rng = self._embed(A, attributes)
        found = block_kmeans(**self._search(score, rng), threads=self.n_jobs)
        return self._settle(found, score)

    def _embed(self, A: Any, attributes: Any) -> tuple[Modularity, np.random.Generator]:
        """The first half of a fit, up to the embedding; the second one draws from the same numbers on."""
        graph = simple_adjacency(A, weighted=bool(self.weighted))
        n = graph.shape[0]
        check_int("n_clusters", self.n_clusters, low=2, high=n)
        check_choice("select", self.select, SELECT)
        check_float("attribute_weight", self.attribute_weight, low=0, closed="neither")
        rng = check_random_state(self.random_state)
        self.value_index_ = np.empty((n, 0), np.int64)
        whole = graph
        if attributes is not None and np.shape(attributes)[1:] != (0,):
            whole, self.value_index_ = augment_with_attributes(graph, attributes, self.attribute_weight)
        solver = BootstrapAMG(self.max_hierarchies, self.conv_ratio, self.solver_it, random_state=rng)
        solver.setup(laplacian_spd(whole))
        self.n_hierarchies_, self.rho_ = solver.n_hierarchies_, solver.rho_
        self.embedding_ = orthonormal_coordinates(solver.smooth_vectors_)
        return Modularity(graph), rng

    def _search(self, score: Modularity, rng: np.random.Generator) -> dict[str, Any]:
        """What K-means is asked for."""
        return {
            "points": self._points(),
            "n_clusters": self.n_clusters,
            "value_index": self.value_index_,
            "restarts": self.restarts,
            "max_iter": self.max_iter,
            "batch_size": self.batch_size,
            "score": score if self.select == "modularity" else None,
            "random_state": rng,
        }

    def _settle(self, found: BlockKMeansResult, score: Modularity) -> AttributedAMGClustering:
        """What the best run says of the graph."""
        self.labels_, self.n_iter_ = found.labels, found.nit
        self.modularity_ = score(self.labels_)
        self.entropy_ = entropy_of(self.value_index_.T, self.labels_) if len(self.value_index_.T) else np.nan
        return self

    def fit_predict(self, A: Any, attributes: Any = None) -> np.ndarray:
        """Cluster the nodes of a graph and return ``labels_``."""
        return self.fit(A, attributes).labels_

    def _points(self) -> np.ndarray:
        """The embedding as K-means sees it."""
        points = self.embedding_
        if self.normalize:
            length = np.linalg.norm(points, axis=1, keepdims=True)
            points = np.divide(points, length, out=np.zeros_like(points), where=length > 0)
        if self.balance:
            points = points.copy()
            blocks = [np.arange(len(self.value_index_)), *self.value_index_.T]
            for block in blocks:
                block = block[block >= 0]
                spread = np.sqrt(points[block].var(axis=0).sum())
                if spread > 0:
                    points[np.unique(block)] /= spread
        return points
