"""Classification of the nodes of one graph: its data checked once, and the one way in which tickets are trained."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse
import torch

from gossamer._core.arrays import is_torch, to_numpy
from gossamer._core.checks import check_array, check_float, check_int
from gossamer._core.errors import ArgumentError, ShapeError, UnsupportedError
from gossamer.nn.graph.dense_part import Features
from gossamer.nn.graph.sparse_tensor import SparseTensor


@dataclass(frozen=True)
class NodeTask:
    """Features, graph, labels and the nodes to train on and to select by.

    Attributes
    ----------
    x : tensor or SparseTensor, shape (n, f)
        Features.
    adjacency : scipy.sparse.csr_array, shape (n, n)
        Of symmetric pattern.
    y : tensor of int, shape (n,)
        Classes; only those of ``train`` and ``val`` are read.
    train, val : tensor of int
        Nodes, apart from each other.
    """

    x: Features
    adjacency: scipy.sparse.csr_array
    y: torch.Tensor
    train: torch.Tensor
    val: torch.Tensor

    @classmethod
    def of(cls, X: Any, A: Any, y: Any, train_idx: Any, val_idx: Any) -> NodeTask:
        """Check them, and bring them into this form."""
        x = _features(X)
        tensor = SparseTensor.of(A)
        n = tensor.shape[0]
        if tensor.shape != (n, n):
            raise ShapeError(f"A has shape {tensor.shape}: expected a square adjacency")
        adjacency = tensor.to_scipy()
        check_array("A", adjacency.data, ndim=1)
        pattern = scipy.sparse.csr_array(
            (np.ones(adjacency.nnz), adjacency.indices, adjacency.indptr), (n, n)
        )
        if (pattern != pattern.T).nnz:
            raise ArgumentError("A is not symmetric: expected an undirected graph; pass A.maximum(A.T)")
        labels = to_numpy(y)
        if labels.shape != (n,) or labels.dtype.kind not in "iu":
            raise ShapeError(f"y is {labels.dtype} {labels.shape}: expected a class for each of {n} nodes")
        if x.shape[0] != n:
            raise ShapeError(f"X has {x.shape[0]} rows: expected {n}, the nodes of A")
        train, val = _nodes("train_idx", train_idx, labels), _nodes("val_idx", val_idx, labels)
        shared = np.intersect1d(train, val)
        if len(shared):
            raise ArgumentError(f"train_idx and val_idx share {len(shared)} nodes, the first is {shared[0]}")
        return cls(
            x,
            adjacency,
            torch.from_numpy(labels.astype(np.int64)),
            torch.from_numpy(train),
            torch.from_numpy(val),
        )

    def graph(self, keep: np.ndarray | None = None) -> SparseTensor:
        """The adjacency, or only those stored entries of it that ``keep`` (E,) marks."""
        return SparseTensor.of(self.adjacency if keep is None else kept_entries(self.adjacency, keep))

    def accuracy(self, logits: torch.Tensor, nodes: torch.Tensor) -> float:
        """Share of ``nodes`` whose class has the largest logit."""
        return float((logits[nodes].argmax(dim=1) == self.y[nodes]).double().mean())


@dataclass(frozen=True)
class Fit:
    """What a training found at its best epoch, by validation accuracy; of equal epochs the last.

    Attributes
    ----------
    state : dict
        What ``keep`` gave.
    logits : tensor, shape (n, c)
        In evaluation.
    epoch : int
        From 0.
    val_acc : float
        Validation accuracy.
    history : dict of str to list
        Loss and validation accuracy of every epoch.
    """

    state: dict[str, Any]
    logits: torch.Tensor
    epoch: int
    val_acc: float
    history: dict[str, list[float]]


@dataclass(frozen=True)
class Schedule:
    """How long and how fast: Adam over the whole graph at once.

    Attributes
    ----------
    epochs : int
        Steps, each over all nodes.
    lr, weight_decay : float
        Of Adam.
    """

    epochs: int = 200
    lr: float = 0.01
    weight_decay: float = 5e-4

    def __post_init__(self) -> None:
        check_int("epochs", self.epochs, low=1)
        check_float("lr", self.lr, low=0, closed="right")
        check_float("weight_decay", self.weight_decay, low=0)

    def run(
        self,
        task: NodeTask,
        model: torch.nn.Module,
        forward: Callable[[], torch.Tensor],
        keep: Callable[[], dict[str, Any]],
        *,
        weights: Iterable[torch.Tensor],
        masks: Iterable[torch.Tensor] = (),
        extra: Callable[[torch.Tensor], torch.Tensor] | None = None,
        after_step: Callable[[], None] | None = None,
    ) -> Fit:
        """Minimise the cross-entropy of the training nodes and ``extra(logits)``.

        ``forward()`` gives logits (n, c) in the mode of ``model``; ``masks`` are trained without decay;
        ``after_step()`` runs before the evaluation; ``keep()`` copies what is to be kept of the best epoch.
        """
        groups: list[dict[str, Any]] = [
            {"params": list(weights)},
            {"params": list(masks), "weight_decay": 0.0},
        ]
        optimizer = torch.optim.Adam(
            [g for g in groups if g["params"]], lr=self.lr, weight_decay=self.weight_decay
        )
        best: tuple[Any, ...] | None = None
        history: dict[str, list[float]] = {"loss": [], "val_acc": []}
        for epoch in range(self.epochs):
            model.train()
            optimizer.zero_grad()
            logits = forward()
            loss = torch.nn.functional.cross_entropy(logits[task.train], task.y[task.train])
            if extra is not None:
                loss = loss + extra(logits)
            loss.backward()
            optimizer.step()
            if after_step is not None:
                after_step()
            model.eval()
            with torch.no_grad():
                logits = forward()
            val_acc = task.accuracy(logits, task.val)
            history["loss"].append(float(loss.detach()))
            history["val_acc"].append(val_acc)
            if best is None or val_acc >= best[0]:
                best = val_acc, epoch, logits, keep()
        assert best is not None
        val_acc, epoch, logits, state = best
        return Fit(state, logits, epoch, val_acc, history)


def copied_state(model: torch.nn.Module) -> dict[str, Any]:
    """The parameters and buffers of a model, not shared with it."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def kept_entries(adjacency: scipy.sparse.csr_array, keep: np.ndarray) -> scipy.sparse.csr_array:
    """The matrix of those stored entries that ``keep`` (E,) marks."""
    ends = np.concatenate([[0], np.cumsum(keep)])
    parts = (
        adjacency.data[keep],
        adjacency.indices[keep],
        ends[adjacency.indptr].astype(adjacency.indptr.dtype),
    )
    return scipy.sparse.csr_array(parts, shape=adjacency.shape)


