"""The two experiments of Learning to Relax: independent shifted systems, and a heat equation with SSOR-PCG."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

import numpy as np

SHIFTS, DIFFUSION = (-0.15, 0.65), (0.0, 10.0)
STEP = 1e-3


def diffusion(t: float) -> float:
    """Diffusion that swings between rest and 10."""
    return max(0.1 * np.sin(2 * np.pi * t), -10 * np.sin(2 * np.pi * t))


def heat(nx: int) -> Any:
    """The heat equation of the paper: a warm spot in the middle and a heater that goes round."""
    from gossamer.science import Heat2D, bump

    def heater(t: float, x: np.ndarray) -> np.ndarray:
        return 32 * bump(x, (0.5 + np.cos(16 * np.pi * t) / 4, 0.5 + np.sin(16 * np.pi * t) / 4), 0.125)

    return Heat2D(nx, STEP, diffusion, heater, lambda x: bump(x, (0.5, 0.5), 0.25))


def shifted(variance: str, count: int, seed: int) -> dict[str, np.ndarray]:
    """Counts of SOR on a sequence: learners on every system, what they are compared with on every fourth."""
    from gossamer.science import shifted_laplacians
    from gossamer.solve import (
        ChebCB,
        EpsilonGreedy,
        OmegaGrid,
        TsallisINF,
        golden_section,
        sor,
        young_omega,
    )

    learners = {
        "tsallis": TsallisINF(random_state=seed),
        "chebcb": ChebCB(bounds=SHIFTS, random_state=seed),
        "greedy": EpsilonGreedy(random_state=seed),
    }
    counts: dict[str, list[Any]] = {name: [] for name in (*learners, "grid", "optimal", "young")}
    stream = shifted_laplacians(count, variance=variance, sparse=False, random_state=1000 + seed)
    for t, (A, b, c) in enumerate(stream):

        def cost(omega: float, A: Any = A, b: np.ndarray = b) -> int:
            return sor(A, b, omega=omega, threads=1).nit

        for name, learner in learners.items():
            index, omega = learner.ask(c)
            counts[name].append(cost(omega))
            learner.tell(index, counts[name][-1], c)
        if t % 4 == 0:
            counts["grid"].append([cost(omega) for omega in OmegaGrid().values.tolist()])
            counts["optimal"].append(golden_section(cost, 1, 1.95)[1])
            counts["young"].append(cost(young_omega(4 * np.cos(np.pi / 11) / (4 + c))))
    return {name: np.array(values) for name, values in counts.items()}


def shifted_seeds(variance: str, count: int, seeds: int) -> dict[str, np.ndarray]:
    """:func:`shifted` for several seeds, stacked."""
    with ProcessPoolExecutor(2) as pool:
        runs = list(pool.map(partial(shifted, variance, count), range(seeds)))
    return {name: np.stack([run[name] for run in runs]) for name in runs[0]}


def heat_grid(
    nx: int, steps: int, omegas: list[float | None], every: int = 1, golden: bool = False
) -> np.ndarray:
    """Counts of SSOR-PCG for omegas (None: plain CG) every so-many steps; with ``golden``, golden section too."""
    from gossamer.solve import golden_section, ssor_pcg

    pde, counts = heat(nx), []
    for step in range(steps):
        A, b = pde.system(matrix_free=True)

        def run(omega: float | None, A: Any = A, b: np.ndarray = b, x0: np.ndarray = pde.u) -> Any:
            return ssor_pcg(A, b, omega=omega, x0=x0, threads=1)

        results = [run(omega) for omega in (omegas if step % every == 0 else omegas[:1])]
        row = [result.nit for result in results]
        pde.advance(results[0].x)
        if step % every:
            continue
        if golden:
            row.append(golden_section(lambda omega: run(omega).nit, 1, 1.95)[1])
        counts.append(row)
    return np.array(counts)


def heat_learner(nx: int, steps: int, learner: str, seed: int) -> np.ndarray:
    """Counts of SSOR-PCG with a learner's choices."""
    from gossamer.solve import RelaxationTuner

    pde, counts = heat(nx), []
    tuner = RelaxationTuner("ssor_pcg", learner, bounds=DIFFUSION, random_state=seed, threads=1)
    for _ in range(steps):
        A, b = pde.system(matrix_free=True)
        result = tuner.solve(A, b, x0=pde.u, context=diffusion(pde.t))
        counts.append(result.nit)
        pde.advance(result.x)
    return np.array(counts)


class Timed:
    """A learner whose time is taken, question by question."""

    def __init__(self, learner: Any) -> None:
        self.learner, self.seconds = learner, []
        self.withdraw, self.best = learner.withdraw, learner.best

    def ask(self, context: float | None = None) -> Any:
        start = time.perf_counter()
        chosen = self.learner.ask(context)
        self.seconds.append(time.perf_counter() - start)
        return chosen

    def tell(self, index: int, cost: float, context: float | None = None) -> None:
        start = time.perf_counter()
        self.learner.tell(index, cost, context)
        self.seconds[-1] += time.perf_counter() - start


def learner_times(nx: int, steps: int) -> tuple[float, float]:
    """Median seconds of ChebCB a step, and of its steps in all, with no other solver between."""
    from gossamer.solve import ChebCB, RelaxationTuner

    timed, pde, whole = Timed(ChebCB(bounds=DIFFUSION, random_state=0)), heat(nx), []
    tuner = RelaxationTuner("ssor_pcg", timed, threads=1)
    for _ in range(steps):
        A, b = pde.system()
        start = time.perf_counter()
        result = tuner.solve(A, b, x0=pde.u, context=diffusion(pde.t))
        whole.append(time.perf_counter() - start)
        pde.advance(result.x)
    return float(np.median(timed.seconds)), float(np.median(whole))


def heat_times(
    nx: int, steps: int, solvers: dict[str, tuple[int, Callable[..., Any]]]
) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds and counts a step of every solver on the same systems, in turn, each on every so-many-th step."""
    pde = heat(nx)
    seconds, counts, runs = (dict.fromkeys(solvers, 0.0) for _ in range(3))
    for step in range(steps):
        A, b = pde.system()
        c, u = diffusion(pde.t), pde.u
        names = list(solvers)
        for name in names[step % len(names) :] + names[: step % len(names)]:  # nobody always goes first
            every, solver = solvers[name]
            if step % every:
                continue
            start = time.perf_counter()
            x, count = solver(A, b, u, c)
            seconds[name] += time.perf_counter() - start
            counts[name] += count
            runs[name] += 1
            if name == names[0]:
                following = x
        pde.advance(following)
    mean = {name: seconds[name] / runs[name] for name in solvers}
    return mean, {name: counts[name] / runs[name] for name in solvers}
