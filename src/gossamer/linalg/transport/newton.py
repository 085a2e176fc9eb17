"""Newton steps on the entropic dual, whose Hessian is made sparse, and the solution in two stages."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gossamer._core.checks import check_choice, check_int
from gossamer.linalg.transport.problem import Iterate, Problem
from gossamer.linalg.transport.sinkhorn_steps import Watching, sinkhorn_stage
from gossamer.linalg.transport.sparse_hessian import SparseHessian, selection_rule

AUTO_STEPS = 1000  # of the first stage, at most, where it decides itself
ROUNDING = "the marginals are as right as the rounding of eta C allows"
DAMPING = 0.1  # of the diagonal, times the relative error
MORE_STEPS = 640  # between Newton steps, at most
CLOSE = 1e-8  # of the mass: from here the dual is flat to rounding, and the gradient judges a step


@dataclass(frozen=True)
class Stages:
    """How to divide and how to make the steps.

    Attributes
    ----------
    n_sinkhorn : int or None
        Sinkhorn steps of the first stage; None ends it when 90 % of the mass lies in as many entries as
        a Newton step may keep.
    max_newton : int
        Newton steps at most.
    sparsity, density : str, float
        As in :func:`sparsify_hessian`.
    linsolve : str
        "cg" or "direct".
    """

    n_sinkhorn: int | None = 20
    max_newton: int = 100
    sparsity: str = "adaptive"
    density: float | None = None
    linsolve: str = "cg"

    def __post_init__(self) -> None:
        if self.n_sinkhorn is not None:
            check_int("n_sinkhorn", self.n_sinkhorn, low=1)
        check_int("max_newton", self.max_newton, low=0)
        check_choice("linsolve", self.linsolve, ("cg", "direct"))
        selection_rule(self.sparsity, self.density, (1, 1), 1.0, 1.0)


@dataclass(frozen=True)
class Outcome:
    """The last iterate, the steps of both kinds, and why the stages ended if not by the watch."""

    iterate: Iterate
    sinkhorn: int
    newton: int
    reason: str = ""


def solve_stages(
    problem: Problem, u: np.ndarray, v: np.ndarray, stages: Stages, watch: Watching, goal: float
) -> Outcome:
    """Sinkhorn steps, then sparse Newton steps, with more Sinkhorn steps where Newton does not get on.

    ``watch`` is told of each step and ends the solution by returning True; ``goal`` is the error at which it will.
    """
    most = selection_rule(stages.sparsity, stages.density, problem.cost.shape, 1.0, 1.0)[1]

    def concentrated(iterate: Iterate) -> bool:
        if iterate.error >= 0.1 * problem.mass:
            return False
        return problem.largest(iterate, most, most, 0.0).by_row.sum() > 0.9 * problem.mass

    auto = stages.n_sinkhorn is None
    here, sinkhorn, over = sinkhorn_stage(
        problem,
        u,
        v,
        AUTO_STEPS if stages.n_sinkhorn is None else stages.n_sinkhorn,
        watch,
        goal=goal,
        log_domain=False,
        until=concentrated if auto else None,
    )
    newton, rises, stuck, more = 0, 0, 0, 10
    while not over and newton < stages.max_newton:
        before, best = here.error, here
        here, length, kept, iterations = newton_step(problem, here, stages)
        newton += 1
        over = watch(here, here.error, stage="newton", step=length, kept=kept, linear_iterations=iterations)
        rises = rises + 1 if here.error > before else 0
        stuck = stuck + 1 if here.error > 0.5 * before and before < _rounding(problem, here) else 0
        if over:
            break
        if stuck == 3:
            here = min(best, here, key=lambda iterate: iterate.error)
            return Outcome(
                here, sinkhorn, newton, "the marginals are as right as the rounding of eta C allows"
            )
        if length < 1e-3 or rises == 2:
            here, done, over = sinkhorn_stage(
                problem, here.u, here.v, more, watch, goal=goal, log_domain=False
            )
            sinkhorn, more, rises = sinkhorn + done, min(2 * more, MORE_STEPS), 0
    return Outcome(here, sinkhorn, newton)


def newton_step(problem: Problem, here: Iterate, stages: Stages) -> tuple[Iterate, float, int, int]:
    """One step: the new iterate, the length of the step, entries kept and iterations of the linear solver."""
    relative = here.error / problem.mass
    rule = selection_rule(stages.sparsity, stages.density, problem.cost.shape, relative, problem.mass)
    # A component of the entries kept that lost little has a step as long as what its masses lack over what it lost:
    # far beyond where the dual is close to quadratic. More on the diagonal, in proportion to the error, bounds that and
    # lets the convergence be.
    damped = 1 + DAMPING * min(1.0, relative)
    hessian = SparseHessian(problem.largest(here, *rule), damped * here.rows, damped * here.columns)
    du, dv, iterations = hessian.solve(
        here.gx,
        here.gy,
        linsolve=stages.linsolve,
        rtol=max(min(1e-2, relative), 1e-14),
        threads=problem.threads,
    )
    there, length = line_search(problem, here, du, dv)
    return there, length, hessian.kept, iterations


def line_search(problem: Problem, here: Iterate, du: np.ndarray, dv: np.ndarray) -> tuple[Iterate, float]:
    """Halve the step until the dual rises enough; close to the optimum, until the gradient falls, once at most."""
    slope = float(here.gx @ du + here.gy @ dv)
    lift = float(problem.r @ du + problem.c @ dv)
    if not np.isfinite(slope) or not np.isfinite(lift):
        return here, 0.0
    length, halved = 1.0, False
    for _ in range(40):
        there = problem.at(here.u + length * du, here.v + length * dv)
        if np.isfinite(there.error):
            if here.error < CLOSE * problem.mass:
                good = there.error < here.error or halved
            else:  # the difference of duals, from which the large terms have cancelled
                gain = length * lift - (there.total - here.total)
                good = gain >= 1e-4 * length * slope - 1e-14 * problem.mass
            if good:
                return there, length
        length, halved = length / 2, True
    return here, 0.0


def _rounding(problem: Problem, here: Iterate) -> float:
    """What rounding of the exponents may leave of the error."""
    largest = float(np.abs(here.u).max() + np.abs(here.v).max())
    return 4 * np.finfo(float).eps * (1 + largest) * problem.mass
