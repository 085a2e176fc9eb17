"""Training runs of the M-FAC benchmark: every optimiser tuned on a validation split, with equally many settings."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from benchmarks.harness import Race, compare
from benchmarks.m_fac_tasks import accuracy, digits, epochs_of, network
from gossamer.solve import MFAC

BATCH, EPOCHS, WINDOW = 128, 30, 64
# twelve settings each, around what worked in a first look
GRIDS: dict[str, dict[str, tuple[float, ...]]] = {
    "mfac": {"momentum": (0.0, 0.9), "damp": (1e-3, 3e-3), "lr": (1e-2, 2e-2, 4e-2)},
    "sgd": {"momentum": (0.8, 0.9, 0.95), "lr": (0.03, 0.1, 0.3, 1.0)},
    "adam": {"beta2": (0.9, 0.99, 0.999), "lr": (1e-3, 3e-3, 1e-2, 3e-2)},
    "singd": {"damping": (1e-3, 1e-2, 1e-1), "lr": (3e-3, 1e-2, 3e-2, 1e-1)},
    "kfac": {"damp": (1e-3, 1e-2, 1e-1), "lr": (3e-3, 1e-2, 3e-2, 1e-1)},
}
# what is compared, and what settings are selected by for it: never the test images
CRITERIA = {"loss": "loss", "test": "validation", "steps": "held_steps"}
LABELS = {
    "mfac": "M-FAC",
    "sgd": "SGD with momentum",
    "adam": "Adam",
    "singd": "singd (inverse-free K-FAC)",
    "kfac": "K-FAC of curvlinops",
}


class KFAC(torch.optim.Optimizer):
    """The peer: gradients times curvlinops' inverse K-FAC of the present mini-batch, made anew every ten steps."""

    def __init__(self, net: Any, lr: float, damp: float, momentum: float = 0.9, every: int = 10) -> None:
        super().__init__(net.parameters(), {"lr": lr, "momentum": momentum})
        self.net, self.damp, self.every, self.count = net, damp, every, 0
        self.batch: Any = None

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        from curvlinops import KFACInverseLinearOperator, KFACLinearOperator

        (group,) = self.param_groups
        params = group["params"]
        grads = [p.grad for p in params]
        if self.count % self.every == 0:
            with torch.enable_grad():
                kfac = KFACLinearOperator(
                    self.net,
                    torch.nn.CrossEntropyLoss(),
                    params,
                    [self.batch],
                    check_deterministic=False,
                    separate_weight_and_bias=False,
                )
                self.inverse = KFACInverseLinearOperator(kfac, damping=self.damp, use_heuristic_damping=True)
                _ = self.inverse @ grads  # the factors are made at the first product, with gradients enabled
        self.count += 1
        for p, u in zip(params, self.inverse @ grads):
            v = self.state[p].setdefault("v", torch.zeros_like(p))
            p.sub_(v.mul_(group["momentum"]).add_(u), alpha=group["lr"])


def _optimizer(name: str, net: Any, setting: dict[str, float]) -> Any:
    params, lr = net.parameters(), setting["lr"]
    if name == "mfac":
        options = {"momentum": setting["momentum"], "damp": setting["damp"]}
        return MFAC(params, lr, ngrads=WINDOW, store_dtype="bfloat16", **options)
    if name == "sgd":
        return torch.optim.SGD(params, lr, momentum=setting["momentum"])
    if name == "adam":
        return torch.optim.Adam(params, lr, betas=(0.9, setting["beta2"]))
    if name == "kfac":
        return KFAC(net, lr, setting["damp"])
    from singd.optim.optimizer import SINGD

    return SINGD(net, lr=lr, damping=setting["damping"], T=1, kfac_like=True, warn_unsupported=False)


def splits() -> tuple[tuple[Any, Any], tuple[Any, Any], tuple[Any, Any]]:
    """1000 images to train on, 257 to select settings by, 540 to report."""
    (x, y), test = digits()
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(7))
    fit, held = order[257:], order[:257]
    return (x[fit], y[fit]), (x[held], y[held]), test


