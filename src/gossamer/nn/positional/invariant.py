"""Networks on all pairs of nodes, (N, n_max, m) to (N, p): linear equivariant maps, and products of matrices."""

from __future__ import annotations

import itertools

import torch

from gossamer.nn.positional.graphs import pad, place_of
from gossamer.nn.positional.perceptron import perceptron


class Pairs:
    """Padded tables of pairs (B, n, n, c) and what equivariant layers pool from them, each a mean."""

    def __init__(self, mask: torch.Tensor) -> None:
        self.mask = mask  # (B, n)
        self.both = (mask[:, :, None] & mask[:, None, :])[..., None]
        self.sizes = mask.sum(1)[:, None]

    def pool(self, X: torch.Tensor) -> torch.Tensor:
        """Diagonal, means of rows and of columns, and for every node the means of diagonal and table, (B, n, 5 c)."""
        n = self.sizes[..., None].to(X.dtype)
        diagonal = X.diagonal(dim1=1, dim2=2).transpose(1, 2)
        rows, columns = X.sum(2) / n, X.sum(1) / n
        trace, total = diagonal.sum(1, keepdim=True) / n, rows.sum(1, keepdim=True) / n
        parts = (diagonal, rows, columns, trace.expand_as(rows), total.expand_as(rows))
        return torch.cat(parts, dim=2)


class PairLinear(torch.nn.Module):
    """The equivariant linear maps of pairs to pairs, all fifteen, with a bias on the diagonal and one everywhere."""

    def __init__(self, c: int, out_features: int) -> None:
        super().__init__()
        self.entry = torch.nn.Linear(2 * c, out_features)
        self.row = torch.nn.Linear(5 * c, out_features, bias=False)
        self.column = torch.nn.Linear(3 * c, out_features, bias=False)
        self.diagonal = torch.nn.Linear(5 * c, out_features)

    def forward(self, X: torch.Tensor, pairs: Pairs) -> torch.Tensor:
        """(B, n, n, c) to (B, n, n, out_features), zero at padding."""
        pooled = pairs.pool(X)
        Y = self.entry(torch.cat([X, X.transpose(1, 2)], dim=3))
        Y = Y + self.row(pooled)[:, :, None] + self.column(pooled[..., : 3 * X.shape[3]])[:, None]
        Y = Y + torch.diag_embed(self.diagonal(pooled).transpose(1, 2)).permute(0, 2, 3, 1)
        return Y * pairs.both


class IGN2to1(torch.nn.Module):
    """An invariant graph network from pairs to nodes: equivariant layers with ReLU, then a linear map of pools."""

    def __init__(self, c: int, hidden: int, out_features: int, layers: int = 2) -> None:
        super().__init__()
        sizes = [c, *[hidden] * (layers - 1)]
        self.pairs = torch.nn.ModuleList(PairLinear(a, b) for a, b in itertools.pairwise(sizes))
        self.nodes = torch.nn.Linear(5 * sizes[-1], out_features)

    def forward(self, X: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(B, n, n, c), zero outside the mask (B, n), to (B, n, out_features)."""
        pairs = Pairs(mask)
        for layer in self.pairs:
            X = layer(X, pairs).relu()
        return self.nodes(pairs.pool(X)) * mask[:, :, None]


class IGN(torch.nn.Module):
    """A two-index invariant graph network as rho: its last layer pools pairs to nodes."""

    additive = False

    def __init__(self, m: int, hidden: int, out_features: int, layers: int) -> None:
        super().__init__()
        self.net = IGN2to1(m, hidden, out_features, layers)

    def forward(
        self, W: torch.Tensor, mask: torch.Tensor, edge_index: torch.Tensor, batch: torch.Tensor
    ) -> torch.Tensor:
        """Encodings (N, p)."""
        X, node_mask, place = _tables(W, mask, batch)
        return self.net(X, node_mask)[batch, place]


class PPGN(torch.nn.Module):
    """Layers that multiply matrices of nodes with each other channel by channel, O(n^3); as strong as 2-FWL."""

    additive = False

    def __init__(self, m: int, hidden: int, out_features: int, layers: int) -> None:
        super().__init__()
        sizes = [m, *[hidden] * layers]
        self.left, self.right, self.merge = (torch.nn.ModuleList() for _ in range(3))
        for a, b in itertools.pairwise(sizes):
            self.left.append(perceptron(a, hidden, b, 2, norm=False))
            self.right.append(perceptron(a, hidden, b, 2, norm=False))
            self.merge.append(perceptron(a + b, hidden, b, 2, norm=False))
        self.out = torch.nn.Linear(2 * hidden, out_features)

    def forward(
        self, W: torch.Tensor, mask: torch.Tensor, edge_index: torch.Tensor, batch: torch.Tensor
    ) -> torch.Tensor:
        """Encodings (N, p)."""
        X, node_mask, place = _tables(W, mask, batch)
        pairs = Pairs(node_mask)
        root = pairs.sizes[:, :, None, None].to(X.dtype).sqrt()
        for left, right, merge in zip(self.left, self.right, self.merge):
            # masked before the product: a bias at padding would enter sums over nodes
            a, b = ((net(X) * pairs.both / root).permute(0, 3, 1, 2) for net in (left, right))
            X = merge(torch.cat([(a @ b).permute(0, 2, 3, 1), X], dim=3)) * pairs.both
        diagonal = X.diagonal(dim1=1, dim2=2).transpose(1, 2)
        others = (pairs.sizes - 1).clamp_min(1)[..., None].to(X.dtype)
        beside = (X.sum(2) - diagonal) / others
        return self.out(torch.cat([diagonal, beside], dim=2))[batch, place]


def _tables(
    W: torch.Tensor, mask: torch.Tensor, batch: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """W as one padded table a graph (B, n, n, m), the mask of its nodes, and the place of each node."""
    place, B, n = place_of(batch), int(batch[-1]) + 1, W.shape[1]
    first = torch.cumsum(torch.bincount(batch), 0) - torch.bincount(batch)
    return pad(W * mask[:, :, None], batch, place, B, n), mask[first], place


__all__ = ["IGN", "PPGN", "IGN2to1"]
