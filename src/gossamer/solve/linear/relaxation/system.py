"""A system that is ready to be relaxed: a checked matrix, an order of its unknowns, and both sides in that order."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from gossamer._core.checks import check_choice, check_float
from gossamer._core.errors import ArgumentError
from gossamer._kernels import relax
from gossamer.solve.iteration import SolverResult
from gossamer.solve.linear.relaxation.colouring import colour_levels
from gossamer.solve.linear.relaxation.grid_stencil import GridStencil
from gossamer.solve.operators import check_csr

ORDERINGS = ("natural", "multicolor")
SYMMETRIC_TO = 1e-10


@dataclass(frozen=True, kw_only=True)
class RelaxationResult(SolverResult):
    """What relaxation returns.

    Attributes
    ----------
    omega : float
        The relaxation parameter; NaN if there was none.
    ordering : str
        ``"natural"`` or ``"multicolor"``.
    goal : float
        The residual's norm at which it has converged.
    """

    omega: float = float("nan")
    ordering: str = "natural"
    goal: float = 0.0

    @property
    def residual(self) -> float:
        """Norm of ``b - A x``."""
        return self.value


@dataclass(frozen=True)
class RelaxationSystem:
    """A matrix in the order in which it is relaxed.

    Attributes
    ----------
    matrix : Rows or Grid
        What kernels take.
    ordering : str
        One of :data:`ORDERINGS`.
    order : ndarray or None
        Row k of ``matrix`` is row ``order[k]`` of the matrix that came in; None: the same.
    """

    matrix: relax.Matrix
    ordering: str
    order: np.ndarray | None

    def sorted(self, x: np.ndarray) -> np.ndarray:
        """A vector in this order."""
        return x if self.order is None else x[self.order]

    def unsorted(self, x: np.ndarray) -> np.ndarray:
        """A vector in the order of the matrix that came in."""
        if self.order is None:
            return x
        out = np.empty_like(x)
        out[self.order] = x
        return out


def relaxation_system(A: Any, ordering: str = "natural", *, symmetric: bool = False) -> RelaxationSystem:
    """Check a matrix and put its unknowns in order.

    Parameters
    ----------
    A : array, sparse matrix, StructuredMatrix or GridStencil, shape (n, n)
        With a positive diagonal.
    ordering : str
        ``"natural"``: as they are. ``"multicolor"``: unknowns of a colour, which are not coupled, stand together.
    symmetric : bool
        Also refuse what one product with ``A`` and with its transpose shows not to be symmetric.

    Raises
    ------
    ArgumentError, ShapeError, UnsupportedError
        If the matrix is none of these.
    """
    multicolor = check_choice("ordering", ordering, ORDERINGS) == "multicolor"
    if isinstance(A, GridStencil):
        return RelaxationSystem(dataclasses.replace(A.kernel, checkerboard=multicolor), ordering, None)
    csr, order, levels = check_csr("A", A), None, None
    if multicolor:
        order, levels = colour_levels(csr)
        csr = csr[order][:, order]
        csr.sort_indices()
    matrix = relax.rows(csr.indptr, csr.indices, csr.data, levels)
    diagonal = relax.diagonal(matrix)
    if len(diagonal) and not diagonal.min() > 0:
        at = int(diagonal.argmin())
        raise ArgumentError(
            f"A[{at}, {at}]={diagonal[at]:g}: expected a positive diagonal"
            if order is None
            else f"A has the entry {diagonal[at]:g} on its diagonal: expected a positive diagonal"
        )
    if symmetric and (wrong := relax.asymmetry(matrix)) > SYMMETRIC_TO:
        raise ArgumentError(
            f"A is not symmetric: A v and A.T v differ by {wrong:.2g} of the size of A for one v"
        )
    return RelaxationSystem(matrix, ordering, order)


def check_omega(omega: float) -> float:
    """Return a relaxation parameter as ``float``, inside (0, 2)."""
    return check_float("omega", omega, low=0, high=2, closed="neither")
