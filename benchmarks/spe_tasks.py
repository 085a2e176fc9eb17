"""Graphs, targets and the training that every encoding of the SPE benchmark shares."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import scipy.sparse
import torch

from gossamer._core.threads import set_threads
from gossamer.graph import SpectralBatch, count_cycles, laplacian_batch, perturb_edges
from gossamer.nn import GINE

torch.set_num_threads(1)
set_threads(1)


@dataclass(frozen=True)
class Task:
    """Graphs with features and standardised targets, of nodes or of graphs, and which graphs are for what."""

    graphs: SpectralBatch
    x: torch.Tensor
    edge_attr: torch.Tensor | None
    y: torch.Tensor
    train: np.ndarray
    val: np.ndarray
    test: np.ndarray
    of_nodes: bool

    def part(
        self, index: np.ndarray
    ) -> tuple[SpectralBatch, torch.Tensor, torch.Tensor | None, torch.Tensor]:
        """Graphs, features of nodes and edges, and targets of some graphs."""
        rows = self.graphs.nodes(index)
        attributes = None if self.edge_attr is None else self.edge_attr[self.graphs.edges(index)]
        y = self.y[rows] if self.of_nodes else self.y[torch.from_numpy(index)]
        return self.graphs.take(index), self.x[rows], attributes, y


class Predictor(torch.nn.Module):
    """The trunk with an encoding, or without."""

    def __init__(
        self, task: Task, pe: torch.nn.Module | None, hidden: int, layers: int = 4, **options: Any
    ) -> None:
        super().__init__()
        edges = 0 if task.edge_attr is None else task.edge_attr.shape[1]
        width = 0 if pe is None else pe.out_dim
        self.pe = pe
        self.trunk = GINE(
            task.x.shape[1], hidden, task.y.shape[1], layers=layers, edge_features=edges, pe_dim=width,
            pool=None if task.of_nodes else "sum", **options,
        )  # fmt: skip

    def forward(
        self, graphs: SpectralBatch, x: torch.Tensor, attributes: torch.Tensor | None
    ) -> torch.Tensor:
        """Predictions for nodes or graphs."""
        pe = None if self.pe is None else self.pe(*graphs.args)
        return self.trunk(x, graphs.edge_index, attributes, graphs.batch, pe)


@dataclass(frozen=True)
class Run:
    """Mean absolute errors at the best validation epoch, of each target on the test part, and of the training part."""

    test: np.ndarray
    train: float
    val: float


def train(
    task: Task, model: torch.nn.Module, *, epochs: int, size: int, rate: float, seed: int, project: Any = None
) -> Run:
    """L1 loss, Adam with a warm-up of one epoch and linear decay to zero, clipped gradients."""
    rng = np.random.default_rng(seed)
    steps = -(-len(task.train) // size)
    optimizer = torch.optim.Adam(model.parameters(), rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda k: min((k + 1) / steps, (epochs * steps - k) / ((epochs - 1) * steps))
    )
    best, kept = np.inf, {}
    for _ in range(epochs):
        model.train()
        for index in np.array_split(rng.permutation(task.train), steps):
            *inputs, y = task.part(index)
            optimizer.zero_grad()
            torch.nn.functional.l1_loss(model(*inputs), y).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            if project is not None:
                project()
        error = float(errors(task, model, task.val).mean())
        if error < best:
            best, kept = error, {k: v.clone() for k, v in model.state_dict().items()}
    model.load_state_dict(kept)
    return Run(errors(task, model, task.test), float(errors(task, model, task.train).mean()), best)


@torch.no_grad()
def errors(task: Task, model: torch.nn.Module, index: np.ndarray) -> np.ndarray:
    """Mean absolute error of each target."""
    model.eval()
    total, count = 0.0, 0
    for piece in np.array_split(index, -(-len(index) // 100)):
        *inputs, y = task.part(piece)
        total, count = total + (model(*inputs) - y).abs().sum(0), count + len(y)
    return (total / count).numpy()


@cache
def cycles(seed: int, counts: tuple[int, int, int] = (1000, 200, 300)) -> Task:
    """Regular graphs of degree 3 or 4 without two of their edges; 3- and 4-cycles through each node."""
    rng = np.random.default_rng(seed)
    graphs = []
    for _ in range(sum(counts)):
        r, n = int(rng.integers(3, 5)), int(rng.integers(12, 25))
        n += r * n % 2
        regular = nx.random_regular_graph(r, n, seed=int(rng.integers(2**31)))
        graphs.append(perturb_edges(regular, 2, rng))
    batch = laplacian_batch(graphs, 25)
    targets = [[count_cycles(A, k, per_node=True) for k in (3, 4)] for A in graphs]
    y = torch.tensor(np.concatenate([np.stack(t, axis=1) for t in targets]), dtype=torch.float32)
    parts = _parts(counts)
    rows = batch.nodes(parts[0])
    y = (y - y[rows].mean(0)) / y[rows].std(0)
    return Task(batch, torch.ones(len(y), 1), None, y, *parts, of_nodes=True)


def _parts(counts: tuple[int, int, int]) -> list[np.ndarray]:
    return np.split(np.arange(sum(counts)), np.cumsum(counts)[:2])


ATOMS = (6, 7, 8, 9, 15, 16, 17, 35, 53)


def smiles(name: str, count: int) -> list[Any]:
    """The first molecules of a file of ZINC, by RDKit."""
    from rdkit import Chem

    path = Path(os.environ["GOSSAMER_DATA"]) / "zinc-smiles" / name
    return [Chem.MolFromSmiles(line) for line in path.read_text().split()[:count]]


def bonds(molecule: Any) -> scipy.sparse.csr_array:
    """Its graph of heavy atoms."""
    from rdkit.Chem import GetAdjacencyMatrix

    return scipy.sparse.csr_array(GetAdjacencyMatrix(molecule).astype(float))


@cache
def molecules(counts: tuple[int, int, int] = (4000, 500, 500)) -> Task:
    """Molecules of ZINC with penalised logP: Crippen's logP, less the SA score and atoms beyond six in a ring."""
    found = smiles("valid.txt", sum(counts))
    batch = laplacian_batch([bonds(m) for m in found])
    x = torch.tensor([[a.GetAtomicNum() == z for z in ATOMS] + [float(a.GetFormalCharge()), 1.0]
                      for m in found for a in m.GetAtoms()]).float()  # fmt: skip
    kinds = (1.0, 1.5, 2.0, 3.0)
    of_edges, start = [], 0
    owner = batch.batch[batch.edge_index[0]]
    first = torch.cumsum(batch.sizes, 0) - batch.sizes
    local = batch.edge_index - first[owner]
    for number, m in enumerate(found):
        stop = start + 2 * m.GetNumBonds()
        for u, v in local[:, start:stop].T.tolist():
            bond = m.GetBondBetweenAtoms(u, v)
            of_edges.append([float(bond.GetBondTypeAsDouble() == kind) for kind in kinds])
        start = stop
        assert start == len(of_edges), number
    y = torch.tensor([[penalised_logp(m)] for m in found])
    parts = _parts(counts)
    y = (y - y[parts[0]].mean(0)) / y[parts[0]].std(0)
    return Task(batch, x, torch.tensor(of_edges), y, *parts, of_nodes=False)


def penalised_logp(molecule: Any) -> float:
    """The target of the constrained-solubility task, before standardisation."""
    from rdkit.Chem import Crippen
    from rdkit.Contrib.SA_Score import sascorer

    rings = molecule.GetRingInfo().AtomRings()
    largest = max((len(ring) for ring in rings), default=0)
    return Crippen.MolLogP(molecule) - sascorer.calculateScore(molecule) - max(0, largest - 6)


__all__ = ["Predictor", "Run", "Task", "bonds", "cycles", "errors", "molecules", "smiles", "train"]
