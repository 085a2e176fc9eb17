"""BasisNet: an encoding that does not depend on bases of eigenspaces, which it tells apart by a threshold."""

from __future__ import annotations

import itertools

import torch

from gossamer._core.checks import check_int
from gossamer.nn.graph.gin import GINConv
from gossamer.nn.graph.sparse_tensor import SparseTensor
from gossamer.nn.positional.graphs import Graphs
from gossamer.nn.positional.invariant import IGN2to1
from gossamer.nn.positional.perceptron import perceptron
from gossamer.nn.positional.phi import eigenspaces


class BasisNetPE(torch.nn.Module):
    """Encode nodes by what an invariant network makes of the projector on each eigenspace.

    Eigenvalues equal to five decimals are one eigenspace. Each multiplicity has a network of its own; what they say of
    a node, and the eigenvalues, are the input of a graph network, eigenspace by eigenspace in the order of eigenvalues.
    Where two eigenvalues meet, two projectors become one: the encoding jumps. A baseline for :class:`SPE`.

    Parameters
    ----------
    d : int
        Eigenpairs.
    out_dim : int
        Columns of the encoding.
    multiplicities : int
        Networks; eigenspaces of this dimension and of higher ones share the last.
    channels : int
        What a network says of a node for an eigenspace.
    hidden : int
        Width of all networks.
    ign_layers, layers : int
        Layers of the invariant networks and of the graph network.
    detach : bool
        Whether gradients stop at eigenvalues and eigenvectors.

    Notes
    -----
    O(d n^2 hidden^2) time and O(d n^2 hidden) memory a graph.

    References
    ----------
    Lim et al., ICLR 2023, arXiv 2202.13013.
    """

    def __init__(
        self,
        d: int,
        out_dim: int,
        *,
        multiplicities: int = 4,
        channels: int = 4,
        hidden: int = 64,
        ign_layers: int = 2,
        layers: int = 4,
        detach: bool = True,
    ) -> None:
        super().__init__()
        self.d, self.out_dim = check_int("d", d, low=1), check_int("out_dim", out_dim, low=1)
        self.channels, self.detach = check_int("channels", channels, low=1), bool(detach)
        check_int("hidden", hidden, low=1)
        check_int("ign_layers", ign_layers, low=1)
        self.classes = min(check_int("multiplicities", multiplicities, low=1), self.d)
        self.spaces = torch.nn.ModuleList(
            IGN2to1(1, hidden, channels, ign_layers) for _ in range(self.classes)
        )
        sizes = [self.d * (channels + 1), *[hidden] * (check_int("layers", layers, low=1) - 1), self.out_dim]
        self.layers = torch.nn.ModuleList(
            GINConv(perceptron(a, hidden, b), train_eps=True) for a, b in itertools.pairwise(sizes)
        )

    def forward(
        self, lam: torch.Tensor, V: torch.Tensor, edge_index: torch.Tensor, batch: torch.Tensor
    ) -> torch.Tensor:
        """Encode the nodes of a batch of graphs, (N, out_dim); arguments as of :meth:`SPE.forward`."""
        graphs = Graphs.check(lam, V, edge_index, batch, self.d, next(self.parameters()).dtype)
        x = self._eigenspaces(graphs, lam.detach())
        adj, _ = SparseTensor.from_edge_index(graphs.edge_index, len(x))
        for number, layer in enumerate(self.layers):
            x = layer(x.relu() if number else x, adj)
        return x

    def _eigenspaces(self, graphs: Graphs, lam: torch.Tensor) -> torch.Tensor:
        """Of each node, for each of d eigenspaces (zero where there are fewer): channels and the eigenvalue."""
        B, d, mask = *graphs.lam.shape, graphs.eigen_mask
        owner = torch.nn.functional.one_hot(eigenspaces(lam), d) * mask[:, :, None]  # (B, pairs, spaces)
        count = owner.sum(1)
        values, vectors = graphs.lam, graphs.V
        if self.detach:
            values, vectors = values.detach(), vectors.detach()
        inside = owner.to(values.dtype)
        mean = (values[:, None] @ inside)[:, 0] / count.clamp_min(1)
        V = graphs.pad(vectors)
        told = V.new_zeros(B, d, graphs.n_max, self.channels)
        for number, net in enumerate(self.spaces, start=1):
            here = (count == number) if number < self.classes else (count >= number)
            graph, space = here.nonzero(as_tuple=True)
            if len(graph):
                part = V[graph] * inside[graph, :, space][:, None]
                projector = (part @ part.transpose(1, 2))[..., None]
                told = told.index_put((graph, space), net(projector, graphs.node_mask[graph]))
        told = torch.cat([told, mean[:, :, None, None].expand(B, d, graphs.n_max, 1)], dim=3)
        return told.transpose(1, 2)[graphs.batch, graphs.place].flatten(1)


__all__ = ["BasisNetPE"]
