"""Hierarchies that are added where those before leave an error: the composite solver and its smooth vectors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from gossamer._core.checks import check_choice, check_float, check_int
from gossamer._core.random import RandomState, check_random_state
from gossamer.solve.multigrid.hierarchy import Hierarchy, HierarchyOptions
from gossamer.solve.multigrid.solver import MultigridSolver, check_direction, check_spd

COMPOSITIONS = ("multiplicative", "symmetric", "additive")
NOISE = 1e-14
"""A step that leaves less than this of the energy leaves rounding errors, which are no smooth vector."""


class BootstrapAMG(MultigridSolver):
    r"""A composite of multigrid hierarchies, each built along what those before do not reduce.

    With :math:`B_k^{-1}` a cycle of hierarchy k, the composite is

    .. math::

        I - B^{-1} A = \prod_k (I - B_k^{-1} A)

    A random vector goes through it ``solver_it`` times; what is left, normed to energy 1, is an algebraically smooth
    vector, the next hierarchy is built along it, and so on until the composite converges fast enough. The smooth
    vectors span nearly what the lowest eigenvectors of ``A`` span, for the price of some cycles.

    Parameters
    ----------
    max_hierarchies : int
        Most hierarchies.
    conv_ratio : float
        Enough when a step reduces the energy norm by this ratio: 0.8 for a preconditioner, 1e-6 for smooth vectors.
    solver_it : int
        Steps on the random vector.
    composition : str
        ``"multiplicative"``: one after the other; ``"symmetric"``: and back again; ``"additive"``: their mean.
    sweeps, max_coarse, cycle, coarse, smooth, max_levels
        Of each hierarchy, as in :class:`CompatibleMatchingAMG`.
    random_state : int, Generator or None
        Of the random vectors.

    Attributes
    ----------
    A_ : csr_array, shape (n, n)
        The matrix.
    hierarchies_ : list of Hierarchy
        As many as it took.
    rho_ : list of float
        Ratio of energy norms of the last two steps, with one hierarchy, with two, and so on.
    smooth_vectors_ : ndarray, shape (n, r + 1)
        What hierarchies were built along, and what the last composite left.
    n_hierarchies_ : int
        r.

    Notes
    -----
    Setup with r hierarchies takes ``solver_it r (r + 1) / 2`` cycles. As a preconditioner (also in :meth:`solve`) the
    multiplicative composite goes there and back, 1..r..1, since conjugate gradients ask for symmetry.

    References
    ----------
    D'Ambra and Vassilevski, "Adaptive AMG with coarsening based on compatible weighted matching", Computing and
    Visualization in Science 16, 2013.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.solve import BootstrapAMG, GridStencil, cg
    >>> A, b = GridStencil((60, 60)).to_scipy(), np.ones(3600)
    >>> amg = BootstrapAMG(conv_ratio=0.5, random_state=0).setup(A)
    >>> amg.rho_[-1] <= 0.5, cg(A, b, M=amg, rtol=1e-8).success
    (True, True)
    """

    method = "bootstrap-amg"

    def __init__(
        self,
        max_hierarchies: int = 40,
        conv_ratio: float = 0.8,
        solver_it: int = 15,
        composition: str = "multiplicative",
        *,
        sweeps: int = 1,
        max_coarse: int = 10,
        cycle: str = "V",
        coarse: str = "direct",
        smooth: bool = False,
        max_levels: int = 39,
        random_state: RandomState = None,
    ) -> None:
        self.max_hierarchies = check_int("max_hierarchies", max_hierarchies, low=1)
        self.conv_ratio = check_float("conv_ratio", conv_ratio, low=0, high=1)
        self.solver_it = check_int("solver_it", solver_it, low=1)
        self.composition = check_choice("composition", composition, COMPOSITIONS)
        self.options = HierarchyOptions(sweeps, max_coarse, cycle, coarse, smooth, max_levels)
        self.random_state = random_state
        self.linear = cycle != "K"

    def setup(self, A: Any, w: Any = None) -> BootstrapAMG:
        """Add hierarchies for a matrix until the composite is fast enough.

        Parameters
        ----------
        A : array, sparse matrix or structured matrix, shape (n, n)
            Symmetric positive definite.
        w : array, shape (n,), optional
            The first smooth vector; ones by default.

        Raises
        ------
        ArgumentError, ShapeError
            If ``A`` is not symmetric or turns out not to be positive definite, or ``w`` does not fit.
        """
        rng = check_random_state(self.random_state)
        self.A_, rows = check_spd(A)
        n = self.A_.shape[0]
        vectors = [check_direction(w, n)]
        self.hierarchies_: list[Hierarchy] = []
        self.rho_: list[float] = []
        while True:
            self.hierarchies_.append(Hierarchy(self.A_, rows, vectors[-1], self.options))
            rho, left = self._test(rng.random(n))
            self.rho_.append(rho)
            if left is None:
                break
            vectors.append(left)
            if rho <= self.conv_ratio or len(self.hierarchies_) == self.max_hierarchies:
                break
        self.smooth_vectors_ = np.column_stack(vectors)
        return self

    @property
    def n_hierarchies_(self) -> int:
        """Hierarchies of the composite."""
        self._check_ready()
        return len(self.hierarchies_)

    @property
    def operator_complexity(self) -> float:
        """Stored entries of all levels of all hierarchies over those of the matrix."""
        self._check_ready()
        return sum(hierarchy.operator_complexity for hierarchy in self.hierarchies_)

    def _test(self, x: np.ndarray) -> tuple[float, np.ndarray | None]:
        """The ratio of the last step for ``A x = 0``, and what is left with energy 1: None if that is rounding."""
        zero, rho = np.zeros_like(x), 0.0
        x = x / self._energy_norm(x)
        for _ in range(self.solver_it):
            self._step(zero, x)
            rho = self._energy_norm(x)
            if rho <= NOISE:
                return rho, None
            x /= rho
        return rho, x

    def _energy_norm(self, x: np.ndarray) -> float:
        return float(np.sqrt(max(x @ (self.A_ @ x), 0.0)))

    def _step(self, b: np.ndarray, x: np.ndarray) -> None:
        if self.composition == "additive":
            r = b - self.A_ @ x
            x += sum(hierarchy.cycle(r) for hierarchy in self.hierarchies_) / len(self.hierarchies_)
            return
        for hierarchy in self._order(symmetric=self.composition == "symmetric"):
            hierarchy.cycle(b, x)

    def _apply(self, r: np.ndarray) -> np.ndarray:
        r = np.ascontiguousarray(r, np.float64).reshape(-1)
        x = np.zeros_like(r)
        if self.composition == "additive":
            self._step(r, x)
            return x
        first, *others = self._order(symmetric=True)
        x = first.cycle(r)
        for hierarchy in others:
            hierarchy.cycle(r, x)
        return x

    def _order(self, *, symmetric: bool) -> Iterable[Hierarchy]:
        """1..r, or 1..r..1: the cycle in the middle is symmetric by itself."""
        return [*self.hierarchies_, *self.hierarchies_[-2::-1]] if symmetric else self.hierarchies_
