"""Graph attention."""

from __future__ import annotations

from typing import Any

import torch

from gossamer._core.checks import check_float, check_int
from gossamer.nn.graph.dense_part import Features, transform
from gossamer.nn.graph.sparse_tensor import SparseTensor


class GATConv(torch.nn.Module):
    r"""A layer in which every node weighs its neighbours and itself, :math:`\sum_j \alpha_{ij} W x_j + b`.

    .. math:: \alpha_{ij} = \frac{a_{ij} e^{s_{ij}}}{\sum_k a_{ik} e^{s_{ik}}}, \qquad
        s_{ij} = \mathrm{LeakyReLU}(l^T W x_i + r^T W x_j)

    Weights of the adjacency enter before the denominator: an edge of weight 0 is no edge.

    Parameters
    ----------
    in_features, out_features : int
        Columns of x, and of the result of one head.
    heads : int
        Attentions side by side.
    concat : bool
        Put the heads' results beside each other, (n, heads out_features); else their mean, (n, out_features).
    dropout : float
        Share of attention weights left out in training.
    negative_slope : float
        Of the LeakyReLU.
    bias : bool
        Whether there is a b.

    Notes
    -----
    Self-loops of weight 1 are added where there are none. A head's sum is one sparse product, without a table of E
    messages.

    References
    ----------
    Veličković et al., "Graph attention networks", ICLR 2018.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        heads: int = 1,
        concat: bool = True,
        dropout: float = 0.0,
        negative_slope: float = 0.2,
        bias: bool = True,
    ) -> None:
        super().__init__()
        check_int("in_features", in_features, low=1)
        self.heads, self.out_features = check_int("heads", heads, low=1), int(out_features)
        check_int("out_features", out_features, low=1)
        self.concat, self.negative_slope = bool(concat), check_float("negative_slope", negative_slope)
        self.dropout = check_float("dropout", dropout, low=0, high=1, closed="left")
        self.linear = torch.nn.Linear(in_features, heads * out_features, bias=False)
        self.message_columns = self.linear.out_features
        self.attend_receiver = torch.nn.Parameter(torch.empty(heads, out_features))
        self.attend_sender = torch.nn.Parameter(torch.empty(heads, out_features))
        width = heads * out_features if concat else out_features
        self.bias = torch.nn.Parameter(torch.zeros(width)) if bias else None
        for weight in (self.linear.weight, self.attend_receiver, self.attend_sender):
            torch.nn.init.xavier_uniform_(weight)

    def forward(self, x: Features, adj: Any) -> torch.Tensor:
        """Attend over x (n, in_features), dense or sparse, along an adjacency (n, n) of weights >= 0."""
        adj = SparseTensor.of(adj).with_self_loops()
        z = transform(self.linear, x).reshape(-1, self.heads, self.out_features)
        shares = self._shares(z, adj)
        if self.training and self.dropout:
            shares = torch.nn.functional.dropout(shares, self.dropout)
        parts = [adj.with_values(shares[:, h].contiguous()) @ z[:, h] for h in range(self.heads)]
        y = torch.cat(parts, dim=1) if self.concat else torch.stack(parts).mean(dim=0)
        return y if self.bias is None else y + self.bias

    def _shares(self, z: torch.Tensor, adj: SparseTensor) -> torch.Tensor:
        """Attention weights (E, heads)."""
        receiver, sender = (z * self.attend_receiver).sum(dim=2), (z * self.attend_sender).sum(dim=2)
        scores = receiver[adj.pattern.rows] + sender[adj.pattern.columns]
        return adj.softmax(torch.nn.functional.leaky_relu(scores, self.negative_slope))


__all__ = ["GATConv"]
