"""Data, settings and runs of the multi-block bilevel benchmark."""

from __future__ import annotations

import gzip
import itertools
from typing import Any

import numpy as np

from gossamer.datasets.locate import data_file
from gossamer.solve import BilevelResult, HyperWeighting, QuadraticBilevel, multi_block_bilevel

TRAIN, FEATURES, BLOCKS = 18_156, 123, 100
STEPS_PER_EPOCH = TRAIN / 320  # I B = 10 x 32 training samples a step
FIXED = {"blocks_per_step": 10, "batch_size": 32, "mu": 0.01, "v_radius": 10.0, "gamma": 1.0}


def _grid(
    inner: tuple[float, ...], outer: tuple[float, ...], weights: tuple[float, ...]
) -> list[dict[str, float]]:
    return [
        {"lr_lower": tau, "lr": lr, "alpha": weight, "beta": weight}
        for tau, lr, weight in itertools.product(inner, outer, weights)
    ]


# twelve settings each; with the authors' weights the inner rate decides, and m = 1 likes other weights
GRID = _grid((0.1, 0.2, 0.3, 0.4), (30.0, 100.0, 300.0), (0.9,))
RSVRB_BEST = _grid((0.4,), (30.0, 100.0), (0.9,))
GRID_ONE = _grid((0.1, 0.2, 0.3), (30.0, 300.0), (0.1, 0.9))


def a8a(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows of ones and zeros (n, 123) and labels -1 and 1, from the folder of ``GOSSAMER_DATA``."""
    from sklearn.datasets import load_svmlight_file

    with gzip.open(data_file(f"a8a/a8a_{split}.txt.gz", "a8a (Adult, binarised)")) as file:
        X, y = load_svmlight_file(file, n_features=FEATURES)
    return X.toarray(), y


def parts() -> tuple[Any, Any, Any]:
    """Training rows, validation rows (the last of the training file) and test rows."""
    X, y = a8a("training")
    return (X[:TRAIN], y[:TRAIN]), (X[TRAIN:], y[TRAIN:]), a8a("testing")


def temperatures(m: int) -> np.ndarray:
    """Uniform on (1, 11)."""
    return np.random.default_rng(0).uniform(1, 11, m) if m > 1 else np.ones(1)


def weighting(m: int = BLOCKS) -> HyperWeighting:
    """The paper's problem."""
    (X, y), (X_val, y_val), _ = parts()
    return HyperWeighting(X, y, X_val, y_val, temperatures(m))


def shifted(m: int, flips: float = 0.2, seed: int = 0) -> HyperWeighting:
    """A training part that lost 70 % of its positive rows, with a share of its labels flipped."""
    (X, y), (X_val, y_val), _ = parts()
    rng = np.random.default_rng(seed)
    keep = (y < 0) | (rng.random(len(y)) < 0.3)
    X, y = X[keep], y[keep]
    y = np.where(rng.random(len(y)) < flips, -y, y)
    return HyperWeighting(X, y, X_val, y_val, temperatures(m))


def train(
    problem: HyperWeighting,
    method: str,
    setting: dict[str, Any],
    steps: int,
    *,
    every: int = 0,
    seed: int = 0,
) -> BilevelResult:
    """One run; evaluations are not part of ``step_seconds``."""
    # the curvature of a block falls with the square of its temperature
    rates = setting["lr_lower"] * problem.sigmas**2
    options = {
        **FIXED,
        **setting,
        "lr_lower": rates,
        "blocks_per_step": min(FIXED["blocks_per_step"], problem.m),
    }
    return multi_block_bilevel(
        problem, np.zeros(problem.dim_x), method=method, maxiter=steps, eval_every=every or steps, random_state=seed,
        schedule="stage", **options,
    )  # fmt: skip


def tuned(
    problem: HyperWeighting, method: str, steps: int, grid: list[dict[str, float]] | None = None
) -> tuple[dict[str, Any], list[float]]:
    """The best of twelve settings by validation loss after ``steps``, and all twelve losses."""
    ranked, losses = ranking(problem, method, steps, grid)
    return ranked[0], losses


def ranking(
    problem: HyperWeighting, method: str, steps: int, grid: list[dict[str, float]] | None = None
) -> tuple[list[dict[str, Any]], list[float]]:
    """Twelve settings from the best one on by validation loss after ``steps``, and their losses as they are listed."""
    grid = GRID if grid is None else grid
    losses = []
    for setting in grid:
        result = train(problem, method, setting, steps)
        losses.append(result.fun_history[-1] if result.success else float("inf"))
    return [grid[k] for k in np.argsort(losses, kind="stable")], losses


RATES = (0.003, 0.01, 0.02, 0.03, 0.05, 0.1)


def fewest_steps(
    problem: QuadraticBilevel, target: float, most: int = 4000, **options: Any
) -> tuple[int, float]:
    """The fewest steps over the grid of six outer rates, and the rate."""
    best, rate = most, RATES[0]
    for lr in RATES:
        steps = steps_until(problem, target, best, lr=lr, **options)
        if steps < best:
            best, rate = steps, lr
    return best, rate


def steps_until(problem: QuadraticBilevel, target: float, most: int, **options: Any) -> int:
    """First iteration from which the mean of the exact gradient's norm over 50 steps is below ``target``."""
    norms: list[float] = []
    options = {"lr_lower": 0.2, **options}

    def watch(it: Any) -> bool:
        norms.append(float(np.linalg.norm(problem.full_hypergradient(it.x))))
        return len(norms) > 50 and float(np.mean(norms[-50:])) < target

    start = np.full(problem.dim_x, 2.0)
    result = multi_block_bilevel(
        problem, start, maxiter=most + 50, callback=watch, eval_every=0, random_state=0, **options
    )
    return result.nit - 50 if result.status == 2 else most
