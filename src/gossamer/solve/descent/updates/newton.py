"""Newton's direction on a block, with a line search."""

from __future__ import annotations

from gossamer.solve.descent.blocks import Block
from gossamer.solve.descent.problems.problem import State, solve_positive
from gossamer.solve.descent.updates.line_search import armijo


def newton_step(state: State, block: Block) -> None:
    """``-(hess_bb f(x))^{-1} g_b``, then Armijo's condition with interpolated steps."""
    b = block.ids
    g = state.block_gradient(b)
    d = -solve_positive(state.hessian(b), g)
    slope = float(g @ d)
    if slope < 0:
        path = state.along(b, d)
        step = armijo(path, state.value(), slope)
        if step:
            state.move(path, step)
