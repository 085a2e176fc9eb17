"""Proximal updates: of the gradient, and of the quadratic model of a block."""

from __future__ import annotations

from gossamer.solve.descent.blocks import Block
from gossamer.solve.descent.problems.problem import State
from gossamer.solve.descent.updates.line_search import backtrack
from gossamer.solve.descent.updates.subproblem import minimise_block


def prox_gradient_step(state: State, block: Block) -> None:
    """``x_b <- prox_{h / L_b}(x_b - g_b / L_b)``."""
    b = block.ids
    here, L = state.x[b], block.lipschitz
    target = state.problem.penalty.prox(here - state.block_gradient(b) / L, 1 / L, b)
    state.move(state.along(b, target - here), target=target)


def prox_newton_step(state: State, block: Block) -> None:
    """``x_b`` where ``g^T d + 1/2 d^T H d + h(x_b + d)`` is least, with H the block's Hessian at x.

    For a quadratic that is the exact minimum; elsewhere steps are halved until F falls as it should.
    """
    b, problem = block.ids, state.problem
    penalty = problem.penalty
    here, g = state.x[b], state.block_gradient(b)
    H = block.bound if problem.quadratic else state.hessian(b)
    target = minimise_block(H, g, here, penalty.lam[b], penalty.low[b], penalty.high[b])
    d = target - here
    if not d.any():
        return
    path = state.along(b, d)
    if problem.quadratic:
        state.move(path, target=target)
        return
    promised = float(g @ d) + penalty.value(target, b) - penalty.value(here, b)
    step = backtrack(path, state.value(), promised)
    if step:
        state.move(path, step, target=target if step == 1 else None)
