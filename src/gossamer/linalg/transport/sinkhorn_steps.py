"""Sinkhorn steps in the log domain, and as scalings of a stored kernel that absorbs them from time to time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gossamer._kernels.transport import scale
from gossamer.linalg.transport.problem import Iterate, Problem

ABSORB = 50.0  # largest logarithm of a scaling factor
Watching = Callable[..., bool]


class SinkhornSteps:
    """Block coordinate ascent on the dual; each step needs one pass and tells the error of the step before.

    Parameters
    ----------
    problem : Problem
        What is to be solved.
    u, v : ndarray
        Potentials in units of the exponent.
    log_domain : bool
        Take an exponential of every entry in each step. Otherwise one step does, then the kernel
        ``exp(u + v - eta c)`` is stored and scaled until a factor leaves ``[e^-50, e^50]``, and stored anew. Costs
        of points have no stored kernel: they stay in the log domain.
    """

    def __init__(self, problem: Problem, u: np.ndarray, v: np.ndarray, *, log_domain: bool) -> None:
        self._problem = problem
        self._u, self._v = u, v
        self._scaling = not log_domain and problem.scratch() is not None
        self._kernel: np.ndarray | None = None
        self._begun = False
        self._next: tuple[np.ndarray, np.ndarray] = u, v

    def propose(self) -> float:
        """Make the next step ready, and return ``|r - P 1|`` before it; the columns are exact after a step."""
        p = self._problem
        if self._scaling and self._begun:
            if self._kernel is None:
                self._kernel = p.scratch()
                p.cost.kernel.plan(p.eta, self._u, self._v, self._kernel, p.threads)
                self._a, self._b = np.ones(len(p.r)), np.ones(len(p.c))
            assert self._kernel is not None
            error, a, b = scale(self._kernel, self._a, self._b, p.r, p.c, p.threads)
            if np.isfinite(a).all() and np.isfinite(b).all():
                self._next = a, b
                return error
            self._absorb()  # a row or column of the kernel vanished: the log domain has no such limit
        error, u, v = p.cost.kernel.log_step(p.eta, self._u, self._v, p.r, p.c, p.threads)
        self._next = u, v
        return error

    def accept(self) -> None:
        """Take the step that was made ready."""
        self._begun = True
        if self._kernel is None:
            self._u, self._v = self._next
            return
        self._a, self._b = self._next
        if max(np.abs(np.log(self._a)).max(), np.abs(np.log(self._b)).max()) > ABSORB:
            self._absorb()

    def potentials(self) -> tuple[np.ndarray, np.ndarray]:
        """The potentials (u, v) of the plan as it is."""
        if self._kernel is None:
            return self._u, self._v
        return self._u + np.log(self._a), self._v + np.log(self._b)

    def _absorb(self) -> None:
        self._u, self._v = self.potentials()
        self._kernel = None


def sinkhorn_stage(
    problem: Problem,
    u: np.ndarray,
    v: np.ndarray,
    steps: int,
    watch: Watching,
    *,
    goal: float,
    log_domain: bool,
    until: Callable[[Iterate], bool] | None = None,
) -> tuple[Iterate, int, bool]:
    """Take up to ``steps`` steps; every tenth iterate is shown to ``until``, which may end the stage.

    The error that a step tells is that of exact exponents. Where it is at most ``goal``, the plan itself is looked
    at, and if its error is larger, from the rounding of its exponents, more steps would not see it: the stage ends.

    Returns
    -------
    iterate : Iterate
        The last one.
    done : int
        Steps taken.
    over : bool
        Whether ``watch`` ended the solution.
    """
    walk = SinkhornSteps(problem, u, v, log_domain=log_domain)
    done = 0
    for done in range(steps):
        error = walk.propose()
        if done and error <= goal:
            iterate = problem.at(*walk.potentials())
            return iterate, done, watch(iterate, iterate.error, **_facts())
        if done and watch(walk, error, **_facts()):
            return problem.at(*walk.potentials()), done, True
        walk.accept()
        if until is not None and done % 10 == 9 and done + 1 < steps:
            iterate = problem.at(*walk.potentials())
            if until(iterate):
                return iterate, done + 1, watch(iterate, iterate.error, **_facts())
            walk = SinkhornSteps(problem, iterate.u, iterate.v, log_domain=log_domain)
    iterate = problem.at(*walk.potentials())
    return iterate, steps, watch(iterate, iterate.error, **_facts())


def _facts() -> dict[str, Any]:
    return {"stage": "sinkhorn", "step": 1.0, "kept": 0, "linear_iterations": 0}
