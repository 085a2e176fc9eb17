"""What multigrid solvers share: a checked matrix, solving with it, and being a preconditioner."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse
from scipy.sparse.linalg import LinearOperator

from gossamer._core.checks import check_array, check_float
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._kernels import relax
from gossamer.solve.iteration import Callback, SolverResult, Watch
from gossamer.solve.linear.conjugation import conjugate_gradients
from gossamer.solve.linear.dcdm import dcdm
from gossamer.solve.linear.relaxation.system import relaxation_system
from gossamer.solve.operators import check_csr, check_sides


class MultigridSolver:
    """Base of solvers that one call of ``_step(b, x)`` improves and ``_apply(r)`` stands for the inverse of."""

    A_: scipy.sparse.csr_array
    method: str
    linear = True  # whether ``_apply`` is a linear map, symmetric and positive definite

    def solve(
        self,
        b: Any,
        *,
        x0: Any = None,
        rtol: float = 1e-8,
        atol: float = 0.0,
        maxiter: int | None = None,
        accelerate: bool = True,
        callback: Callback | None = None,
    ) -> SolverResult:
        """Solve ``A x = b``.

        Parameters
        ----------
        b : array, shape (n,)
            Right side.
        x0 : array, shape (n,), optional
            Start; zeros by default.
        rtol, atol : float
            Converged when ``norm(b - A x) <= max(rtol * norm(b), atol)``.
        maxiter : int, optional
            Most iterations; 100 cycles without acceleration, ``10 n`` iterations with it by default.
        accelerate : bool
            Conjugate gradients with the cycle as preconditioner (flexible ones for a K-cycle, which is not linear);
            otherwise cycle after cycle.
        callback : callable, optional
            Called with an :class:`Iteration` at the start and after every iteration.

        Returns
        -------
        SolverResult
            ``history["residual"]`` has a norm an iteration.
        """
        self._check_ready()
        b, x = check_sides(self.A_.shape[0], b, x0)
        if accelerate and not self.linear:
            limit = 10 * len(b) if maxiter is None else maxiter
            return dcdm(
                self.A_, b, M=self._apply, x0=x, rtol=rtol, atol=atol, maxiter=limit, safeguard=False,
                callback=callback,
            )  # fmt: skip
        goal = max(
            check_float("rtol", rtol, low=0) * float(np.linalg.norm(b)), check_float("atol", atol, low=0)
        )
        default = 10 * len(b) if accelerate else 100
        watch = Watch(
            "residual", tol=goal, maxiter=default if maxiter is None else maxiter, callback=callback
        )
        r = b - self.A_ @ x
        if accelerate:
            operator = scipy.sparse.linalg.aslinearoperator(self.A_)
            conjugate_gradients(operator, x, r, watch, self._apply)
        else:
            while not watch(x, float(np.linalg.norm(r))):
                self._step(b, x)
                r = b - self.A_ @ x
        return watch.result(x, kind=SolverResult, method=self.method)

    def aspreconditioner(self) -> LinearOperator:
        """The approximate inverse as an operator, for ``M=`` of solvers here and in SciPy."""
        self._check_ready()
        return LinearOperator(self.A_.shape, matvec=self._apply, rmatvec=self._apply, dtype=np.float64)

    def _step(self, b: np.ndarray, x: np.ndarray) -> None:
        raise AssertionError("a solver says what its step is")

    def _apply(self, r: np.ndarray) -> np.ndarray:
        raise AssertionError("a solver says what its inverse is")

    def _check_ready(self) -> None:
        if not hasattr(self, "A_"):
            raise ArgumentError(f"{type(self).__name__} has no matrix yet: call setup(A) first")


def check_spd(A: Any) -> tuple[scipy.sparse.csr_array, relax.Rows]:
    """``A`` as canonical CSR and as kernels take it, if it is symmetric with a positive diagonal."""
    csr = check_csr("A", A)
    if not csr.shape[0]:
        raise ShapeError("A has no rows: expected at least one")
    matrix = relaxation_system(csr, symmetric=True).matrix
    assert isinstance(matrix, relax.Rows)
    return csr, matrix


def check_direction(w: Any, n: int) -> np.ndarray:
    """The vector that a hierarchy is built along: ones if it is None, not all zero."""
    if w is None:
        return np.ones(n)
    w = np.array(check_array("w", w, ndim=1), np.float64)
    if w.shape != (n,):
        raise ShapeError(f"w has shape {w.shape}: expected ({n},), as many as A has rows")
    if not w.any():
        raise ArgumentError("w is zero: expected a vector that smoothing reduces slowly, such as ones")
    return w
