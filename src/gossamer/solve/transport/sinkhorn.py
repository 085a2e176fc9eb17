"""Sinkhorn's algorithm for entropic optimal transport."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer._core.checks import check_int
from gossamer.linalg.transport.newton import ROUNDING, Outcome
from gossamer.linalg.transport.problem import Problem
from gossamer.linalg.transport.sinkhorn_steps import Watching, sinkhorn_stage
from gossamer.solve.iteration import Callback
from gossamer.solve.transport.entropic import solve_entropic, solve_many
from gossamer.solve.transport.result import EntropicOTResult


def sinkhorn(
    C: Any,
    r: Any = None,
    c: Any = None,
    *,
    eta: float,
    maxiter: int = 1000,
    tol: float = 1e-9,
    log_domain: bool = True,
    x0: Any = None,
    y0: Any = None,
    round: bool = False,
    allow_inf: bool = False,
    n_jobs: int | None = None,
    callback: Callback | None = None,
) -> Any:
    r"""Solve entropic optimal transport by alternating scalings of rows and columns.

    :math:`\min_P \langle C, P\rangle + \frac1\eta \sum_{ij} p_{ij} \log p_{ij}` with :math:`P1 = r`,
    :math:`P^T 1 = c`. Cheap steps, and with a small :math:`\eta` few of them; where the regularisation is small
    take :func:`sinkhorn_newton_sparse`.

    Parameters
    ----------
    C : array, shape (n, m) or (B, n, m), or PointCost
        Costs; computed in double precision. Of a stack each problem is solved by itself.
    r, c : array, shapes (n,) and (m,), or one for each problem
        Marginals: at least 0, of the same sum; uniform of sum 1 by default. Where they are 0 so is the plan.
    eta : float
        Inverse of the regularisation (``1 / reg`` of other libraries).
    maxiter : int
        Most steps, each of which is both half steps.
    tol : float
        Converged when the sum of absolute errors of both marginals is at most this share of the mass.
    log_domain : bool
        Take exponentials in every step, which suits any range of costs. Otherwise scale a stored kernel, which
        absorbs the scaling factors before they grow beyond ``e^50``: the same iterates, in less time a step.
    x0, y0 : array, shapes (n,) and (m,), optional
        Potentials to start from; a step depends on y0 alone.
    round : bool
        Make the plan exactly feasible at the end.
    allow_inf : bool
        Take infinite costs for pairs between which nothing may go.
    n_jobs : int, optional
        Threads of one problem, or problems of a stack at a time; all cores by default.
    callback : callable, optional
        Called with an :class:`Iteration` at the start and after every step.

    Returns
    -------
    EntropicOTResult
        Or a list of them for a stack. Without convergence ``success`` is False, and a warning is given.

    Raises
    ------
    ShapeError, ArgumentError
        If shapes do not fit, masses are negative or differ, or costs are not finite.

    Notes
    -----
    One pass over the costs a step: rows are normalised and columns summed as they go by. 8 n m bytes and n m
    exponentials (or none) a step.

    References
    ----------
    Cuturi, "Sinkhorn distances: lightspeed computation of optimal transport", NeurIPS 2013. Schmitzer, "Stabilized
    sparse scaling algorithms for entropy regularized transport problems", 2019.

    Examples
    --------
    >>> from gossamer.solve import sinkhorn
    >>> result = sinkhorn([[0.0, 1.0], [1.0, 0.0]], eta=2.0)
    >>> result.success, result.plan.sum(axis=0).round(6).tolist()
    (True, [0.5, 0.5])
    """
    options: dict[str, Any] = {
        "eta": eta, "maxiter": maxiter, "tol": tol, "log_domain": log_domain, "x0": x0, "y0": y0, "round": round,
        "allow_inf": allow_inf, "callback": callback,
    }  # fmt: skip
    if np.ndim(C) == 3:
        return solve_many(sinkhorn, C, r, c, n_jobs, **options)
    steps = check_int("maxiter", maxiter, low=1)

    def run(problem: Problem, u: np.ndarray, v: np.ndarray, watch: Watching, goal: float) -> Outcome:
        iterate, done, over = sinkhorn_stage(problem, u, v, steps, watch, goal=goal, log_domain=log_domain)
        return Outcome(iterate, done, 0, "" if over or done == steps else ROUNDING)

    return solve_entropic(
        Problem(C, r, c, eta=eta, allow_inf=allow_inf, threads=n_jobs),
        run,
        kind=EntropicOTResult,
        method="sinkhorn in the log domain" if log_domain else "sinkhorn by scaling",
        tol=tol,
        limit=f"maxiter={steps}",
        x0=x0,
        y0=y0,
        rounding=round,
        callback=callback,
    )
