"""A stage by accelerated proximal gradients on the score with its scale minimised out: weights become exactly zero."""

from __future__ import annotations

import numpy as np

from gossamer.solve.causal.objective import Objective
from gossamer.solve.causal.stages import DOMAIN, MOST, STOPPED, TOLERANCE, End, Record, Stage

GROW, SHRINK, LEAST_STEP = 1.1, 0.5, 1e-16
CHECKS = 20
"""Checkpoints are this many times more frequent than those of Adam, whose iterations do less."""


def fista_stage(objective: Objective, V: np.ndarray, stage: Stage, record: Record) -> End:
    """Descend from V, in place; R and scale of the objective belong to V before and after.

    The scale at its minimum makes the score a function of the graph alone, whose gradient is the partial one. A step
    is accepted when it is inside the domain and below the quadratic model; when the objective rises, momentum starts
    over from the last graph, so that accepted values never rise.
    """
    mu, s, d = stage.mu, stage.s, objective.d
    every = max(stage.checkpoint // CHECKS, 1)
    smooth = _smooth(objective, V, mu, s)
    if not np.isfinite(smooth):
        return End(DOMAIN, 1)
    value = smooth + mu * objective.penalty(V)
    point, trial, change, g = V.copy(), V.copy(), np.empty_like(V), np.empty_like(V)
    at_point, length, momentum, checked = smooth, stage.lr, 1.0, value
    for nit in range(1, stage.max_iter + 1):
        objective.half_gradient(point, mu, g, l1=False)
        g *= 2
        while True:
            _shrink(np.subtract(point, length * g, out=trial), length * mu * objective.lam, d)
            smooth = _smooth(objective, trial, mu, s)
            np.subtract(trial, point, out=change)
            model = at_point + np.vdot(g, change) + np.vdot(change, change) / (2 * length)
            if smooth <= model + 1e-12 * abs(model) or length <= LEAST_STEP:
                break
            length *= SHRINK
        reached = smooth + mu * objective.penalty(trial)
        plain = momentum == 1.0
        rises = reached > value or not np.isfinite(reached)
        if not rises:
            following = 0.5 * (1 + (1 + 4 * momentum**2) ** 0.5)
            np.subtract(trial, V, out=change)
            V[:] = trial
            np.add(V, change * ((momentum - 1) / following), out=point)
            momentum, value = following, reached
            length *= GROW
            at_point = _smooth(objective, point, mu, s)
        if rises or not np.isfinite(at_point):
            momentum, point[:] = 1.0, V
            at_point = _smooth(objective, V, mu, s)
        if nit % every == 0 or nit == stage.max_iter or (rises and plain):
            objective.settle(V)
            stop = record(nit, value)
            if stop:
                return End(STOPPED, nit)
            if abs(checked - value) <= stage.tol * abs(checked) or (rises and plain):
                return End(TOLERANCE, nit)
            checked = value
            at_point = _smooth(objective, point, mu, s)
    objective.settle(V)
    return End(MOST, stage.max_iter)


def _smooth(objective: Objective, V: np.ndarray, mu: float, s: float) -> float:
    """Move the objective to V and return its smooth part there; infinite outside the domain."""
    objective.settle(V)
    return mu * objective.scale.smooth(V, objective.R) + objective.measure(V, s)


def _shrink(V: np.ndarray, by: float, d: int) -> None:
    """Soft-threshold off the diagonal, which is minus one."""
    V -= np.clip(V, -by, by)
    V.reshape(-1)[:: d + 1] = -1
