"""The blocks of one process, as a problem of their own."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer._core.errors import bad_argument
from gossamer.solve.bilevel.problem import MultiBlockProblem

_OPTIONAL = ("hess_yy_g", "jac_xy_g", "value_f")


class BlockShard(MultiBlockProblem):
    """A contiguous range of the blocks of a problem, numbered from 0.

    Parameters
    ----------
    problem : MultiBlockProblem
        All blocks (an own subclass may hold the data of one range only).
    own : slice
        Which, as :func:`shard_slice` gives it.

    Examples
    --------
    >>> from gossamer.solve import BlockShard, QuadraticBilevel, shard_slice
    >>> BlockShard(QuadraticBilevel(7, 3, 2), shard_slice(7, 1, 2)).m
    4
    """

    def __init__(self, problem: MultiBlockProblem, own: slice) -> None:
        first, stop, stride = own.indices(problem.m)
        if stride != 1 or stop <= first:
            raise bad_argument("own", own, f"a non-empty contiguous range of the {problem.m} blocks")
        self._problem, self._first, self.m = problem, first, stop - first
        self.dim_x, self.dim_y, self.mu, self.smooth = (
            problem.dim_x,
            problem.dim_y,
            problem.mu,
            problem.smooth,
        )
        for name in _OPTIONAL:
            if getattr(problem, name) is not None:
                setattr(self, name, self._shifted(getattr(problem, name)))
        if problem.full is not None:
            self.full = lambda blocks: problem.full(blocks + first)
        self.support = problem.support

    def sample(self, blocks: np.ndarray, size: int, rng: np.random.Generator) -> Any:
        """Draw for these blocks."""
        return self._problem.sample(blocks + self._first, size, rng)

    def _shifted(self, oracle: Any) -> Any:
        def call(x: np.ndarray, Y: np.ndarray, *rest: Any) -> Any:
            *vectors, blocks, batch = rest
            return oracle(x, Y, *vectors, blocks + self._first, batch)

        return call

    def grad_y_g(self, x: np.ndarray, Y: np.ndarray, blocks: np.ndarray, batch: Any) -> np.ndarray:
        """As the whole problem's."""
        return self._problem.grad_y_g(x, Y, blocks + self._first, batch)

    def hvp_yy_g(
        self, x: np.ndarray, Y: np.ndarray, V: np.ndarray, blocks: np.ndarray, batch: Any
    ) -> np.ndarray:
        """As the whole problem's."""
        return self._problem.hvp_yy_g(x, Y, V, blocks + self._first, batch)

    def jtvp_xy_g(self, x: np.ndarray, Y: np.ndarray, V: np.ndarray, blocks: np.ndarray, batch: Any) -> Any:
        """As the whole problem's."""
        return self._problem.jtvp_xy_g(x, Y, V, blocks + self._first, batch)

    def grad_x_f(self, x: np.ndarray, Y: np.ndarray, blocks: np.ndarray, batch: Any) -> Any:
        """As the whole problem's."""
        return self._problem.grad_x_f(x, Y, blocks + self._first, batch)

    def grad_y_f(self, x: np.ndarray, Y: np.ndarray, blocks: np.ndarray, batch: Any) -> np.ndarray:
        """As the whole problem's."""
        return self._problem.grad_y_f(x, Y, blocks + self._first, batch)
