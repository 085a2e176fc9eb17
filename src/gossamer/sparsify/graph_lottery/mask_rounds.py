"""Rounds of trained masks: train masks of edges and weights, remove the lowest, rewind, again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from gossamer._core.checks import check_int
from gossamer._core.errors import ArgumentError
from gossamer.nn.graph.edge_importance import share_of
from gossamer.nn.graph.edge_pairs import EdgePairs, lowest
from gossamer.nn.graph.sparse_tensor import SparseTensor
from gossamer.sparsify.graph_lottery.node_task import Fit, NodeTask, Schedule, copied_state
from gossamer.sparsify.graph_lottery.one_pass import ModelFn, seeded
from gossamer.sparsify.graph_lottery.ticket import TicketResult, sweep_sparsities
from gossamer.sparsify.pruners.l0_projection import smallest_entries, zeros_of

NOISE = 1e-5  # of masks around 1, which breaks ties

Extra = Callable[[torch.Tensor], torch.Tensor]


@dataclass
class Masks:
    """Trained masks, and what is still there.

    Attributes
    ----------
    edges : tensor, shape (P,)
        One an undirected edge.
    weights : dict of str to tensor
        One for each trainable parameter.
    live_edges, live_weights
        Bool, in the same shapes.
    """

    edges: torch.Tensor
    weights: dict[str, torch.Tensor]
    live_edges: np.ndarray
    live_weights: dict[str, torch.Tensor]


class MaskRounds(ABC):
    """What the methods share that prune by trained masks in rounds; a subclass adds its term to the loss."""

    clamped = False  # whether masks of edges are held in [0, 1]

    def __init__(
        self, model_fn: ModelFn, rounds: int, epochs: int, lr: float, weight_decay: float, seed: int
    ) -> None:
        self.model_fn = model_fn
        self.rounds = check_int("rounds", rounds, low=1)
        self.schedule = Schedule(epochs, lr, weight_decay)
        self.seed = check_int("seed", seed, low=0)

    def fit(
        self, X: Any, A: Any, y: Any, train_idx: Any, val_idx: Any, *, teacher_logits: Any = None
    ) -> TicketResult:
        """Run all rounds and train the ticket; arguments as in :meth:`TeddyTrainer.fit`, of which none teaches here."""
        return dict(self.tickets(X, A, y, train_idx, val_idx, at=(self.rounds,)))[self.rounds]

    def tickets(
        self, X: Any, A: Any, y: Any, train_idx: Any, val_idx: Any, *, at: Iterable[int]
    ) -> Iterator[tuple[int, TicketResult]]:
        """Run the rounds, and train and yield the ticket after each of those in ``at``."""
        wanted = {check_int("at", r, low=1, high=self.rounds) for r in at}
        if not wanted:
            raise ArgumentError("at: expected at least one round")
        task = NodeTask.of(X, A, y, train_idx, val_idx)
        pairs = EdgePairs.of(*task.adjacency.tocoo().coords)
        model = seeded(self.model_fn, self.seed)
        start = {name: p for name, p in copied_state(model).items() if name in dict(model.named_parameters())}
        live_edges = np.ones(len(pairs), bool)
        live_weights = {
            name: torch.ones_like(p, dtype=torch.bool)
            for name, p in model.named_parameters()
            if p.requires_grad
        }
        draws = torch.Generator().manual_seed(self.seed)
        for number in range(1, max(wanted) + 1):
            masks = Masks(
                _noisy(torch.ones(len(pairs)), draws),
                {name: _noisy(torch.ones_like(start[name]), draws) for name in live_weights},
                live_edges,
                live_weights,
            )
            fit = self._train_masks(task, pairs, model, start, masks)
            edge_share, weight_share = sweep_sparsities(number)
            rank = np.where(live_edges, np.abs(fit.state["edges"].numpy()), -1.0)
            live_edges = ~lowest(rank, share_of(len(pairs), edge_share), pairs.ends)
            ranks = [  # magnitudes are compared: what is gone stays the smallest
                (fit.state["weights"][name].abs().double() + 1).masked_fill(~live, 0.0)
                for name, live in live_weights.items()
            ]
            gone = smallest_entries(ranks, zeros_of(sum(r.numel() for r in ranks), weight_share))
            live_weights = {name: ~g for name, g in zip(live_weights, gone, strict=True)}
            if number in wanted:
                yield number, self._train_ticket(task, pairs, live_edges, live_weights)

    @abstractmethod
    def _extra(self, masks: Masks) -> Extra | None:
        """The term of the loss beside the cross-entropy, as a function of the logits."""

    def _train_masks(
        self,
        task: NodeTask,
        pairs: EdgePairs,
        model: torch.nn.Module,
        start: dict[str, torch.Tensor],
        masks: Masks,
    ) -> Fit:
        with torch.no_grad():
            for name, p in model.named_parameters():
                p.copy_(start[name])
        keep = (pairs.number < 0) | pairs.entries(masks.live_edges)
        graph = task.graph(keep)
        number = torch.from_numpy(pairs.number[keep])
        weights = dict(model.named_parameters())

        def forward() -> torch.Tensor:
            of_entries = torch.cat([masks.edges, torch.ones(1)])[number].to(graph.dtype)
            masked = {
                name: weights[name] * (mask * masks.live_weights[name])
                for name, mask in masks.weights.items()
            }
            adj = graph.with_values(graph.values * of_entries)
            return torch.func.functional_call(model, masked, (task.x, adj))

        def clamp() -> None:
            masks.edges.data.clamp_(0.0, 1.0)

        def keep_masks() -> dict[str, Any]:
            of_weights = {name: mask.detach().clone() for name, mask in masks.weights.items()}
            return {"edges": masks.edges.detach().clone(), "weights": of_weights}

        return self._run(
            task,
            model,
            forward,
            keep_masks,
            weights=[weights[name] for name in masks.weights],
            masks=[masks.edges, *masks.weights.values()],
            extra=self._extra(masks),
            after_step=clamp if self.clamped else None,
        )

    def _train_ticket(
        self,
        task: NodeTask,
        pairs: EdgePairs,
        live_edges: np.ndarray,
        live_weights: dict[str, torch.Tensor],
    ) -> TicketResult:
        model = seeded(self.model_fn, self.seed)
        graph: SparseTensor = task.graph((pairs.number < 0) | pairs.entries(live_edges))
        weights = {name: p for name, p in model.named_parameters() if name in live_weights}

        @torch.no_grad()
        def hold() -> None:
            for name, p in weights.items():
                p.masked_fill_(~live_weights[name], 0.0)

        hold()
        fit = self._run(
            task,
            model,
            lambda: model(task.x, graph),
            lambda: copied_state(model),
            weights=weights.values(),
            after_step=hold,
        )
        model.load_state_dict(fit.state)
        kept = sum(int(p.detach().count_nonzero()) for p in weights.values())
        return TicketResult(
            message=f"epoch {fit.epoch + 1} of {self.schedule.epochs}, validation accuracy {fit.val_acc:.3f}",
            history=fit.history,
            model=model.eval(),
            A_pruned=graph.to_scipy(),
            val_acc=fit.val_acc,
            best_epoch=fit.epoch,
            edge_sparsity=1 - float(live_edges.mean()) if len(pairs) else 0.0,
            weight_sparsity=1 - kept / sum(p.numel() for p in weights.values()),
            logits=fit.logits,
        )

    def _run(self, *args: Any, **options: Any) -> Fit:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return self.schedule.run(*args, **options)


def _noisy(ones: torch.Tensor, draws: torch.Generator) -> torch.Tensor:
    return (ones + NOISE * torch.randn(ones.shape, generator=draws)).requires_grad_()


__all__ = ["Extra", "MaskRounds", "Masks"]
