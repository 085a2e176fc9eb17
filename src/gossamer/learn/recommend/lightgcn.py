"""Recommend from vectors that are averaged over the graph of users and items, with a budget of weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse
import torch

from gossamer._core.checks import check_int
from gossamer._core.random import RandomState
from gossamer.learn.recommend.bayesian_ranking import TABLE, PairRecommender, VectorPairs
from gossamer.nn import SparseTensor


class LightGCNRecommender(PairRecommender):
    r"""LightGCN: vectors averaged over the graph of users and items, dense or with a fixed number of live weights.

    From the table :math:`E^{(0)}` of users and items, layers are :math:`E^{(l+1)} = D^{-1/2} A D^{-1/2} E^{(l)}`
    with the graph A of interactions; their mean is scored with and trained as in :class:`MFRecommender`. With a
    ``density`` only the table is sparse: its live weights move during training to the users and items that need them
    (:class:`gossamer.sparsify.DSLMasker`), and the first layer costs only the live ones.

    Parameters
    ----------
    dim : int
        Length of the vectors.
    n_layers : int
        Layers; with 0 it is matrix factorisation.
    density : float, optional
        Share of the weights that is live, in (0, 1]; None trains densely.
    epochs : int
        Passes over the interactions.
    lr, lr_final : float
        Adam's rate at the start and, after a cosine, at the end.
    batch_size : int
        Pairs of a step.
    reg : float
        Weight of the squared vectors of the table that a batch names.
    masker_options : dict, optional
        More settings of :class:`gossamer.sparsify.DSLMasker`, such as ``delta_t`` (by default a fortieth of the
        training) or ``stop_fraction`` (0.8); ``{"stop_fraction": 0}`` is a fixed mask.
    verbose : int
        Print a line an epoch.
    random_state : int, Generator or None
        Source of all draws.

    Attributes
    ----------
    sparse_table_ : DynamicSparseTable, shape (n_users + n_items, dim)
        :math:`E^{(0)}`, users above items.
    n_live_ : int
        Stored weights.
    explorations_ : list of Exploration
        Moves of the live weights.
    explored_fraction_ : float
        Share of the weights that were live at least once.
    history_ : dict of str to list
        ``loss`` and ``seconds`` of each epoch.
    seen_ : csr_array, shape (n_users, n_items)
        The interactions, which are also the graph.
    n_users_, n_items_, n_iter_ : int
        Sizes and epochs.

    Notes
    -----
    A step costs ``4 n_layers nnz dim`` operations over the edges, each once in either direction. Averaged vectors are
    dense: :meth:`recommend` makes them once a call. Of scikit-learn's checks those of construction, cloning and
    parameters apply, as for :class:`MFRecommender`. The same seed gives the same model for one number of threads.

    References
    ----------
    He et al., "LightGCN: simplifying and powering graph convolution network for recommendation", SIGIR 2020. Wang et
    al., "Dynamic sparse learning: a novel paradigm for efficient recommendation", WSDM 2024, arXiv 2402.02855.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.learn import LightGCNRecommender
    >>> R = np.kron(np.eye(2), np.ones((20, 12)))  # two groups with tastes of their own
    >>> R[0, 3] = R[25, 20] = 0
    >>> rec = LightGCNRecommender(dim=8, density=0.5, epochs=10, random_state=0).fit(R)
    >>> items, scores = rec.recommend([0, 25], k=1)
    >>> items.tolist()
    [[3], [20]]
    """

    def __init__(
        self,
        dim: int = 64,
        *,
        n_layers: int = 3,
        density: float | None = None,
        epochs: int = 100,
        lr: float = 1e-2,
        lr_final: float = 1e-4,
        batch_size: int = 1024,
        reg: float = 1e-4,
        masker_options: dict[str, Any] | None = None,
        verbose: int = 0,
        random_state: RandomState = None,
    ) -> None:
        self.dim = dim
        self.n_layers = n_layers
        self.density = density
        self.epochs = epochs
        self.lr = lr
        self.lr_final = lr_final
        self.batch_size = batch_size
        self.reg = reg
        self.masker_options = masker_options
        self.verbose = verbose
        self.random_state = random_state

    def _check(self) -> None:
        super()._check()
        check_int("n_layers", self.n_layers, low=0)

    def _network(self, seen: scipy.sparse.csr_array, generator: torch.Generator) -> torch.nn.Module:
        return AveragedPairs(seen, self.dim, self.n_layers, generator)

    def _prepare(self) -> np.ndarray:
        stored, graph = self._stored, propagation_matrix(self.seen_)
        if self.n_layers == 0:
            return stored.dense(TABLE)
        layer = stored.propagate(TABLE, graph)
        total = layer.copy()
        for _ in range(self.n_layers - 1):
            layer = graph @ layer
            total += layer
        ids = np.arange(len(total))
        for part in np.array_split(ids, -(-len(ids) // 4096)):
            total[part] += stored.rows(TABLE, part)
        return total / np.float32(self.n_layers + 1)

    def _scores(self, users: np.ndarray, ready: np.ndarray) -> np.ndarray:
        return ready[users] @ ready[self.n_users_ :].T

    def _batch_flops(self) -> float:
        return super()._batch_flops() + self._propagation_flops()

    def _scoring_flops(self, users: int) -> float:
        return self._propagation_flops() + 2.0 * users * self.n_items_ * self.dim

    def _propagation_flops(self) -> float:
        """The first layer at live entries, the others dense."""
        if self.n_layers == 0:
            return 0.0
        degree = np.concatenate(
            [np.diff(self.seen_.indptr), np.bincount(self.seen_.indices, minlength=self.n_items_)]
        )
        first = 2.0 * degree @ self._stored.live_in_rows(TABLE)
        return float(first + (self.n_layers - 1) * 4.0 * self.seen_.nnz * self.dim)


class AveragedPairs(VectorPairs):
    """Tables of users and items, averaged over the layers of the graph."""

    def __init__(
        self, seen: scipy.sparse.csr_array, dim: int, n_layers: int, generator: torch.Generator
    ) -> None:
        super().__init__(seen.shape[0], seen.shape[1], dim, generator)
        self.graph, self.n_layers = SparseTensor.of(propagation_matrix(seen)), n_layers

    def forward(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Averaged vectors of users, of items."""
        layer = total = torch.cat([self.users, self.items])
        for _ in range(self.n_layers):
            layer = self.graph @ layer
            total = total + layer
        total = total / (self.n_layers + 1)
        return total[: len(self.users)], total[len(self.users) :]


def propagation_matrix(seen: scipy.sparse.csr_array) -> scipy.sparse.csr_array:
    r""":math:`D^{-1/2} A D^{-1/2}` of the graph of users, above, and items, float32; empty rows for lone nodes."""
    A = scipy.sparse.block_array([[None, seen], [seen.T, None]], format="csr")
    degree = np.diff(A.indptr).astype(np.float64)
    scale = np.divide(1, np.sqrt(degree), out=np.zeros_like(degree), where=degree > 0)
    rows = np.repeat(np.arange(A.shape[0]), np.diff(A.indptr))
    A.data = (scale[rows] * scale[A.indices]).astype(np.float32)
    return A
