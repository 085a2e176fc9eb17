r"""The two ways of BSVRB to :math:`[\nabla^2_{yy} g_i]^{-1} \nabla_y f_i` from samples: track Hessians, or products."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from gossamer.solve.bilevel.estimators import MSVR
from gossamer.solve.bilevel.inner import EagerDescent, LazyDescent, Pair, Rate
from gossamer.solve.bilevel.spectrum import clip_eigenvalues, solve_positive


class Samples(NamedTuple):
    """One draw, and the two points at which it is evaluated: (x, Y) of iteration t and of t - 1."""

    t: int
    blocks: np.ndarray
    batch: Any
    now: tuple[np.ndarray, np.ndarray]
    before: tuple[np.ndarray, np.ndarray]


class TrackedHessians:
    r"""MSVR estimates of :math:`\nabla^2_{yy} g_i`, symmetric with eigenvalues in [mu, smooth]. m d^2 numbers.

    Parameters
    ----------
    problem : MultiBlockProblem
        With ``hess_yy_g``.
    estimator : callable
        ``estimator(shape, project)`` gives an MSVR.
    blocks_per_step : int
        I.
    mu, smooth : float
        The interval.
    """

    def __init__(
        self,
        problem: Any,
        estimator: Callable[..., MSVR],
        blocks_per_step: int,
        mu: float,
        smooth: float,
    ) -> None:
        d = problem.dim_y
        self.problem, self.mu, self.smooth, self.n_projected = problem, mu, smooth, 0
        self.hessians = estimator((d, d), self._project)
        # H of one step ago differs from H for the blocks of that step only
        self.kept = np.zeros((blocks_per_step, d, d))
        self.kept_blocks = np.zeros(0, np.int64)
        self.slot = np.full(problem.m, -1, np.int64)

    def directions(self, at: Samples, right: Pair) -> Pair:
        """``H^-1 b`` for the two right sides, with H before this step's update and the step before's."""
        self.samples = self.problem.hess_yy_g(*at.now, at.blocks, at.batch)
        self.samples_before = self.problem.hess_yy_g(*at.before, at.blocks, at.batch)
        H = self.hessians.value[at.blocks]
        new = ~self.hessians.seen[at.blocks]
        if new.any():
            H[new] = self._project(self.samples[new])
        before, slots = H.copy(), self.slot[at.blocks]
        before[slots >= 0] = self.kept[slots[slots >= 0]]
        self.used = H
        return solve_positive(H, right[0]), solve_positive(before, right[1])

    def update(self, at: Samples, right: Pair) -> None:
        """Take the samples of the step in."""
        self.slot[self.kept_blocks] = -1
        self.kept, self.kept_blocks = self.used, at.blocks
        self.slot[at.blocks] = np.arange(len(at.blocks))
        self.hessians.update(at.blocks, self.samples, self.samples_before)

    def advance(self, t: int) -> None:
        """Nothing moves between visits."""

    def set_rate(self, t: int, factor: float) -> None:
        """There is no step length here."""

    def state(self) -> dict[str, np.ndarray]:
        """What a checkpoint holds."""
        return {
            "H": self.hessians.value,
            "H_seen": self.hessians.seen,
            "H_kept": self.kept,
            "H_blocks": self.kept_blocks,
            "H_projected": np.array([self.n_projected]),
        }

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Take over what :meth:`state` gave."""
        self.hessians.value[:], self.hessians.seen[:] = state["H"], state["H_seen"]
        self.kept, self.kept_blocks = state["H_kept"].copy(), state["H_blocks"].copy()
        self.slot[self.kept_blocks] = np.arange(len(self.kept_blocks))
        self.n_projected = int(state["H_projected"][0])

    def _project(self, H: np.ndarray) -> np.ndarray:
        H, count = clip_eigenvalues(H, self.mu, self.smooth)
        self.n_projected += count
        return H


class TrackedProducts:
    r"""Rows :math:`v_i` that descend on :math:`\frac12 v^T \nabla^2_{yy} g_i v - v^T \nabla_y f_i` within a ball.

    One Hessian-vector product a sample and iterate; m d numbers each for v and its MSVR gradient u.

    Parameters
    ----------
    problem : MultiBlockProblem
        With ``hvp_yy_g``.
    estimator : callable
        ``estimator(shape, project)`` gives an MSVR.
    tau : float or ndarray, shape (m,)
        Step length.
    radius : float
        Of the ball.
    lazy : bool
        Move rows only when they are looked at.
    """

    n_projected = 0

    def __init__(
        self, problem: Any, estimator: Callable[..., MSVR], tau: Rate, radius: float, lazy: bool
    ) -> None:
        self.problem = problem
        self.gradients = estimator((problem.dim_y,), None)
        descent = LazyDescent if lazy else EagerDescent
        v = np.zeros((problem.m, problem.dim_y))
        self.rows = descent(v, self.gradients.value, tau, radius)

    def directions(self, at: Samples, right: Pair) -> Pair:
        """v of this step and of the step before."""
        self.pair = self.rows.read(at.blocks, at.t)
        return self.pair

    def update(self, at: Samples, right: Pair) -> None:
        """Take the samples of the step in."""
        v, before = self.pair
        (x, Y), (x_before, Y_before) = at.now, at.before
        new = self.problem.hvp_yy_g(x, Y, v, at.blocks, at.batch) - right[0]
        old = self.problem.hvp_yy_g(x_before, Y_before, before, at.blocks, at.batch) - right[1]
        self.rows.store(at.blocks, at.t, v)
        self.gradients.update(at.blocks, new, old)

    def advance(self, t: int) -> None:
        """End iteration ``t``."""
        self.rows.advance(t)

    def set_rate(self, t: int, factor: float) -> None:
        """Scale the step lengths from iteration ``t`` on."""
        self.rows.steps.change(t, factor)

    def state(self) -> dict[str, np.ndarray]:
        """What a checkpoint holds."""
        held = {f"v_{name}": array for name, array in self.rows.state().items()}
        return {**held, "u": self.gradients.value, "u_seen": self.gradients.seen}

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Take over what :meth:`state` gave."""
        self.rows.set_state({name[2:]: state[name] for name in state if name.startswith("v_")})
        self.gradients.value[:], self.gradients.seen[:] = state["u"], state["u_seen"]


def capped(tau: Rate, gamma: float, smooth: float) -> Rate:
    r"""The step length within :math:`\tau\gamma \le 0.5 / L`: a large correction times a long step feeds on itself."""
    if gamma == 0 or smooth == math.inf:
        return tau
    most = 0.5 / (gamma * smooth)
    return np.minimum(tau, most) if isinstance(tau, np.ndarray) else min(tau, most)
