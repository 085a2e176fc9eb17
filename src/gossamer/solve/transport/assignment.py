"""Assignments by entropic transport."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gossamer._core.errors import ShapeError
from gossamer._core.results import Result
from gossamer.linalg.transport.newton import Stages
from gossamer.linalg.transport.problem import Problem
from gossamer.solve.transport.entropic import run_stages, solve_entropic
from gossamer.solve.transport.result import EntropicOTResult


@dataclass(frozen=True, kw_only=True)
class AssignmentResult(Result):
    """Who goes where, what it costs, and how far from the best that can be at most.

    Attributes
    ----------
    columns : ndarray of int, shape (n,)
        The column of each row: a permutation.
    cost : float
        Sum of the costs of these pairs.
    gap : float
        ``cost`` less a lower bound of every assignment's cost. If it is smaller than the difference between any two
        assignments, this one is the best.
    transport : EntropicOTResult
        The plan it was read from, with rows and columns of mass 1 / n.
    """

    columns: np.ndarray = field(default_factory=lambda: np.empty(0, int), repr=False)
    cost: float = 0.0
    gap: float = 0.0
    transport: EntropicOTResult = field(default_factory=EntropicOTResult, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain Python values."""
        plain = Result.to_dict(Result(success=self.success, message=self.message, history=self.history))
        own = {"columns": self.columns.tolist(), "cost": self.cost, "gap": self.gap}
        return {**plain, **own, "transport": self.transport.to_dict()}


def assignment(
    C: Any,
    *,
    eta: float,
    n_sinkhorn: int = 20,
    max_newton: int = 100,
    tol: float = 1e-9,
    n_jobs: int | None = None,
) -> AssignmentResult:
    """Assign each row a column of its own at nearly the least cost.

    The entropic plan at ``eta`` is solved for, and its largest entries are read as an assignment. Equivalent to
    ``scipy.optimize.linear_sum_assignment(C)`` for ``eta`` large enough to tell the best assignment from the next;
    ``gap`` says how much better another one could be.

    Parameters
    ----------
    C : array, shape (n, n), or PointCost
        Costs.
    eta : float
        Inverse of the regularisation.
    n_sinkhorn : int
        Sinkhorn steps of the first stage.
    max_newton : int
        Most Newton steps.
    tol : float
        Largest sum of absolute errors of both marginals.
    n_jobs : int, optional
        Threads.

    Returns
    -------
    AssignmentResult

    Raises
    ------
    ShapeError, ArgumentError
        If C is not square, or not finite.

    Examples
    --------
    >>> from gossamer.solve import assignment
    >>> assignment([[4.0, 1.0, 3.0], [2.0, 0.0, 5.0], [3.0, 2.0, 2.0]], eta=50.0).columns.tolist()
    [1, 0, 2]
    """
    problem = Problem(C, eta=eta, threads=n_jobs)
    n, m = problem.shape
    if n != m:
        raise ShapeError(f"C has shape {(n, m)}: expected as many rows as columns")
    stages = Stages(n_sinkhorn=n_sinkhorn, max_newton=max_newton)
    result = solve_entropic(
        problem,
        run_stages(stages),
        kind=EntropicOTResult,
        method="sinkhorn_newton_sparse",
        tol=tol,
        limit=f"max_newton={max_newton}",
    )
    columns = result.to_assignment()
    cost = float(
        sum(problem.full_cost.take(np.array([i]), columns[i : i + 1]).to_dense()[0, 0] for i in range(n))
    )
    return AssignmentResult(
        success=result.success,
        message=result.message,
        history=result.history,
        columns=columns,
        cost=cost,
        gap=cost - n * result.lower_bound(),
        transport=result,
    )
