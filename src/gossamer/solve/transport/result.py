"""What solvers of entropic transport return."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.optimize import linear_sum_assignment
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

from gossamer._core.checks import check_float
from gossamer._core.errors import ShapeError
from gossamer.linalg.transport.problem import Iterate, Problem
from gossamer.linalg.transport.rounding import Rounded, round_plan
from gossamer.solve.iteration import SolverResult

TILE = 1 << 22  # entries of a cost that are looked at in one piece


class Solution:
    """The last iterate of a problem, and its plan in the forms that are asked for."""

    def __init__(self, problem: Problem, iterate: Iterate, *, rounding: bool) -> None:
        self.problem, self.iterate = problem, iterate
        self.rounded: Rounded | None = round_plan(problem, iterate) if rounding else None

    @cached_property
    def plan(self) -> np.ndarray:
        """The plan, shape (n, m), made now if it was not kept."""
        p, of = self.problem, self.rounded or self.iterate
        plan = p.stored(self.iterate) if self.rounded is None else None
        if plan is None:
            plan = np.empty(p.cost.shape)
            p.cost.kernel.plan(p.eta, of.u, of.v, plan, p.threads)
        if self.rounded is not None:
            plan += np.outer(self.rounded.a, self.rounded.b)
        if plan.shape == p.shape:
            return plan
        full = np.zeros(p.shape)
        full[np.ix_(p.rows, p.columns)] = plan
        return full

    def above(self, threshold: float) -> sp.csr_array:
        """Entries of the plan (not of its rounding) that are at least ``threshold``."""
        p, here = self.problem, self.iterate
        e = p.cost.kernel.above(p.eta, here.u, here.v, p.stored(here), threshold, p.threads)
        matrix = sp.csr_array((e.by_row, e.column, e.row_start), shape=p.cost.shape)
        if matrix.shape == p.shape:
            return matrix
        placed = matrix.tocoo()
        return sp.csr_array((placed.data, (p.rows[placed.row], p.columns[placed.col])), shape=p.shape)

    def cost(self) -> float:
        """``<C, P>``."""
        p, of = self.problem, self.rounded or self.iterate
        value = p.cost.kernel.inner(p.eta, of.u, of.v, p.threads)
        if self.rounded is not None:
            a, b = self.rounded.a, self.rounded.b
            value += sum(
                float(a[i:j] @ np.where(a[i:j, None] * b > 0, tile, 0) @ b) for i, j, tile in self._tiles()
            )
        return value

    def lower_bound(self) -> float:
        """Value of the unregularised dual at the potentials, made feasible by a minimum over each row."""
        p = self.problem
        y = self.iterate.v / p.eta
        x = np.concatenate([(tile - y).min(axis=1) for _, _, tile in self._tiles()])
        return float(p.r @ x + p.c @ y)

    def _tiles(self) -> Any:
        n, m = self.problem.cost.shape
        step = max(1, TILE // m)
        for i in range(0, n, step):
            yield i, min(i + step, n), self.problem.cost.tile(i, min(i + step, n))


@dataclass(frozen=True, kw_only=True)
class EntropicOTResult(SolverResult):
    r"""A plan of entropic transport, :math:`P_{ij} = \exp(\eta(x_i + y_j - c_{ij}) - 1)`.

    ``x`` and ``y`` are the potentials (``x`` has mean 0), ``value`` and ``history["marginal_error"]`` the sum of
    absolute errors of both marginals.

    Attributes
    ----------
    y : ndarray, shape (m,)
        Potentials of the columns; -infinity where there is no mass, as in ``x``.
    eta : float
        Inverse of the regularisation.
    cost : float
        ``<C, P>``, of the rounded plan if rounding was asked for.
    objective : float
        ``<C, P> + (1/eta) sum P log P`` of the plan before rounding.
    dual : float
        Value of the dual at the potentials; equal to ``objective`` at the optimum.
    marginal_error : float
        ``|r - P 1|_1 + |c - P^T 1|_1`` of the plan before rounding.
    nit_sinkhorn, nit_newton : int
        Steps of the two kinds.
    solution : object
        Holds the problem, for what is made when asked for: ``plan``, ``sparse_plan``, ``lower_bound``.
    """

    y: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False)
    eta: float = 0.0
    cost: float = 0.0
    objective: float = 0.0
    dual: float = 0.0
    marginal_error: float = 0.0
    nit_sinkhorn: int = 0
    nit_newton: int = 0
    solution: Any = field(default=None, repr=False, compare=False)

    @property
    def plan(self) -> np.ndarray:
        """The plan, shape (n, m); for costs of points it is made at the first call."""
        return self.solution.plan

    @property
    def gap(self) -> float:
        """``objective - dual``: zero at the optimum."""
        return self.objective - self.dual

    def sparse_plan(self, threshold: float) -> sp.csr_array:
        """Entries of the plan that are at least ``threshold``, without a dense plan where costs are of points.

        Parameters
        ----------
        threshold : float
            Above 0.

        Returns
        -------
        scipy.sparse.csr_array, shape (n, m)
        """
        return self.solution.above(check_float("threshold", threshold, low=0, closed="neither"))

    def lower_bound(self) -> float:
        """A lower bound of the unregularised transport cost: the potentials, made feasible for its dual. O(nm)."""
        return self.solution.lower_bound()

    def to_assignment(self) -> np.ndarray:
        """The column that each row goes to, a permutation of shape (n,), for plans between as many rows as columns.

        The largest entry of each row, if that is a permutation; else the best matching within the largest entries
        of the plan; else the best matching of the whole plan.
        """
        n, m = self.solution.problem.shape
        if n != m:
            raise ShapeError(f"the plan has shape {(n, m)}: an assignment takes as many rows as columns")
        plan = self.sparse_plan(1e-3 * self.solution.problem.mass / n)
        largest = np.full(n, -1)
        order = np.lexsort((plan.data, np.repeat(np.arange(n), np.diff(plan.indptr))))
        filled = np.diff(plan.indptr) > 0
        largest[filled] = plan.indices[order[plan.indptr[1:][filled] - 1]]
        if len(np.unique(largest)) == n and largest.min() >= 0:
            return largest
        try:
            weights = sp.csr_array((2 * plan.data.max() - plan.data, plan.indices, plan.indptr), shape=(n, n))
            return min_weight_full_bipartite_matching(weights)[1]
        except ValueError:  # the large entries hold no matching
            return linear_sum_assignment(-self.plan)[1]

    def to_dict(self) -> dict[str, Any]:
        """All fields but ``solution``, as plain Python values."""
        plain = SolverResult.to_dict(replace(self, solution=None))
        del plain["solution"]
        return plain
