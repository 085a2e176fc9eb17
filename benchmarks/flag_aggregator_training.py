"""Trainings for the Flag Aggregator: workers that augment differently, hostile ones among them, a lossy network."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch.nn import functional as F

from benchmarks.flag_aggregator_peers import byzfl_aggregators
from gossamer._core.errors import ArgumentError
from gossamer.distributed import ParameterServer, ServerResult

NOISE = (0.0, 2.0, 4.0)  # standard deviation in units of pixel values 0..16, workers in turn
WORKERS, STEPS, BATCH, RATE = 11, 300, 32, 0.1


class Condition(NamedTuple):
    """What goes wrong, and what the rules are told."""

    label: str
    attack: str | None = None
    bad: int = 0
    declared: int = 2
    drop: float = 0.0
    options: dict[str, Any] | None = None


CONDITIONS = {
    "none": Condition("no failure"),
    "random": Condition("2 of 11 send uniform noise", "random", 2),
    "reverse": Condition("2 of 11 send -10 g", "reverse", 2),
    "lie": Condition("2 of 11 send mean - 1.5 std", "little_is_enough", 2, options={"z": 1.5}),
    "empire": Condition("2 of 11 send -0.1 of the honest mean", "fall_of_empires", 2),
    "loss": Condition("10 % of coordinates lost on the way", drop=0.1),
    "misdeclared-random": Condition("3 of 11 send uniform noise, declared f = 1", "random", 3, 1),
    "misdeclared-reverse": Condition("3 of 11 send -10 g, declared f = 1", "reverse", 3, 1),
}
TARGETED = ("flag", "flag, lambda 0.1", "mean", "median", "trimmed mean", "Multi-Krum", "byzfl Multi-Krum")
ATTACKED = ("random", "reverse", "lie", "empire", "loss")


class Data(NamedTuple):
    """Images in 0..16 and labels."""

    x: torch.Tensor
    y: torch.Tensor
    x_test: torch.Tensor
    y_test: torch.Tensor


def digits() -> Data:
    """scikit-learn's digits: 1,400 to train on, 397 to test."""
    pixels, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    x, y = torch.from_numpy(pixels[order]).float(), torch.from_numpy(labels[order])
    return Data(x[:1400], y[:1400], x[1400:], y[1400:])


def mnist() -> Data:
    """The 10,000 test images of MNIST, from the folder of ``GOSSAMER_DATA``: 8,500 to train on, 1,500 to test."""
    folder = Path(os.environ["GOSSAMER_DATA"]) / "mnist-t10k"

    def read(name: str, skip: int) -> np.ndarray:
        with gzip.open(folder / name) as file:
            return np.frombuffer(file.read(), np.uint8, offset=skip)

    pixels = read("t10k-images-idx3-ubyte.gz", 16).reshape(-1, 1, 28, 28).astype(np.float32) * (16 / 255)
    labels = read("t10k-labels-idx1-ubyte.gz", 8).astype(np.int64)
    order = np.random.default_rng(0).permutation(len(labels))
    x, y = torch.from_numpy(pixels[order]), torch.from_numpy(labels[order])
    return Data(x[:8500], y[:8500], x[8500:], y[8500:])


class Shard:
    """Endless batches of one worker's share, with noise of its own: a function of (seed, worker) alone."""

    def __init__(self, data: Data, worker: int, workers: int, seed: int) -> None:
        self._x, self._y = data.x[worker::workers], data.y[worker::workers]
        self._rng = torch.Generator().manual_seed(1000 * seed + worker)
        self._noise = NOISE[worker % len(NOISE)]

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        while True:
            chosen = torch.randperm(len(self._x), generator=self._rng)[:BATCH]
            x = self._x[chosen]
            if self._noise:
                x = x + self._noise * torch.randn(x.shape, generator=self._rng)
            yield x / 16, self._y[chosen]


def mlp(seed: int) -> torch.nn.Module:
    """64-128-10."""
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10))


