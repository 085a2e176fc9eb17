"""Edges pruned once by a score, weights kept few by projection: one training, optionally taught by a dense one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from gossamer._core.checks import check_array, check_float, check_int
from gossamer._core.errors import ShapeError
from gossamer.nn.graph.edge_importance import choose_pruned, score_entries
from gossamer.nn.graph.edge_pairs import EdgePairs
from gossamer.sparsify.graph_lottery.node_task import Fit, NodeTask, Schedule, copied_state
from gossamer.sparsify.graph_lottery.ticket import TicketResult
from gossamer.sparsify.pruners.l0_projection import L0Projection

ModelFn = Callable[[], torch.nn.Module]


def distillation(logits: torch.Tensor, teacher_logits: torch.Tensor) -> torch.Tensor:
    """Mean over nodes of the divergence KL(softmax(teacher) || softmax(logits)), both (n, c)."""
    teacher = teacher_logits.log_softmax(dim=1)
    return torch.nn.functional.kl_div(
        logits.log_softmax(dim=1), teacher, reduction="batchmean", log_target=True
    )


class OnePassTrainer:
    """What :class:`TeddyTrainer` and its random counterpart share; see there."""

    def __init__(
        self,
        model_fn: ModelFn,
        edge_sparsity: float,
        weight_sparsity: float,
        lambda_dt: float,
        epochs: int,
        lr: float,
        weight_decay: float,
        seed: int,
        edge_score: Any,
        add_self_loops: bool,
    ) -> None:
        self.model_fn = model_fn
        self.edge_sparsity = check_float("edge_sparsity", edge_sparsity, low=0, high=1, closed="left")
        self.weight_sparsity = check_float("weight_sparsity", weight_sparsity, low=0, high=1, closed="left")
        self.lambda_dt = check_float("lambda_dt", lambda_dt, low=0)
        self.schedule = Schedule(check_int("epochs", epochs, low=1), lr, weight_decay)
        self.seed = check_int("seed", seed, low=0)
        self.edge_score, self.add_self_loops = edge_score, bool(add_self_loops)

    def fit(
        self, X: Any, A: Any, y: Any, train_idx: Any, val_idx: Any, *, teacher_logits: Any = None
    ) -> TicketResult:
        """Train a ticket.

        Parameters
        ----------
        X : array, tensor, scipy.sparse or torch sparse matrix, shape (n, f)
            Features, as they go into the model.
        A : scipy.sparse or torch sparse matrix, or SparseTensor, shape (n, n)
            Adjacency of symmetric pattern; of other forms :func:`gossamer.graph.as_adjacency` makes one.
        y : array of int, shape (n,)
            Classes; -1, or anything, where a node is in neither split.
        train_idx, val_idx : array of int, or bool mask (n,)
            Nodes to train on, and to choose the epoch by.
        teacher_logits : tensor, shape (n, c), optional
            From ``teacher_logits`` of an earlier result with this model, graph and seed: saves the dense training.

        Returns
        -------
        TicketResult

        Raises
        ------
        ArgumentError, ShapeError, UnsupportedError
            If A is not symmetric, shapes do not fit, splits overlap, or a node of a split has no label.
        """
        task = NodeTask.of(X, A, y, train_idx, val_idx)
        teacher = self._teacher(task, teacher_logits)
        keep, gone = self._keep(task)
        model = seeded(self.model_fn, self.seed)
        projection = L0Projection(model, self.weight_sparsity)
        extra = None if teacher is None else lambda z: self.lambda_dt * distillation(z, teacher)
        fit = train_seeded(self.schedule, task, model, keep, self.seed, extra, projection.step)
        model.load_state_dict(fit.state)
        return TicketResult(
            message=f"epoch {fit.epoch + 1} of {self.schedule.epochs}, validation accuracy {fit.val_acc:.3f}",
            history=fit.history,
            model=model.eval(),
            A_pruned=task.graph(keep).to_scipy(),
            val_acc=fit.val_acc,
            best_epoch=fit.epoch,
            edge_sparsity=gone,
            weight_sparsity=1 - projection.nonzeros() / sum(p.numel() for p in projection.params.values()),
            logits=fit.logits,
            teacher_logits=teacher,
        )

    def _teacher(self, task: NodeTask, given: Any) -> torch.Tensor | None:
        if self.lambda_dt == 0:
            return None
        if given is None:
            return train_seeded(self.schedule, task, seeded(self.model_fn, self.seed), None, self.seed).logits
        teacher = torch.as_tensor(check_array("teacher_logits", given, ndim=2)).detach()
        if len(teacher) != len(task.y):
            raise ShapeError(f"teacher_logits has shape {tuple(teacher.shape)}: expected {len(task.y)} rows")
        return teacher

    def _keep(self, task: NodeTask) -> tuple[np.ndarray, float]:
        """Which stored entries stay, and the share of edges that go."""
        rows, columns = task.adjacency.tocoo().coords
        plain = task.adjacency.copy()
        plain.data = np.where(rows != columns, 1.0, 0.0)
        plain.eliminate_zeros()
        scores = score_entries(self.edge_score, plain, rows, columns, add_self_loops=self.add_self_loops)
        pairs = EdgePairs.of(rows, columns)
        gone = choose_pruned(pairs, scores, self.edge_sparsity, self.seed)
        return ~pairs.entries(gone), float(gone.mean()) if len(pairs) else 0.0


def seeded(model_fn: ModelFn, seed: int) -> torch.nn.Module:
    """A model that is the same for a seed, without a trace in the global random numbers."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return model_fn()


def train_seeded(
    schedule: Schedule,
    task: NodeTask,
    model: torch.nn.Module,
    keep: np.ndarray | None,
    seed: int,
    extra: Callable[[torch.Tensor], torch.Tensor] | None = None,
    after_step: Callable[[], None] | None = None,
) -> Fit:
    """Train all of a model on the kept entries of the graph, dropout drawn from ``seed``."""
    graph = task.graph(keep)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return schedule.run(
            task,
            model,
            lambda: model(task.x, graph),
            lambda: copied_state(model),
            weights=(p for p in model.parameters() if p.requires_grad),
            extra=extra,
            after_step=after_step,
        )


__all__ = ["ModelFn", "OnePassTrainer", "distillation", "seeded", "train_seeded"]
