"""What the solvers of entropic transport share: from a problem and its stages to a result."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np

from gossamer._core.checks import check_float, check_int
from gossamer._core.errors import ShapeError
from gossamer._core.threads import get_threads
from gossamer.linalg.transport.costs import PointCost
from gossamer.linalg.transport.newton import Outcome, Stages, solve_stages
from gossamer.linalg.transport.problem import Problem
from gossamer.linalg.transport.sparse_hessian import SparseHessian, sparsify_hessian
from gossamer.solve.iteration import Callback, Watch
from gossamer.solve.transport.result import EntropicOTResult, Solution

__all__ = ["PointCost", "SparseHessian", "solve_entropic", "solve_many", "sparsify_hessian"]

Run = Callable[[Problem, np.ndarray, np.ndarray, Callable[..., bool], float], Outcome]
R = TypeVar("R", bound=EntropicOTResult)


def solve_entropic(
    problem: Problem,
    run: Run,
    *,
    kind: type[R],
    method: str,
    tol: float,
    limit: str,
    x0: Any = None,
    y0: Any = None,
    annealing: bool = False,
    rounding: bool = False,
    callback: Callback | None = None,
    **fields: Any,
) -> R:
    """Run the stages from the start to a result; ``limit`` names what ended them if nothing else did."""
    eta, mass = problem.eta, problem.mass
    watch = Watch(
        "marginal_error",
        tol=check_float("tol", tol, low=0) * mass,
        maxiter=2**31,
        callback=callback,
    )

    def record(state: Any, error: float, **facts: Any) -> bool:
        x = np.empty(0) if callback is None else (state.potentials()[0] + 1) / eta
        return watch(x, error, **facts)

    u, v = problem.start(x0, y0)
    sinkhorn = newton = 0
    if annealing:
        u, v, sinkhorn, newton = _anneal(problem, u, v)
    first = problem.at(u, v)
    error = first.error if np.isfinite(first.error) else 2 * mass
    over = record(first, error, stage="start", step=0.0, kept=0, linear_iterations=0)
    outcome = Outcome(first, 0, 0) if over else run(problem, u, v, record, watch.tol)
    if outcome.reason:
        watch.give_up(outcome.reason)
    elif not watch.message:
        watch.message = f"{limit} reached with marginal_error {watch.value:.3g} > {watch.tol:.3g}"
    here = outcome.iterate
    x, y = (here.u + 1) / eta, here.v / eta
    shift = x.mean()
    n, m = problem.shape
    dual = (problem.r @ here.u + problem.c @ here.v + mass - here.total) / eta
    objective = (here.rows @ here.u + here.columns @ here.v) / eta
    solution = Solution(problem, here, rounding=rounding)
    return watch.result(
        problem.expand(x - shift, problem.rows, n, -np.inf),
        kind=kind,
        warn=True,
        method=method,
        y=problem.expand(y + shift, problem.columns, m, -np.inf),
        eta=eta,
        cost=solution.cost(),
        objective=float(objective),
        dual=float(dual),
        marginal_error=here.error,
        nit_sinkhorn=sinkhorn + outcome.sinkhorn,
        nit_newton=newton + outcome.newton,
        solution=solution,
        **fields,
    )


def run_stages(stages: Stages) -> Run:
    """Sinkhorn and sparse Newton steps, as ``stages`` divides them."""

    def run(
        problem: Problem, u: np.ndarray, v: np.ndarray, watch: Callable[..., bool], goal: float
    ) -> Outcome:
        return solve_stages(problem, u, v, stages, watch, goal)

    return run


def solve_many(
    solve: Callable[..., EntropicOTResult], C: Any, r: Any, c: Any, n_jobs: int | None, **options: Any
) -> list[EntropicOTResult]:
    """Solve one problem for each matrix of a stack, ``n_jobs`` at a time, each in one thread."""
    jobs = get_threads(None if n_jobs is None else check_int("n_jobs", n_jobs, low=1))
    stacks = []
    for name, marginal in (("r", r), ("c", c)):
        if marginal is None or np.ndim(marginal) == 1:
            stacks.append([marginal] * len(C))
        elif len(marginal) == len(C):
            stacks.append(list(marginal))
        else:
            raise ShapeError(
                f"{name} has {len(marginal)} marginals: expected {len(C)}, one a matrix of C, or one for all"
            )
    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(lambda one: solve(*one, n_jobs=1, **options), zip(C, *stacks)))


def _anneal(problem: Problem, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray, int, int]:
    """Potentials from solutions at eta / 64, eta / 32, ..., eta / 2, each to a hundredth of the mass."""
    target, goal, steps, newton = problem.eta, 1e-2 * problem.mass, 0, 0

    def near(state: Any, error: float, **facts: Any) -> bool:
        return error <= goal

    x, y = (u + 1) / target, v / target
    for level in range(6, 0, -1):
        problem.eta = target / 2**level
        outcome = solve_stages(
            problem, problem.eta * x - 1, problem.eta * y, Stages(max_newton=20), near, goal
        )
        x, y = (outcome.iterate.u + 1) / problem.eta, outcome.iterate.v / problem.eta
        steps, newton = steps + outcome.sinkhorn, newton + outcome.newton
    problem.eta = target
    return target * x - 1, target * y, steps, newton
