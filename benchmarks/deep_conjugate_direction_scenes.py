"""Right sides of pressure solves in smoke, and iterations of all solvers on them."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

RTOL = 1e-4
KEPT = 8
"""Directions that ours are made conjugate to; two for the published network, as published."""
OBSTACLES = ("plume", "ball", "blob")
FAST = ("dcdm", "cg", "icpcg", "micpcg", "multigrid")


@functools.cache
def smoke_systems(edge: int, name: str, steps: tuple[int, ...], dim: int = 2, seed: int = 0) -> list[Any]:
    """Systems and right sides of a rising plume at some of its steps; the same flow on every grid."""
    from gossamer.science import Smoke, fluid_scene
    from gossamer.solve import icpcg

    smoke = Smoke(fluid_scene(name, (edge,) * dim, random_state=seed), buoyancy=0.1 * edge / 64)
    found, x = [], None
    for step in range(1, max(steps) + 1):
        system, b = smoke.prepare()
        if step in steps:
            found.append((system, b))
        if step < max(steps):
            x = icpcg(system, b, x0=x, rtol=1e-3, modified=0.97).x
            smoke.project(x)
    return found


def rough(system: Any, seed: int = 0) -> np.ndarray:
    """``A w`` with w normal in the fluid."""
    w = np.random.default_rng(seed).standard_normal(system.shape[0])
    return system @ np.where(system.fluid, w, 0)


@functools.cache
def counts(
    edge: int,
    steps: tuple[int, ...] = (10, 40, 80),
    dim: int = 2,
    solvers: tuple[str, ...] | None = None,
    published: bool = False,
) -> dict[str, dict[str, list[int]]]:
    """Iterations to 1e-4 by solver and scene; negative where a solver stops before."""
    import torch

    from gossamer.nn import load_conjugate_direction_net
    from gossamer.science import compare_solvers

    torch.set_num_threads(1)
    net, table = load_conjugate_direction_net(dim, published=published), {}
    if solvers is None:
        solvers = (*FAST, "deflated-cg") if edge <= 64 else FAST
    for name in OBSTACLES:
        cases = list(smoke_systems(edge, name, steps, dim))
        if name == "plume":
            cases.append((cases[0][0], rough(cases[0][0])))
        for system, b in cases:
            kept = 2 if published else KEPT
            rows = compare_solvers(system, b, net, rtol=RTOL, solvers=solvers, n_orth=kept).rows
            for solver, row in rows.items():
                taken = row["iterations"] if row["converged"] else -row["iterations"]
                table.setdefault(solver, {}).setdefault(name, []).append(taken)
    return table


def smoke_counts(table: dict[str, dict[str, list[int]]], solver: str) -> list[int]:
    """Of one solver, on right sides of smoke only: without the rough one, which comes last without obstacles."""
    return [
        abs(n) for name, values in table[solver].items() for n in (values[:-1] if name == "plume" else values)
    ]


def described(table: dict[str, dict[str, list[int]]]) -> str:
    """All counts in words; those that are negative ended above the tolerance."""
    parts = [
        f"{solver}: " + ", ".join(f"{name} {'/'.join(map(str, values))}" for name, values in rows.items())
        for solver, rows in table.items()
    ]
    return "; ".join(parts) + (
        ". Negative: ended above 1e-4" if any("-" in p.split(": ")[1] for p in parts) else ""
    )
