"""Gains of whole blocks: of the cubic model, and of the exact minimum. For few coordinates; they look at all blocks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gossamer.solve.descent.blocks import Block
from gossamer.solve.descent.problems.problem import State, solve_positive
from gossamer.solve.descent.updates.newton import newton_step
from gossamer.solve.descent.updates.prox_newton import prox_newton_step

MOST_STEPS = 100


def cubic_minimum(g: np.ndarray, H: np.ndarray, M: float) -> tuple[float, np.ndarray]:
    """``min_d g^T d + 1/2 d^T H d + M/6 ||d||^3`` and its minimiser, for positive semi-definite H.

    The norm r of the minimiser solves ``||(H + M r/2 I)^{-1} g|| = r``; bisection on r in the eigenbasis of H.
    """
    if M == 0:
        d = -solve_positive(H, g)
        return float(0.5 * (g @ d)), d
    values, vectors = np.linalg.eigh(H)
    values, c = np.maximum(values, 0.0), vectors.T @ g
    low, high = 0.0, float(np.sqrt(2 * np.linalg.norm(g) / M))  # M r^2 / 2 <= ||g||
    for _ in range(200):
        r = 0.5 * (low + high)
        if r in (low, high):
            break
        if float(np.linalg.norm(c / (values + 0.5 * M * r))) > r:
            low = r
        else:
            high = r
    if high == 0:
        return 0.0, np.zeros_like(g)
    d = -vectors @ (c / (values + 0.5 * M * high))
    return float(g @ d + 0.5 * d @ (H @ d) + M / 6 * np.linalg.norm(d) ** 3), d


def cubic_gains(state: State, blocks: Sequence[Block]) -> np.ndarray:
    """What the cubic model of each block promises."""
    g = state.gradient()
    return np.array([-cubic_minimum(g[b.ids], state.hessian(b.ids), b.third)[0] for b in blocks])


def best_gains(state: State, blocks: Sequence[Block]) -> np.ndarray:
    """``F(x) - min_d F(x + U_b d)`` of each block, which is blind below the rounding of F where f is no quadratic."""
    return np.array([_best_gain(state, block) for block in blocks])


def _best_gain(state: State, block: Block) -> float:
    smooth = state.problem.penalty.kind == "none"
    if state.problem.quadratic and smooth:
        g = state.block_gradient(block.ids)
        return 0.5 * float(g @ block.solve(g))
    twin = state.copy()
    start = last = twin.value()
    for _ in range(MOST_STEPS):
        (newton_step if smooth else prox_newton_step)(twin, block)
        value = twin.value()
        if last - value <= 1e-14 * abs(last):
            break
        last = value
    return start - min(last, value)
