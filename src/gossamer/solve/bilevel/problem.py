"""What a multi-block bilevel problem answers: oracles over a few blocks and a few samples of each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from gossamer._core.errors import ArgumentError, ShapeError


@dataclass(frozen=True)
class SparseVector:
    """A vector of the outer space that is zero outside ``index``.

    Attributes
    ----------
    index : ndarray of int64
        Coordinates, each once, ascending.
    values : ndarray of float64
        What stands there.
    """

    index: np.ndarray
    values: np.ndarray

    def to_dense(self, size: int) -> np.ndarray:
        """The vector in full, O(size)."""
        out = np.zeros(size)
        out[self.index] = self.values
        return out


Direction = np.ndarray | SparseVector


class MultiBlockProblem(ABC):
    r"""Minimise :math:`F(x) = \frac1m \sum_i f_i(x, y_i(x))` with :math:`y_i(x) = \arg\min_y g_i(x, y)`.

    Subclass it with the oracles of sampled means. All take the point ``x`` (dim_x,), one row of ``Y`` (and ``V``) a
    block (I, dim_y), the numbers ``blocks`` (I,) and what ``sample`` drew; the same draw is evaluated at several
    points. Derivatives with respect to x are summed over the blocks at hand.

    Attributes
    ----------
    m, dim_x, dim_y : int
        Blocks, and the lengths of x and of each y.
    mu, smooth : float, optional
        Bounds of the eigenvalues of every :math:`\nabla^2_{yy} g_i`, if they are known.

    Notes
    -----
    Optional oracles: ``hess_yy_g(x, Y, blocks, batch)`` (I, dim_y, dim_y) for methods that track Hessians;
    ``jac_xy_g(x, Y, blocks, batch)`` (I, dim_x, dim_y) for RSVRB; ``value_f(x, Y, blocks, batch)`` (I,) to record F;
    ``full(blocks)``, a batch that stands for all data, for exact methods; ``full_hypergradient(x)``, the gradient of F;
    ``support(batch)``, the ascending coordinates of x that a draw reads and that its derivatives can touch (then they
    are :class:`SparseVector` with this index).
    """

    m: int
    dim_x: int
    dim_y: int
    mu: float | None = None
    smooth: float | None = None
    hess_yy_g: Any = None
    jac_xy_g: Any = None
    value_f: Any = None
    full: Any = None
    support: Any = None
    full_hypergradient: Any = None

    @abstractmethod
    def sample(self, blocks: np.ndarray, size: int, rng: np.random.Generator) -> Any:
        """Draw ``size`` samples for each of the blocks, with replacement."""

    @abstractmethod
    def grad_y_g(self, x: np.ndarray, Y: np.ndarray, blocks: np.ndarray, batch: Any) -> np.ndarray:
        """Inner gradients (I, dim_y)."""

    @abstractmethod
    def hvp_yy_g(
        self, x: np.ndarray, Y: np.ndarray, V: np.ndarray, blocks: np.ndarray, batch: Any
    ) -> np.ndarray:
        """Products of the inner Hessians with the rows of ``V`` (I, dim_y)."""

    @abstractmethod
    def jtvp_xy_g(
        self, x: np.ndarray, Y: np.ndarray, V: np.ndarray, blocks: np.ndarray, batch: Any
    ) -> Direction:
        r"""The sum of :math:`\nabla^2_{xy} g_i v_i` over the blocks (dim_x,)."""

    @abstractmethod
    def grad_x_f(self, x: np.ndarray, Y: np.ndarray, blocks: np.ndarray, batch: Any) -> Direction | None:
        """The sum of the direct outer gradients over the blocks (dim_x,); None where f does not see x."""

    @abstractmethod
    def grad_y_f(self, x: np.ndarray, Y: np.ndarray, blocks: np.ndarray, batch: Any) -> np.ndarray:
        """Outer gradients with respect to y (I, dim_y)."""


@dataclass
class OracleCalls:
    """How often each oracle was asked, counted in blocks, and how many samples were drawn."""

    grad_y_g: int = 0
    hvp_yy_g: int = 0
    hess_yy_g: int = 0
    jac_xy_g: int = 0
    jtvp_xy_g: int = 0
    grad_x_f: int = 0
    grad_y_f: int = 0
    samples: int = 0

    def to_dict(self) -> dict[str, int]:
        """The counts by name."""
        return asdict(self)


class Counted:
    """A problem that counts what it is asked, the same for every method."""

    def __init__(self, problem: MultiBlockProblem) -> None:
        self.problem, self.calls = problem, OracleCalls()

    def sample(self, blocks: np.ndarray, size: int, rng: np.random.Generator) -> Any:
        """Draw, and count ``size`` samples a block."""
        self.calls.samples += size * len(blocks)
        return self.problem.sample(blocks, size, rng)

    def __getattr__(self, name: str) -> Any:
        oracle = getattr(self.problem, name)
        if name not in OracleCalls.__dataclass_fields__ or oracle is None:
            return oracle

        def counted(x: np.ndarray, Y: np.ndarray, *rest: Any) -> Any:
            setattr(self.calls, name, getattr(self.calls, name) + len(Y))
            return oracle(x, Y, *rest)

        self.__dict__[name] = counted  # the next look-up finds it without coming here
        return counted


def subtract(direct: Direction | None, implicit: Direction, scale: float) -> Direction:
    """``scale * (direct - implicit)``, sparse where both parts are."""
    if isinstance(implicit, SparseVector):
        if direct is None:
            return SparseVector(implicit.index, -scale * implicit.values)
        if isinstance(direct, SparseVector):
            return SparseVector(implicit.index, scale * (direct.values - implicit.values))
        out = scale * direct
        out[implicit.index] -= scale * implicit.values
        return out
    if direct is None:
        return -scale * implicit
    if isinstance(direct, SparseVector):
        out = -scale * implicit
        out[direct.index] += scale * direct.values
        return out
    return scale * (direct - implicit)


def check_problem(problem: MultiBlockProblem, x: np.ndarray, Y: np.ndarray) -> None:
    """Ask every oracle once, for at most two blocks, and compare the shapes of the answers.

    Raises
    ------
    ShapeError
        Naming the oracle, what it returned and what was expected.
    """
    blocks = np.arange(min(problem.m, 2))
    batch = problem.sample(blocks, 1, np.random.default_rng(0))
    count, dx, d = len(blocks), problem.dim_x, problem.dim_y
    Y, V = Y[: len(blocks)], np.ones((count, d))
    outer: tuple[int, ...] = (dx,)
    if problem.support is not None:
        read = problem.support(batch)
        if len(read) and (np.any(np.diff(read) <= 0) or read[0] < 0 or read[-1] >= dx):
            raise ArgumentError(f"support: expected ascending coordinates within 0..{dx - 1}, each once")
        outer = (len(read),)
    wanted: dict[str, tuple[tuple[Any, ...], tuple[int, ...]]] = {
        "grad_y_g": ((), (count, d)),
        "hvp_yy_g": ((V,), (count, d)),
        "jtvp_xy_g": ((V,), outer),
        "grad_x_f": ((), outer),
        "grad_y_f": ((), (count, d)),
        "hess_yy_g": ((), (count, d, d)),
        "value_f": ((), (count,)),
    }
    for name, (more, shape) in wanted.items():
        oracle = getattr(problem, name)
        answer = None if oracle is None else oracle(x, Y, *more, blocks, batch)
        if answer is None:
            continue
        sparse = isinstance(answer, SparseVector)
        if sparse and problem.support is None:
            raise ArgumentError(f"{name} returned a SparseVector: expected support(batch) beside it")
        found = np.shape(answer.values if isinstance(answer, SparseVector) else answer)
        expected = (dx,) if name in ("jtvp_xy_g", "grad_x_f") and not sparse else shape
        if found != expected:
            raise ShapeError(f"{name} returned shape {found} for {count} blocks: expected {expected}")
