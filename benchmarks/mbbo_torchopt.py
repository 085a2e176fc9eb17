"""A generic bilevel library on the weighted training data of a8a: implicit differentiation by torchopt.

A step draws blocks and samples as BSVRB does, moves their inner problems by one gradient step from where they stood,
and lets torchopt differentiate implicitly on the samples of the step, by ten steps of conjugate gradients.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from benchmarks.mbbo_problems import FIXED
from gossamer.solve import HyperWeighting

CG_STEPS = 10


def implicit(
    problem: HyperWeighting, setting: dict[str, Any], steps: int, *, seed: int = 0
) -> tuple[float, float]:
    """Mean validation loss after ``steps``, and seconds."""
    import torch
    import torchopt

    rng = np.random.default_rng(seed)
    count, size = FIXED["blocks_per_step"], FIXED["batch_size"]
    p = torch.zeros(problem.dim_x, dtype=torch.float64, requires_grad=True)
    Y = torch.zeros(problem.m, problem.dim_y, dtype=torch.float64)
    outer = torch.optim.SGD([p], lr=setting["lr"])
    sigmas = torch.tensor(problem.sigmas)
    now: dict[str, torch.Tensor] = {}  # the samples of the step

    def residual(y: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
        margin = now["labels"] * torch.einsum("ibd,id->ib", now["rows"], y) / now["sigma"]
        slope = -now["labels"] * torch.sigmoid(-margin) * torch.sigmoid(p[now["index"]]) / now["sigma"]
        return torch.einsum("ibd,ib->id", now["rows"], slope) / size + problem.lam * y

    solve = torchopt.linear_solve.solve_cg(maxiter=CG_STEPS, ridge=FIXED["mu"])

    @torchopt.diff.implicit.custom_root(residual, argnums=1, solve=solve)
    def inner(y: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
        return y - now["rate"] * residual(y, p)

    began = time.perf_counter()
    for t in range(steps):
        factor = 0.1 if t >= steps // 2 else 1.0
        blocks = rng.choice(problem.m, count, replace=False)
        batch = problem.sample(blocks, int(size), rng)
        sigma = sigmas[blocks, None]
        now.update(
            index=torch.tensor(batch.index), labels=torch.tensor(batch.labels), sigma=sigma,
            rows=torch.tensor(batch.train.A), rate=factor * setting["lr_lower"] * sigma**2,
        )  # fmt: skip
        y = inner(Y[blocks], p)
        seen = torch.einsum("ibd,id->ib", torch.tensor(batch.validation.A), y)
        margin = torch.tensor(batch.validation_labels) * seen / sigma
        outer.zero_grad()
        torch.nn.functional.softplus(-margin).mean().backward()
        outer.param_groups[0]["lr"] = factor * setting["lr"]
        outer.step()
        Y[blocks] = y.detach()
    seconds = time.perf_counter() - began
    blocks = np.arange(problem.m)
    value = problem.value_f(p.detach().numpy(), Y.numpy(), blocks, problem.full(blocks))
    return float(value.mean()), seconds
