"""Objectives that see x through products with data: ``f(x) = loss(A x) + 1/2 sum l2_i x_i^2``."""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse

from gossamer._core.checks import check_array
from gossamer._core.errors import CostError, ShapeError, UnsupportedError
from gossamer._kernels.descent import Graph
from gossamer.solve.descent.columns import SparseColumns, columns_of
from gossamer.solve.descent.penalty import Penalty, weights
from gossamer.solve.descent.problems.problem import BCDProblem, Path, State

GRAPH_WORK = 1e8
"""Most products of entries that a graph of coupled columns may take."""


class LinearModel(BCDProblem):
    """A loss of products with the columns of A; ``z = A x + offset`` is maintained.

    Parameters
    ----------
    A : array or sparse matrix, shape (m, n)
        Data.
    l2 : float or array (n,)
        Weight of the squares, one for all coordinates or one for each.
    """

    curvature_bound = 1.0

    def __init__(self, A: Any, l2: Any = 0.0) -> None:
        self.columns: Any = columns_of(A)
        self.m, self.n = self.columns.shape
        self.dtype = self.columns.dtype
        self.l2 = weights("l2", l2, self.n)
        self.lipschitz = self.curvature_bound * self.columns.squares() + self.l2
        self.offset: np.ndarray | float = 0.0
        self.penalty = Penalty.of(self.n)
        self._freeze()

    def _targets(self, y: Any) -> np.ndarray:
        target = np.asarray(check_array("y", y, ndim=1), np.float64)
        if target.shape != (self.m,):
            raise ShapeError(f"y has shape {target.shape}: expected ({self.m},), one for each row of A")
        return target

    @abstractmethod
    def loss(self, z: np.ndarray) -> float:
        """The loss of products z."""

    @abstractmethod
    def slope(self, z: np.ndarray) -> np.ndarray:
        """Its derivative by z."""

    @abstractmethod
    def curvature(self, z: np.ndarray) -> np.ndarray | None:
        """Its second derivatives by z; None for ones."""

    def state(self, x: np.ndarray, full: bool) -> LinearState:
        """Where the iteration starts; ``full`` keeps the whole gradient up to date."""
        return LinearState(self, x, full)

    def bound(self, b: np.ndarray) -> np.ndarray:
        """``c A_b^T A_b + diag(l2_b)`` with the largest curvature c of the loss."""
        return self._with_l2(self.curvature_bound * self.columns.gram(b), b)

    def bound_product(self, d: np.ndarray) -> np.ndarray:
        """``c A^T (A d) + l2 d``."""
        return self.curvature_bound * self.columns.dots(self.columns.matvec(d)) + self.l2 * d

    def row_sums(self, ids: np.ndarray) -> np.ndarray:
        """``c sum_j |a_i . a_j| + l2_i``."""
        return self.curvature_bound * self.columns.row_sums(ids) + self.l2[ids]

    @cached_property
    def graph(self) -> Graph:
        """Columns that share a row are coupled; values are those of the bound.

        Raises
        ------
        UnsupportedError
            For dense data.
        CostError
            If rows are so long that the graph is nearly complete.
        """
        if not isinstance(self.columns, SparseColumns):
            raise UnsupportedError("A is dense, so that all columns are coupled: forests need a sparse A")
        A = self.columns.A.astype(np.float64)
        work = float((np.bincount(A.indices, minlength=self.m).astype(np.float64) ** 2).sum())
        if work > GRAPH_WORK:
            raise CostError(
                f"the graph of coupled columns takes {work:.1e} products: expected <= {GRAPH_WORK:.0e}"
            )
        return Graph(_canonical(self.curvature_bound * (A.T @ A) + scipy.sparse.diags_array(self.l2)))

    def _with_l2(self, H: np.ndarray, b: np.ndarray) -> np.ndarray:
        if self.l2.any():
            H = H.copy()
            H[np.diag_indices_from(H)] += self.l2[b]
        return H


def _canonical(H: Any) -> Any:
    csr = scipy.sparse.csr_array(H)
    csr.sum_duplicates()
    return csr


