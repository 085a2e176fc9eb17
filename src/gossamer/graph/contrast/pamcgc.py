"""Clusters of nodes from their features, by contrast with the neighbours that a graph gives them."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np
import scipy.sparse
import torch
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted, validate_data

from gossamer._core.arrays import is_torch
from gossamer._core.checks import check_choice, check_float, check_int
from gossamer._core.errors import ArgumentError, ShapeError, UnsupportedError
from gossamer._core.random import RandomState, check_random_state
from gossamer.graph.contrast.autoencoder import PRESETS, as_input, pretrained
from gossamer.graph.contrast.centring import shifted
from gossamer.graph.contrast.influence import influence_matrix
from gossamer.graph.contrast.nearest_neighbours import knn_graph
from gossamer.graph.contrast.training import Contrast, Training, memberships
from gossamer.graph.inputs import as_adjacency
from gossamer.nn import PamCLoss, full_contrastive_loss, sampled_contrastive_loss
from gossamer.nn.contrast.strengths import NeighbourStrengths

LOSSES = ("pamc", "full", "sampled")


class PamCGC(ClusterMixin, BaseEstimator):
    r"""Clusters of attributed nodes by block contrastive learning: features go in, the graph only teaches.

    A perceptron is trained as an autoencoder; K-means on its codes gives centres. Then both are trained for
    :math:`\alpha L + \beta\,\mathrm{KL}(p \| q)`: L is :func:`gossamer.nn.pamc_loss`, which pulls nodes to those that
    reach them in a few steps (:func:`influence_matrix`) and pushes the sums of clusters apart; q are memberships by a
    Student-t kernel around the centres, p the same made sharper. A new node needs its features only.

    Choose ``order`` by how far links keep their meaning: 1 to 4. Settings of the paper are on the page of the system.
    What is reported is the last epoch; to choose one by known classes would be to learn from them.

    Parameters
    ----------
    n_clusters : int
        From 2 to the number of nodes.
    alpha, beta : float
        Weights of contrast and of divergence, at least 0.
    order, cumulative, max_per_row
        Of :func:`influence_matrix`.
    tau : float
        Multiplies similarities in the contrast, in (0, 80].
    hidden : tuple of int, or {"paper", "light"}
        Widths of the hidden layers; ``"paper"`` is (500, 500, 2000), ``"light"`` (256, 256, 512).
    latent : int
        Width of the representation.
    pretrain_epochs : int
        Passes of the autoencoder, in batches of 256 with Adam at 1e-3; may be 0. Steps count: a few thousand
        nodes need hundreds of passes for codes as good as published ones.
    epochs : int
        Passes of the contrast; 0 leaves K-means on the autoencoder.
    lr : float
        Of Adam in the contrast.
    loss : {"pamc", "full", "sampled"}
        The contrast: against clusters, against all nodes (:func:`gossamer.nn.full_contrastive_loss`), or against
        ``n_samples`` random ones (:func:`gossamer.nn.sampled_contrastive_loss`).
    weighting : {"equal", "size"}
        Of clusters, for ``"pamc"``.
    n_samples : int
        Negatives of each node, for ``"sampled"``.
    knn : int, optional
        Neighbours of the graph of features that stands in where ``fit`` gets no graph.
    knn_metric : {"heat", "cosine", "dot"}
        Of :func:`knn_graph`.
    batch_size : int, optional
        Nodes of a mini-batch, for ``"pamc"``: their neighbours are encoded with them, and sums of clusters are running
        averages. By default each step sees the whole graph.
    momentum : float
        Share of the past in those averages, in [0, 1).
    n_init : int
        Starts of K-means.
    centred : bool
        Start the contrast with the mean of all codes at the origin. Where an autoencoder puts it means nothing, but the
        contrast compares angles around the origin: its first steps would move all codes as one, away from the centres.
        False, as published.
    revive : bool
        A cluster that had no nodes in an epoch is started again by splitting the most dispersed one. False, as
        published: it has no part in the contrast, and often stays empty.
    encoder : torch.nn.Module, optional
        Start from a copy of this one, such as the ``encoder_`` of a fit without epochs, in place of pre-training, to
        compare settings of the contrast. ``hidden``, ``latent`` and ``pretrain_epochs`` have no effect then.
    random_state : int, Generator or None
        Of all draws.

    Attributes
    ----------
    labels_ : ndarray of int64, shape (n,)
        The cluster of each node after the last epoch.
    q_ : ndarray of float32, shape (n, n_clusters)
        Memberships, of which ``labels_`` are the largest.
    embedding_ : ndarray of float32, shape (n, latent)
        Representations.
    cluster_centers_ : ndarray of float32, shape (n_clusters, latent)
        Centres.
    history_ : dict of str to list
        ``reconstruction`` of each pass of the autoencoder; ``loss``, ``contrast``, ``divergence``, ``changed``, the
        share of nodes that changed cluster, and ``revived``, clusters started again before it, of each epoch.
    encoder_ : torch.nn.Module
        From features to representations.
    influence_nnz_ : int
        Pairs of neighbours.
    n_features_in_ : int
        Columns of X.

    Raises
    ------
    ArgumentError, ShapeError
        If X and A do not fit, there is neither A nor ``knn``, or a setting is out of range.
    CostError
        If the influence matrix would not fit into memory.

    Notes
    -----
    O(nnz d + n + k^2 d) an epoch for the contrast, beside the encoder's O(n) products. Sparse X stays sparse in the
    first layer. Training is in float32. With ``knn`` it passes scikit-learn's ``check_estimator``, but for checks that
    ask for a single cluster.

    References
    ----------
    Kulatilleke, Portmann, Chandra, "Efficient block contrastive learning via parameter-free meta-node approximation",
    2022, arXiv 2209.14067.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.graph import PamCGC, attributed_sbm
    >>> graph = attributed_sbm(90, 3, p_in=0.3, p_out=0.01, n_attributes=4, random_state=0)
    >>> X = np.eye(3)[graph.attributes].reshape(90, 12)
    >>> model = PamCGC(3, hidden=(32,), epochs=20, pretrain_epochs=20, random_state=0).fit(X, graph.adjacency)
    >>> model.labels_.shape, model.predict(X[:2]).shape
    ((90,), (2,))
    """

    def __init__(
        self,
        n_clusters: int,
        *,
        alpha: float = 2.0,
        beta: float = 2.0,
        order: int = 3,
        tau: float = 0.5,
        cumulative: bool = True,
        hidden: tuple[int, ...] | str = (500, 500, 2000),
        latent: int = 10,
        pretrain_epochs: int = 50,
        epochs: int = 200,
        lr: float = 1e-3,
        loss: str = "pamc",
        weighting: str = "equal",
        n_samples: int = 64,
        knn: int | None = None,
        knn_metric: str = "heat",
        max_per_row: int | None = None,
        batch_size: int | None = None,
        momentum: float = 0.9,
        n_init: int = 20,
        centred: bool = True,
        revive: bool = True,
        encoder: torch.nn.Module | None = None,
        random_state: RandomState = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.alpha = alpha
        self.beta = beta
        self.order = order
        self.tau = tau
        self.cumulative = cumulative
        self.hidden = hidden
        self.latent = latent
        self.pretrain_epochs = pretrain_epochs
        self.epochs = epochs
        self.lr = lr
        self.loss = loss
        self.weighting = weighting
        self.n_samples = n_samples
        self.knn = knn
        self.knn_metric = knn_metric
        self.max_per_row = max_per_row
        self.batch_size = batch_size
        self.momentum = momentum
        self.n_init = n_init
        self.centred = centred
        self.revive = revive
        self.encoder = encoder
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, A: Any = None) -> PamCGC:
        """Cluster the nodes of a graph.

        Parameters
        ----------
        X : array or sparse matrix, shape (n, f)
            Features of nodes, real and finite.
        y : ignored, or a graph
            The graph may stand in the second place, ``fit(X, A)``; a vector, as scikit-learn passes it, is ignored.
        A : sparse matrix, networkx graph, edges, or path, of n nodes
            The graph, as in :func:`as_adjacency`; directed edges count in both directions. Without one, the nearest
            neighbours of the features.
        """
        X = validate_data(self, X, accept_sparse="csr", dtype=np.float32, ensure_min_samples=2)
        n = X.shape[0]
        k, hidden = check_int("n_clusters", self.n_clusters, low=2, high=n), self._hidden()
        epochs = check_int("epochs", self.epochs, low=0)
        batch_size = None if self.batch_size is None else check_int("batch_size", self.batch_size, low=2)
        starts, lr = (
            check_int("n_init", self.n_init, low=1),
            check_float("lr", self.lr, low=0, closed="neither"),
        )
        alpha, beta = (check_float(name, getattr(self, name), low=0) for name in ("alpha", "beta"))
        rng = check_random_state(self.random_state)
        contrast = self._contrast(rng)
        gamma = self._influence(X, _graph(y, A))
        encoder, reconstruction = self._encoder(X, hidden, rng)
        with torch.no_grad():
            z = encoder(as_input(X))
        means = KMeans(k, n_init=starts, random_state=int(rng.integers(2**31))).fit(z.numpy())
        centres = torch.from_numpy(means.cluster_centers_)
        if self.centred and epochs:
            origin = z.mean(dim=0, dtype=torch.float64).to(z.dtype)
            encoder, centres = shifted(encoder, -origin), centres - origin
        centres = torch.nn.Parameter(centres)
        training = Training(encoder, centres, contrast, alpha, beta, lr, bool(self.revive))
        strengths = NeighbourStrengths.of(gamma) if batch_size is None else gamma
        history = training.run(X, strengths, epochs, batch_size, rng)
        z, q = memberships(encoder, centres, X)
        self.history_ = {"reconstruction": reconstruction, **history}
        self.encoder_, self.influence_nnz_ = encoder, gamma.nnz
        self.embedding_, self.q_ = z.numpy(), q.numpy()
        self.cluster_centers_ = centres.detach().numpy().copy()
        self.labels_ = self.q_.argmax(axis=1)
        return self._warn_of_empty(k)

    def fit_predict(self, X: Any, y: Any = None, A: Any = None) -> np.ndarray:
        """Cluster the nodes of a graph and return ``labels_``."""
        return self.fit(X, y, A).labels_

    def predict(self, X: Any) -> np.ndarray:
        """Clusters (n,) of nodes by their features (n, f) alone, also of new ones."""
        check_is_fitted(self, "labels_")
        X = validate_data(self, X, accept_sparse="csr", dtype=np.float32, reset=False)
        _, q = memberships(self.encoder_, torch.from_numpy(self.cluster_centers_), X)
        return q.numpy().argmax(axis=1)

    def _encoder(
        self, X: Any, hidden: tuple[int, ...], rng: np.random.Generator
    ) -> tuple[torch.nn.Module, list[float]]:
        latent = check_int("latent", self.latent, low=1)
        passes = check_int("pretrain_epochs", self.pretrain_epochs, low=0)
        if self.encoder is None:
            return pretrained(X, hidden, latent, passes, rng)
        if not isinstance(self.encoder, torch.nn.Module):
            raise UnsupportedError(
                f"encoder is a {type(self.encoder).__name__}: expected a torch.nn.Module or None"
            )
        return copy.deepcopy(self.encoder), []

    def _hidden(self) -> tuple[int, ...]:
        if isinstance(self.hidden, str):
            return PRESETS[check_choice("hidden", self.hidden, PRESETS)]
        return tuple(check_int("hidden", width, low=1) for width in self.hidden)

    def _influence(self, X: Any, graph: Any) -> Any:
        n = X.shape[0]
        if graph is None:
            if self.knn is None:
                raise ArgumentError(
                    "A=None and knn=None: expected a graph, or knn to make one of the features"
                )
            knn = check_int("knn", self.knn, low=1)
            graph = knn_graph(X, min(knn, n - 1), metric=self.knn_metric)
        else:
            found = _nodes(graph)
            if found not in (None, n):
                raise ShapeError(f"A has {found} nodes, X has {n} rows: expected one row for each node")
            graph = as_adjacency(graph, directed=True, n_nodes=n, name="A")
        return influence_matrix(graph, self.order, self.cumulative, max_per_row=self.max_per_row)

    def _contrast(self, rng: np.random.Generator) -> Contrast:
        check_choice("loss", self.loss, LOSSES)
        if self.batch_size is not None and self.loss != "pamc":
            raise ArgumentError(f"batch_size={self.batch_size}: expected None with loss={self.loss!r}")
        tau = self.tau
        loss = PamCLoss(
            tau,
            n_clusters=self.n_clusters,
            weighting=self.weighting,
            momentum=None if self.batch_size is None else self.momentum,
        )
        if self.loss == "full":
            return lambda z, gamma, q: full_contrastive_loss(z, gamma, tau=tau)
        if self.loss == "sampled":
            count = check_int("n_samples", self.n_samples, low=1)
            return lambda z, gamma, q: sampled_contrastive_loss(z, gamma, count, tau=tau, random_state=rng)
        return loss

    def _warn_of_empty(self, k: int) -> PamCGC:
        used = len(np.unique(self.labels_))
        if used < k:
            warnings.warn(
                f"{k - used} of {k} clusters have no nodes: fewer clusters, or a smaller alpha, may fit the data",
                ConvergenceWarning,
                stacklevel=3,
            )
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _graph(y: Any, A: Any) -> Any:
    """The graph, in whichever place it stands."""
    vector = np.ndim(y) == 1 if isinstance(y, list) else getattr(y, "ndim", None) == 1
    if y is None or vector:
        return A
    if A is not None:
        raise ArgumentError("there are two graphs, y and A: expected one")
    return y


def _nodes(graph: Any) -> int | None:
    """How many nodes a graph has that says so; edges alone do not."""
    if scipy.sparse.issparse(graph) or (is_torch(graph) and graph.layout != torch.strided):
        return int(graph.shape[0])
    return len(graph) if hasattr(graph, "adj") else None
