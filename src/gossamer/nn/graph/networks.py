"""Small networks that classify the nodes of a graph."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch

from gossamer._core.checks import check_float, check_int
from gossamer._core.errors import bad_argument
from gossamer.nn.graph.dense_part import as_features, dropout
from gossamer.nn.graph.gat import GATConv
from gossamer.nn.graph.gcn import GCNConv
from gossamer.nn.graph.gin import GINConv, mlp
from gossamer.nn.graph.sparse_tensor import SparseTensor


class GraphNetwork(torch.nn.Module):
    """Layers of message passing with an activation between them and dropout before each.

    Parameters
    ----------
    layers : sequence of torch.nn.Module
        Called with features and an adjacency.
    activation : callable
        Between layers.
    dropout : float
        Share left out in training.
    """

    def __init__(
        self, layers: Sequence[torch.nn.Module], activation: Any = torch.relu, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleList(layers)
        self.activation = activation
        self.dropout = check_float("dropout", dropout, low=0, high=1, closed="left")

    def forward(self, x: Any, adj: Any) -> torch.Tensor:
        """Logits (n, c) of the nodes, from features (n, f), dense or sparse, and an adjacency (n, n)."""
        adj, x = SparseTensor.of(adj), as_features(x)
        for number, layer in enumerate(self.layers):
            if number:
                x = self.activation(x)
            x = layer(dropout(x, self.dropout, self.training), adj)
        return x


class GCN(GraphNetwork):
    """A graph convolutional network.

    Parameters
    ----------
    in_features, hidden, out_features : int
        Columns of the features, of the layers between, and classes.
    layers : int
        Convolutions.
    dropout : float
        Before each.

    Examples
    --------
    >>> import scipy.sparse, torch
    >>> from gossamer.nn import GCN
    >>> path = scipy.sparse.csr_array([[0, 1, 0], [1, 0, 1], [0, 1, 0]])
    >>> GCN(4, 8, 2)(torch.ones(3, 4), path).shape
    torch.Size([3, 2])
    """

    def __init__(
        self, in_features: int, hidden: int, out_features: int, layers: int = 2, dropout: float = 0.5
    ) -> None:
        sizes = _sizes(in_features, hidden, out_features, layers)
        super().__init__([GCNConv(a, b) for a, b in pairwise(sizes)], dropout=dropout)


class GIN(GraphNetwork):
    """A graph isomorphism network for nodes, with MLPs of two linear layers.

    Parameters
    ----------
    in_features, hidden, out_features : int
        Columns of the features, of the layers between and inside the MLPs, and classes.
    layers : int
        Of message passing.
    dropout : float
        Before each.
    """

    def __init__(
        self, in_features: int, hidden: int, out_features: int, layers: int = 2, dropout: float = 0.5
    ) -> None:
        sizes = _sizes(in_features, hidden, out_features, layers)
        super().__init__([GINConv(mlp(a, hidden, b)) for a, b in pairwise(sizes)], dropout=dropout)


class GAT(GraphNetwork):
    """A graph attention network; the last layer has one head.

    Parameters
    ----------
    in_features, hidden, out_features : int
        Columns of the features, of the layers between (all heads together), and classes.
    layers : int
        Of attention.
    heads : int
        Of all layers but the last; a divisor of ``hidden``.
    dropout : float
        Before each layer.
    attention_dropout : float
        Of attention weights.
    """

    def __init__(
        self,
        in_features: int,
        hidden: int,
        out_features: int,
        layers: int = 2,
        heads: int = 8,
        dropout: float = 0.5,
        attention_dropout: float = 0.0,
    ) -> None:
        sizes = _sizes(in_features, hidden, out_features, layers)
        if check_int("heads", heads, low=1) and hidden % heads:
            raise bad_argument("heads", heads, f"a divisor of hidden={hidden}")
        inner = [
            GATConv(a, hidden // heads, heads, dropout=attention_dropout) for a in sizes[:-2]
        ]  # the last layer is the one below
        last = GATConv(sizes[-2], sizes[-1], dropout=attention_dropout)
        super().__init__([*inner, last], torch.nn.functional.elu, dropout)


def _sizes(in_features: int, hidden: int, out_features: int, layers: int) -> list[int]:
    count = check_int("layers", layers, low=1)
    named = (("in_features", in_features), ("hidden", hidden), ("out_features", out_features))
    first, inner, last = (check_int(name, value, low=1) for name, value in named)
    return [first, *[inner] * (count - 1), last]


__all__ = ["GAT", "GCN", "GIN", "GraphNetwork"]