def train_once(kind: str, name: str, setting: dict[str, float], seed: int) -> dict[str, float]:
    """One run with a cosine schedule: losses, accuracy, and the first steps with 95 % right."""
    (x, y), (xv, yv), (xt, yt) = splits()
    net = network(kind, seed)
    optimizer = _optimizer(name, net, setting)
    batches = epochs_of(x, BATCH, seed)
    total = EPOCHS * (len(x) // BATCH)
    reached = held_reached = float(total)
    diverged = False
    for step in range(total):
        for group in optimizer.param_groups:
            group["lr"] = setting["lr"] * 0.5 * (1 + np.cos(np.pi * step / total))
        idx = next(batches)
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x[idx]), y[idx])
        if not torch.isfinite(loss):
            break
        loss.backward()
        if name == "kfac":
            optimizer.batch = (x[idx], y[idx])
        try:
            optimizer.step()
        except torch.linalg.LinAlgError:  # a setting too bold for K-FAC: its factors are singular
            diverged = True
            break
        if reached == total and accuracy(net, xt, yt) >= 95:
            reached = step + 1.0
        if held_reached == total and accuracy(net, xv, yv) >= 95:
            held_reached = step + 1.0
    with torch.no_grad():
        losses = [float(F.cross_entropy(net(a), b)) for a, b in ((x, y), (xv, yv))]
    if diverged or not np.isfinite(losses).all():  # worse than any other
        return {
            "loss": 1e3,
            "validation": 1e3,
            "test": 10.0,
            "steps": float(total),
            "held_steps": float(total),
        }
    return {
        "loss": losses[0],
        "validation": losses[1],
        "test": accuracy(net, xt, yt),
        "steps": reached,
        "held_steps": held_reached,
    }


def tuned(kind: str, names: tuple[str, ...], seeds: int = 5) -> dict[str, dict[str, dict[str, Any]]]:
    """For each of :data:`CRITERIA` and optimiser: the setting that two seeds select, measured on ``seeds`` others."""
    best: dict[str, dict[str, dict[str, Any]]] = {criterion: {} for criterion in CRITERIA}
    for name in names:
        axes = GRIDS[name]
        grid = [dict(zip(axes, values)) for values in itertools.product(*axes.values())]
        trials = [[train_once(kind, name, setting, seed) for seed in (0, 1)] for setting in grid]
        measured: dict[int, list[dict[str, float]]] = {}
        for criterion, selector in CRITERIA.items():
            scores = [np.mean([run[selector] for run in runs]) for runs in trials]
            chosen = int(np.argmin(scores))
            if chosen not in measured:
                measured[chosen] = [train_once(kind, name, grid[chosen], 10 + seed) for seed in range(seeds)]
            values = [run[criterion] for run in measured[chosen]]
            label = ", ".join(f"{key} {value:g}" for key, value in grid[chosen].items())
            best[criterion][name] = {"setting": label, "mean": float(np.mean(values)), "values": values}
    return best


def overhead(m: int, store_dtype: str) -> Race:
    """Training steps a second of M-FAC against SGD: forward, backward and update of 101,180 weights, batch 128."""
    steppers = []
    for kind in ("mfac", "sgd"):
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Linear(256, 300), torch.nn.ReLU(), torch.nn.Linear(300, 80))
        params = list(net.parameters())
        optimizer = (
            MFAC(params, ngrads=m, store_dtype=store_dtype)
            if kind == "mfac"
            else torch.optim.SGD(params, 1e-3)
        )
        x, y = torch.randn(128, 256), torch.randint(0, 80, (128,))

        def step(net: Any = net, optimizer: Any = optimizer, x: Any = x, y: Any = y) -> None:
            for _ in range(20):
                optimizer.zero_grad()
                F.cross_entropy(net(x), y).backward()
                optimizer.step()

        steppers.append(step)
    return compare(*steppers, work=20, unit="steps/s", rounds=15, warmup=5)