def cnn(seed: int) -> torch.nn.Module:
    """Two convolutions with stride 2 and a linear layer, for 28 x 28."""
    torch.manual_seed(seed)
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 8, 5, stride=2, padding=2), torch.nn.ReLU(),
        torch.nn.Conv2d(8, 16, 5, stride=2, padding=2), torch.nn.ReLU(),
        torch.nn.Flatten(), torch.nn.Linear(16 * 49, 10),
    )  # fmt: skip


def rules(declared: int) -> dict[str, tuple[Any, dict[str, Any]]]:
    """Every rule and its options by the name in the tables, those of byzfl last."""
    byzfl = byzfl_aggregators()
    ours: dict[str, tuple[Any, dict[str, Any]]] = {
        "flag": ("flag", {}),
        "flag, lambda 0.1": ("flag", {"lam": 0.1}),
        "mean": ("mean", {}),
        "median": ("median", {}),
        "trimmed mean": ("trimmed_mean", {}),
        "Krum": ("krum", {}),
        "Multi-Krum": ("multi_krum", {}),
        "Bulyan": ("bulyan", {}),
        "MeaMed": ("meamed", {}),
        "Phocas": ("phocas", {}),
        "geometric median": ("geometric_median", {}),
    }
    theirs = {
        "byzfl Multi-Krum": byzfl.MultiKrum(declared),
        "byzfl trimmed mean": byzfl.TrMean(declared),
        "byzfl CAF": byzfl.CAF(declared),
    }
    return ours | {name: (_stacked(rule), {}) for name, rule in theirs.items()}


def _stacked(rule: Any) -> Callable[[list[torch.Tensor]], torch.Tensor]:
    def combine(G: list[torch.Tensor]) -> torch.Tensor:
        found = rule(torch.stack(list(G)))
        if found is None:
            raise ArgumentError("gradients have NaN: byzfl gives nothing for them")
        return torch.as_tensor(found)

    return combine


def server(
    model: torch.nn.Module, condition: Condition, rule: Any, options: dict[str, Any], seed: int
) -> ParameterServer:
    """A server that meets a condition."""
    return ParameterServer(
        model,
        F.cross_entropy,
        rule,
        condition.declared,
        optimizer=torch.optim.SGD(model.parameters(), RATE),
        attack=condition.attack,
        attack_options=condition.options,
        byzantine_ranks=range(1, condition.bad + 1),
        drop_rate=condition.drop,
        rule_options=options,
        seed=seed,
    )


def accuracy(model: torch.nn.Module, data: Data) -> float:
    """Of the test images."""
    with torch.no_grad():
        return float((model(data.x_test / 16).argmax(1) == data.y_test).float().mean())


def train(
    data: Data,
    condition: Condition,
    rule: Any,
    options: dict[str, Any],
    seed: int,
    *,
    network: Callable[[int], torch.nn.Module] = mlp,
    workers: int | None = WORKERS,
    steps: int = STEPS,
) -> tuple[float, ServerResult | None]:
    """Accuracy after training by a rule, and what the server saw; ``workers=None``: in the processes of a group.

    A rule that an attack drives to infinity ends there: what is left of the model is what it reaches.
    """
    model = network(seed)
    trainer = server(model, condition, rule, options, seed)
    shards = workers or WORKERS
    result = None
    try:
        result = trainer.fit(lambda worker: Shard(data, worker, shards, seed), steps, workers=workers)
    except ArgumentError as error:
        if "gradients have NaN" not in str(error):
            raise
    return accuracy(model, data), result


def table(name: str, full: bool) -> dict[str, list[float]]:
    """Accuracy of every rule under a condition, a value a seed: three for the rules that targets name, else one."""
    torch.set_num_threads(1)
    data, condition = digits(), CONDITIONS[name]
    return {
        label: [
            train(data, condition, rule, options, seed)[0]
            for seed in range(3 if full or label in TARGETED else 1)
        ]
        for label, (rule, options) in rules(condition.declared).items()
    }
