"""What dynamic sparse learning is held against: pruning after a dense training, and recbole's LightGCN."""

from __future__ import annotations

import sys
import types
from typing import Any

import numpy as np
import scipy.sparse
import torch

from gossamer.learn import LightGCNRecommender
from gossamer.learn.recommend.interactions import Seen
from gossamer.learn.recommend.stored_tables import StoredTables
from gossamer.sparsify import geometric_schedule, hold_masks
from gossamer.sparsify.dynamic.moves import highest

ROUNDS, ROUND_EPOCHS, ROUND_RATE = 3, 20, 1e-3


class PrunedLightGCN(LightGCNRecommender):
    """Dense training, then three rounds of pruning by magnitude, each with 20 epochs to recover."""

    def __init__(self, final_density: float = 0.5, **options: Any) -> None:
        super().__init__(**options)
        self.final_density = final_density

    def _train(self, network: Any, seen: Any, rng: np.random.Generator, generator: torch.Generator) -> None:
        super()._train(network, seen, rng, generator)
        params: dict[str, torch.Tensor] = dict(network.named_parameters())
        masks: dict[str, torch.Tensor] = {}
        for sparsity in geometric_schedule(0.0, 1 - self.final_density, ROUNDS):
            masks = {name: _largest(p, 1 - sparsity) for name, p in params.items()}
            optimizer = torch.optim.Adam(params.values(), lr=ROUND_RATE)
            held = hold_masks(optimizer, params, masks)
            for _ in range(ROUND_EPOCHS):
                for batch in self._batches(seen, rng):
                    optimizer.zero_grad()
                    self._loss(network, batch, 1.0, generator).backward()
                    optimizer.step()
            held.remove()
        self._keep(seen, StoredTables.of(*self._arranged(params, masks)))


def _largest(p: torch.Tensor, density: float) -> torch.Tensor:
    mask = torch.zeros(p.numel(), dtype=torch.bool)
    mask[highest(p.detach().abs().reshape(-1), round(density * p.numel()))] = True
    return mask.reshape(p.shape)


def recbole_lightgcn(
    train: scipy.sparse.csr_array,
    seed: int,
    *,
    epochs: int,
    lr: float,
    lr_final: float,
    batch_size: int,
    reg: float,
) -> np.ndarray:
    """Scores of all items by recbole's LightGCN (64 dimensions, 3 layers), trained with our rates and batches."""
    # recbole logs through a package that training does not need
    board = types.ModuleType("torch.utils.tensorboard")
    board.SummaryWriter = object  # type: ignore[attr-defined]
    sys.modules.setdefault("torch.utils.tensorboard", board)
    from recbole.model.general_recommender.lightgcn import LightGCN

    class Scaled(LightGCN):
        """With a graph built without a private method that SciPy has dropped; the same numbers."""

        def get_norm_adj_mat(self) -> torch.Tensor:
            from gossamer.learn.recommend.lightgcn import propagation_matrix

            A = propagation_matrix(train).tocoo()
            place = torch.from_numpy(np.array([A.row, A.col]))
            return torch.sparse_coo_tensor(
                place, torch.from_numpy(A.data), A.shape, check_invariants=True
            ).coalesce()

    config = {"USER_ID_FIELD": "user", "ITEM_ID_FIELD": "item", "NEG_PREFIX": "neg_", "device": "cpu",
              "embedding_size": 64, "n_layers": 3, "reg_weight": reg, "require_pow": True}  # fmt: skip
    sizes = dict(zip(("user", "item"), train.shape))
    dataset = types.SimpleNamespace(num=sizes.__getitem__, inter_matrix=lambda form: train.tocoo())
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = Scaled(config, dataset)
    pairs = np.column_stack(train.nonzero()).astype(np.int64)
    steps = -(-len(pairs) // batch_size)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps * epochs, eta_min=lr_final)
    pool = Seen(train)
    for _ in range(epochs):
        order = pairs[rng.permutation(len(pairs))]
        others = pool.draw_others(order[:, 0], rng)
        for start in range(0, len(order), batch_size):
            rows = slice(start, start + batch_size)
            batch = {"user": order[rows, 0], "item": order[rows, 1], "neg_item": others[rows]}
            optimizer.zero_grad()
            model.calculate_loss({name: torch.from_numpy(ids) for name, ids in batch.items()}).backward()
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        users, items = model.forward()
        return (users @ items.T).numpy()
