"""The Hessian of the entropic dual with all but the largest entries of the plan left out."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import splu

from gossamer._core.arrays import to_numpy
from gossamer._core.checks import check_array, check_choice, check_float, check_int
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._kernels.transport import Cost, Entries, schur_cg
from gossamer.linalg.sparse_product.product import spgemm

FLOOR = 1e-14  # what may always be dropped, as a share of the mass


class SparseHessian:
    r"""Minus the Hessian of the entropic dual, with a sparse plan off its diagonal.

    :math:`M = \eta \begin{pmatrix} \mathrm{diag}(R) & W \\ W^T & \mathrm{diag}(S) \end{pmatrix}`, where W holds the
    largest entries of a plan P and R, S are the sums of **all** of P: weakly diagonally dominant, strictly where a
    row lost an entry, and so positive definite unless a connected component of W lost nothing.

    Parameters
    ----------
    entries : Entries
        W by rows and by columns.
    row_sums, column_sums : ndarray, shapes (n,) and (m,)
        R and S, positive.
    eta : float
        Inverse of the regularisation.
    """

    def __init__(
        self, entries: Entries, row_sums: np.ndarray, column_sums: np.ndarray, eta: float = 1.0
    ) -> None:
        self.entries = entries
        # sums that vanish belong to rows without entries; they must not divide by zero
        self.row_sums, self.column_sums = np.maximum(row_sums, 1e-300), np.maximum(column_sums, 1e-300)
        self.eta = eta

    @property
    def kept(self) -> int:
        """Entries of W."""
        return len(self.entries.by_row)

    @property
    def W(self) -> sp.csr_array:
        """The part of the plan that stays, shape (n, m)."""
        e = self.entries
        return sp.csr_array(
            (e.by_row, e.column, e.row_start), shape=(len(self.row_sums), len(self.column_sums))
        )

    def to_dense(self) -> np.ndarray:
        """M, shape (n + m, n + m)."""
        W = self.W.toarray()
        return self.eta * np.block([[np.diag(self.row_sums), W], [W.T, np.diag(self.column_sums)]])

    def schur(self) -> sp.csc_array:
        """``diag(S) - W^T diag(1/R) W``, shape (m, m): what is left when x is eliminated (without eta)."""
        W = self.W
        scaled = sp.csr_array(
            (W.data / np.repeat(self.row_sums, np.diff(W.indptr)), W.indices, W.indptr), W.shape
        )
        e = self.entries
        columns = sp.csr_array((e.by_column, e.row, e.column_start), shape=W.shape[::-1])
        return sp.csc_array(sp.diags_array(self.column_sums) - spgemm(columns, scaled))

    def factor(self) -> Callable[[np.ndarray], np.ndarray]:
        """Factor the Schur complement and return what solves with it.

        In a component of W that lost nothing the system is singular: its masses are taken to be equal, and one of its
        variables is held at zero.
        """
        schur = self.schur()
        lu = _factor(schur)
        if lu is not None:
            return lu.solve
        labels, pinned = self._lossless(1e-10)
        free = np.setdiff1d(np.arange(schur.shape[0]), pinned)
        rest = schur[free][:, free]
        lu = _factor(rest) if len(free) else None
        if lu is None and len(free):  # nearly singular still: a shift within the rounding of the sums
            lu = _factor(rest + sp.diags_array(1e-12 * self.column_sums[free]), limit=0.0)

        def solve(b: np.ndarray) -> np.ndarray:
            z = np.zeros(len(b))
            if lu is not None:
                z[free] = lu.solve(_center(b, labels)[free])
            return z

        return solve

    def solve(
        self,
        gx: np.ndarray,
        gy: np.ndarray,
        *,
        linsolve: str = "cg",
        rtol: float = 1e-10,
        maxiter: int = 2000,
        threads: int | None = None,
    ) -> tuple[np.ndarray, np.ndarray, int]:
        """Solve ``M d = g``, x eliminated.

        Parameters
        ----------
        gx, gy : array, shapes (n,) and (m,)
            Right side.
        linsolve : {"cg", "direct"}
            Conjugate gradients on the Schur complement, never formed, with its diagonal as preconditioner; or a
            sparse factorisation of it, for few entries a row.
        rtol : float
            Relative residual at which conjugate gradients end.
        maxiter : int
            Most of their iterations.
        threads : int, optional
            For large W.

        Returns
        -------
        dx, dy : ndarray, shapes (n,) and (m,)
            In a component of W that lost nothing, where the system is singular, the shortest solution.
        iterations : int
            Of conjugate gradients.
        """
        check_choice("linsolve", linsolve, ("cg", "direct"))
        W = self.W
        b = gy - W.T @ (gx / self.row_sums)
        iterations = 0
        if linsolve == "direct":
            dy = self.factor()(b)
        else:
            options: dict[str, Any] = {"rtol": rtol, "maxiter": maxiter, "threads": threads}
            sums = self.row_sums, self.column_sums
            dy, iterations, residual = schur_cg(self.entries, *sums, b, **options)
            if residual > rtol:
                labels, lossless = self._lossless(FLOOR)
                if len(lossless):
                    dy, more, _ = schur_cg(self.entries, *sums, _center(b, labels), **options)
                    dy, iterations = _center(dy, labels), iterations + more
        return (gx - W @ dy) / self.row_sums / self.eta, dy / self.eta, iterations

    def _lossless(self, limit: float) -> tuple[np.ndarray, np.ndarray]:
        """For each column its component if that lost at most a share ``limit``, else -1; and one column of each."""
        W = self.W
        n = W.shape[0]
        number, label = connected_components(sp.block_array([[None, W], [W.T, None]]), directed=False)
        lost = np.concatenate([self.row_sums - W.sum(axis=1), self.column_sums - W.sum(axis=0)])
        loss = np.bincount(label, lost, number)
        mass = np.bincount(label, np.concatenate([self.row_sums, self.column_sums]), number)
        where = label[n:]
        labels = np.where(loss[where] <= limit * mass[where], where, -1)
        found, first = np.unique(labels, return_index=True)
        return labels, first[found >= 0]


def sparsify_hessian(
    P: Any,
    *,
    sparsity: str = "adaptive",
    density: float | None = None,
    marginal_error: float = 1.0,
    eta: float = 1.0,
    threads: int | None = None,
) -> SparseHessian:
    """Keep the largest entries of a transport plan for Newton steps, and the sums of all of it.

    The entries are found by their size in O(nm), without sorting: buckets of their leading bits are narrowed until
    few entries are left between what stays and what goes.

    Parameters
    ----------
    P : array, shape (n, m)
        A plan: finite, at least 0.
    sparsity : {"adaptive", "fixed"}
        Drop at most a tenth of ``marginal_error`` (at most 0.005, at least 1e-14 of the mass), but keep between
        ``n + m`` and ``30 (n + m)`` entries; or keep ``ceil(density n m)``.
    density : float, optional
        Share of the entries that ``"fixed"`` keeps; ``5 / min(n, m)`` by default.
    marginal_error : float
        Norm of the gradient, as a share of the mass.
    eta : float
        Inverse of the regularisation.
    threads : int, optional
        All by default.

    Returns
    -------
    SparseHessian

    Raises
    ------
    ShapeError, ArgumentError
        If P is no plan, or an option is out of range.

    References
    ----------
    Tang, Shavlovsky, Rahmanian, Tardini, Thekumparampil, Xiao, Ying, "Accelerating Sinkhorn algorithm with sparse
    Newton iterations", ICLR 2024.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.solve import sparsify_hessian
    >>> H = sparsify_hessian(np.eye(4) + 1e-6, sparsity="fixed", density=0.25)
    >>> H.kept, bool(np.linalg.eigvalsh(H.to_dense())[0] > 0)
    (4, True)
    """
    plan = np.require(to_numpy(check_array("P", P, ndim=2)), np.float64, ("C_CONTIGUOUS", "ALIGNED"))
    if not plan.size:
        raise ShapeError(f"P has shape {plan.shape}: expected at least one row and one column")
    if (plan < 0).any():
        raise ArgumentError(f"P has an entry {plan.min():g}: expected a plan, at least 0")
    rows, columns = plan.sum(axis=1), plan.sum(axis=0)
    mass = float(rows.sum())
    error = check_float("marginal_error", marginal_error, low=0)
    least, most, budget = selection_rule(sparsity, density, plan.shape, error, mass)
    u, v = np.zeros(len(rows)), np.zeros(len(columns))
    top = float(plan.max())
    entries = Cost(plan).select(
        1.0, u, v, plan, top=top, least=least, most=most, budget=budget, threads=threads
    )
    return SparseHessian(entries, rows, columns, check_float("eta", eta, low=0, closed="neither"))


def selection_rule(
    sparsity: str, density: float | None, shape: tuple[int, ...], error: float, mass: float
) -> tuple[int, int, float]:
    """Fewest and most entries to keep, and the mass that may be dropped; ``error`` is relative to ``mass``."""
    n, m = shape
    if check_choice("sparsity", sparsity, ("adaptive", "fixed")) == "adaptive":
        if density is not None:
            raise ArgumentError(f"density={density!r}: expected sparsity='fixed' with it")
        budget = mass * max(0.1 * min(0.05, error), FLOOR)
        return min(n + m, n * m), min(30 * (n + m), n * m), budget
    share = min(1.0, 5 / min(n, m)) if density is None else check_float("density", density, low=0, high=1)
    kept = check_int("density", math.ceil(share * n * m), low=1)
    return kept, kept, 0.0


def _factor(matrix: sp.csc_array, limit: float = 1e-14) -> Any:
    """A factorisation, or None where a pivot is at most ``limit`` of the largest."""
    try:
        lu = splu(
            sp.csc_matrix(matrix),
            permc_spec="MMD_AT_PLUS_A",
            diag_pivot_thresh=0.0,
            options={"SymmetricMode": True},
        )
    except RuntimeError:  # exactly singular
        return None
    pivots = np.abs(lu.U.diagonal())
    return lu if pivots.min() > limit * pivots.max() else None


def _center(b: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """``b`` without its mean over each component; entries with label -1 stay."""
    inside = labels >= 0
    means = np.bincount(labels[inside], b[inside]) / np.maximum(np.bincount(labels[inside]), 1)
    out = b.copy()
    out[inside] -= means[labels[inside]]
    return out
