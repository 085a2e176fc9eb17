"""Conjugate gradients, with any preconditioner that is symmetric positive definite."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer._core.checks import check_float
from gossamer.solve.iteration import Callback, SolverResult, Watch
from gossamer.solve.linear.conjugation import conjugate_gradients
from gossamer.solve.operators import check_preconditioner, check_system


def cg(
    A: Any,
    b: Any,
    *,
    x0: Any = None,
    rtol: float = 1e-5,
    atol: float = 0.0,
    maxiter: int | None = None,
    M: Any = None,
    callback: Callback | None = None,
) -> SolverResult:
    """Solve ``A x = b`` for symmetric positive definite ``A`` by preconditioned conjugate gradients.

    The iteration of :func:`scipy.sparse.linalg.cg`, with a result that has its residuals, and a word where ``A``
    turns out not to be positive definite.

    Parameters
    ----------
    A : array, sparse matrix, StructuredMatrix or LinearOperator, shape (n, n)
        Symmetric positive definite; only products are taken.
    b : array, shape (n,)
        Right side.
    x0 : array, shape (n,), optional
        Start; zeros by default.
    rtol, atol : float
        Converged when ``norm(b - A x) <= max(rtol * norm(b), atol)``.
    maxiter : int, optional
        Most iterations; ``10 n`` by default.
    M : optional
        Approximate inverse of ``A``, applied to residuals: ``"jacobi"``, a matrix, an operator, a solver of PyAMG or
        a callable.
    callback : callable, optional
        Called with an :class:`Iteration` at the start and after every iteration.

    Returns
    -------
    SolverResult
        ``history["residual"]`` has the norm of the recurred residual at the start and after every iteration.

    Raises
    ------
    ShapeError, UnsupportedError, ArgumentError
        If the arguments do not fit together, or are not finite.

    Notes
    -----
    One product with ``A``, one with ``M`` and ``10 n`` operations an iteration; five vectors of memory.

    References
    ----------
    Hestenes and Stiefel, "Methods of conjugate gradients for solving linear systems", 1952.

    Examples
    --------
    >>> import numpy as np, scipy.sparse as sp
    >>> from gossamer.solve import cg
    >>> A = sp.diags_array([-np.ones(99), 2.1 * np.ones(100), -np.ones(99)], offsets=[-1, 0, 1])
    >>> result = cg(A, np.ones(100), rtol=1e-10)
    >>> result.success, bool(np.allclose(A @ result.x, 1))
    (True, True)
    """
    operator, b, x = check_system(A, b, x0)
    apply = check_preconditioner(M, A)
    goal = max(check_float("rtol", rtol, low=0) * float(np.linalg.norm(b)), check_float("atol", atol, low=0))
    watch = Watch(
        "residual", tol=goal, maxiter=10 * len(b) if maxiter is None else maxiter, callback=callback
    )
    r = b - operator.matvec(x) if x.any() else b.copy()
    conjugate_gradients(operator, x, r, watch, apply)
    return watch.result(x, kind=SolverResult, method="cg")
