"""Graphs of several sizes with their spectra, side by side in one set of tensors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from gossamer._core.checks import check_int
from gossamer._core.errors import ArgumentError, bad_argument
from gossamer.graph.encode.laplacian_eigs import laplacian_eigs, sparse_form
from gossamer.graph.simple_graph import simple_adjacency


@dataclass(frozen=True)
class SpectralBatch:
    """B graphs with N nodes in all: what positional encodings of :mod:`gossamer.nn` are called with.

    Attributes
    ----------
    lam : tensor of float64, shape (B, d)
        Smallest eigenvalues of each graph, zeros where it has fewer nodes than d.
    V : tensor of float64, shape (N, d)
        Eigenvectors, zero columns likewise.
    edge_index : tensor of int64, shape (2, E)
        Edges in both directions, their ends numbered over all graphs.
    batch : tensor of int64, shape (N,)
        Graph of each node, ascending.

    Examples
    --------
    >>> import networkx as nx
    >>> from gossamer.graph import laplacian_batch
    >>> graphs = laplacian_batch([nx.path_graph(3), nx.cycle_graph(5)])
    >>> graphs.V.shape, graphs.mask.sum(1).tolist()
    (torch.Size([8, 5]), [3, 5])
    """

    lam: torch.Tensor
    V: torch.Tensor
    edge_index: torch.Tensor
    batch: torch.Tensor

    @property
    def sizes(self) -> torch.Tensor:
        """Nodes of each graph, (B,)."""
        return torch.bincount(self.batch, minlength=len(self.lam))

    @property
    def mask(self) -> torch.Tensor:
        """Which eigenvalues are those of the graph and not padding, bool (B, d)."""
        return torch.arange(self.lam.shape[1]) < self.sizes[:, None]

    @property
    def args(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """``lam, V, edge_index, batch``: ``pe(*graphs.args)``."""
        return self.lam, self.V, self.edge_index, self.batch

    def __len__(self) -> int:
        return len(self.lam)

    def nodes(self, index: Sequence[int] | np.ndarray | torch.Tensor) -> torch.Tensor:
        """Rows of the nodes of some graphs, graph by graph: what to take of features that stand beside V."""
        return _ranges(self.sizes, self._index(index))

    def edges(self, index: Sequence[int] | np.ndarray | torch.Tensor) -> torch.Tensor:
        """Columns of ``edge_index`` that belong to some graphs, graph by graph."""
        return _ranges(self._edge_counts(), self._index(index))

    def take(self, index: Sequence[int] | np.ndarray | torch.Tensor) -> SpectralBatch:
        """The batch of some of the graphs, in the order given."""
        index = self._index(index)
        sizes, counts = self.sizes[index], self._edge_counts()[index]
        start = torch.cumsum(self.sizes, 0) - self.sizes
        shift = torch.cumsum(sizes, 0) - sizes - start[index]
        edges = self.edge_index[:, self.edges(index)] + shift.repeat_interleave(counts)
        batch = torch.arange(len(index)).repeat_interleave(sizes)
        return SpectralBatch(self.lam[index], self.V[self.nodes(index)], edges, batch)

    def _edge_counts(self) -> torch.Tensor:
        return torch.bincount(self.batch[self.edge_index[0]], minlength=len(self.lam))

    def _index(self, index: Any) -> torch.Tensor:
        rows = torch.as_tensor(np.asarray(index), dtype=torch.int64).reshape(-1)
        if len(rows) and not (int(rows.min()) >= 0 and int(rows.max()) < len(self.lam)):
            raise bad_argument("index", rows.tolist(), f"graphs in 0..{len(self.lam) - 1}")
        return rows


def laplacian_batch(
    graphs: Iterable[Any], d: int | None = None, laplacian: str = "sym", *, method: str = "auto"
) -> SpectralBatch:
    """Decompose a list of graphs and put them side by side, padded and ready for an encoding.

    Parameters
    ----------
    graphs : iterable of graphs
        Each in a form that :func:`laplacian_eigs` takes.
    d : int, optional
        Eigenpairs of each; by default the nodes of the largest graph, so that nothing is cut.
    laplacian, method : str
        As in :func:`laplacian_eigs`.

    Returns
    -------
    SpectralBatch

    Raises
    ------
    ArgumentError
        If there is no graph, or one is refused by :func:`laplacian_eigs`.
    """
    adjacencies = [
        simple_adjacency(sparse_form(graph), name=f"graphs[{i}]") for i, graph in enumerate(graphs)
    ]
    if not adjacencies:
        raise ArgumentError("graphs is empty: expected at least one graph")
    sizes = np.array([A.shape[0] for A in adjacencies])
    d = int(sizes.max()) if d is None else check_int("d", d, low=1)
    pairs = [laplacian_eigs(A, d, laplacian, method=method) for A in adjacencies]
    starts = np.cumsum(sizes) - sizes
    edges = [np.stack(A.nonzero()).astype(np.int64) + start for A, start in zip(adjacencies, starts)]
    return SpectralBatch(
        torch.from_numpy(np.stack([lam for lam, _ in pairs])),
        torch.from_numpy(np.concatenate([V for _, V in pairs])),
        torch.from_numpy(np.concatenate(edges, axis=1)),
        torch.from_numpy(np.repeat(np.arange(len(sizes)), sizes)),
    )


def _ranges(counts: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Positions of the segments ``index`` of a row of segments with these counts."""
    ends = torch.cumsum(counts, 0)
    lengths = counts[index]
    first = (ends - counts)[index] - (torch.cumsum(lengths, 0) - lengths)
    return torch.arange(int(lengths.sum())) + first.repeat_interleave(lengths)


__all__ = ["SpectralBatch", "laplacian_batch"]
