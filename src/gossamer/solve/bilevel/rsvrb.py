"""RSVRB, the predecessor: estimates of every block that decay where they are not sampled."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gossamer._core.checks import check_float
from gossamer._core.errors import bad_argument
from gossamer._core.random import RandomState
from gossamer.solve.bilevel.loop import BlockMethod, need, plain
from gossamer.solve.bilevel.outer import DenseDescent
from gossamer.solve.bilevel.problem import Direction, MultiBlockProblem, SparseVector, subtract


class RSVRB(BlockMethod):
    r"""Randomised variance reduction for multi-block bilevel problems: the baseline of BSVRB.

    A quantity h is tracked for all blocks as one long STORM estimate of unbiased samples:
    :math:`s_i \leftarrow (1-\beta)(s_i - \frac mI h_i(z_{t-1})) + \frac mI h_i(z_t)` where i is sampled,
    :math:`(1-\beta) s_i` elsewhere. Tracked are :math:`\nabla_y g`, :math:`\nabla_y f`, :math:`\nabla^2_{yy} g`
    (projected) and, where the problem has the oracle ``jac_xy_g``, :math:`\nabla^2_{xy} g`; otherwise its products are
    sampled. The outer gradient is sampled on a second, independent draw of blocks.

    Parameters
    ----------
    problem : MultiBlockProblem
        With ``hess_yy_g``.
    x0 : array, shape (dim_x,)
        Start.
    y0 : array, shape (m, dim_y), optional
        Zeros by default.
    blocks_per_step, batch_size : int
        I and B, for each of the two draws.
    lr : float
        Outer step length.
    lr_lower : float or array, shape (m,)
        Inner step length, of each block.
    beta : float
        In (0, 1], of all estimates.
    mu, smooth : float, optional
        Interval of the eigenvalues of tracked Hessians; the problem's own by default.
    random_state : int or Generator
        Source of blocks and samples.

    Raises
    ------
    ArgumentError, ShapeError
        An argument is out of range, or an oracle returns another shape than it should.

    Notes
    -----
    O(I d^3 + m d) a step: Hessians are held by eigenvectors, so that decay is a scaling and a clip.

    References
    ----------
    Guo, Hu, Zhang, Yang. Randomized stochastic variance-reduced methods for multi-task stochastic bilevel optimization.
    arXiv 2105.02266.
    """

    name = "rsvrb"

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
        beta: float = 0.1,
        mu: float | None = None,
        smooth: float | None = None,
        random_state: RandomState = None,
    ) -> None:
        need(problem, "hess_yy_g", "rsvrb")
        super().__init__(
            problem, x0, y0, blocks_per_step=blocks_per_step, batch_size=batch_size, lr=lr, lr_lower=lr_lower,
            random_state=random_state,
        )  # fmt: skip
        low, high = problem.mu if mu is None else mu, problem.smooth if smooth is None else smooth
        if low is None:
            raise bad_argument("mu", mu, "a lower bound of the Hessians' eigenvalues with rsvrb")
        self.low = check_float("mu", low, low=0, closed="neither")
        self.high = math.inf if high is None else check_float("smooth", high, low=self.low)
        self.beta = check_float("beta", beta, low=0, high=1, closed="right")
        m, d, count = problem.m, problem.dim_y, self.blocks_per_step
        self.inner, self.inner_before = self._y0.copy(), self._y0.copy()
        self.outer = DenseDescent(self._x0, beta)
        self.s, self.f = np.zeros((m, d)), np.zeros((m, d))
        self.f_before = self.f.copy()
        self.Q = np.broadcast_to(np.eye(d), (m, d, d)).copy()
        # a block that was never sampled has no curvature yet: the largest allowed one makes its direction short
        self.w = np.full((m, d), self.high if self.high < math.inf else max(1.0, self.low))
        self.w_before = self.w.copy()
        self.kept, self.kept_blocks = np.zeros((count, d, d)), np.zeros(0, np.int64)
        self.slot = np.full(m, -1, np.int64)
        self.J = self.J_before = None if problem.jac_xy_g is None else np.zeros((m, problem.dim_x, d))
        self._options |= {"lr_lower": plain(lr_lower), "beta": beta, "mu": mu, "smooth": smooth}

    def step(self) -> None:
        """Do one iteration."""
        p = self.problem
        blocks, second = self.draw(), self.draw()
        batch, other = (p.sample(b, self.batch_size, self.rng) for b in (blocks, second))
        x, x_before = self.outer.x, self.outer.before
        new = self._gradient(x, self.inner, second, other, now=True)
        old = self._gradient(x_before, self.inner_before, second, other, now=False)
        now = x, self.inner[blocks], blocks, batch
        before = x_before, self.inner_before[blocks], blocks, batch
        self._follow_hessians(blocks, p.hess_yy_g(*now), p.hess_yy_g(*before))
        self.s = self._follow(self.s, blocks, p.grad_y_g(*now), p.grad_y_g(*before))
        self.f_before, self.f = self.f, self._follow(self.f, blocks, p.grad_y_f(*now), p.grad_y_f(*before))
        if self.J is not None:
            self.J_before, self.J = (
                self.J,
                self._follow(self.J, blocks, p.jac_xy_g(*now), p.jac_xy_g(*before)),
            )
        self.inner_before = self.inner
        self.inner = self.inner - self.factor * np.reshape(self.lr_lower, (-1, 1)) * self.s
        self.outer.push(new, old, self.lr * self.factor)
        self.t += 1
        self.largest = max(float(np.abs(self.inner).max()), float(np.abs(self.s).max()))

    def _follow(self, held: np.ndarray, blocks: np.ndarray, new: np.ndarray, old: np.ndarray) -> np.ndarray:
        out = (1 - self.beta) * held
        scale = self.problem.m / len(blocks)
        out[blocks] += scale * (new if self.t == 0 else new - (1 - self.beta) * old)
        return out

    def _follow_hessians(self, blocks: np.ndarray, new: np.ndarray, old: np.ndarray) -> None:
        self.slot[self.kept_blocks] = -1
        self.kept, self.kept_blocks = self.Q[blocks], blocks
        self.slot[blocks] = np.arange(len(blocks))
        self.w_before = self.w
        scale = self.problem.m / len(blocks)
        H = (1 - self.beta) * ((self.Q[blocks] * self.w[blocks, None, :]) @ self.Q[blocks].swapaxes(1, 2))
        H += scale * (new if self.t == 0 else new - (1 - self.beta) * old)
        w = (1 - self.beta) * self.w
        w[blocks], self.Q[blocks] = np.linalg.eigh(0.5 * (H + H.swapaxes(1, 2)))
        self.n_projected += int(np.any((w < self.low) | (w > self.high), axis=1).sum())
        self.w = np.clip(w, self.low, self.high)

    def _gradient(
        self, x: np.ndarray, inner: np.ndarray, blocks: np.ndarray, batch: Any, *, now: bool
    ) -> Direction:
        p, Q = self.problem, self.Q[blocks]
        f, w, J = (self.f, self.w, self.J) if now else (self.f_before, self.w_before, self.J_before)
        if not now:
            slots = self.slot[blocks]
            Q[slots >= 0] = self.kept[slots[slots >= 0]]
        right = np.einsum("ide,id->ie", Q, f[blocks]) / w[blocks]
        P = np.einsum("ide,ie->id", Q, right)
        Y = inner[blocks]
        implicit: np.ndarray | SparseVector
        if J is not None:
            implicit = np.einsum("ixd,id->x", J[blocks], P)
        else:
            implicit = p.jtvp_xy_g(x, Y, P, blocks, batch)
        return subtract(p.grad_x_f(x, Y, blocks, batch), implicit, 1 / len(blocks))

    _ARRAYS = ("inner", "inner_before", "s", "f", "f_before", "Q", "w", "w_before", "kept", "kept_blocks")

    def state(self) -> dict[str, np.ndarray]:
        """Arrays that a checkpoint holds."""
        held = {name: getattr(self, name) for name in self._ARRAYS}
        if self.J is not None and self.J_before is not None:
            held |= {"J": self.J, "J_before": self.J_before}
        return {**held, **{f"outer_{name}": array for name, array in self.outer.state().items()}}

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Take over what :meth:`state` gave."""
        for name in self._ARRAYS:
            held = getattr(self, name)
            if name != "kept_blocks" and held.shape != state[name].shape:
                raise bad_argument(name, state[name].shape, f"shape {held.shape}")
            setattr(self, name, state[name].copy())
        if self.J is not None:
            self.J, self.J_before = state["J"].copy(), state["J_before"].copy()
        self.slot[self.kept_blocks] = np.arange(len(self.kept_blocks))
        self.outer.set_state({k[6:]: a for k, a in state.items() if k.startswith("outer_")})