class LinearState(State):
    """x, ``z = A x + offset``, the slopes at z, and the gradient if it is asked for."""

    problem: LinearModel

    def __init__(self, problem: LinearModel, x: np.ndarray, full: bool) -> None:
        super().__init__(problem, x, full)
        self.refresh()

    def refresh(self) -> None:
        """Compute z, the slopes and the gradient from x anew."""
        problem = self.problem
        self.z = problem.columns.matvec(self.x) + problem.offset
        self.w = problem.slope(self.z)
        self.ridge = 0.5 * float(problem.l2 @ (self.x * self.x))
        self.g = problem.columns.dots(self.w) if self.full else None
        self.flops += 2.0 * problem.columns.nnz * (1 + self.full)

    def gradient(self) -> np.ndarray:
        """``A^T loss'(z) + l2 x``."""
        g = self.g
        if g is None:
            self.flops += 2.0 * self.problem.columns.nnz
            g = self.problem.columns.dots(self.w)
        return g + self.problem.l2 * self.x

    def block_gradient(self, b: np.ndarray) -> np.ndarray:
        """Entries b of the gradient, from those columns alone."""
        problem = self.problem
        if self.g is not None:
            return self.g[b] + problem.l2[b] * self.x[b]
        self.flops += 2.0 * problem.columns.nnz * len(b) / problem.n
        return problem.columns.dots(self.w, b) + problem.l2[b] * self.x[b]

    def smooth(self) -> float:
        """The loss and the squares."""
        return self.problem.loss(self.z) + self.ridge

    def hessian(self, b: np.ndarray) -> np.ndarray:
        """``A_b^T diag(loss''(z)) A_b + diag(l2_b)``."""
        problem = self.problem
        self.flops += len(b) ** 2 * problem.columns.nnz / problem.n
        return problem._with_l2(problem.columns.gram(b, problem.curvature(self.z)), b)

    def sparse_hessian(self, b: np.ndarray) -> Any:
        """The same as CSR."""
        problem = self.problem
        if not isinstance(problem.columns, SparseColumns):
            raise UnsupportedError("A is dense: elimination on a graph needs a sparse A")
        part = scipy.sparse.csr_array(problem.columns.A[:, b].astype(np.float64))
        weight = problem.curvature(self.z)
        weighted = part if weight is None else scipy.sparse.diags_array(weight) @ part
        return _canonical(part.T @ weighted + scipy.sparse.diags_array(problem.l2[b]))

    def along(self, b: np.ndarray, d: np.ndarray) -> LinearPath:
        """The line from x to ``x + U_b d``."""
        return LinearPath(self, b, d)

    def copy(self) -> LinearState:
        """An independent state at the same point, without the whole gradient."""
        twin = object.__new__(type(self))
        State.__init__(twin, self.problem, self.x.copy(), False)
        twin.z, twin.w, twin.ridge, twin.g = self.z.copy(), self.w.copy(), self.ridge, None
        return twin


class LinearPath(Path):
    """``z + step A_b d``."""

    state: LinearState

    def __init__(self, state: LinearState, b: np.ndarray, d: np.ndarray) -> None:
        super().__init__(state, b, d)
        columns = state.problem.columns
        self.v = columns.add(b, d)
        state.flops += 2.0 * columns.nnz * len(b) / state.problem.n
        l2 = state.problem.l2[b]
        self._linear, self._square = float((l2 * state.x[b]) @ d), 0.5 * float((l2 * d) @ d)

    def smooth(self, step: float) -> float:
        """The loss and the squares at the point a ``step`` away."""
        state = self.state
        ridge = state.ridge + step * (self._linear + step * self._square)
        return state.problem.loss(state.z + step * self.v) + ridge

    def apply(self, step: float) -> None:
        """Products, slopes, and the gradient: by columns kept, by touched rows, or by all columns."""
        state, problem = self.state, self.state.problem
        columns = problem.columns
        state.z = state.z + step * self.v  # slopes may be the same array
        state.ridge += step * (self._linear + step * self._square)
        before, state.w = state.w, problem.slope(state.z)
        if state.g is None:
            return
        if problem.quadratic:
            products = columns.products(self.b)
            if products is not None:
                state.g += (step * self.d) @ products
                state.flops += 2.0 * products.size
                return
        rows = columns.touched(self.v)
        if rows is None:
            state.g = columns.dots(state.w)
            state.flops += 2.0 * columns.nnz
        else:
            columns.rows.scatter(state.w[rows] - before[rows], state.g, rows)
            state.flops += 2.0 * len(rows) * columns.nnz / problem.m
