"""A network of message passing with attributes of edges that takes any positional encoding."""

from __future__ import annotations

from typing import Any

import torch

from gossamer._core.checks import check_array, check_choice, check_int
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.nn.graph.gin import GINEConv
from gossamer.nn.graph.sparse_tensor import SparseTensor
from gossamer.nn.positional.graphs import check_batch, check_edges
from gossamer.nn.positional.peg import PEGDistance
from gossamer.nn.positional.perceptron import perceptron

POOLS = ("sum", "mean", None)


class GINE(torch.nn.Module):
    r"""Layers of :class:`GINEConv` with residuals, into which a positional encoding enters before and in each.

    .. math:: h_v \leftarrow W x_v + W' \mathrm{PE}_v, \quad\text{then in each layer}\quad
        h_v \leftarrow h_v + f'(\mathrm{PE}_v), \quad
        h_v \leftarrow h_v + f\Big((1 + \epsilon) h_v + \sum_u w_{uv}\, \mathrm{relu}(h_u + e_{uv})\Big)

    Parameters
    ----------
    in_features : int
        Columns of x.
    hidden : int
        Width.
    out_features : int
        Numbers for each node, or for each graph.
    layers : int
        Of message passing.
    edge_features : int
        Columns of the attributes of edges; 0 if there are none.
    pe_dim : int
        Columns of the encoding; 0 for none.
    pool : {"sum", "mean"} or None
        How nodes become a graph; None keeps nodes.
    peg : bool
        Weigh messages in each layer by a :class:`PEGDistance` of the encoding, which then enters by these weights
        alone; otherwise w is 1.

    References
    ----------
    Hu et al., ICLR 2020; Huang et al., ICLR 2024, arXiv 2310.02579.

    Examples
    --------
    >>> import torch
    >>> from gossamer.nn import GINE
    >>> edges = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
    >>> GINE(4, 16, 1, pe_dim=8)(torch.ones(3, 4), edges, pe=torch.ones(3, 8)).shape
    torch.Size([1, 1])
    """

    def __init__(
        self,
        in_features: int,
        hidden: int,
        out_features: int,
        *,
        layers: int = 4,
        edge_features: int = 0,
        pe_dim: int = 0,
        pool: str | None = "sum",
        peg: bool = False,
    ) -> None:
        super().__init__()
        self.hidden = check_int("hidden", hidden, low=1)
        self.edge_features = check_int("edge_features", edge_features, low=0)
        self.pe_dim, count = check_int("pe_dim", pe_dim, low=0), check_int("layers", layers, low=1)
        self.pool, self.peg = check_choice("pool", pool, POOLS), bool(peg)
        if self.peg and not self.pe_dim:
            raise ArgumentError("pe_dim=0: expected columns of an encoding for peg=True")
        self.nodes = torch.nn.Linear(check_int("in_features", in_features, low=1), hidden)
        self.layers = torch.nn.ModuleList(
            GINEConv(perceptron(hidden, hidden, hidden, 2), hidden, edge_features or None, train_eps=True)
            for _ in range(count)
        )
        enters = count if self.pe_dim and not self.peg else 0
        self.first = torch.nn.Linear(pe_dim, hidden, bias=False) if enters else None
        self.each = torch.nn.ModuleList(perceptron(pe_dim, hidden, hidden, 2) for _ in range(enters))
        self.weights = torch.nn.ModuleList(PEGDistance() for _ in range(count if self.peg else 0))
        self.out = perceptron(hidden, hidden, check_int("out_features", out_features, low=1), 2)

    def forward(
        self,
        x: torch.Tensor,
        edge_index: torch.Tensor,
        edge_attr: torch.Tensor | None = None,
        batch: torch.Tensor | None = None,
        pe: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Predict for graphs, or for nodes.

        Parameters
        ----------
        x : tensor, shape (N, in_features)
            Features of nodes.
        edge_index : tensor of int64, shape (2, E)
            From its first row to its second; both directions of undirected edges.
        edge_attr : tensor, shape (E, edge_features), optional
            Attributes of edges, if the network has them.
        batch : tensor of int64, shape (N,), optional
            Graph of each node, ascending; one graph by default.
        pe : tensor, shape (N, pe_dim), optional
            Encoding of nodes, if the network takes one; eigenvectors for ``peg=True``.

        Returns
        -------
        tensor, shape (B, out_features), or (N, out_features) without pooling

        Raises
        ------
        ShapeError
            If something has other columns or rows than the network expects.
        ArgumentError
            If edges are out of range or ``batch`` is not sorted.
        """
        x = check_array("x", x, ndim=2)
        kind, n = self.nodes.weight.dtype, len(x)
        _columns("x", x, n, self.nodes.in_features)
        _columns("edge_attr", edge_attr, edge_index.shape[-1], self.edge_features)
        _columns("pe", pe, n, self.pe_dim)
        batch = check_batch(torch.zeros(n, dtype=torch.int64) if batch is None else batch, n)
        adj, order = SparseTensor.from_edge_index(check_edges(edge_index, n, batch), n)
        edges = x.new_zeros((), dtype=kind).expand(adj.nnz, self.hidden)
        if edge_attr is not None:
            edges = edge_attr[order].to(kind)
        h = self.nodes(x.to(kind))
        if pe is not None and self.first is not None:
            h = h + self.first(pe.to(kind))
        for number, layer in enumerate(self.layers):
            if pe is not None and self.each:
                h = h + self.each[number](pe.to(kind))
            weighed = adj
            if pe is not None and self.peg:
                weighed = adj.with_values(self.weights[number](pe, edge_index)[order, 0])
            h = h + layer(h, weighed, edges)
        return self.out(h if self.pool is None else self._pooled(h, batch))

    def _pooled(self, h: torch.Tensor, batch: torch.Tensor) -> torch.Tensor:
        sizes = torch.bincount(batch)
        total = h.new_zeros(len(sizes), self.hidden).index_add(0, batch, h)
        return total if self.pool == "sum" else total / sizes.clamp_min(1)[:, None]


def _columns(name: str, given: Any, rows: int, columns: int) -> None:
    shape = None if given is None else tuple(given.shape)
    if shape != ((rows, columns) if columns else None):
        wanted = f"({rows}, {columns})" if columns else "none: the network takes no such input"
        raise ShapeError(f"{name} has shape {shape}: expected {wanted}")


__all__ = ["GINE"]
