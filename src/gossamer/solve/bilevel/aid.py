"""Exact implicit differentiation, a few blocks in turn: the dear way, for comparison."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer._core.checks import check_float
from gossamer._core.random import RandomState
from gossamer.solve.bilevel.exact import solve_blocks
from gossamer.solve.bilevel.loop import BlockMethod, need
from gossamer.solve.bilevel.outer import DenseDescent
from gossamer.solve.bilevel.problem import MultiBlockProblem


class ExactAID(BlockMethod):
    r"""Gradient steps with the inner problems of the sampled blocks solved on all data.

    Newton's method by conjugate gradients for y, conjugate gradients for the inverse, then
    :math:`x \leftarrow x - \eta \frac1I \sum_i \nabla F_i(x)`. With all blocks it is gradient descent on F.

    Parameters
    ----------
    problem : MultiBlockProblem
        With ``full``.
    x0 : array, shape (dim_x,)
        Start.
    y0 : array, shape (m, dim_y), optional
        Zeros by default.
    blocks_per_step : int, optional
        I.
    lr : float
        Step length.
    tol : float
        Of the inner solves, relative.
    random_state : int or Generator
        Source of blocks.

    References
    ----------
    Pedregosa. Hyperparameter optimization with approximate gradient. ICML 2016, arXiv 1602.02355.
    """

    name = "aid"

    def __init__(
        self,
        problem: MultiBlockProblem,
        x0: Any,
        y0: Any = None,
        *,
        blocks_per_step: int | None = None,
        lr: float = 1e-2,
        tol: float = 1e-8,
        random_state: RandomState = None,
    ) -> None:
        need(problem, "full", "aid")
        super().__init__(problem, x0, y0, blocks_per_step=blocks_per_step, batch_size=1, lr=lr,
                         random_state=random_state)  # fmt: skip
        self.tol = check_float("tol", tol, low=0, closed="neither")
        self.inner, self.outer = self._y0.copy(), DenseDescent(self._x0, 1.0)
        self._options = {"blocks_per_step": self.blocks_per_step, "lr": self.lr, "tol": self.tol}

    def step(self) -> None:
        """Do one iteration."""
        blocks = self.draw()
        Y, total = solve_blocks(self.problem, self.outer.x, self.inner[blocks], blocks, self.tol)
        self.inner[blocks] = Y
        G = total / len(blocks)
        self.outer.push(G, G, self.lr * self.factor)
        self.t += 1
        self.largest = float(np.abs(Y).max(initial=0))

    def state(self) -> dict[str, np.ndarray]:
        """Arrays that a checkpoint holds."""
        return {"inner": self.inner, **{f"outer_{k}": array for k, array in self.outer.state().items()}}

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Take over what :meth:`state` gave."""
        self.inner[:] = state["inner"]
        self.outer.set_state({k[6:]: a for k, a in state.items() if k.startswith("outer_")})
