"""How promising a coordinate is: gradients scaled by curvature, and what a proximal step would gain."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer.solve.descent.blocks import FixedBlocks
from gossamer.solve.descent.problems.problem import BCDProblem, State

SAMPLE = 16
"""Coordinates by which the two diagonal bounds are compared where all row sums would cost too much."""


def prox_step(state: State, g: np.ndarray, D: np.ndarray) -> np.ndarray:
    """``argmin_d g_i d + D_i/2 d^2 + h_i(x_i + d)`` of every coordinate."""
    inverse = 1 / D
    return state.problem.penalty.prox(state.x - inverse * g, inverse) - state.x


def optimality(state: State, g: np.ndarray, safe: np.ndarray) -> float:
    """``max_i L_i |d_i|`` over proximal steps d: the largest gradient entry where there is no penalty."""
    problem = state.problem
    step = np.abs(g) if problem.penalty.kind == "none" else safe * np.abs(prox_step(state, g, safe))
    if problem.frozen.any():
        step[problem.frozen] = 0.0
    return float(step.max(initial=0.0))


def decrease(state: State, g: np.ndarray, D: np.ndarray) -> np.ndarray:
    """``-min_d g_i d + D_i/2 d^2 + h_i(x_i + d) - h_i(x_i)`` of every coordinate: at least 0."""
    d = prox_step(state, g, D)
    lam = state.problem.penalty.lam
    return np.maximum(-(d * (g + 0.5 * D * d)) - lam * (np.abs(state.x + d) - np.abs(state.x)), 0.0)


def coordinate_scores(rule: str, state: State, D: np.ndarray, safe: np.ndarray) -> np.ndarray:
    """Scores whose sum over a block is the rule's measure of it; larger is better.

    ``gs``: ``g_i^2``. ``gsl`` and ``gsd``: ``g_i^2 / D_i`` with L_i and with D. Where there is a penalty: the square of
    the subgradient of least norm (``gs``, ``gss``), of the proximal step (``gsr``), or twice the decrease that a
    proximal step with D_i (``gsd``) or L_i (``gsq``, ``gsl``) makes.
    """
    g = state.gradient()
    penalty = state.problem.penalty
    if penalty.kind == "none":
        return g * g if rule == "gs" else g * g / (safe if rule == "gsl" else D)
    if rule in ("gs", "gss"):
        return penalty.subgradient(state.x, g) ** 2
    if rule == "gsr":
        return prox_step(state, g, safe) ** 2
    return 2 * decrease(state, g, D if rule == "gsd" else safe)


def diagonal_bound(problem: BCDProblem, diag: str, blocks: FixedBlocks | None, size: int) -> np.ndarray:
    """``D`` (n,) with ``H_b <= diag(D_b)`` for every block that may be chosen.

    ``"lipschitz"``: ``|b| L_i``. ``"rowsum"``: ``sum_j |H_ij|`` over the block, over all j where blocks vary.
    ``"auto"``: whichever has the smaller sum, block by block; where blocks vary it is decided by 16 coordinates spread
    evenly, for row sums over all columns are dear.
    """
    if blocks is None:
        scaled = np.maximum(size * problem.lipschitz, np.finfo(np.float64).tiny)
        every = np.arange(problem.n)
        if diag == "auto":
            some = every[:: max(problem.n // SAMPLE, 1)]
            diag = "rowsum" if problem.row_sums(some).sum() < scaled[some].sum() else "lipschitz"
        return (
            scaled if diag == "lipschitz" else np.maximum(problem.row_sums(every), np.finfo(np.float64).tiny)
        )
    D = np.ones(problem.n)
    for block in blocks.blocks:
        scaled = len(block) * problem.lipschitz[block.ids]
        if diag == "lipschitz" or len(block) == 1:
            D[block.ids] = scaled
            continue
        sums = block_row_sums(problem, block)
        D[block.ids] = sums if diag == "rowsum" or sums.sum() < scaled.sum() else scaled
    return D


def block_row_sums(problem: BCDProblem, block: Any) -> np.ndarray:
    """``sum_j |H_ij|`` over the block's own columns."""
    if hasattr(problem, "sparse_bound"):
        return np.asarray(abs(problem.sparse_bound(block.ids)).sum(axis=1)).ravel()
    return np.abs(block.bound).sum(axis=1)
