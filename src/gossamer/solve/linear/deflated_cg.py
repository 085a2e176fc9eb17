"""Conjugate gradients in which the smoothest part of the solution is computed directly."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer._core.checks import check_array, check_float, check_int
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.solve.iteration import Callback, SolverResult, Watch
from gossamer.solve.linear.conjugation import conjugate_gradients
from gossamer.solve.linear.lanczos import lanczos
from gossamer.solve.operators import check_preconditioner, check_system


def deflated_cg(
    A: Any,
    b: Any,
    *,
    n_vectors: int = 16,
    vectors: Any = None,
    x0: Any = None,
    rtol: float = 1e-5,
    atol: float = 0.0,
    maxiter: int | None = None,
    M: Any = None,
    callback: Callback | None = None,
) -> SolverResult:
    r"""Solve ``A x = b`` for symmetric positive definite ``A`` by CG that stays conjugate to a few given vectors.

    .. math:: x_0 \mathrel{+}= Z (Z^T A Z)^{-1} Z^T r_0, \quad p = z - Z (Z^T A Z)^{-1} (A Z)^T z + \beta p

    With :math:`z = M r`. Residuals stay orthogonal to Z. Where Z spans the eigenvectors of the smallest eigenvalues,
    the iteration sees the others only. Ritz vectors of a few Lanczos steps, the default, span a Krylov space that CG
    would go through itself, and save few iterations beyond these: hand in ``vectors`` that are known to be slow, such
    as those of an earlier system, or indicators of parts of the domain.

    Parameters
    ----------
    A : array, sparse matrix, StructuredMatrix or LinearOperator, shape (n, n)
        Symmetric positive definite; only products are taken.
    b : array, shape (n,)
        Right side.
    n_vectors : int
        Steps of Lanczos from the first residual, whose Ritz vectors make Z. 16 is published.
    vectors : array, shape (n, k), optional
        Z itself, linearly independent.
    x0 : array, shape (n,), optional
        Start; zeros by default.
    rtol, atol : float
        Converged when ``norm(b - A x) <= max(rtol * norm(b), atol)``.
    maxiter : int, optional
        Most iterations; ``10 n`` by default. Lanczos steps are not counted.
    M : optional
        As in :func:`cg`, which see; ``"jacobi"`` is published, and no different on a constant diagonal.
    callback : callable, optional
        Called with an :class:`Iteration` at the start, after Z's share was computed, and after every iteration.

    Returns
    -------
    SolverResult
        ``history["residual"]`` has the norm of the recurred residual.

    Raises
    ------
    ArgumentError, ShapeError, UnsupportedError
        If the arguments do not fit together, are not finite, or A is not positive definite on ``vectors``.

    Notes
    -----
    ``k`` products to set up; ``4 n k`` flops an iteration besides those of CG. ``16 n k`` bytes.

    References
    ----------
    Saad, Yeung, Erhel and Guyomarc'h, "A deflated version of the conjugate gradient algorithm", 2000.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.solve import cg, deflated_cg
    >>> A = np.diag(np.r_[0.001, 0.002, np.linspace(1, 2, 98)])
    >>> [cg(A, np.ones(100)).nit, deflated_cg(A, np.ones(100), vectors=np.eye(100)[:, :2]).nit]
    [17, 7]
    """
    operator, b, x = check_system(A, b, x0)
    n, apply = len(b), check_preconditioner(M, A)
    goal = max(check_float("rtol", rtol, low=0) * float(np.linalg.norm(b)), check_float("atol", atol, low=0))
    watch = Watch("residual", tol=goal, maxiter=10 * n if maxiter is None else maxiter, callback=callback)
    r = b - operator.matvec(x) if x.any() else b.copy()
    check_int("n_vectors", n_vectors, low=1)
    if vectors is not None:
        Z = np.asarray(check_array("vectors", vectors, ndim=2), np.float64)
        if Z.shape[0] != n or not 1 <= Z.shape[1] <= n:
            raise ShapeError(f"vectors have shape {Z.shape}: expected ({n}, k)")
    elif r.any():
        Z = np.ascontiguousarray(lanczos(operator, r, n_vectors).ritz()[1].T)
    else:
        Z = np.empty((n, 0))
    AZ = np.asarray(operator.matmat(Z)) if Z.size else np.empty_like(Z)
    gram = Z.T @ AZ
    try:
        root = np.linalg.cholesky((gram + gram.T) / 2)
    except np.linalg.LinAlgError:
        raise ArgumentError(
            f"vectors: A is not positive definite on their span, smallest Ritz value {np.linalg.eigvalsh(gram)[0]:.3g}"
        ) from None
    half = np.linalg.solve(root, Z.T)  # with it, Z (Z^T A Z)^-1 Z^T = half^T half
    image = np.linalg.solve(root, AZ.T)
    step = half @ r
    x += half.T @ step
    r -= image.T @ step
    conjugate_gradients(operator, x, r, watch, apply, lambda z: z - half.T @ (image @ z))
    return watch.result(x, kind=SolverResult, method="deflated-cg")
