"""What block coordinate descent asks of an objective, and of the state in which it moves."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any

import numpy as np
import scipy.linalg
from scipy.sparse.linalg import LinearOperator, eigsh

from gossamer._core.errors import UnsupportedError
from gossamer._kernels.descent import Graph
from gossamer.solve.descent.penalty import Penalty

DENSE = 512
"""Blocks up to this size are looked at as dense matrices when their largest eigenvalue is asked for."""


class BCDProblem(ABC):
    """``F(x) = f(x) + sum_i h_i(x_i)`` with f convex and differentiable.

    Attributes
    ----------
    n : int
        Coordinates.
    dtype : dtype
        Of the data, and of solutions.
    lipschitz : ndarray, shape (n,)
        ``L_i``, bounds on the second derivatives along coordinates.
    penalty : Penalty
        The h_i.
    quadratic : bool
        Whether f is a quadratic, so that its block bounds are its Hessian.
    frozen : ndarray of bool, shape (n,)
        Coordinates with ``L_i = 0``, which stay at 0.
    """

    n: int
    dtype: np.dtype
    lipschitz: np.ndarray
    penalty: Penalty
    quadratic = False

    def _freeze(self) -> None:
        self.frozen = ~(self.lipschitz > 0)
        if self.frozen.any():
            warnings.warn(
                f"{int(self.frozen.sum())} coordinates have no curvature (zero columns), the first is "
                f"{int(np.argmax(self.frozen))}: they stay at 0",
                RuntimeWarning,
                stacklevel=3,
            )

    @abstractmethod
    def state(self, x: np.ndarray, full: bool) -> State:
        """Where the iteration starts; ``full`` keeps the whole gradient up to date."""

    @abstractmethod
    def bound(self, b: np.ndarray) -> np.ndarray:
        """``H_b``, square, no less than the block's Hessian anywhere."""

    @abstractmethod
    def bound_product(self, d: np.ndarray) -> np.ndarray:
        """``H d`` for the bound on all coordinates, without forming it."""

    @abstractmethod
    def row_sums(self, ids: np.ndarray) -> np.ndarray:
        """``sum_j |H_ij|`` over all j, for i in ids."""

    def third(self, b: np.ndarray) -> float:
        """``M_b``, a Lipschitz constant of the block's Hessian; 0 for quadratics."""
        return 0.0

    @cached_property
    def graph(self) -> Graph:
        """Which coordinates the Hessian couples.

        Raises
        ------
        UnsupportedError
            If this objective has no sparse Hessian.
        """
        raise UnsupportedError(f"{type(self).__name__} has no sparse Hessian: forests need one")

    def block_lipschitz(self, b: np.ndarray) -> float:
        """``L_b``, the largest eigenvalue of ``H_b``."""
        if len(b) == 1:
            return float(self.lipschitz[b[0]])
        if len(b) <= DENSE:
            return float(np.linalg.eigvalsh(self.bound(b))[-1])

        def product(d: np.ndarray) -> np.ndarray:
            wide = np.zeros(self.n)
            wide[b] = d.ravel()
            return self.bound_product(wide)[b]

        start = np.ones(len(b))
        top = eigsh(LinearOperator((len(b), len(b)), product, dtype=np.float64), 1, v0=start, tol=1e-10)[0]
        return float(top[0]) * (1 + 1e-9)  # Ritz values come from below


class State(ABC):
    """A point x, with what is maintained beside it.

    Attributes
    ----------
    x : ndarray, shape (n,)
        In double precision.
    flops : float
        Operations so far, without those of selection.
    nfev : int
        Evaluations of the objective.
    """

    def __init__(self, problem: Any, x: np.ndarray, full: bool) -> None:
        self.problem, self.x, self.full = problem, x, full
        self.flops, self.nfev = 0.0, 0

    @abstractmethod
    def refresh(self) -> None:
        """Compute what is maintained from x anew."""

    @abstractmethod
    def gradient(self) -> np.ndarray:
        """The gradient of f (n,)."""

    @abstractmethod
    def block_gradient(self, b: np.ndarray) -> np.ndarray:
        """Its entries b."""

    @abstractmethod
    def smooth(self) -> float:
        """``f(x)``."""

    @abstractmethod
    def hessian(self, b: np.ndarray) -> np.ndarray:
        """The block's Hessian at x."""

    @abstractmethod
    def along(self, b: np.ndarray, d: np.ndarray) -> Path:
        """What changes on the way to ``x + U_b d``."""

    @abstractmethod
    def copy(self) -> State:
        """An independent state at the same point."""

    def value(self) -> float:
        """``F(x)``."""
        self.nfev += 1
        return self.smooth() + self.problem.penalty.value(self.x)

    def move(self, path: Path, step: float = 1.0, target: np.ndarray | None = None) -> None:
        """Go a ``step`` along a path; ``target`` is what the block holds then, to the last bit."""
        b = path.b
        self.x[b] = self.x[b] + step * path.d if target is None else target
        path.apply(step)


class Path(ABC):
    """The line from x to ``x + U_b d``.

    Attributes
    ----------
    b, d : ndarray
        Block and direction.
    """

    def __init__(self, state: Any, b: np.ndarray, d: np.ndarray) -> None:
        self.state, self.b, self.d = state, b, d

    @abstractmethod
    def smooth(self, step: float) -> float:
        """``f`` at the point a ``step`` away."""

    @abstractmethod
    def apply(self, step: float) -> None:
        """Bring what is maintained up to date; called by :meth:`State.move` once x is there."""

    def value(self, step: float) -> float:
        """``F`` at the point a ``step`` away."""
        state, b = self.state, self.b
        state.nfev += 1
        here = state.x[b]
        penalty = state.problem.penalty
        change = penalty.value(here + step * self.d, b) - penalty.value(here, b)
        return self.smooth(step) + penalty.value(state.x) + change


def solve_positive(H: np.ndarray, g: np.ndarray) -> np.ndarray:
    """``H^{-1} g`` by Cholesky; with ``1e-12 trace / t`` on the diagonal, then by pseudo-inverse, where that fails."""
    for jitter in (0.0, 1e-12 * float(np.trace(H)) / max(len(H), 1)):
        try:
            factor = scipy.linalg.cho_factor(
                H + jitter * np.eye(len(H)) if jitter else H, lower=True, check_finite=False
            )
            return scipy.linalg.cho_solve(factor, g, check_finite=False)
        except np.linalg.LinAlgError:
            continue
    return np.linalg.pinv(H, hermitian=True) @ g
