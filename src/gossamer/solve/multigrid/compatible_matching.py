"""Algebraic multigrid that coarsens by matchings compatible with a vector."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer.solve.multigrid.hierarchy import Hierarchy, HierarchyOptions
from gossamer.solve.multigrid.solver import MultigridSolver, check_direction, check_spd


class CompatibleMatchingAMG(MultigridSolver):
    r"""Algebraic multigrid for symmetric positive definite matrices, such as Laplacians of graphs.

    Variables are matched in pairs of large

    .. math::

        c_{ij} = 1 - \frac{2 a_{ij} w_i w_j}{a_{ii} w_i^2 + a_{jj} w_j^2}

    for a vector w that smoothing reduces slowly; a pair becomes one coarse variable, with weights that keep w exactly.
    No geometry and no measure of the strength of connections is needed. :class:`BootstrapAMG` finds good vectors by
    itself and combines several hierarchies.

    Parameters
    ----------
    sweeps : int
        Further pairwise steps from one level to the next: 1 aggregates up to four variables, 0 up to two.
    max_coarse : int
        Rows at which coarsening ends; 100 times as many once a level has coarsened by less than 1.2.
    cycle : str
        ``"V"``; ``"W"``: two cycles on each coarser level; ``"K"``: up to two steps of conjugate gradients there, the
        most robust one, but not a linear map: as ``M`` it asks for a solver that takes such, as :func:`dcdm` does.
    coarse : str
        On the coarsest level ``"direct"``, a factorisation, or ``"gs"``, 20 Gauss-Seidel sweeps.
    smooth : bool
        Smooth the prolongators by a step of Jacobi (smoothed aggregation): far fewer iterations on grids, denser
        coarse matrices on graphs without geometry.
    max_levels : int
        Most levels.

    Attributes
    ----------
    A_ : csr_array, shape (n, n)
        The matrix.
    hierarchy_ : Hierarchy
        Its levels.
    sizes : list of int
        Rows of each level.
    operator_complexity : float
        Stored entries of all levels over those of the first.

    Notes
    -----
    Setup is linear in the stored entries for bounded operator complexity: matching, coarse matrices and sweeps are
    compiled. A cycle reads each level's matrix twice. Everything runs in one thread, since sweeps go row by row.

    References
    ----------
    D'Ambra, Filippone, Vassilevski, "BootCMatch: a software package for bootstrap AMG based on graph weighted
    matching", ACM TOMS 44(4), 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.solve import CompatibleMatchingAMG, GridStencil, cg
    >>> A, b = GridStencil((60, 60)).to_scipy(), np.ones(3600)
    >>> amg = CompatibleMatchingAMG(sweeps=2, smooth=True).setup(A)
    >>> cg(A, b, M=amg, rtol=1e-8).nit < cg(A, b, rtol=1e-8).nit / 4
    True
    """

    method = "compatible-matching-amg"

    def __init__(
        self,
        sweeps: int = 1,
        max_coarse: int = 10,
        *,
        cycle: str = "V",
        coarse: str = "direct",
        smooth: bool = False,
        max_levels: int = 39,
    ) -> None:
        self.options = HierarchyOptions(sweeps, max_coarse, cycle, coarse, smooth, max_levels)
        self.linear = cycle != "K"

    def setup(self, A: Any, w: Any = None) -> CompatibleMatchingAMG:
        """Build the hierarchy of a matrix.

        Parameters
        ----------
        A : array, sparse matrix or structured matrix, shape (n, n)
            Symmetric positive definite.
        w : array, shape (n,), optional
            What smoothing reduces slowly; ones by default.

        Raises
        ------
        ArgumentError, ShapeError
            If ``A`` is not symmetric or turns out not to be positive definite, or ``w`` does not fit.
        """
        A_, rows = check_spd(A)
        self.hierarchy_ = Hierarchy(A_, rows, check_direction(w, A_.shape[0]), self.options)
        self.A_ = A_
        return self

    @property
    def sizes(self) -> list[int]:
        """Rows of each level, the finest first."""
        self._check_ready()
        return self.hierarchy_.sizes

    @property
    def operator_complexity(self) -> float:
        """Stored entries of all levels over those of the first."""
        self._check_ready()
        return self.hierarchy_.operator_complexity

    def _step(self, b: np.ndarray, x: np.ndarray) -> None:
        self.hierarchy_.cycle(b, x)

    def _apply(self, r: np.ndarray) -> np.ndarray:
        return self.hierarchy_.cycle(np.ascontiguousarray(r, np.float64).reshape(-1))
