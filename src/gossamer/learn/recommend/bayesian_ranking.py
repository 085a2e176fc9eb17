"""Recommenders of one vector a user and item that learn to rank what was chosen above what was not (BPR)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse
import torch
from sklearn.utils.validation import check_is_fitted

from gossamer._core.checks import check_float, check_int
from gossamer._core.errors import ArgumentError
from gossamer.learn.recommend.interactions import Seen
from gossamer.learn.recommend.recommender import Recommender
from gossamer.sparsify import DynamicSparseTable

SCALE = 0.1  # standard deviation of the vectors at the start
TABLE = "embedding"  # users above items, as it is stored


class VectorPairs(torch.nn.Module):
    """A table of users and one of items, the network of matrix factorisation."""

    def __init__(self, n_users: int, n_items: int, dim: int, generator: torch.Generator) -> None:
        super().__init__()
        self.users = torch.nn.Parameter(SCALE * torch.randn(n_users, dim, generator=generator))
        self.items = torch.nn.Parameter(SCALE * torch.randn(n_items, dim, generator=generator))

    def forward(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Vectors that are multiplied: of users, of items."""
        return self.users, self.items


def bpr_loss(
    network: VectorPairs, triples: tuple[torch.Tensor, torch.Tensor, torch.Tensor], reg: float
) -> torch.Tensor:
    r"""Mean of :math:`\log(1 + e^{s_- - s_+})`, and half of ``reg`` times the mean squared vectors of the batch."""
    users, liked, others = triples
    u, v = network()
    u = u[users]
    better, worse = (u * v[liked]).sum(1), (u * v[others]).sum(1)
    own = (network.users[users], network.items[liked], network.items[others])
    penalty = sum((part**2).sum() for part in own) / len(users)
    return torch.nn.functional.softplus(worse - better).mean() + reg / 2 * penalty


class PairRecommender(Recommender):
    """Scores are products of a user's and an item's vector; the loss is BPR's."""

    dim: int
    reg: float
    _user_tables = ("users",)

    @property
    def sparse_table_(self) -> DynamicSparseTable:
        """The trained table, users above items, in compressed rows; there is none after a dense training."""
        check_is_fitted(self, "n_live_")
        if TABLE not in self._stored.sparse:
            raise AttributeError(f"density={self.density!r}: the table is dense")
        return self._stored.sparse[TABLE]

    def _check(self) -> None:
        super()._check()
        check_int("dim", self.dim, low=1)
        check_float("reg", self.reg, low=0)

    def _network(self, seen: scipy.sparse.csr_array, generator: torch.Generator) -> torch.nn.Module:
        return VectorPairs(seen.shape[0], seen.shape[1], self.dim, generator)

    def _n_batches(self, seen: scipy.sparse.csr_array) -> int:
        return -(-len(_pairs(seen)) // self.batch_size)

    def _batches(self, seen: scipy.sparse.csr_array, rng: np.random.Generator) -> Iterator[Any]:
        pairs = _pairs(seen)
        pairs = pairs[rng.permutation(len(pairs))]
        others = Seen(seen).draw_others(pairs[:, 0], rng)
        triples = torch.from_numpy(np.column_stack([pairs, others]))
        for part in triples.split(self.batch_size):
            yield part.unbind(1)

    def _loss(self, network: Any, batch: Any, progress: float, generator: torch.Generator) -> torch.Tensor:
        return bpr_loss(network, batch, self.reg)

    def _arranged(
        self, params: dict[str, torch.Tensor], masks: dict[str, torch.Tensor] | None
    ) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor] | None]:
        def stacked(parts: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            return {TABLE: torch.cat([parts["users"].detach(), parts["items"].detach()])}

        return stacked(params), None if masks is None else stacked(masks)

    def _batch_flops(self) -> float:
        """Both products of a pair, at live entries."""
        return 4 * self.batch_size * self._stored.count(TABLE) / (self.n_users_ + self.n_items_)


def _pairs(seen: scipy.sparse.csr_array) -> np.ndarray:
    """Users and what they had; none of users who had everything, for whom nothing ranks below."""
    counts = np.diff(seen.indptr)
    rows = np.repeat(np.arange(seen.shape[0]), counts)
    pairs = np.column_stack([rows, seen.indices]).astype(np.int64)[counts[rows] < seen.shape[1]]
    if not len(pairs):
        raise ArgumentError("R has no pair to learn from: expected users with some items, but not all")
    return pairs
