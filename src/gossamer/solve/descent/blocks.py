"""Blocks of coordinates, with what is worth computing once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import scipy.linalg

from gossamer._core.errors import CostError
from gossamer.solve.descent.problems.problem import BCDProblem, solve_positive

MOST_BYTES = 1 << 30


class Block:
    """A set of coordinates; what it computes it keeps, which pays for fixed blocks.

    Parameters
    ----------
    problem : BCDProblem
        The objective.
    ids : ndarray of int64
        Coordinates, none twice.
    """

    def __init__(self, problem: BCDProblem, ids: np.ndarray) -> None:
        self.problem, self.ids = problem, ids
        self.notes: dict[str, Any] = {}

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def bound(self) -> np.ndarray:
        """``H_b``."""
        if 8 * len(self) ** 2 > MOST_BYTES:
            raise CostError(
                f"a block of {len(self)} coordinates would take {8e-9 * len(self) ** 2:.1f} GB as a dense matrix: "
                'take smaller blocks, or update="message-passing", "gradient" or "diagonal"'
            )
        return self.problem.bound(self.ids)

    @cached_property
    def lipschitz(self) -> float:
        """``L_b``."""
        return self.problem.block_lipschitz(self.ids)

    @cached_property
    def third(self) -> float:
        """``M_b``."""
        return self.problem.third(self.ids)

    @cached_property
    def _factor(self) -> Any:
        try:
            return scipy.linalg.cho_factor(self.bound, lower=True, check_finite=False)
        except np.linalg.LinAlgError:
            return None

    def solve(self, g: np.ndarray) -> np.ndarray:
        """``H_b^{-1} g``; where H_b is singular, with a little more on its diagonal."""
        if self._factor is None:
            return solve_positive(self.bound, g)
        return scipy.linalg.cho_solve(self._factor, g, check_finite=False)


class FixedBlocks:
    """Blocks that stay the same: sums over each, and factors, are made ready once.

    Parameters
    ----------
    problem : BCDProblem
        The objective.
    parts : sequence of ndarray
        Coordinates of the blocks; frozen ones are left out here.
    """

    def __init__(self, problem: BCDProblem, parts: Sequence[np.ndarray]) -> None:
        alive = [part[~problem.frozen[part]] for part in parts]
        self.blocks = [Block(problem, part) for part in alive if len(part)]
        self.flat = np.concatenate([block.ids for block in self.blocks] or [np.zeros(0, np.int64)])
        sizes = np.array([len(block) for block in self.blocks], np.int64)
        self.starts = np.cumsum(sizes) - sizes

    def __len__(self) -> int:
        return len(self.blocks)

    def sums(self, values: np.ndarray) -> np.ndarray:
        """The sum of coordinates' values over each block."""
        return np.add.reduceat(values[self.flat], self.starts)

    @cached_property
    def lipschitz(self) -> np.ndarray:
        """``L_b`` of all blocks."""
        return np.array([block.lipschitz for block in self.blocks])

    @cached_property
    def _roots(self) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """For each size: blocks of it, their coordinates, and roots R of their pseudo-inverses, R^T R = H_b^+."""
        sizes = np.array([len(block) for block in self.blocks])
        if 16 * int((sizes.astype(np.float64) ** 2).sum()) > MOST_BYTES:
            raise CostError(f"factors of blocks of {sizes.max()} coordinates take too much memory")
        groups = []
        for size in np.unique(sizes):
            which = np.flatnonzero(sizes == size)
            values, vectors = np.linalg.eigh(np.stack([self.blocks[k].bound for k in which]))
            floor = 1e-12 * np.maximum(values[:, -1:], np.finfo(np.float64).tiny)
            scale = np.where(values > floor, 1 / np.sqrt(np.maximum(values, floor)), 0.0)
            ids = np.stack([self.blocks[k].ids for k in which])
            groups.append((which, ids, scale[:, :, None] * vectors.swapaxes(1, 2)))
        return groups

    def quadratic_gain(self, g: np.ndarray) -> np.ndarray:
        """``g_b^T H_b^{-1} g_b`` of all blocks. O(n t) once the factors are there."""
        gain = np.empty(len(self))
        for which, ids, roots in self._roots:
            gain[which] = np.square(np.einsum("kij,kj->ki", roots, g[ids])).sum(axis=1)
        return gain
