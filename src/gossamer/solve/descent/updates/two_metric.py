"""Two-metric projection: gradient steps on coordinates at their border, Newton's on the others."""

from __future__ import annotations

import numpy as np

from gossamer.solve.descent.blocks import Block
from gossamer.solve.descent.problems.problem import State, solve_positive
from gossamer.solve.descent.updates.line_search import MOST_TRIALS, ROUNDING, SUFFICIENT

NEAR = 1e-4


def two_metric_step(state: State, block: Block) -> None:
    """A projected step for bounds, or within an orthant for absolute values.

    ``Act`` holds coordinates within 1e-4 of a bound (or within the last proximal step, if that is shorter) against
    which the gradient pushes: there ``g_i / sum L_Act``, elsewhere Newton's step of the rest, then the projection, with
    steps halved until F falls. With absolute values the orthant is that of x, or of -g at 0.
    """
    b, problem = block.ids, state.problem
    penalty = problem.penalty
    here, g = state.x[b], state.block_gradient(b)
    lam, low, high = penalty.lam[b], penalty.low[b], penalty.high[b]
    if penalty.kind == "l1":  # within the orthant the penalty is linear, and zero is a bound
        side = np.where(here != 0, np.sign(here), -np.sign(g))
        low, high = np.where((lam > 0) & (side >= 0), 0.0, low), np.where((lam > 0) & (side < 0), 0.0, high)
        g = g + lam * side
    else:
        g = g + lam
    L = problem.lipschitz[b]
    near = min(NEAR, float(np.abs(np.clip(here - g / L, low, high) - here).max(initial=0.0)))
    act = ((here <= low + near) & (g > 0)) | ((here >= high - near) & (g < 0))
    step = np.zeros_like(here)
    if act.any():
        step[act] = g[act] / L[act].sum()
    rest = np.flatnonzero(~act)
    if len(rest):
        H = block.bound if problem.quadratic else state.hessian(b)
        step[rest] = solve_positive(H[np.ix_(rest, rest)], g[rest])
    _projected_search(state, b, here, g, step, act, low, high)


def _projected_search(
    state: State,
    b: np.ndarray,
    here: np.ndarray,
    g: np.ndarray,
    step: np.ndarray,
    act: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
) -> None:
    start, length, rest = state.value(), 1.0, ~act
    for _ in range(MOST_TRIALS):
        target = np.clip(here - length * step, low, high)
        d = target - here
        if not d.any():
            return
        path = state.along(b, d)
        fall = length * float(g[rest] @ step[rest]) - float(g[act] @ d[act])
        if path.value(1.0) <= start - SUFFICIENT * fall + ROUNDING * abs(start):
            state.move(path, target=target)
            return
        length *= 0.5
