"""Recommend by a network on pairs of a user and an item, with a budget of weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.sparse
import torch

from gossamer._core.checks import check_int
from gossamer._core.errors import ArgumentError, bad_argument
from gossamer._core.random import RandomState
from gossamer.learn.recommend.interactions import Seen
from gossamer.learn.recommend.recommender import Recommender

_ITEMS = 1 << 22  # numbers of a hidden layer at a time


class NeuMFRecommender(Recommender):
    r"""NeuMF: matrix factorisation and a small network side by side, dense or with a fixed number of live weights.

    A pair's score joins :math:`u \odot v` (GMF, ``dim`` entries) and a tower of layers on :math:`[u', v']` (MLP) by
    one more layer; the loss is the cross-entropy of the pairs that are there against ``n_negatives`` random ones each.
    With a ``density`` the tables and all matrices are sparse from the first step
    (:class:`gossamer.sparsify.DSLMasker`).

    Parameters
    ----------
    dim : int
        Length of the vectors of GMF.
    layers : sequence of int
        Widths of the tower; the first is that of both vectors together, and even.
    n_negatives : int
        Random items for each item that a user had.
    density : float, optional
        Share of the weights that is live, in (0, 1]; None trains densely. Biases stay dense.
    epochs : int
        Passes over the interactions.
    lr, lr_final : float
        Adam's rate at the start and, after a cosine, at the end.
    batch_size : int
        Interactions of a step, each with its random items.
    masker_options : dict, optional
        More settings of :class:`gossamer.sparsify.DSLMasker`, as for :class:`MFRecommender`.
    verbose : int
        Print a line an epoch.
    random_state : int, Generator or None
        Source of all draws.

    Attributes
    ----------
    sparse_tables_ : dict of str to DynamicSparseTable
        Tables and matrices by name.
    n_live_ : int
        Stored weights.
    explorations_, explored_fraction_, history_, seen_, n_users_, n_items_, n_iter_ :
        As for :class:`MFRecommender`.

    Notes
    -----
    Scores are log-odds: the sigmoid of them is the probability that the loss fits. All items of a user are scored at
    once, the first layer once for each user and each item. Of scikit-learn's checks those of construction, cloning
    and parameters apply, as for :class:`MFRecommender`. :func:`sampled_rank_metrics` is the protocol of its paper.

    References
    ----------
    He et al., "Neural collaborative filtering", WWW 2017. Wang et al., "Dynamic sparse learning: a novel paradigm for
    efficient recommendation", WSDM 2024, arXiv 2402.02855.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.learn import NeuMFRecommender
    >>> R = np.kron(np.eye(2), np.ones((20, 12)))  # two groups with tastes of their own
    >>> R[0, 3] = R[25, 20] = 0
    >>> rec = NeuMFRecommender(dim=4, layers=(8, 4), density=0.7, epochs=40, batch_size=64, lr=2e-2, random_state=0)
    >>> items, scores = rec.fit(R).recommend([0, 25], k=1)
    >>> items.tolist()
    [[3], [20]]
    """

    _user_tables = ("gmf_users", "mlp_users")

    def __init__(
        self,
        dim: int = 32,
        *,
        layers: Sequence[int] = (64, 32, 16, 8),
        n_negatives: int = 4,
        density: float | None = None,
        epochs: int = 50,
        lr: float = 1e-3,
        lr_final: float = 1e-5,
        batch_size: int = 512,
        masker_options: dict[str, Any] | None = None,
        verbose: int = 0,
        random_state: RandomState = None,
    ) -> None:
        self.dim = dim
        self.layers = layers
        self.n_negatives = n_negatives
        self.density = density
        self.epochs = epochs
        self.lr = lr
        self.lr_final = lr_final
        self.batch_size = batch_size
        self.masker_options = masker_options
        self.verbose = verbose
        self.random_state = random_state

    def _check(self) -> None:
        super()._check()
        check_int("dim", self.dim, low=1)
        check_int("n_negatives", self.n_negatives, low=1)
        widths = [check_int("layers", width, low=1) for width in self.layers]
        if len(widths) < 2 or widths[0] % 2:
            raise bad_argument("layers", self.layers, "at least two widths, the first of them even")

    def _network(self, seen: scipy.sparse.csr_array, generator: torch.Generator) -> torch.nn.Module:
        return PairNetwork(seen.shape[0], seen.shape[1], self.dim, list(self.layers), generator)

    def _n_batches(self, seen: scipy.sparse.csr_array) -> int:
        return -(-seen.nnz // self.batch_size)

    def _batches(self, seen: scipy.sparse.csr_array, rng: np.random.Generator) -> Iterator[Any]:
        if not 0 < seen.nnz < seen.shape[0] * seen.shape[1]:
            raise ArgumentError(f"R has {seen.nnz} interactions: expected some, but not all")
        counts = np.diff(seen.indptr)
        users = np.repeat(np.arange(len(counts)), counts)
        order = rng.permutation(seen.nnz)
        users, items = users[order], seen.indices[order].astype(np.int64)
        # of a user who had everything there is no negative
        negative = users[counts[users] < seen.shape[1]]
        pool = Seen(seen)
        for start in range(0, len(users), self.batch_size):
            rows = slice(start, start + self.batch_size)
            again = np.repeat(negative[rows], self.n_negatives)
            others = pool.draw_others(again, rng)
            pairs = np.concatenate([users[rows], again]), np.concatenate([items[rows], others])
            labels = np.zeros(len(pairs[0]), np.float32)
            labels[: len(users[rows])] = 1
            yield torch.from_numpy(pairs[0]), torch.from_numpy(pairs[1]), torch.from_numpy(labels)

    def _loss(self, network: Any, batch: Any, progress: float, generator: torch.Generator) -> torch.Tensor:
        users, items, labels = batch
        return torch.nn.functional.binary_cross_entropy_with_logits(network(users, items), labels)

    def _prepare(self) -> dict[str, np.ndarray]:
        """Small matrices, and what the first layer makes of every item."""
        stored, depth = self._stored, len(self.layers) - 1
        small = {
            f"{name}.{part}": stored.dense(f"{name}.{part}")
            for name in ("output", *(f"tower_{i}" for i in range(depth)))
            for part in ("weight", "bias")
        }
        half = self.layers[0] // 2
        small["items"] = stored.dot("mlp_items", np.ascontiguousarray(small["tower_0.weight"][:, half:].T))
        return small

    def _scores(self, users: np.ndarray, ready: dict[str, np.ndarray]) -> np.ndarray:
        stored, half = self._stored, self.layers[0] // 2
        output = ready["output.weight"][0]
        scores = stored.dot("gmf_items", (stored.rows("gmf_users", users) * output[: self.dim]).T).T
        own = stored.rows("mlp_users", users) @ ready["tower_0.weight"][:, :half].T + ready["tower_0.bias"]
        step = max(_ITEMS // (self.n_items_ * max(self.layers)), 1)
        for start in range(0, len(users), step):
            hidden = np.maximum(own[start : start + step, None] + ready["items"], 0)
            for i in range(1, len(self.layers) - 1):
                hidden = np.maximum(hidden @ ready[f"tower_{i}.weight"].T + ready[f"tower_{i}.bias"], 0)
            scores[start : start + step] += hidden @ output[self.dim :]
        return scores + ready["output.bias"]

    def _batch_flops(self) -> float:
        """Live weights of the small matrices for each pair; products of vectors add little."""
        return 2.0 * self.batch_size * (1 + self.n_negatives) * self._small()

    def _scoring_flops(self, users: int) -> float:
        width, first = self.layers[1], self._stored.count("tower_0.weight")
        once = 2.0 * self._stored.count("mlp_items") * width
        pairs = self._small() - first + width
        return once + users * (2.0 * self._stored.count("gmf_items") + 2.0 * self.n_items_ * pairs)

    def _small(self) -> int:
        names = ("output", *(f"tower_{i}" for i in range(len(self.layers) - 1)))
        return sum(self._stored.count(f"{name}.weight") for name in names)


class PairNetwork(torch.nn.Module):
    """GMF and MLP tables, the tower, and the layer that joins them."""

    gmf_users: torch.nn.Parameter
    gmf_items: torch.nn.Parameter
    mlp_users: torch.nn.Parameter
    mlp_items: torch.nn.Parameter

    def __init__(
        self, n_users: int, n_items: int, dim: int, widths: list[int], generator: torch.Generator
    ) -> None:
        super().__init__()
        half = widths[0] // 2
        for name, n, d in (("gmf_users", n_users, dim), ("gmf_items", n_items, dim),
                           ("mlp_users", n_users, half), ("mlp_items", n_items, half)):  # fmt: skip
            self.register_parameter(name, torch.nn.Parameter(0.05 * torch.randn(n, d, generator=generator)))
        self.depth = len(widths) - 1
        for i, (inputs, outputs) in enumerate(pairwise(widths)):
            self.add_module(f"tower_{i}", _linear(inputs, outputs, generator))
        self.output = _linear(dim + widths[-1], 1, generator)

    def forward(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """Log-odds of pairs."""
        hidden = torch.cat([self.mlp_users[users], self.mlp_items[items]], dim=1)
        for i in range(self.depth):
            hidden = torch.relu(self.get_submodule(f"tower_{i}")(hidden))
        joined = torch.cat([self.gmf_users[users] * self.gmf_items[items], hidden], dim=1)
        return self.output(joined)[:, 0]


def _linear(inputs: int, outputs: int, generator: torch.Generator) -> torch.nn.Linear:
    layer = torch.nn.Linear(inputs, outputs)
    torch.nn.init.xavier_uniform_(layer.weight, generator=generator)
    torch.nn.init.zeros_(layer.bias)
    return layer
