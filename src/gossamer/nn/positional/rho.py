"""Functions of the tensor of W's, (N, n_max, m) to (N, p), equivariant to the order of nodes.

Each is called with W, the mask (N, n_max) of columns, ``edge_index`` and ``batch``. ``additive`` ones are sums over
columns, so that columns may come in blocks.
"""

from __future__ import annotations

import itertools
from typing import Any

import torch

from gossamer._core.checks import check_choice, check_int
from gossamer.nn.graph.gin import GINConv
from gossamer.nn.graph.sparse_tensor import SparseTensor
from gossamer.nn.positional.invariant import IGN, PPGN
from gossamer.nn.positional.perceptron import perceptron

NAMES = ("gin", "mlp", "gin_deepsets", "ign", "ppgn")


class GINColumns(torch.nn.Module):
    """Message passing on each column of W by itself: nodes have m numbers, (N, J, m) to (N, J, p).

    With ``mix`` each layer adds a linear map of the sum over columns.
    """

    def __init__(self, m: int, hidden: int, out_features: int, layers: int, mix: bool = False) -> None:
        super().__init__()
        sizes = [m, *[hidden] * (layers - 1), out_features]
        pairs = list(itertools.pairwise(sizes))
        self.layers = torch.nn.ModuleList(GINConv(perceptron(a, hidden, b), train_eps=True) for a, b in pairs)
        self.mixes = torch.nn.ModuleList(torch.nn.Linear(b, b, bias=False) for _, b in pairs if mix)

    def forward(self, x: torch.Tensor, mask: torch.Tensor, edge_index: torch.Tensor) -> torch.Tensor:
        """Features of every node in every column; those of masked columns mean nothing."""
        adj, _ = SparseTensor.from_edge_index(edge_index, len(x))
        for number, layer in enumerate(self.layers):
            x = layer(x.relu() if number else x, adj)
            if self.mixes:
                x = x + self.mixes[number]((x * mask[:, :, None]).sum(1, keepdim=True))
        return x


class GINRho(torch.nn.Module):
    """The sum of a graph network's results over columns, or over columns that see each other's sum in each layer."""

    def __init__(self, m: int, hidden: int, out_features: int, layers: int, mix: bool = False) -> None:
        super().__init__()
        self.additive = not mix
        self.columns = GINColumns(m, hidden, out_features, layers, mix)

    def forward(
        self, W: torch.Tensor, mask: torch.Tensor, edge_index: torch.Tensor, batch: torch.Tensor
    ) -> torch.Tensor:
        """Encodings (N, p)."""
        return (self.columns(W, mask, edge_index) * mask[:, :, None]).sum(1)


class MLPRho(torch.nn.Module):
    """The sum of a perceptron's results over columns, without message passing."""

    additive = True

    def __init__(self, m: int, hidden: int, out_features: int, layers: int) -> None:
        super().__init__()
        self.net = perceptron(m, hidden, out_features, layers)

    def forward(
        self, W: torch.Tensor, mask: torch.Tensor, edge_index: torch.Tensor, batch: torch.Tensor
    ) -> torch.Tensor:
        """Encodings (N, p)."""
        return (self.net(W) * mask[:, :, None]).sum(1)


def make_rho(rho: Any, m: int, hidden: int, out_features: int, layers: int) -> torch.nn.Module:
    """The module that a name stands for; modules pass."""
    if isinstance(rho, torch.nn.Module):
        return rho
    check_choice("rho", rho, NAMES)
    sizes = (m, check_int("rho_hidden", hidden, low=1), out_features, check_int("rho_layers", layers, low=1))
    if rho in ("gin", "gin_deepsets"):
        return GINRho(*sizes, mix=rho == "gin_deepsets")
    return {"mlp": MLPRho, "ign": IGN, "ppgn": PPGN}[rho](*sizes)


__all__ = ["NAMES", "GINColumns", "GINRho", "MLPRho", "make_rho"]
