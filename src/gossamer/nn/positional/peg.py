"""PEG: weights of messages from distances between positional encodings."""

from __future__ import annotations

from typing import Any

import torch

from gossamer._core.checks import check_array, check_int
from gossamer.nn.positional.graphs import check_edges
from gossamer.nn.positional.perceptron import perceptron


class PEGDistance(torch.nn.Module):
    r"""Weigh each edge by a perceptron of the distance of its ends, :math:`f(\|V_u - V_v\|_2)`.

    Signs of eigenvectors do not matter to a distance, nor does any rotation of all of them at once.

    Parameters
    ----------
    hidden : int
        Width of f.
    layers : int
        Linear layers of f.

    References
    ----------
    Wang, Yin, Zhang, Li, "Equivariant and stable positional encoding for more powerful graph neural networks", ICLR
    2022, arXiv 2203.00199.

    Examples
    --------
    >>> import torch
    >>> from gossamer.nn import PEGDistance
    >>> PEGDistance()(torch.eye(3), torch.tensor([[0, 1], [1, 2]])).shape
    torch.Size([2, 1])
    """

    def __init__(self, hidden: int = 32, layers: int = 2) -> None:
        super().__init__()
        check_int("hidden", hidden, low=1)
        self.net = perceptron(1, hidden, 1, check_int("layers", layers, low=1), norm=False)

    def forward(self, V: Any, edge_index: torch.Tensor) -> torch.Tensor:
        """Weights (E, 1) of edges (2, E) between nodes with encodings V (N, d)."""
        V = check_array("V", V, ndim=2)
        source, target = check_edges(edge_index, len(V))
        square = (V[source] - V[target]).square().sum(1, keepdim=True)
        # a root has no slope at zero, where ends coincide
        distance = torch.where(square > 0, square, 1).sqrt() * (square > 0)
        return self.net(distance.to(next(self.parameters()).dtype))


__all__ = ["PEGDistance"]
