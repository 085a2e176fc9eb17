"""Quadratics, and the propagation of labels over a graph, which is one."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse
from scipy.sparse.csgraph import connected_components

from gossamer._core.checks import check_array
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._kernels.descent import Graph, Lines
from gossamer.solve.descent.penalty import Penalty
from gossamer.solve.descent.problems.problem import BCDProblem, Path, State
from gossamer.solve.operators import check_csr, check_sides


class Quadratic(BCDProblem):
    """A convex quadratic, ``1/2 x^T A x - b^T x``; its gradient ``A x - b`` is maintained.

    Parameters
    ----------
    A : array or sparse matrix, shape (n, n)
        Symmetric positive semi-definite.
    b : array, shape (n,)
        Linear term.

    Raises
    ------
    ArgumentError
        If A is not square or not symmetric, or has a negative diagonal.
    """

    quadratic = True

    def __init__(self, A: Any, b: Any) -> None:
        # sparse or not, elimination and products walk the stored entries
        self.A = check_csr("A", A)
        self.n = self.A.shape[0]
        self.dtype = np.result_type(A.dtype if hasattr(A, "dtype") else np.float64, np.float32)
        gap = abs(self.A - self.A.T)
        if gap.nnz and gap.data.max() > 1e-10 * np.abs(self.A.data).max():
            raise ArgumentError(f"A is not symmetric: A - A.T reaches {gap.data.max():.3g}")
        self.b = check_sides(self.n, b)[0]
        self.lipschitz = self.A.diagonal()
        if (self.lipschitz < 0).any():
            i = int(np.argmin(self.lipschitz))
            raise ArgumentError(f"A[{i}, {i}]={self.lipschitz[i]:g}: expected a positive semi-definite A")
        self.penalty = Penalty.of(self.n)
        self.lines = Lines(self.A)
        self._freeze()

    @cached_property
    def graph(self) -> Graph:
        """The pattern of A, with its values."""
        return Graph(self.A)

    def state(self, x: np.ndarray, full: bool) -> QuadraticState:
        """Where the iteration starts."""
        return QuadraticState(self, x, full)

    def bound(self, b: np.ndarray) -> np.ndarray:
        """``A_bb``."""
        return self.A[b][:, b].toarray()

    def sparse_bound(self, b: np.ndarray) -> Any:
        """``A_bb`` as CSR."""
        return scipy.sparse.csr_array(self.A[b][:, b])

    def bound_product(self, d: np.ndarray) -> np.ndarray:
        """``A d``."""
        return self.A @ d

    def row_sums(self, ids: np.ndarray) -> np.ndarray:
        """``sum_j |A_ij|``."""
        return np.asarray(abs(self.A[ids]).sum(axis=1)).ravel()


class LabelPropagation(Quadratic):
    """Labels spread over a graph, ``1/2 sum_ij W_ij (x_i - x_j)^2 / 2`` with the labelled nodes held fixed.

    The coordinates are the unlabelled nodes, ``unlabelled``: A is the graph's Laplacian there, and b what labelled
    neighbours send.

    Parameters
    ----------
    W : array or sparse matrix, shape (N, N)
        Symmetric non-negative weights; the diagonal is not used.
    y : array, shape (N,)
        Labels; 0 is unlabelled.

    Raises
    ------
    ArgumentError
        If an unlabelled node is not connected to a labelled one: the Laplacian is singular then.
    """

    def __init__(self, W: Any, y: Any) -> None:
        weights = check_csr("W", W)
        labels = np.asarray(check_array("y", y, ndim=1), np.float64)
        if labels.shape != (weights.shape[0],):
            raise ShapeError(f"y has shape {labels.shape}: expected ({weights.shape[0]},), one for each node")
        if weights.nnz and weights.data.min() < 0:
            raise ArgumentError(f"W has the entry {weights.data.min():g}: expected weights >= 0")
        weights = scipy.sparse.csr_array(weights - scipy.sparse.diags_array(weights.diagonal()))
        weights.eliminate_zeros()
        self.unlabelled, labelled = np.flatnonzero(labels == 0), np.flatnonzero(labels)
        _, component = connected_components(weights, directed=False)
        lost = np.flatnonzero(~np.isin(component[self.unlabelled], component[labelled]))
        if len(lost):
            raise ArgumentError(
                f"y has no label in the component of node {self.unlabelled[lost[0]]} and of {len(lost) - 1} more: "
                "the Laplacian is singular there"
            )
        self.labels = labels
        degree = np.asarray(weights.sum(axis=1)).ravel()
        rows = weights[self.unlabelled]
        inner = rows[:, self.unlabelled]
        super().__init__(
            scipy.sparse.diags_array(degree[self.unlabelled]) - inner, rows[:, labelled] @ labels[labelled]
        )

    def complete(self, x: Any) -> np.ndarray:
        """All nodes' values (N,): the labels, and x where there was none."""
        values = self.labels.copy()
        values[self.unlabelled] = x
        return values


class QuadraticState(State):
    """x and the gradient ``A x - b``."""

    problem: Quadratic

    def __init__(self, problem: Quadratic, x: np.ndarray, full: bool) -> None:
        super().__init__(problem, x, full)
        self.refresh()

    def refresh(self) -> None:
        """Compute the gradient from x anew."""
        self.g = self.problem.A @ self.x - self.problem.b
        self.flops += 2.0 * self.problem.A.nnz

    def gradient(self) -> np.ndarray:
        """``A x - b``, maintained."""
        return self.g

    def block_gradient(self, b: np.ndarray) -> np.ndarray:
        """Its entries b."""
        return self.g[b]

    def smooth(self) -> float:
        """``1/2 x^T A x - b^T x``, as ``1/2 x^T (g - b)``."""
        return 0.5 * float(self.x @ (self.g - self.problem.b))

    def hessian(self, b: np.ndarray) -> np.ndarray:
        """``A_bb``."""
        return self.problem.bound(b)

    def along(self, b: np.ndarray, d: np.ndarray) -> QuadraticPath:
        """The line from x to ``x + U_b d``."""
        return QuadraticPath(self, b, d)

    def copy(self) -> QuadraticState:
        """An independent state at the same point."""
        twin = object.__new__(type(self))
        State.__init__(twin, self.problem, self.x.copy(), False)
        twin.g = self.g.copy()
        return twin


class QuadraticPath(Path):
    """The gradient moves by ``step A U_b d``."""

    state: QuadraticState

    def __init__(self, state: QuadraticState, b: np.ndarray, d: np.ndarray) -> None:
        super().__init__(state, b, d)
        self._q: np.ndarray | None = None
        state.flops += 2.0 * state.problem.A.nnz * len(b) / state.problem.n

    def smooth(self, step: float) -> float:
        """The quadratic at the point a ``step`` away."""
        if self._q is None:
            self._q = np.zeros(self.state.problem.n)
            self.state.problem.lines.scatter(self.d, self._q, self.b)
        slope, square = float(self.state.g[self.b] @ self.d), float(self._q[self.b] @ self.d)
        return self.state.smooth() + step * (slope + 0.5 * step * square)

    def apply(self, step: float) -> None:
        """The gradient of all that the block's columns touch."""
        d = self.d if step == 1 else step * self.d
        self.state.problem.lines.scatter(d, self.state.g, self.b)
