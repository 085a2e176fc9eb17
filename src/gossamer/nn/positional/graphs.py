"""A batch of graphs with their spectra, checked once, and between its two layouts: nodes in a row, or padded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from gossamer._core.errors import ArgumentError, ShapeError


@dataclass(frozen=True)
class Graphs:
    """B graphs with N nodes in all, the largest of n_max nodes.

    Attributes
    ----------
    lam, V : tensors (B, d), (N, d)
        Eigenvalues and eigenvectors.
    edge_index, batch : tensors of int64 (2, E), (N,)
        Edges, and the graph of each node.
    sizes : tensor of int64 (B,)
        Nodes of each graph.
    place : tensor of int64 (N,)
        Of each node in its graph.
    """

    lam: torch.Tensor
    V: torch.Tensor
    edge_index: torch.Tensor
    batch: torch.Tensor
    sizes: torch.Tensor
    place: torch.Tensor

    @classmethod
    def check(cls, lam: Any, V: Any, edge_index: Any, batch: Any, d: int, dtype: torch.dtype) -> Graphs:
        """Take the arguments of an encoding's ``forward``, refusing what does not fit together."""
        for name, given in (("lam", lam), ("V", V)):
            if not isinstance(given, torch.Tensor) or given.ndim != 2 or given.shape[1] != d:
                shape = tuple(getattr(given, "shape", ()))
                raise ShapeError(
                    f"{name} has shape {shape}: expected a tensor of {d} columns, d of the module"
                )
            if not bool(given.isfinite().all()):
                raise ArgumentError(f"{name} has NaN or infinite entries: expected finite numbers")
        batch = check_batch(batch, len(V))
        sizes = torch.bincount(batch, minlength=len(lam))
        if len(sizes) != len(lam) or int(sizes.min()) == 0:
            raise ArgumentError(
                f"batch numbers {len(sizes)} graphs, the smallest of {int(sizes.min())} nodes: expected "
                f"{len(lam)}, one a row of lam, none empty"
            )
        place = torch.arange(len(batch), device=batch.device) - (torch.cumsum(sizes, 0) - sizes)[batch]
        edges = check_edges(edge_index, len(V), batch)
        return cls(lam.to(dtype), V.to(dtype), edges, batch, sizes, place)

    @property
    def n_max(self) -> int:
        """Nodes of the largest graph."""
        return int(self.sizes.max())

    @property
    def eigen_mask(self) -> torch.Tensor:
        """Which eigenvalues are not padding, bool (B, d)."""
        return torch.arange(self.lam.shape[1], device=self.lam.device) < self.sizes[:, None]

    @property
    def node_mask(self) -> torch.Tensor:
        """Which places of a padded graph are nodes, bool (B, n_max)."""
        return torch.arange(self.n_max, device=self.lam.device) < self.sizes[:, None]

    @property
    def mask(self) -> torch.Tensor:
        """Which columns belong to the graph of each node, bool (N, n_max)."""
        return self.node_mask[self.batch]

    def pad(self, x: torch.Tensor) -> torch.Tensor:
        """(N, ...) to (B, n_max, ...), zeros after the nodes."""
        return pad(x, self.batch, self.place, len(self.sizes), self.n_max)


def pad(x: torch.Tensor, batch: torch.Tensor, place: torch.Tensor, B: int, n_max: int) -> torch.Tensor:
    """(N, ...) to (B, n_max, ...), zeros after the nodes."""
    return x.new_zeros(B, n_max, *x.shape[1:]).index_put((batch, place), x)


def place_of(batch: torch.Tensor) -> torch.Tensor:
    """Place of each node in its graph, (N,)."""
    sizes = torch.bincount(batch)
    return torch.arange(len(batch), device=batch.device) - (torch.cumsum(sizes, 0) - sizes)[batch]


def check_batch(batch: Any, n: int) -> torch.Tensor:
    """Graph numbers of n nodes, ascending."""
    if not isinstance(batch, torch.Tensor) or batch.dtype != torch.int64 or batch.shape != (n,):
        shape, kind = tuple(getattr(batch, "shape", ())), getattr(batch, "dtype", type(batch).__name__)
        raise ShapeError(f"batch is {kind} of shape {shape}: expected int64 of shape ({n},)")
    if n == 0:
        raise ArgumentError("batch is empty: expected at least one node")
    if int(batch[0]) < 0 or bool((batch.diff() < 0).any()):
        raise ArgumentError("batch is not sorted: expected graph numbers from 0, in ascending order")
    return batch


def check_edges(edge_index: Any, n: int, batch: torch.Tensor | None = None) -> torch.Tensor:
    """Edges between n nodes, each inside one graph."""
    integer = isinstance(edge_index, torch.Tensor) and edge_index.dtype == torch.int64
    if not integer or edge_index.ndim != 2 or len(edge_index) != 2:
        kind = getattr(edge_index, "dtype", type(edge_index).__name__)
        shape = tuple(getattr(edge_index, "shape", ()))
        raise ShapeError(f"edge_index is {kind} of shape {shape}: expected int64 of shape (2, E)")
    if edge_index.numel() and not (int(edge_index.min()) >= 0 and int(edge_index.max()) < n):
        raise ArgumentError(
            f"edge_index spans {int(edge_index.min())}..{int(edge_index.max())}: expected nodes in 0..{n - 1}"
        )
    if batch is not None and bool((batch[edge_index[0]] != batch[edge_index[1]]).any()):
        raise ArgumentError(
            "edge_index joins nodes of different graphs of the batch: expected edges inside graphs"
        )
    return edge_index


__all__ = ["Graphs", "check_batch", "check_edges", "pad", "place_of"]
