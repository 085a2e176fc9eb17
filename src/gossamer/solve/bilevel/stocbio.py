"""A stocBiO-type baseline: a few inner SGD steps, a Neumann series for the inverse, plain outer steps."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer._core.checks import check_int
from gossamer._core.random import RandomState
from gossamer.solve.bilevel.loop import BlockMethod, check_rate, plain
from gossamer.solve.bilevel.outer import DenseDescent
from gossamer.solve.bilevel.problem import MultiBlockProblem, subtract


class StocBiO(BlockMethod):
    r"""Inner SGD and a truncated Neumann series, for the sampled blocks only.

    K steps :math:`y_i \leftarrow y_i - \tau \nabla_y g_i`, each on new samples; then
    :math:`p_i = \tau_v \sum_{k=0}^{K} \prod_{j \le k} (I - \tau_v \nabla^2_{yy} g_i(\zeta_j)) \nabla_y f_i` and
    :math:`x \leftarrow x - \eta \frac1I \sum_i (\nabla_x f_i - \nabla^2_{xy} g_i p_i)`. No estimate is kept.

    Parameters
    ----------
    problem : MultiBlockProblem
        What is minimised.
    x0 : array, shape (dim_x,)
        Start.
    y0 : array, shape (m, dim_y), optional
        Zeros by default.
    blocks_per_step, batch_size : int
        I and B.
    lr : float
        Outer step length.
    lr_lower : float or array, shape (m,)
        Inner step length, of each block.
    lr_v : float or array, shape (m,), optional
        Of the series, below 1 over the largest eigenvalue; ``lr_lower`` by default.
    terms : int
        K.
    random_state : int or Generator
        Source of blocks and samples.

    References
    ----------
    Ji, Yang, Liang. Bilevel optimization: convergence analysis and enhanced design. ICML 2021, arXiv 2010.07962.
    """

    name = "stocbio"

    def __init__(
        self,
        problem: MultiBlockProblem,
        x0: Any,
        y0: Any = None,
        *,
        blocks_per_step: int | None = None,
        batch_size: int = 32,
        lr: float = 1e-2,
        lr_lower: Any = 0.5,
        lr_v: Any = None,
        terms: int = 10,
        random_state: RandomState = None,
    ) -> None:
        super().__init__(
            problem, x0, y0, blocks_per_step=blocks_per_step, batch_size=batch_size, lr=lr, lr_lower=lr_lower,
            random_state=random_state,
        )  # fmt: skip
        self.lr_v = self.lr_lower if lr_v is None else check_rate("lr_v", lr_v, problem.m)
        self.terms = check_int("terms", terms, low=1)
        self.inner, self.outer = self._y0.copy(), DenseDescent(self._x0, 1.0)
        self._options |= {"lr_lower": plain(lr_lower), "lr_v": plain(self.lr_v), "terms": self.terms}

    def step(self) -> None:
        """Do one iteration."""
        p, x, blocks = self.problem, self.outer.x, self.draw()
        Y = self.inner[blocks]
        tau, tau_v = (np.broadcast_to(rate, p.m)[blocks, None] for rate in (self.lr_lower, self.lr_v))
        for _ in range(self.terms):
            batch = p.sample(blocks, self.batch_size, self.rng)
            Y = Y - self.factor * tau * p.grad_y_g(x, Y, blocks, batch)
        self.inner[blocks] = Y
        batch = p.sample(blocks, self.batch_size, self.rng)
        term = p.grad_y_f(x, Y, blocks, batch)
        series = term.copy()
        for _ in range(self.terms):
            drawn = p.sample(blocks, self.batch_size, self.rng)
            term = term - tau_v * p.hvp_yy_g(x, Y, term, blocks, drawn)
            series += term
        implicit = p.jtvp_xy_g(x, Y, tau_v * series, blocks, batch)
        G = subtract(p.grad_x_f(x, Y, blocks, batch), implicit, 1 / len(blocks))
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
