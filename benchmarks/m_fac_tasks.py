"""Networks, data and runs of the M-FAC benchmark."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from benchmarks.harness import Race, compare
from gossamer.solve import MFAC
from gossamer.sparsify import MFACPruner

GRIDS: dict[str, list[dict[str, float]]] = {
    "mfac": [{"damp": damp, "lr": damp * ratio} for damp in (1e-3, 1e-2, 1e-1) for ratio in (1.0, 3.0, 10.0)],
    "sgd": [{"lr": lr} for lr in (1e-2, 3e-2, 1e-1, 3e-1, 1.0)],
    "adam": [{"lr": lr} for lr in (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)],
}


def digits() -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """scikit-learn's digits, 70/30, seed 0, pixels in [0, 1]."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    x, y = load_digits(return_X_y=True)
    x, xt, y, yt = train_test_split(x.astype(np.float32) / 16, y, test_size=0.3, random_state=0)
    return (torch.from_numpy(x), torch.from_numpy(y)), (torch.from_numpy(xt), torch.from_numpy(yt))


def network(kind: str, seed: int) -> Any:
    """MLP 64-128-64-10, or a small CNN on the same flat images."""
    torch.manual_seed(seed)
    nn = torch.nn
    if kind == "mlp":
        return nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(128, 10),
    )  # fmt: skip


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
    kind: str, sparsities: tuple[float, ...], seeds: int, full: bool
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


def _optimizer(name: str, net: Any, setting: dict[str, float]) -> Any:
    if name == "mfac":
        return MFAC(net.parameters(), ngrads=64, momentum=0.9, **setting)
    if name == "sgd":
        return torch.optim.SGD(net.parameters(), momentum=0.9, **setting)
    return torch.optim.Adam(net.parameters(), **setting)


def _run(name: str, setting: dict[str, float], epochs: int, seed: int) -> dict[str, float]:
    (x, y), (xt, yt) = digits()
    net = network("mlp", seed)
    optimizer = _optimizer(name, net, setting)
    batches = epochs_of(x, 64, seed)
    total = epochs * (len(x) // 64)
    reached = float(total)
    for step in range(total):
        idx = next(batches)
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x[idx]), y[idx])
        if not torch.isfinite(loss):
            return {"loss": float("inf"), "test": 0.0, "steps": total}
        loss.backward()
        optimizer.step()
        if reached == total and step % 2 == 1 and accuracy(net, xt, yt) >= 95:
            reached = step + 1
    with torch.no_grad():
        final = float(F.cross_entropy(net(x), y))
    return {
        "loss": final if np.isfinite(final) else float("inf"),
        "test": accuracy(net, xt, yt),
        "steps": reached,
    }


def tuned(epochs: int, seeds: int) -> dict[str, dict[str, Any]]:
    """Every optimiser at the point of its grid with the least final training loss, mean of seeds."""
    best = {}
    for name, grid in GRIDS.items():
        rows = []
        for setting in grid:
            runs = [_run(name, setting, epochs, seed) for seed in range(seeds)]
            label = ", ".join(f"{k} {v:g}" for k, v in setting.items())
            rows.append({"setting": label, **{k: float(np.mean([run[k] for run in runs])) for k in runs[0]}})
        best[name] = min(rows, key=lambda row: row["loss"])
    return best


def overhead(m: int) -> Race:
    """Training steps a second of M-FAC against SGD on a network of about 1e5 weights."""
    steppers = []
    for kind in ("mfac", "sgd"):
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Linear(256, 300), torch.nn.ReLU(), torch.nn.Linear(300, 80))
        optimizer = (
            MFAC(net.parameters(), ngrads=m) if kind == "mfac" else torch.optim.SGD(net.parameters(), 1e-3)
        )
        x, y = torch.randn(128, 256), torch.randint(0, 80, (128,))

        def step(net: Any = net, optimizer: Any = optimizer, x: Any = x, y: Any = y) -> None:
            for _ in range(5):
                optimizer.zero_grad()
                F.cross_entropy(net(x), y).backward()
                optimizer.step()

        steppers.append(step)
    return compare(*steppers, work=5, unit="steps/s", rounds=11, warmup=20)
