"""The one way in which solvers take matrices and preconditioners: arrays, sparse matrices, structures, operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from gossamer._core.checks import check_array, check_finite
from gossamer._core.errors import ArgumentError, ShapeError, UnsupportedError
from gossamer.linalg.operator import StructuredMatrix

Matvec = Callable[[np.ndarray], np.ndarray]


def check_operator(name: str, A: Any, *, square: bool = True) -> LinearOperator:
    """Return a matrix or operator of any kind as a SciPy operator.

    Parameters
    ----------
    name : str
        The argument's name, for messages.
    A : array, sparse matrix, StructuredMatrix or LinearOperator
        Real; entries that are there must be finite.
    square : bool
        Whether it must be square.

    Raises
    ------
    UnsupportedError
        If it is none of these.
    ShapeError
        If it is not square.
    """
    if scipy.sparse.issparse(A):
        check_finite(name, A.data if hasattr(A, "data") and A.format != "lil" else A.tocsr().data)
    elif not isinstance(A, (LinearOperator, StructuredMatrix)) and not hasattr(A, "matvec"):
        A = check_array(name, A, ndim=2)
    try:
        operator = aslinearoperator(A)
    except TypeError:
        raise UnsupportedError(
            f"{name} is a {type(A).__name__}: expected an array, a sparse matrix, a structured matrix or an operator"
        ) from None
    if np.issubdtype(operator.dtype, np.complexfloating):
        raise ArgumentError(f"{name} is complex: expected real numbers")
    if square and operator.shape[0] != operator.shape[1]:
        raise ShapeError(f"{name} has shape {operator.shape}: expected a square matrix")
    return operator


def check_system(A: Any, b: Any, x0: Any = None) -> tuple[LinearOperator, np.ndarray, np.ndarray]:
    """Return ``A`` as an operator, ``b``, and a start that may be written to (zeros if ``x0`` is None).

    Raises
    ------
    ShapeError
        If the three do not fit together.
    """
    operator = check_operator("A", A)
    dtype = np.result_type(operator.dtype, np.float64)
    return operator, *check_sides(operator.shape[0], b, x0, dtype)


def check_sides(n: int, b: Any, x0: Any = None, dtype: Any = np.float64) -> tuple[np.ndarray, np.ndarray]:
    """The right side and a start of a system of ``n`` equations."""
    sides = []
    for name, side in (("b", b), ("x0", x0)):
        vector = np.zeros(n, dtype) if side is None else np.array(check_array(name, side, ndim=1), dtype)
        if vector.shape != (n,):
            raise ShapeError(f"{name} has shape {vector.shape}: expected ({n},), as many as A has rows")
        sides.append(vector)
    return sides[0], sides[1]


def check_csr(name: str, A: Any, *, square: bool = True) -> scipy.sparse.csr_array:
    """Return a matrix whose entries are needed as CSR in double precision, sorted and without duplicates.

    Accepts arrays, sparse matrices and structured matrices. Nothing that was handed in is modified.

    Raises
    ------
    UnsupportedError
        For operators, which have no entries to look at.
    """
    if hasattr(A, "to_scipy"):
        A = A.to_scipy()
    elif isinstance(A, StructuredMatrix):
        A = np.asarray(A.to_dense())
    if isinstance(A, LinearOperator):
        raise UnsupportedError(
            f"{name} is an operator: this method reads its entries, hand in a sparse matrix"
        )
    if not scipy.sparse.issparse(A):
        A = check_array(name, A, ndim=2)
    if np.issubdtype(A.dtype, np.complexfloating):
        raise ArgumentError(f"{name} is complex: expected real numbers")
    csr = scipy.sparse.csr_array(A, dtype=np.float64)
    if not csr.has_canonical_format:
        csr = csr.copy()
        csr.sum_duplicates()
    check_finite(name, csr.data)
    if square and csr.shape[0] != csr.shape[1]:
        raise ShapeError(f"{name} has shape {csr.shape}: expected a square matrix")
    return csr


def check_preconditioner(M: Any, A: Any) -> Matvec | None:
    """Return what applies a preconditioner, an approximate inverse of ``A``, to a residual.

    Parameters
    ----------
    M : None, "jacobi", array, sparse or structured matrix, LinearOperator, multigrid solver, or callable
        ``"jacobi"`` divides by the diagonal of ``A``. A multigrid solver, ours or PyAMG's, gives one cycle.
    A : matrix or operator
        The system's matrix.
    """
    if not hasattr(A, "shape"):
        A = check_array("A", A, ndim=2)
    n = A.shape[0]
    if M is None:
        return None
    if isinstance(M, str):
        if M != "jacobi":
            raise ArgumentError(f'M={M!r}: expected "jacobi", a matrix, an operator or a callable')
        diagonal = diagonal_of(A)
        if not np.all(diagonal > 0):
            row = int(np.argmin(diagonal))
            raise ArgumentError(
                f'M="jacobi": A[{row}, {row}]={diagonal[row]:g}, expected a positive diagonal'
            )
        return lambda r: r / diagonal
    if hasattr(M, "aspreconditioner"):
        M = M.aspreconditioner()
    if callable(M) and not hasattr(M, "matvec"):
        return M
    operator = check_operator("M", M)
    if operator.shape != (n, n):
        raise ShapeError(f"M has shape {operator.shape}: expected {(n, n)}, as A")
    return operator.matvec


def diagonal_of(A: Any) -> np.ndarray:
    """The diagonal of a matrix of any kind but an operator without entries.

    Raises
    ------
    UnsupportedError
        For such an operator.
    """
    if hasattr(A, "diagonal"):
        return np.asarray(A.diagonal(), dtype=np.float64)
    if isinstance(A, LinearOperator):
        raise UnsupportedError("A is an operator, which has no entries to take a diagonal from")
    return np.diagonal(A.to_dense()).astype(np.float64)
