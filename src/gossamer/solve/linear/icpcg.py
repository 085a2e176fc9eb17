"""Conjugate gradients with an incomplete Cholesky factor as preconditioner."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse
from scipy.sparse.linalg import LinearOperator

from gossamer._core.checks import check_float
from gossamer._core.errors import ArgumentError
from gossamer._kernels.elliptic import IncompleteFactor
from gossamer.solve.iteration import Callback, SolverResult, Watch
from gossamer.solve.linear.conjugation import conjugate_gradients
from gossamer.solve.operators import check_csr, check_system

FIRST_SHIFT, MOST_SHIFT = 1e-3, 10.0


def icpcg(
    A: Any,
    b: Any,
    *,
    modified: float = 0.0,
    x0: Any = None,
    rtol: float = 1e-5,
    atol: float = 0.0,
    maxiter: int | None = None,
    callback: Callback | None = None,
) -> SolverResult:
    r"""Solve ``A x = b`` for symmetric positive definite ``A`` by CG preconditioned with :math:`L L^T \approx A`.

    The factor keeps the places of ``A`` and no others, IC(0). On pressure systems ``modified=0.97`` (MIC(0)), which
    keeps row sums nearly, takes about half as many iterations. To use a factor for several right sides, make an
    :class:`IncompleteCholesky` once and hand it to :func:`cg` as ``M``.

    Parameters
    ----------
    A : array, sparse matrix, StructuredMatrix or PoissonSystem, shape (n, n)
        Symmetric; empty rows are allowed where ``b`` and ``x0`` are zero.
    b : array, shape (n,)
        Right side.
    modified : float
        How much of what the factor drops goes to the diagonal, in [0, 1].
    x0 : array, shape (n,), optional
        Start; zeros by default.
    rtol, atol : float
        Converged when ``norm(b - A x) <= max(rtol * norm(b), atol)``.
    maxiter : int, optional
        Most iterations; ``10 n`` by default.
    callback : callable, optional
        Called with an :class:`Iteration` at the start and after every iteration.

    Returns
    -------
    SolverResult
        ``history["residual"]`` has the norm of the recurred residual at the start and after every iteration.

    Raises
    ------
    ArgumentError, ShapeError, UnsupportedError
        As :class:`IncompleteCholesky`.

    Notes
    -----
    Per iteration a product with ``A`` and two triangular solves with half of its entries each.

    References
    ----------
    Meijerink and van der Vorst, "An iterative solution method for linear systems of which the coefficient matrix is a
    symmetric M-matrix", 1977. Bridson, "Fluid simulation for computer graphics", 2008 (modified, 0.97).

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.solve import GridStencil, cg, icpcg
    >>> A, b = GridStencil((50, 50)).to_scipy(), np.ones(2500)
    >>> [cg(A, b).nit, icpcg(A, b).nit, icpcg(A, b, modified=0.97).nit]
    [73, 28, 17]
    """
    factor = IncompleteCholesky(A, modified=modified)
    operator, b, x = check_system(A, b, x0)
    goal = max(check_float("rtol", rtol, low=0) * float(np.linalg.norm(b)), check_float("atol", atol, low=0))
    watch = Watch(
        "residual", tol=goal, maxiter=10 * len(b) if maxiter is None else maxiter, callback=callback
    )
    conjugate_gradients(operator, x, b - operator.matvec(x), watch, factor.matvec)
    return watch.result(x, kind=SolverResult, method="icpcg")


class IncompleteCholesky(LinearOperator):
    r"""An incomplete Cholesky factor as a preconditioner: the operator :math:`(L L^T)^{-1}`, for any solver's ``M``.

    ``L`` has the places of the lower triangle of ``A``. A factor exists for M-matrices; where a pivot fails, the
    diagonal of ``A`` is enlarged, by ever more until there is one, and :attr:`shift` says by how much.

    Parameters
    ----------
    A : array, sparse matrix, StructuredMatrix or PoissonSystem, shape (n, n)
        Symmetric with a positive diagonal; the lower triangle is read. Rows that are empty count as rows of the
        identity.
    modified : float
        How much of what the factor drops goes to the diagonal, in [0, 1]: 0 is IC(0), 0.97 a good choice for
        pressure systems. At 1 a factor of a singular system fails without a shift.

    Attributes
    ----------
    shift : float
        Relative enlargement of the diagonal.

    Raises
    ------
    ArgumentError
        If the diagonal is not positive, or an argument is out of range.
    ShapeError, UnsupportedError
        If ``A`` is not a square matrix with entries.

    Notes
    -----
    Entries of ``L``: (nnz + n) / 2. The factor takes about ``k**2 / 2`` updates for each column of k entries, a
    product 4 flops an entry of ``L``.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.solve import GridStencil, IncompleteCholesky
    >>> A = GridStencil((3, 1)).to_scipy()  # without fill, so that nothing is dropped
    >>> bool(np.allclose(IncompleteCholesky(A) @ (A @ np.ones(3)), 1))
    True
    """

    def __init__(self, A: Any, *, modified: float = 0.0) -> None:
        self.modified = check_float("modified", modified, low=0, high=1)
        csr = check_csr("A", A)
        diagonal = csr.diagonal()
        empty = (np.diff(csr.indptr) == 0) & (diagonal == 0)
        wrong = ~(diagonal > 0) & ~empty
        if wrong.any():
            row = int(wrong.argmax())
            raise ArgumentError(f"A[{row}, {row}]={diagonal[row]:g}: expected a positive diagonal")
        if empty.any():
            csr = csr + scipy.sparse.diags_array(empty.astype(np.float64), format="csr")
        upper = scipy.sparse.triu(csr, format="csr")  # by rows what the lower triangle is by columns
        upper.sort_indices()
        self._factor = IncompleteFactor(upper.indptr, upper.indices, upper.data)
        self.shift, failed = 0.0, self._factor.factor(self.modified)
        while failed >= 0:
            self.shift = 2 * self.shift if self.shift else FIRST_SHIFT
            if self.shift > MOST_SHIFT:
                raise ArgumentError(f"A has no incomplete factor: a pivot fails in column {failed}")
            failed = self._factor.factor(self.modified, self.shift)
        super().__init__(np.float64, csr.shape)

    @property
    def lower(self) -> scipy.sparse.csc_array:
        """``L``."""
        return scipy.sparse.csc_array(self._factor.lower(), shape=self.shape)

    def _matvec(self, r: np.ndarray) -> np.ndarray:
        return self._factor.solve(np.asarray(r, np.float64).reshape(-1))

    def _adjoint(self) -> IncompleteCholesky:
        return self

    _rmatvec = _matvec
