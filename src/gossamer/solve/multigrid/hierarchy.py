"""A hierarchy of coarser and coarser matrices along one vector, and the cycles over it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.linalg
import scipy.sparse
import scipy.sparse.linalg

from gossamer._core.checks import check_choice, check_int
from gossamer._core.errors import ArgumentError
from gossamer._kernels import multigrid, relax
from gossamer.solve.multigrid.coarsening import (
    EPSILON,
    Aggregation,
    aggregate,
    coarse_matrix,
    coarse_vector,
    compatible_pairs,
    smoothed,
)

CYCLES = ("V", "W", "K")
COARSE = ("direct", "gs")
SLOW = 1.2  # a level that coarsens by less ends the hierarchy early: the limit is RELAXED times as large
RELAXED = 100
COARSE_SWEEPS = 20
DENSE = 2000  # rows up to which a coarsest matrix is factored as a dense one
K_CYCLE = 0.25  # the share of a residual that spares the K-cycle its second step


@dataclass(frozen=True)
class HierarchyOptions:
    """How hierarchies are built and used; checked when made."""

    sweeps: int = 1
    max_coarse: int = 10
    cycle: str = "V"
    coarse: str = "direct"
    smooth: bool = False
    max_levels: int = 39

    def __post_init__(self) -> None:
        check_int("sweeps", self.sweeps, low=0)
        check_int("max_coarse", self.max_coarse, low=1)
        check_choice("cycle", self.cycle, CYCLES)
        check_choice("coarse", self.coarse, COARSE)
        check_int("max_levels", self.max_levels, low=1)


@dataclass(frozen=True)
class Level:
    """One matrix, and the prolongator from the next coarser one with its transpose; the coarsest has none."""

    A: scipy.sparse.csr_array
    rows: relax.Rows
    P: scipy.sparse.csr_array | None = None
    R: scipy.sparse.csr_array | None = None


class Hierarchy:
    """Levels along ``w``, and one cycle over them."""

    def __init__(
        self, A: scipy.sparse.csr_array, rows: relax.Rows, w: np.ndarray, options: HierarchyOptions
    ) -> None:
        self.options = options
        self.levels: list[Level] = []
        w = w / np.abs(w).max()  # what is small in w is so against its largest entry
        limit = options.max_coarse
        while A.shape[0] > limit and len(self.levels) + 1 < options.max_levels:
            step, coarse, w_coarse = _coarsen(A, rows, w, options.sweeps)
            if step.groups == A.shape[0]:
                break
            P = step.to_csr()
            if options.smooth:
                P = smoothed(A, P)
                coarse = scipy.sparse.csr_array(P.T @ (A @ P))
                coarse = scipy.sparse.csr_array((coarse + coarse.T) / 2)
                coarse.sum_duplicates()
            self.levels.append(Level(A, rows, P, scipy.sparse.csr_array(P.T.tocsr())))
            if A.shape[0] <= SLOW * step.groups:
                limit = RELAXED * options.max_coarse
            A, w = coarse, w_coarse
            rows = _prepare(A)
        self.levels.append(Level(A, rows))
        self._solve = _direct(A) if options.coarse == "direct" else None

    @property
    def sizes(self) -> list[int]:
        """Rows of each level."""
        return [level.A.shape[0] for level in self.levels]

    @property
    def operator_complexity(self) -> float:
        """Stored entries of all levels over those of the first."""
        return sum(level.A.nnz for level in self.levels) / self.levels[0].A.nnz

    def cycle(self, b: np.ndarray, x: np.ndarray | None = None) -> np.ndarray:
        """One cycle for ``A x = b``: in place in ``x``, or from zero."""
        zero = x is None
        x = np.empty_like(b) if x is None else x
        self._descend(0, b, x, zero)
        return x

    def _descend(self, depth: int, b: np.ndarray, x: np.ndarray, zero: bool) -> None:
        level = self.levels[depth]
        if level.P is None or level.R is None:
            self._coarsest(level, b, x, zero)
            return
        r = level.R @ multigrid.descend(level.rows, b, x, zero=zero)
        if self.options.cycle == "K" and depth + 2 < len(self.levels):
            e = self._two_steps(depth + 1, r)
        else:
            e = np.empty_like(r)
            self._descend(depth + 1, r, e, True)
            if self.options.cycle == "W" and depth + 2 < len(self.levels):
                self._descend(depth + 1, r, e, False)
        x += level.P @ e
        multigrid.ascend(level.rows, b, x)

    def _coarsest(self, level: Level, b: np.ndarray, x: np.ndarray, zero: bool) -> None:
        if self._solve is not None:
            if zero:
                x[:] = self._solve(b)
            else:
                x += self._solve(b - level.A @ x)
            return
        if zero:
            x[:] = 0
        for sweep in range(COARSE_SWEEPS):  # back and forth, so that a cycle is symmetric
            relax.sweep(level.rows, b, 1.0, x, backward=sweep % 2 == 1, threads=1)

    def _two_steps(self, depth: int, r: np.ndarray) -> np.ndarray:
        """Up to two steps of flexible conjugate gradients for the matrix of a level, preconditioned by its cycle."""
        A = self.levels[depth].A
        c = np.empty_like(r)
        self._descend(depth, r, c, True)
        v = A @ c
        curvature, along = float(c @ v), float(c @ r)
        if not curvature > 0:
            return c
        rest = r - (along / curvature) * v
        if np.linalg.norm(rest) <= K_CYCLE * np.linalg.norm(r):
            return (along / curvature) * c
        d = np.empty_like(r)
        self._descend(depth, rest, d, True)
        w = A @ d
        mixed, own, gain = float(d @ v), float(d @ w), float(d @ rest)
        remaining = own - mixed**2 / curvature
        if not remaining > EPSILON * own:
            return (along / curvature) * c
        step = gain / remaining
        return (along / curvature - step * mixed / curvature) * c + step * d


def _prepare(A: scipy.sparse.csr_array) -> relax.Rows:
    rows = relax.rows(A.indptr, A.indices, A.data)
    if not (least := relax.diagonal(rows).min()) > 0:
        raise ArgumentError(f"A is not positive definite: a coarser matrix has {least:.3g} on its diagonal")
    return rows


def _coarsen(
    A: scipy.sparse.csr_array, rows: relax.Rows, w: np.ndarray, sweeps: int
) -> tuple[Aggregation, scipy.sparse.csr_array, np.ndarray]:
    """``1 + sweeps`` pairwise steps: their prolongator, and the matrix and the vector behind it."""
    whole = None
    for further in range(sweeps, -1, -1):
        step = aggregate(compatible_pairs(rows, w), w)
        whole = step if whole is None else whole.then(step)
        A, w = coarse_matrix(rows, step), coarse_vector(step, w)
        if not further or len(w) == 1:
            break
        rows = _prepare(A)
    assert whole is not None
    return whole, A, w


def _direct(A: scipy.sparse.csr_array) -> Callable[[np.ndarray], np.ndarray]:
    try:
        if A.shape[0] > DENSE:
            return scipy.sparse.linalg.splu(A.tocsc()).solve
        factor = scipy.linalg.cho_factor(A.toarray())
    except (np.linalg.LinAlgError, RuntimeError) as error:
        raise ArgumentError(
            f"A is not positive definite: its coarsest matrix has no factor ({error})"
        ) from None
    return lambda b: scipy.linalg.cho_solve(factor, b, check_finite=False)
