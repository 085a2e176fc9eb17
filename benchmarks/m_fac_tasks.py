"""Networks, data and runs of the M-FAC benchmark."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from gossamer.sparsify import MFACPruner


def digits() -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """scikit-learn's digits, 70/30, seed 0, pixels in [0, 1]."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    x, y = load_digits(return_X_y=True)
    x, xt, y, yt = train_test_split(x.astype(np.float32) / 16, y, test_size=0.3, random_state=0)
    return (torch.from_numpy(x), torch.from_numpy(y)), (torch.from_numpy(xt), torch.from_numpy(yt))


def network(kind: str, seed: int) -> Any:
    """MLP 64-128-64-10, a small CNN on the same flat images, or a GRU that reads them row by row."""
    torch.manual_seed(seed)
    nn = torch.nn
    if kind == "mlp":
        return nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))
    if kind == "gru":
        return Reader()
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(128, 10),
    )  # fmt: skip


class Reader(torch.nn.Module):
    """A GRU over the eight rows of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = torch.nn.GRU(8, 64, batch_first=True)
        self.out = torch.nn.Linear(64, 10)

    def forward(self, x: Any) -> Any:
        return self.out(self.gru(x.view(-1, 8, 8))[0][:, -1])


def epochs_of(x: Any, batch: int, seed: int) -> Any:
    """Endless shuffled mini-batches."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(len(x), generator=generator)
        yield from (order[i : i + batch] for i in range(0, len(x) - batch + 1, batch))


def train(net: Any, x: Any, y: Any, epochs: int, batch: int = 32, seed: int = 0) -> Any:
    """Adam at 1e-3."""
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    batches = epochs_of(x, batch, seed)
    for _ in range(epochs * (len(x) // batch)):
        idx = next(batches)
        optimizer.zero_grad()
        F.cross_entropy(net(x[idx]), y[idx]).backward()
        optimizer.step()
    return net


def accuracy(net: Any, x: Any, y: Any) -> float:
    """Per cent right."""
    with torch.no_grad():
        return 100 * float((net(x).argmax(1) == y).float().mean())


def prune_runs(
    kind: str, sparsities: tuple[float, ...], seeds: int, full: bool, fewer: bool = False
) -> dict[float, dict[str, list[float]]]:
    """Test accuracy of every method on the same trained networks, by sparsity."""
    (x, y), (xt, yt) = digits()
    methods: dict[str, dict[str, Any]] = {
        "magnitude": {"curvature": "magnitude", "n_recompute": 1},
        "diagonal Fisher one-shot": {"curvature": "diagonal", "n_recompute": 1},
        "diagonal Fisher, 16 recomputations": {"curvature": "diagonal", "n_recompute": 16},
        "M-FAC one-shot": {"n_recompute": 1},
        "M-FAC, 16 recomputations": {"n_recompute": 16},
    }
    if fewer:
        methods["diagonal Fisher, 8 recomputations"] = {"curvature": "diagonal", "n_recompute": 8}
        methods["M-FAC, 8 recomputations, block 2048"] = {"n_recompute": 8, "block": 2048}
    if full:
        methods["WoodFisher blocks, 16 recomputations"] = {"curvature": "woodfisher", "n_recompute": 16}
        methods["M-FAC, 16 recomputations, exact joint removal"] = {"n_recompute": 16, "joint": "exact"}
    tables: dict[float, dict[str, list[float]]] = {
        sparsity: {"dense": [], **{name: [] for name in methods}} for sparsity in sparsities
    }
    for seed in range(seeds):
        trained = train(network(kind, seed), x, y, 60, seed=seed)
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
        more = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed + 100))
        loader = [(x[i], y[i]) for i in torch.cat([order, more])[: 64 * 32].split(32)]
        for sparsity, table in tables.items():
            table["dense"].append(accuracy(trained, xt, yt))
            for name, options in methods.items():
                net = copy.deepcopy(trained)
                MFACPruner(net, loader, F.cross_entropy, ngrads=64, **options).prune(sparsity)
                table[name].append(accuracy(net, xt, yt))
    return tables
