"""Conjugate gradients with symmetric successive over-relaxation as preconditioner, without products with the matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse.linalg import LinearOperator

from gossamer._core.checks import check_float
from gossamer._kernels import relax
from gossamer.solve.iteration import Callback, Watch
from gossamer.solve.linear.relaxation.system import RelaxationResult, check_omega, relaxation_system
from gossamer.solve.operators import check_sides


def ssor_pcg(
    A: Any,
    b: Any,
    *,
    omega: float | None,
    x0: Any = None,
    rtol: float = 1e-8,
    atol: float = 0.0,
    maxiter: int = 10_000,
    eisenstat: bool = True,
    ordering: str = "natural",
    callback: Callback | None = None,
    threads: int | None = None,
) -> RelaxationResult:
    r"""Solve ``A x = b`` for symmetric positive definite ``A`` by conjugate gradients preconditioned with SSOR.

    The preconditioner is :math:`M = (D + \omega L) D^{-1} (D + \omega L)^T / (\omega (2 - \omega))` for
    :math:`A = D + L + L^T`. In Eisenstat's form its two triangular solves also give the product with ``A``, so that an
    iteration reads the matrix once. ``omega`` matters less than for :func:`sor`, but a good one halves the count:
    :class:`RelaxationTuner` learns it over a sequence of systems.

    Parameters
    ----------
    A : array, sparse matrix, StructuredMatrix or GridStencil, shape (n, n)
        Symmetric positive definite; symmetry is checked on one product.
    b : array, shape (n,)
        Right side. Zeros give zeros, in no iteration.
    omega : float or None
        The relaxation parameter, between 0 and 2. None: no preconditioner, plain conjugate gradients in the same
        compiled loop, to compare with.
    x0 : array, shape (n,), optional
        Start; zeros by default. In time stepping, the solution of the step before.
    rtol, atol : float
        Converged when ``norm(b - A x) <= max(rtol * norm(b), atol)``.
    maxiter : int
        Most iterations.
    eisenstat : bool
        False applies the preconditioner and multiplies with ``A``, each as it stands. Iterates agree to rounding.
    ordering : str
        ``"natural"``, or ``"multicolor"``, which runs on threads and takes more iterations; see :func:`sor`.
    callback : callable, optional
        Called with an :class:`Iteration` at the start and after every iteration.
    threads : int, optional
        Most threads; results do not depend on it.

    Returns
    -------
    RelaxationResult
        ``x``, ``nit``, ``residual``, ``success``; ``history["residual"]`` has the norm of the recurred residual.

    Raises
    ------
    ArgumentError, ShapeError, UnsupportedError
        If ``A`` is not symmetric or its diagonal not positive, ``omega`` is not inside (0, 2), or the arguments do not
        fit together.

    Notes
    -----
    Per iteration 3 nnz flops and one reading of ``A``, in five vectors of memory. The residual itself is kept, not only
    its image under the lower triangle, so that both forms stop by the same measure. Equivalent to
    :func:`scipy.sparse.linalg.cg` with ``M=SSOR(A, omega)``.

    References
    ----------
    Eisenstat, "Efficient implementation of a class of preconditioned conjugate gradient methods", 1981.
    Khodak, Chow, Balcan and Talwalkar, "Learning to relax: setting solver parameters across a sequence of linear
    system instances", ICLR 2024, arXiv 2310.02246.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.solve import GridStencil, ssor_pcg
    >>> A = GridStencil((50, 50))
    >>> [ssor_pcg(A, np.ones(2500), omega=omega).nit for omega in (None, 1.0, 1.8)]
    [93, 48, 27]
    """
    form = "plain" if omega is None else "eisenstat" if eisenstat else "ssor"
    omega = 1.0 if omega is None else check_omega(omega)
    system = relaxation_system(A, ordering, symmetric=True)
    b, x = (system.sorted(side) for side in check_sides(system.matrix.n, b, x0))
    size = float(np.linalg.norm(b))
    if size == 0:
        x = np.zeros_like(x)
    goal = max(check_float("rtol", rtol, low=0) * size, check_float("atol", atol, low=0))
    watch = Watch("residual", tol=goal, maxiter=maxiter, callback=callback)
    r, norm = relax.residual(system.matrix, b, x, threads)
    over = watch(system.unsorted(x), norm)
    search = relax.Search(system.matrix, form, omega, x, r)
    while not over:
        norms, end, curvature = search.run(goal, 1 if callback else watch.maxiter, threads)
        if len(norms):
            over = watch(system.unsorted(x), norms[0]) if callback else watch.replay(norms)
        if not over and end in (relax.DIRECTION, relax.PRECONDITIONER):
            name = "A" if end == relax.DIRECTION or form == "plain" else "M"
            watch.give_up(f"{name} is not positive definite: a direction has curvature {curvature:.3g}")
            break
    return watch.result(
        system.unsorted(x),
        kind=RelaxationResult,
        method="cg" if form == "plain" else "ssor-pcg",
        omega=float("nan") if form == "plain" else omega,
        ordering=ordering,
        goal=goal,
    )


class SSOR(LinearOperator):
    r"""SSOR as a preconditioner: the operator :math:`M^{-1}` of :func:`ssor_pcg`, for any solver that takes ``M``.

    A product is a forward and a backward triangular solve.

    Parameters
    ----------
    A : array, sparse matrix, StructuredMatrix or GridStencil, shape (n, n)
        Symmetric with a positive diagonal.
    omega : float
        Between 0 and 2.
    ordering : str
        ``"natural"`` or ``"multicolor"``.
    threads : int, optional
        Most threads, for ``"multicolor"``.

    Raises
    ------
    ArgumentError, ShapeError, UnsupportedError
        As :func:`ssor_pcg`.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.solve import GridStencil, SSOR, cg, ssor_pcg
    >>> A, b = GridStencil((30, 30)), np.ones(900)
    >>> cg(A, b, rtol=1e-8, M=SSOR(A, 1.7)).nit == ssor_pcg(A, b, omega=1.7).nit
    True
    """

    def __init__(
        self, A: Any, omega: float = 1.0, *, ordering: str = "natural", threads: int | None = None
    ) -> None:
        self.omega, self.threads = check_omega(omega), threads
        self.system = relaxation_system(A, ordering, symmetric=True)
        super().__init__(np.float64, (self.system.matrix.n,) * 2)

    def _matvec(self, r: np.ndarray) -> np.ndarray:
        r = self.system.sorted(np.asarray(r, np.float64).reshape(-1))
        return self.system.unsorted(relax.apply(self.system.matrix, self.omega, r, self.threads))

    def _adjoint(self) -> SSOR:
        return self

    _rmatvec = _matvec