def _features(X: Any) -> Features:
    if scipy.sparse.issparse(X) or isinstance(X, SparseTensor) or (is_torch(X) and X.layout != torch.strided):
        table = SparseTensor.of(X)
        check_array("X", table.values.detach(), ndim=1)
        return table
    if not is_torch(X) and not isinstance(X, np.ndarray):
        raise UnsupportedError(f"X is a {type(X).__name__}: expected an array, a tensor or a sparse matrix")
    x = torch.as_tensor(check_array("X", X, ndim=2))
    return x if is_torch(X) else x.to(torch.float32)


def _nodes(name: str, nodes: Any, labels: np.ndarray) -> np.ndarray:
    index = to_numpy(nodes)
    if index.dtype == bool and index.shape == labels.shape:
        index = np.flatnonzero(index)
    if index.ndim != 1 or index.dtype.kind not in "iu" or not len(index):
        raise ShapeError(f"{name} is {index.dtype} {index.shape}: expected at least one number of a node")
    index = index.astype(np.int64)
    if index.min() < 0 or index.max() >= len(labels):
        raise ArgumentError(
            f"{name} spans {index.min()}..{index.max()}: expected nodes in 0..{len(labels) - 1}"
        )
    if labels[index].min() < 0:
        without = index[labels[index] < 0]
        raise ArgumentError(f"{name} has {len(without)} nodes without a label, the first is {without[0]}")
    return index


__all__ = ["Fit", "NodeTask", "Schedule", "copied_state", "kept_entries"]
