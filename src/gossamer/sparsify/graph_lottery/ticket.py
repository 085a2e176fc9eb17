"""A ticket: a network with few weights on a graph with few edges; what it costs, and what was found on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import scipy.sparse
import torch

from gossamer._core.checks import check_int
from gossamer._core.results import Result
from gossamer.nn.graph.sparse_tensor import SparseTensor


@dataclass(frozen=True, kw_only=True, repr=False)
class TicketResult(Result):
    """A trained ticket.

    Attributes
    ----------
    model : torch.nn.Module
        With the weights of the best epoch, in evaluation mode.
    A_pruned : scipy.sparse.csr_array
        Edges that are left, with their weights.
    val_acc : float
        Validation accuracy at the best epoch; of equal epochs the last counts.
    best_epoch : int
        From 0.
    edge_sparsity : float
        Share of undirected edges, without self-loops, that were removed.
    weight_sparsity : float
        Share of the model's trainable parameters that are zero.
    logits : tensor, shape (n, c)
        Of all nodes, at the best epoch.
    teacher_logits : tensor, shape (n, c), or None
        Of the dense model on the whole graph, where there was one.
    """

    model: Any = field(repr=False)
    A_pruned: Any = field(repr=False)
    val_acc: float = 0.0
    best_epoch: int = 0
    edge_sparsity: float = 0.0
    weight_sparsity: float = 0.0
    logits: Any = field(default=None, repr=False)
    teacher_logits: Any = field(default=None, repr=False)

    def accuracy(self, y: Any, nodes: Any) -> float:
        """Accuracy on ``nodes`` (k,) with classes ``y`` (n,)."""
        y, nodes = torch.as_tensor(np.asarray(y)).long(), torch.as_tensor(np.asarray(nodes)).long()
        return float((self.logits[nodes].argmax(dim=1) == y[nodes]).double().mean())

    def to_dict(self) -> dict[str, Any]:
        """Numbers and histories, fit for JSON; without the model, the graph and the logits."""
        numbers = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: v for name, v in numbers.items() if isinstance(v, (bool, int, float, str, dict))}


def sweep_sparsities(level: int) -> tuple[float, float]:
    """Shares of edges and of weights that are gone at a level of the published sweep: ``1 - 0.95^i``, ``1 - 0.9^i``.

    Parameters
    ----------
    level : int
        i, from 0 (dense); the paper goes to 20.
    """
    check_int("level", level, low=0)
    return 1 - 0.95**level, 1 - 0.9**level


def sweep_levels(
    make: Callable[[float, float], Any],
    X: Any,
    A: Any,
    y: Any,
    train_idx: Any,
    val_idx: Any,
    levels: Any = range(1, 21),
) -> dict[int, TicketResult]:
    """Train a ticket at each level of the published sweep, the dense model once.

    Parameters
    ----------
    make : callable
        ``make(edge_sparsity, weight_sparsity)`` gives a trainer, such as
        ``lambda e, w: TeddyTrainer(model_fn, e, w)``.
    X, A, y, train_idx, val_idx
        As for :meth:`TeddyTrainer.fit`.
    levels : iterable of int
        Level i removes ``1 - 0.95^i`` of the edges and ``1 - 0.9^i`` of the weights.

    Returns
    -------
    dict of int to TicketResult
        By level.
    """
    found: dict[int, TicketResult] = {}
    teacher = None
    for level in levels:
        trainer = make(*sweep_sparsities(level))
        found[level] = trainer.fit(X, A, y, train_idx, val_idx, teacher_logits=teacher)
        teacher = found[level].teacher_logits
    return found


@dataclass(frozen=True)
class TicketCost:
    """What one inference takes.

    Attributes
    ----------
    edges : int
        Undirected edges, without self-loops.
    weights : int
        Parameters that are not zero.
    macs : int
        Multiplications that do not meet a zero: of features with weights, and along edges.
    """

    edges: int
    weights: int
    macs: int


def ticket_cost(model: torch.nn.Module, X: Any, A: Any) -> TicketCost:
    """Count edges, weights and multiplications of an inference of ``model`` on features X (n, f) and graph A (n, n).

    A linear map costs a multiplication for each pair of a number that it takes and a weight that the number meets,
    neither of them zero; the first map of the model takes X, what later ones take counts as dense. A sum over
    neighbours and the node itself costs one for each entry and column. Attention scores are not counted.

    Raises
    ------
    UnsupportedError, ShapeError
        As :class:`SparseTensor` where A is no square sparse matrix.
    """
    adjacency = SparseTensor.of(A).to_scipy()
    n = adjacency.shape[0]
    apart = adjacency.nnz - int((adjacency.diagonal() != 0).sum())
    macs, numbers = 0, _column_counts(X)
    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            met = (module.weight != 0).sum(dim=0).numpy()
            macs += int((numbers * met).sum())
            numbers = np.full(1, n)
        macs += (apart + n) * getattr(module, "message_columns", 0)
    weights = sum(int(p.count_nonzero()) for p in model.parameters())
    return TicketCost(apart // 2, weights, macs)


def _column_counts(X: Any) -> np.ndarray:
    if scipy.sparse.issparse(X):
        return np.asarray((scipy.sparse.csc_array(X) != 0).sum(axis=0)).ravel().astype(np.int64)
    if isinstance(X, SparseTensor):
        return _column_counts(X.to_scipy())
    return np.count_nonzero(np.asarray(X), axis=0)


__all__ = ["TicketCost", "TicketResult", "sweep_levels", "sweep_sparsities", "ticket_cost"]
