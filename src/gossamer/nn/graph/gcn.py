"""Graph convolutions."""

from __future__ import annotations

from typing import Any

import torch

from gossamer._core.checks import check_int
from gossamer.nn.graph.dense_part import Features, transform
from gossamer.nn.graph.sparse_tensor import SparseTensor


class GCNConv(torch.nn.Module):
    r"""A graph convolution, :math:`P X W + b` with :math:`P = D^{-1/2} (A + I) D^{-1/2}`.

    Parameters
    ----------
    in_features, out_features : int
        Columns of X and of the result.
    bias : bool
        Whether there is a b.
    normalize : bool
        Compute P from the adjacency that is given, with gradients in its weights; otherwise multiply by it as it is.

    References
    ----------
    Kipf, Welling, "Semi-supervised classification with graph convolutional networks", ICLR 2017.
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, normalize: bool = True
    ) -> None:
        super().__init__()
        check_int("in_features", in_features, low=1)
        self.linear = torch.nn.Linear(in_features, check_int("out_features", out_features, low=1), bias=False)
        self.bias = torch.nn.Parameter(torch.zeros(out_features)) if bias else None
        self.normalize = bool(normalize)
        self.message_columns = self.linear.out_features
        torch.nn.init.xavier_uniform_(self.linear.weight)

    def forward(self, x: Features, adj: Any) -> torch.Tensor:
        """Convolve x (n, in_features), dense or sparse, over an adjacency (n, n)."""
        adj = SparseTensor.of(adj)
        y = (adj.normalized() if self.normalize else adj) @ transform(self.linear, x)
        return y if self.bias is None else y + self.bias


__all__ = ["GCNConv"]
