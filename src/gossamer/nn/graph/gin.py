"""Graph isomorphism networks: sums over neighbours, with and without attributes of edges."""

from __future__ import annotations

from typing import Any

import torch

from gossamer._core.checks import check_float, check_int
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.nn.graph.dense_part import Features, as_features, multiply
from gossamer.nn.graph.skip_zeros import ZeroSkippingLinear
from gossamer.nn.graph.sparse_tensor import SparseTensor


class GINConv(torch.nn.Module):
    r"""A layer as strong as the Weisfeiler-Leman test, :math:`f((1 + \epsilon) x_i + \sum_j a_{ij} x_j)`.

    Where f begins with a :class:`torch.nn.Linear` that narrows, or features are sparse, that map comes before the
    sum: the same result for fewer operations.

    Parameters
    ----------
    net : torch.nn.Module
        f, usually a small MLP.
    eps : float
        Weight of the node itself, less 1.
    train_eps : bool
        Whether it is learned.

    References
    ----------
    Xu, Hu, Leskovec, Jegelka, "How powerful are graph neural networks?", ICLR 2019.
    """

    eps: torch.Tensor

    def __init__(self, net: torch.nn.Module, eps: float = 0.0, train_eps: bool = False) -> None:
        super().__init__()
        self.net = net
        _set_eps(self, eps, train_eps)
        first = _split(net)[0]
        self.message_columns = 0 if first is None else min(first.in_features, first.out_features)

    def forward(self, x: Features, adj: Any) -> torch.Tensor:
        """Sum x (n, f), dense or sparse, over an adjacency (n, n), and apply the network."""
        adj, x = SparseTensor.of(adj), as_features(x)
        first, rest = _split(self.net)
        if first is not None and (isinstance(x, SparseTensor) or first.out_features < first.in_features):
            y = self._sum(multiply(first, x), adj)
            return rest(y if first.bias is None else y + first.bias)
        if isinstance(x, SparseTensor):
            raise ArgumentError("x is sparse: expected a network that begins with torch.nn.Linear")
        return self.net(self._sum(x, adj))

    def _sum(self, x: torch.Tensor, adj: SparseTensor) -> torch.Tensor:
        return (1 + self.eps).to(x.dtype) * x + adj @ x


class GINEConv(torch.nn.Module):
    r"""The same with attributes of edges, :math:`f((1 + \epsilon) x_i + \sum_j a_{ij}\, \mathrm{relu}(x_j + e_{ij}))`.

    Parameters
    ----------
    net : torch.nn.Module
        f, usually a small MLP.
    channels : int
        Columns of x.
    edge_features : int, optional
        Columns of the attributes, which a linear map takes to ``channels``; by default they have as many already.
    eps, train_eps
        As in :class:`GINConv`.

    References
    ----------
    Hu et al., "Strategies for pre-training graph neural networks", ICLR 2020.
    """

    eps: torch.Tensor

    def __init__(
        self,
        net: torch.nn.Module,
        channels: int,
        edge_features: int | None = None,
        eps: float = 0.0,
        train_eps: bool = False,
    ) -> None:
        super().__init__()
        self.net, self.channels = net, check_int("channels", channels, low=1)
        wide = None if edge_features is None else check_int("edge_features", edge_features, low=1)
        self.edges = None if wide is None else torch.nn.Linear(wide, channels)
        _set_eps(self, eps, train_eps)

    def forward(self, x: torch.Tensor, adj: Any, edge_attr: torch.Tensor) -> torch.Tensor:
        """Sum messages of x (n, channels) with attributes (E, d) in the order of the adjacency's entries."""
        adj = SparseTensor.of(adj)
        e = edge_attr if self.edges is None else self.edges(edge_attr)
        if e.shape != (adj.nnz, self.channels):
            raise ShapeError(
                f"edge_attr has shape {tuple(edge_attr.shape)}: expected a row for each of {adj.nnz} entries"
            )
        messages = (x[adj.pattern.columns] + e).relu() * adj.values[:, None].to(x.dtype)
        return self.net((1 + self.eps).to(x.dtype) * x + adj.sum_rows(messages))


def mlp(in_features: int, hidden: int, out_features: int) -> torch.nn.Sequential:
    """Two linear layers with a ReLU between them."""
    return torch.nn.Sequential(
        torch.nn.Linear(in_features, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, out_features)
    )


def _set_eps(layer: torch.nn.Module, eps: float, train: bool) -> None:
    start = torch.tensor(check_float("eps", eps))
    if train:
        layer.eps = torch.nn.Parameter(start)
    else:
        layer.register_buffer("eps", start)


def _split(net: torch.nn.Module) -> tuple[torch.nn.Linear | ZeroSkippingLinear | None, torch.nn.Module]:
    """The linear map that a network begins with, and what follows it."""
    if isinstance(net, (torch.nn.Linear, ZeroSkippingLinear)):
        return net, torch.nn.Identity()
    if isinstance(net, torch.nn.Sequential) and len(net):
        first = net[0]
        if isinstance(first, (torch.nn.Linear, ZeroSkippingLinear)):
            return first, net[1:]
    return None, net


__all__ = ["GINConv", "GINEConv", "mlp"]
