"""BSVRB: a few blocks a step, variance-reduced estimates of all of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gossamer._core.checks import check_choice, check_float
from gossamer._core.errors import CostError, bad_argument
from gossamer._core.random import RandomState
from gossamer.solve.bilevel.curvature import Samples, TrackedHessians, TrackedProducts, capped
from gossamer.solve.bilevel.estimators import MSVR
from gossamer.solve.bilevel.inner import EagerDescent, LazyDescent
from gossamer.solve.bilevel.loop import BlockMethod, check_rate, need, plain
from gossamer.solve.bilevel.outer import DenseDescent, LazyDecay, dense
from gossamer.solve.bilevel.problem import Direction, MultiBlockProblem, subtract
from gossamer.solve.shards import Reduce

MOST_HESSIAN = 2000


class BSVRB(BlockMethod):
    r"""Multi-block bilevel descent with blockwise variance reduction.

    Each step samples I blocks and B samples of each and evaluates them at this and the previous iterate. MSVR tracks
    the inner gradients :math:`s_i`; the outer gradient
    :math:`G = \frac1I \sum_i \nabla_x f_i - \nabla^2_{xy} g_i\, p_i` is tracked by STORM; then
    :math:`y_i \leftarrow y_i - \tau s_i` for all i and :math:`x \leftarrow x - \eta z`.
    v1 has :math:`p_i = H_i^{-1} \nabla_y f_i` with tracked Hessians, v2 descends on
    :math:`\frac12 p^T \nabla^2_{yy} g_i p - p^T \nabla_y f_i` by Hessian-vector products. Take v1 for
    dim_y up to about a hundred, v2 beyond.

    Parameters
    ----------
    problem : MultiBlockProblem
        With ``hess_yy_g`` for v1.
    x0 : array, shape (dim_x,)
        Start.
    y0 : array, shape (m, dim_y), optional
        Zeros by default.
    variant : {"v2", "v1"}
        What is tracked.
    blocks_per_step : int, optional
        I; ``max(1, m // 10)`` by default.
    batch_size : int
        B.
    lr : float
        :math:`\eta`.
    lr_lower : float or array, shape (m,)
        :math:`\tau`; one a block where their curvatures differ.
    lr_v : float or array, shape (m,), optional
        Step length of p in v2; ``lr_lower`` by default.
    alpha, beta : float
        Weights of the newest sample in MSVR and STORM, in (0, 1].
    gamma : "theory" or float
        Weight of MSVR's correction (:func:`theory_gamma`).
    mu, smooth : float, optional
        Bounds of the eigenvalues of the inner Hessians; the problem's own by default. v1 needs ``mu`` and keeps its
        estimates within both. With ``smooth``, the inner step lengths are bounded by 0.5 / (gamma smooth).
    v_radius : float, optional
        Largest norm of p in v2: a bound of the outer gradients with respect to y, over mu. Unbounded by default.
    lazy : bool
        Move blocks when they are sampled (O(I d) a step), not all at every step; the iterates are the same. With
        sparse gradients x moves lazily too, in one process and without scaling.
    scaling : None or "adam"
        Scale z by the root of its running mean square.
    random_state : int or Generator
        Source of blocks and samples.
    reduce : callable, optional
        Sums an array over the processes that own the other blocks (:func:`all_reduce_sum`); each process then has a
        problem of its own blocks, and x is the same in all.

    Raises
    ------
    ArgumentError, ShapeError
        An argument is out of range, or an oracle returns another shape than it should.
    CostError
        v1 with dim_y above 2000: it holds m dim_y^2 numbers.

    Notes
    -----
    A step makes two calls of each oracle for I blocks. Memory: v1 m d^2 numbers, v2 4 m d.
    The first visit of a block sets its estimates to the samples.

    References
    ----------
    Hu, Qiu, Guo, Zhang, Yang. Blockwise stochastic variance-reduced methods with parallel speedup for multi-block
    bilevel optimization. ICML 2023, arXiv 2305.18730.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.solve import BSVRB, QuadraticBilevel
    >>> run = BSVRB(QuadraticBilevel(8, 3, 2), np.ones(3), variant="v1", blocks_per_step=2, random_state=0)
    >>> run.step()
    >>> run.x.shape, run.y.shape
    ((3,), (8, 2))
    """

    name = "bsvrb"

    def __init__(
        self,
        problem: MultiBlockProblem,
        x0: Any,
        y0: Any = None,
        *,
        variant: str = "v2",
        blocks_per_step: int | None = None,
        batch_size: int = 32,
        lr: float = 1e-2,
        lr_lower: Any = 0.5,
        lr_v: Any = None,
        alpha: float = 0.1,
        beta: float = 0.1,
        gamma: Any = "theory",
        mu: float | None = None,
        smooth: float | None = None,
        v_radius: float | None = None,
        lazy: bool = True,
        scaling: str | None = None,
        random_state: RandomState = None,
        reduce: Reduce | None = None,
    ) -> None:
        check_choice("variant", variant, ("v1", "v2"))
        if variant == "v1":
            need(problem, "hess_yy_g", "v1")
            if problem.dim_y > MOST_HESSIAN:
                gib = problem.m * problem.dim_y**2 * 8 / 2**30
                raise CostError(
                    f"dim_y={problem.dim_y}: v1 would hold {gib:.1f} GiB of Hessians (m dim_y^2 8 bytes); "
                    f"expected dim_y <= {MOST_HESSIAN}, or v2"
                )
        super().__init__(
            problem, x0, y0, blocks_per_step=blocks_per_step, batch_size=batch_size, lr=lr, lr_lower=lr_lower,
            random_state=random_state, reduce=reduce,
        )  # fmt: skip
        self.name = f"bsvrb-{variant}"
        check_choice("scaling", scaling, (None, "adam"))
        low = problem.mu if mu is None else mu
        high = problem.smooth if smooth is None else smooth
        high = math.inf if high is None else check_float("smooth", high, low=0, closed="neither")
        radius = math.inf if v_radius is None else check_float("v_radius", v_radius, low=0, closed="neither")
        lr_v = self.lr_lower if lr_v is None else check_rate("lr_v", lr_v, problem.m)

        def estimator(shape: tuple[int, ...], project: Any) -> MSVR:
            return MSVR(problem.m, shape, self.blocks_per_step, alpha=alpha, gamma=gamma, project=project)

        self.gradients = estimator((problem.dim_y,), None)
        self.lr_lower = capped(self.lr_lower, self.gradients.gamma, high)
        lr_v = capped(lr_v, self.gradients.gamma, high)
        self.curvature: TrackedHessians | TrackedProducts
        if variant == "v1":
            if low is None:
                raise bad_argument("mu", mu, "a lower bound of the Hessians' eigenvalues with v1")
            low = check_float("mu", low, low=0, closed="neither")
            if not low <= high:
                raise bad_argument("mu", low, f"at most smooth={high}")
            self.curvature = TrackedHessians(self.problem, estimator, self.blocks_per_step, low, high)
        else:
            self.curvature = TrackedProducts(self.problem, estimator, lr_v, radius, lazy)
        descent = LazyDescent if lazy else EagerDescent
        self.inner = descent(self._y0.copy(), self.gradients.value, self.lr_lower)
        self.outer: LazyDecay | DenseDescent
        if lazy and problem.support is not None and scaling is None and reduce is None:
            self.outer = LazyDecay(self._x0, check_float("beta", beta, low=0, high=1, closed="right"))
        else:
            self.outer = DenseDescent(self._x0, beta, scaling)
        self._options |= {
            "variant": variant, "lr_lower": plain(lr_lower), "lr_v": plain(lr_v), "alpha": alpha, "beta": beta,
            "gamma": gamma,
            "mu": mu, "smooth": smooth, "v_radius": v_radius, "lazy": lazy, "scaling": scaling,
        }  # fmt: skip

    @property
    def x(self) -> np.ndarray:
        """The outer iterate; a view."""
        return self.outer.full()

    @property
    def y(self) -> np.ndarray:
        """All inner iterates; O(m d)."""
        return self.inner.all(self.t)

    def step(self) -> None:
        """Do one iteration."""
        p, t = self.problem, self.t
        blocks = self.draw()
        batch = p.sample(blocks, self.batch_size, self.rng)
        x, x_before = self.outer.read(None if p.support is None else p.support(batch))
        Y, Y_before = self.inner.read(blocks, t)
        at = Samples(t, blocks, batch, (x, Y), (x_before, Y_before))
        right = p.grad_y_f(x, Y, blocks, batch), p.grad_y_f(x_before, Y_before, blocks, batch)
        P, P_before = self.curvature.directions(at, right)
        new, old = self._outer_gradient(at, at.now, P), self._outer_gradient(at, at.before, P_before)
        s, s_before = p.grad_y_g(x, Y, blocks, batch), p.grad_y_g(x_before, Y_before, blocks, batch)
        self.inner.store(blocks, t, Y)
        held = self.gradients.update(blocks, s, s_before)
        self.curvature.update(at, right)
        self.n_projected = self.curvature.n_projected
        if self.reduce is not None:
            size = p.dim_x
            new, old = self.reduce(np.stack([dense(new, size), dense(old, size)]))
        self.outer.push(new, old, self.lr * self.factor)
        self.t += 1
        self.inner.advance(t)
        self.curvature.advance(t)
        self.largest = max(float(np.abs(Y).max(initial=0)), float(np.abs(held).max(initial=0)))

    def set_factor(self, factor: float) -> None:
        """Scale all step lengths by ``factor`` from the next iteration on."""
        super().set_factor(factor)
        self.inner.steps.change(self.t, self.factor)
        self.curvature.set_rate(self.t, self.factor)

    def _outer_gradient(self, at: Samples, point: Any, P: np.ndarray) -> Direction:
        share = self.problem.m / (self.blocks_in_all * len(at.blocks))
        implicit = self.problem.jtvp_xy_g(*point, P, at.blocks, at.batch)
        return subtract(self.problem.grad_x_f(*point, at.blocks, at.batch), implicit, share)

    def state(self) -> dict[str, np.ndarray]:
        """Arrays that a checkpoint holds."""
        held = {"s": self.gradients.value, "s_seen": self.gradients.seen, **self.curvature.state()}
        for prefix, part in (("inner_", self.inner.state()), ("outer_", self.outer.state())):
            held |= {prefix + name: array for name, array in part.items()}
        return held

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Take over what :meth:`state` gave."""
        self.gradients.value[:], self.gradients.seen[:] = state["s"], state["s_seen"]
        self.curvature.set_state(state)
        self.inner.set_state({k[6:]: a for k, a in state.items() if k.startswith("inner_")})
        self.outer.set_state({k[6:]: a for k, a in state.items() if k.startswith("outer_")})
