"""The same trunk from PyTorch Geometric's layers, with its eigenvectors as encoding."""

from __future__ import annotations

import torch
import torch_geometric
from torch_geometric.data import Data
from torch_geometric.nn import GINEConv, global_add_pool
from torch_geometric.transforms import AddLaplacianEigenvectorPE

from benchmarks.spe_tasks import Task
from gossamer.graph import SpectralBatch

NAME = f"torch-geometric {torch_geometric.__version__}: AddLaplacianEigenvectorPE(k=8), GINEConv"
K = 8


def eigenvectors(task: Task) -> torch.Tensor:
    """What the transform gives for each graph, put beside V in float64 so that batches carry it along.

    A graph of n nodes has n - 1 such vectors, which the transform does not mind; the rest is zero.
    """
    found = []
    for number in range(len(task.graphs)):
        graph = task.graphs.take([number])
        n = len(graph.V)
        data, k = Data(edge_index=graph.edge_index, num_nodes=n), min(K, n - 1)
        pe = AddLaplacianEigenvectorPE(k, "pe", is_undirected=True)(data).pe if k else torch.zeros(n, 0)
        found.append(torch.nn.functional.pad(pe, (0, K - k)))
    return torch.cat(found).double()


def with_eigenvectors(task: Task) -> Task:
    """The task whose V are those of the transform."""
    graphs = SpectralBatch(
        task.graphs.lam[:, :K], eigenvectors(task), task.graphs.edge_index, task.graphs.batch
    )
    return Task(graphs, task.x, task.edge_attr, task.y, task.train, task.val, task.test, task.of_nodes)


class Geometric(torch.nn.Module):
    """GINEConv layers with residuals, the encoding added before and in each, random signs in training."""

    def __init__(self, task: Task, hidden: int, layers: int = 4) -> None:
        super().__init__()
        edges = 1 if task.edge_attr is None else task.edge_attr.shape[1]
        self.of_nodes = task.of_nodes
        self.nodes = torch.nn.Linear(task.x.shape[1], hidden)
        self.first = torch.nn.Linear(K, hidden)
        self.layers = torch.nn.ModuleList(
            GINEConv(_mlp(hidden, hidden, hidden), train_eps=True, edge_dim=edges) for _ in range(layers)
        )
        self.each = torch.nn.ModuleList(_mlp(K, hidden, hidden) for _ in range(layers))
        self.out = _mlp(hidden, hidden, task.y.shape[1])

    def forward(
        self, graphs: SpectralBatch, x: torch.Tensor, attributes: torch.Tensor | None
    ) -> torch.Tensor:
        """Predictions for nodes or graphs."""
        pe = graphs.V.float()
        if self.training:
            pe = pe * (2 * torch.randint(2, (K,)) - 1)
        attributes = torch.zeros(graphs.edge_index.shape[1], 1) if attributes is None else attributes
        h = self.nodes(x) + self.first(pe)
        for layer, each in zip(self.layers, self.each):
            h = h + each(pe)
            h = h + layer(h, graphs.edge_index, attributes)
        return self.out(h if self.of_nodes else global_add_pool(h, graphs.batch))


def _mlp(a: int, hidden: int, b: int) -> torch.nn.Sequential:
    return torch.nn.Sequential(
        torch.nn.Linear(a, hidden), torch.nn.LayerNorm(hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, b)
    )


__all__ = ["NAME", "Geometric", "with_eigenvectors"]
