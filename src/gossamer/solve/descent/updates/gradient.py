"""Updates that scale the gradient: by a constant of the block, by a diagonal, by the bound on its Hessian."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gossamer._core.errors import CostError
from gossamer.solve.descent.blocks import MOST_BYTES, Block
from gossamer.solve.descent.problems.problem import BCDProblem, State, solve_positive
from gossamer.solve.descent.updates.line_search import ROUNDING

DOUBLINGS = 60
SPARSE_FROM = 256
"""Blocks from this size on are factored as sparse matrices where the Hessian is one."""


def gradient_step(state: State, block: Block) -> None:
    """``x_b -= g_b / L_b``."""
    b = block.ids
    state.move(state.along(b, -state.block_gradient(b) / block.lipschitz))


def diagonal_step(D: np.ndarray) -> Callable[[State, Block], None]:
    """``x_b -= g_b / D_b``."""

    def step(state: State, block: Block) -> None:
        b = block.ids
        state.move(state.along(b, -state.block_gradient(b) / D[b]))

    return step


def matrix_step(state: State, block: Block) -> None:
    """``x_b -= H_b^{-1} g_b``."""
    b = block.ids
    state.move(state.along(b, -block.solve(state.block_gradient(b))))


def exact_step(state: State, block: Block) -> None:
    """``x_b`` where a quadratic is least with the others held: ``H_b x_b = H_b x_b - g_b``."""
    b, problem = block.ids, state.problem
    g = state.block_gradient(b)
    if len(b) >= SPARSE_FROM and hasattr(problem, "sparse_bound"):
        d = -_sparse_solver(problem, block)(g)
    elif 8 * len(b) ** 2 > MOST_BYTES:
        raise CostError(
            f"a block of {len(b)} coordinates is too large for a dense solution: take smaller blocks"
        )
    else:
        d = -solve_positive(block.bound, g)
    state.move(state.along(b, d))


def _sparse_solver(problem: BCDProblem, block: Block) -> Callable[[np.ndarray], np.ndarray]:
    if "factor" not in block.notes:
        block.notes["factor"] = sparse_factor(problem.sparse_bound(block.ids))  # type: ignore[attr-defined]
    return block.notes["factor"]


def sparse_factor(H: object) -> Callable[[np.ndarray], np.ndarray]:
    """A solver by SciPy's sparse factors, in their symmetric mode."""
    from scipy.sparse import csc_array
    from scipy.sparse.linalg import splu

    return splu(
        csc_array(H), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
    ).solve


def searching_step(problem: BCDProblem) -> Callable[[State, Block], None]:
    """Gradient steps whose constant is found: doubled until the decrease is what it implies, kept for coordinates."""
    known = np.ones(problem.n)

    def step(state: State, block: Block) -> None:
        b = block.ids
        g = state.block_gradient(b)
        square = float(g @ g)
        L, start = float(known[b].max()), state.value()
        path = state.along(b, -g)
        for _ in range(DOUBLINGS):
            if path.value(1 / L) <= start - square / (2 * L) + ROUNDING * abs(start):
                known[b] = L
                state.move(path, 1 / L)
                return
            L *= 2

    return step
