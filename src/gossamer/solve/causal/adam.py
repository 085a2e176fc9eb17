"""A stage by Adam: one step on the graph, then the closed-form scale, inside the domain of M-matrices."""

from __future__ import annotations

import numpy as np

from gossamer.solve.causal.objective import Objective
from gossamer.solve.causal.stages import DOMAIN, MOST, STOPPED, TOLERANCE, End, Record, Stage

BETA1, BETA2, EPSILON = 0.99, 0.999, 1e-8
LEAST_RATE = 1e-16
TIGHT = 0.9
"""At bounds s up to this a stage that leaves the domain starts over; above, its last step is undone and halved."""


def adam_stage(objective: Objective, V: np.ndarray, stage: Stage, record: Record) -> End:
    """Descend from V, in place; R and scale of the objective belong to V before and after.

    Gradients are halved, which Adam does not see once its epsilon is halved too; moments are kept without their
    factors 1 - beta, which the bias correction absorbs. No array is allocated.
    """
    acyclicity, mu, lr = objective.acyclicity, stage.mu, stage.lr
    bounded, scratch = acyclicity.bounded, objective.scratch
    g, first, second, step = (np.zeros_like(V) for _ in range(4))
    b1, b2, previous = 1.0, 1.0, 1e16
    for nit in range(1, stage.max_iter + 1):
        while not acyclicity.enter(V, stage.s):
            if nit == 1 or not bounded or stage.s <= TIGHT:
                return End(DOMAIN, nit)
            V += step
            lr *= 0.5
            step *= 0.5
            V -= step
            objective.settle(V)
            if lr <= LEAST_RATE:
                return End(TOLERANCE, nit)
        objective.half_gradient(V, mu, g, l1=True)
        b1, b2 = b1 * BETA1, b2 * BETA2
        np.multiply(first, BETA1, out=first)
        np.add(first, g, out=first)
        np.multiply(g, g, out=g)
        np.multiply(second, BETA2, out=second)
        np.add(second, g, out=second)
        spread = ((1 - b2) / (1 - BETA2)) ** 0.5
        np.sqrt(second, out=scratch)
        np.add(scratch, 0.5 * EPSILON * spread, out=scratch)
        np.divide(first, scratch, out=step)
        np.multiply(step, lr * spread * (1 - BETA1) / (1 - b1), out=step)
        np.subtract(V, step, out=V)
        objective.settle(V)

        if nit % stage.checkpoint == 0 or nit == stage.max_iter:
            value = mu * objective.score(V) + objective.measure(V, stage.s)
            if record(nit, value):
                return End(STOPPED, nit)
            if np.isfinite(value):  # the last step may have left the domain
                if abs(previous - value) <= stage.tol * abs(previous):
                    return End(TOLERANCE, nit)
                previous = value
    return End(MOST, stage.max_iter)
