"""The path: stages of decreasing weight on the score, each from where the last one ended."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gossamer._core.checks import check_choice, check_float, check_int
from gossamer._core.errors import ArgumentError, bad_argument
from gossamer._core.results import Result
from gossamer.solve.causal.acyclicity import KINDS, check_weights
from gossamer.solve.causal.adam import adam_stage
from gossamer.solve.causal.fista import fista_stage
from gossamer.solve.causal.graphs import to_dag
from gossamer.solve.causal.moments import check_covariance
from gossamer.solve.causal.objective import Objective
from gossamer.solve.causal.scales import SCALES
from gossamer.solve.causal.stages import DOMAIN, MOST, STOPPED, TOLERANCE, End, Record, Stage
from gossamer.solve.iteration import Callback, Iteration

SOLVERS: dict[str, Callable[[Objective, np.ndarray, Stage, Record], End]] = {
    "adam": adam_stage,
    "fista": fista_stage,
}
RETRY_S, RETRY_LR = 0.1, 0.5
HISTORY = ("stage", "iteration", "mu", "s", "lr", "objective", "score", "h", "sigma")


@dataclass(frozen=True, kw_only=True)
class LinearDAGResult(Result):
    """A weighted graph of linear effects, and the noise that they leave.

    Attributes
    ----------
    W : ndarray, shape (d, d), float64
        Weights before any threshold; ``W[i, j]`` is the effect of i on j.
    sigma : float or ndarray of shape (d,)
        Standard deviation of the noise, common or by variable; 1 for least squares.
    score : float
        The score at the end, l1 included.
    h : float
        How far W is from acyclic, by the measure and s of the last stage.
    objective : float
        ``mu * score + h`` of the last stage.
    nit : int
        Iterations, those of abandoned attempts included.
    nit_stages : list of int
        Iterations of each stage that counted.
    restarts : int
        Attempts that left the domain and were repeated with half the rate and a wider domain.
    """

    W: np.ndarray = field(default_factory=lambda: np.empty((0, 0)), repr=False)
    sigma: Any = math.nan
    score: float = math.nan
    h: float = math.nan
    objective: float = math.nan
    nit: int = 0
    nit_stages: list[int] = field(default_factory=list, repr=False)
    restarts: int = 0

    def to_dag(self, threshold: float = 0.3) -> np.ndarray:
        """Weights of the graph without what :func:`gossamer.solve.to_dag` removes: (d, d)."""
        return to_dag(self.W, threshold)


@dataclass(frozen=True)
class Schedule:
    """Stages, their budgets, and the solver; values are checked by :func:`follow`."""

    T: int
    mu: float
    mu_factor: float
    s: Sequence[float] | float
    warm_iter: int
    max_iter: int
    lr: float
    tol: float
    checkpoint: int
    acyclicity: str
    solver: str
    callback: Callback | None


def follow(
    X: Any, noise: str, lam: float, schedule: Schedule, *, floor: float, w_init: Any, is_cov: bool
) -> LinearDAGResult:
    """Check everything and go down the path."""
    lam = check_float("lam", lam, low=0)
    floor = check_float("sigma_floor", floor, low=0, closed="neither")
    solver = SOLVERS[check_choice("solver", schedule.solver, SOLVERS)]
    stages = _stages(schedule)
    measure = KINDS[check_choice("acyclicity", schedule.acyclicity, KINDS)]
    S = check_covariance(X, is_cov)
    objective = Objective(S, SCALES[noise](S, floor), measure(len(S)), lam)
    V = _start(objective, w_init, stages[0].s)

    history: dict[str, list[Any]] = {name: [] for name in HISTORY}
    counts: list[int] = []
    total = restarts = 0
    for number, planned in enumerate(stages):
        stage, from_here, scale = planned, V.copy(), np.copy(objective.scale.sigma)
        while True:
            record = _recorder(objective, V, stage, number, total, history, schedule.callback)
            end = solver(objective, V, stage, record)
            total += end.nit
            if end.reason != DOMAIN:
                break
            restarts += 1
            V[:] = from_here
            objective.settle(V)
            objective.scale.sigma = scale.copy() if scale.ndim else float(scale)
            stage = Stage(
                stage.mu, stage.s + RETRY_S, stage.lr * RETRY_LR, stage.max_iter, stage.tol, stage.checkpoint
            )
        counts.append(end.nit)
        if end.reason == STOPPED:
            break
    h, score = objective.measure(V, stage.s), objective.score(V)
    V.reshape(-1)[:: len(V) + 1] = 0
    sigma = objective.scale.sigma
    said = {
        TOLERANCE: f"the objective settled to {stage.tol:g} in the last of {len(stages)} stages",
        MOST: f"max_iter={stage.max_iter} reached in the last of {len(stages)} stages",
        STOPPED: f"stopped by the callback in stage {len(counts)}",
    }
    return LinearDAGResult(
        W=V,
        sigma=sigma.copy() if isinstance(sigma, np.ndarray) else sigma,
        score=score,
        h=h,
        objective=stage.mu * score + h,
        nit=total,
        nit_stages=counts,
        restarts=restarts,
        success=end.reason == TOLERANCE,
        message=said[end.reason],
        history=history,
    )


def _stages(plan: Schedule) -> list[Stage]:
    count = check_int("T", plan.T, low=1)
    mu = check_float("mu", plan.mu, low=0, closed="neither")
    factor = check_float("mu_factor", plan.mu_factor, low=0, high=1, closed="right")
    lr, tol = check_float("lr", plan.lr, low=0, closed="neither"), check_float("tol", plan.tol, low=0)
    warm, most = check_int("warm_iter", plan.warm_iter, low=1), check_int("max_iter", plan.max_iter, low=1)
    every = check_int("checkpoint", plan.checkpoint, low=1)
    bounds = [float(value) for value in (plan.s if np.iterable(plan.s) else [plan.s])]
    falls = all(b < a for a, b in itertools.pairwise(bounds))
    if not bounds or not falls or not all(0 < value < math.inf for value in bounds):
        raise bad_argument("s", plan.s, "positive numbers, each smaller than the one before")
    bounds += bounds[-1:] * (count - len(bounds))
    return [
        Stage(mu * factor**k, bounds[k], lr, most if k == count - 1 else warm, tol, every)
        for k in range(count)
    ]


def _start(objective: Objective, w_init: Any, s: float) -> np.ndarray:
    """V of the first graph, with R and scale of the objective at it."""
    V = -np.eye(objective.d)
    if w_init is None:
        # the scale stays the one that the score chose for a start from nothing
        np.matmul(objective.S, V, out=objective.R)
        return V
    V += check_weights("w_init", w_init, objective.d)
    if not np.isfinite(objective.measure(V, s)):
        raise ArgumentError(f"w_init lies outside the domain: the spectral radius of W*W is not below s={s}")
    objective.settle(V)
    return V


def _recorder(
    objective: Objective,
    V: np.ndarray,
    stage: Stage,
    number: int,
    before: int,
    history: dict[str, list[Any]],
    callback: Callback | None,
) -> Record:
    def record(nit: int, value: float) -> bool:
        score = objective.score(V)
        sigma = float(np.mean(objective.scale.sigma))
        values = dict(zip(HISTORY, (number, before + nit, stage.mu, stage.s, stage.lr, value, score,
                                    value - stage.mu * score, sigma), strict=True))  # fmt: skip
        for name, entry in values.items():
            history[name].append(entry)
        if callback is None:
            return False
        W = V.copy()
        np.fill_diagonal(W, 0)
        try:
            return callback(Iteration(before + nit, W, value, values)) is True
        except StopIteration:
            return True

    return record
