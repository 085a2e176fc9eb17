"""Conjugate directions from any proposal: a network's, say."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse

from gossamer._core.checks import check_array, check_float, check_int
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.solve.iteration import Callback, SolverResult, Watch
from gossamer.solve.operators import Matvec, check_operator, check_preconditioner

WEAK = 1e-3
"""A step is helped along where it gains less than this times what the residual as direction would."""


@dataclass(frozen=True, kw_only=True)
class DCDMResult(SolverResult):
    """What :func:`dcdm` returns.

    Attributes
    ----------
    x : ndarray, shape (n,) or (n, k)
        The solution.
    nits : ndarray of int, shape (k,)
        Iterations of each right side.
    n_safeguard : int
        Steps, of all right sides, that took the residual as a second direction.
    residual : float
        Norm of ``b - A x``, the largest of all right sides.
    """

    nits: np.ndarray = field(default_factory=lambda: np.zeros(0, int), repr=False)
    n_safeguard: int = 0
    residual: float = 0.0


def dcdm(
    A: Any,
    b: Any,
    *,
    M: Any,
    x0: Any = None,
    rtol: float = 1e-4,
    atol: float = 0.0,
    maxiter: int = 100,
    n_orth: int | None = 8,
    mask: Any = None,
    nullspace: Any = None,
    safeguard: bool = True,
    callback: Callback | None = None,
) -> DCDMResult:
    r"""Solve ``A x = b`` for symmetric positive definite ``A`` along conjugate directions that ``M`` proposes.

    .. math::

        d = M(r), \quad d \mathrel{-}= \sum_i p_i \frac{p_i^T A d}{p_i^T A p_i}, \quad
        x \mathrel{+}= d \, \frac{r^T d}{d^T A d}

    ``M`` may be nonlinear, nonsymmetric or plainly bad: a step is the exact minimiser along its direction, so that the
    energy :math:`x^T A x / 2 - b^T x` never rises. Directions are made conjugate to the last ``n_orth`` ones. If ``M``
    is linear and symmetric, two make it conjugate to all, and the iteration is that of preconditioned CG; a network
    (:class:`DeepConjugateDirection`) is not, and a few more, at a small part of its own price, keep it from stalling.

    Parameters
    ----------
    A : array, sparse matrix, StructuredMatrix, PoissonSystem or LinearOperator, shape (n, n)
        Symmetric positive definite, or semidefinite with ``nullspace``.
    b : array, shape (n,) or (n, k)
        Right side, or several that are solved side by side with one call of ``M`` an iteration.
    M : callable, or as in :func:`cg`
        Residual (n,) to direction (n,), of any length; with several right sides (n, k) to (n, k).
    x0 : array, of the shape of ``b``, optional
        Start; zeros by default.
    rtol, atol : float
        A right side has converged when ``norm(b - A x) <= max(rtol * norm(b), atol)``.
    maxiter : int
        Most iterations.
    n_orth : int or None
        Directions that are kept; published: 2. 0 is line search only, None keeps all.
    mask : array of bool, shape (n,), optional
        Where unknowns are: directions are zero elsewhere. ``A.fluid`` by default, if ``A`` is a PoissonSystem.
    nullspace : array or sparse matrix, shape (n, c) or (n,), optional
        Vectors that ``A`` maps to zero, which are taken out of right sides and directions. ``A.nullspace`` by default,
        if ``A`` is a PoissonSystem.
    safeguard : bool
        Minimise over the direction and the residual together where the direction is degenerate, or gains less than
        1e-3 of what the residual, made conjugate like it, would. Costs a product with ``A`` an iteration.
    callback : callable, optional
        Called with an :class:`Iteration` at the start and after every iteration.

    Returns
    -------
    DCDMResult
        ``history`` has ``residual`` (the largest norm of ``b - A x``, computed, not recurred), ``energy`` (summed
        over right sides) and ``safeguard`` (steps so far that were helped).

    Raises
    ------
    ArgumentError
        If ``b`` has entries outside the mask or is not in the range of ``A``, or ``M`` returns NaN.
    ShapeError, UnsupportedError
        If the arguments do not fit together.

    Notes
    -----
    Per iteration and right side one call of ``M``, two products with ``A`` (three with the safeguard) and
    ``6 n_orth n`` flops; ``2 n_orth + 5`` vectors of memory.

    References
    ----------
    Kaneda, Akar, Chen, Kala, Hyde and Teran, "A deep conjugate direction method for iteratively solving linear
    systems", ICML 2023, arXiv 2205.10763.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.solve import GridStencil, IncompleteCholesky, dcdm
    >>> A, b = GridStencil((50, 50)).to_scipy(), np.ones(2500)
    >>> dcdm(A, b, M=lambda r: np.tanh(r), rtol=1e-3).nit > dcdm(A, b, M=IncompleteCholesky(A), rtol=1e-3).nit
    True
    """
    operator = check_operator("A", A)
    if M is None:
        raise ArgumentError("M=None: expected what proposes directions, such as a DeepConjugateDirection")
    propose = _Proposal(M, A)
    sides = np.array(check_array("b", b, ndim=(1, 2)), np.float64)
    if sides.shape[0] != operator.shape[0]:
        raise ShapeError(f"b has shape {sides.shape}: expected {operator.shape[0]} rows, as A")
    x = np.zeros_like(sides) if x0 is None else np.array(check_array("x0", x0, ndim=(1, 2)), np.float64)
    if x.shape != sides.shape:
        raise ShapeError(f"x0 has shape {x.shape}: expected {sides.shape}, as b")
    room = _Room(A, mask, nullspace)
    B = room.check(sides.reshape(len(sides), -1))
    X = x.reshape(B.shape)
    kept = None if n_orth is None else check_int("n_orth", n_orth, low=0)
    goals = np.maximum(
        check_float("rtol", rtol, low=0) * np.linalg.norm(B, axis=0), check_float("atol", atol, low=0)
    )
    watch = Watch("residual", tol=float(goals.max(initial=0)), maxiter=maxiter, callback=callback)
    R = B - operator.matmat(X) if X.any() else B.copy()
    nits, helped = np.zeros(B.shape[1], int), 0
    past: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    norm_A = 0.0
    energy = -0.5 * np.einsum("ij,ij->", X, B + R)
    norms = np.linalg.norm(R, axis=0)
    over = watch(x, norms.max(initial=0), settled=bool((norms <= goals).all()), energy=energy, safeguard=0)
    while not over:
        open_ = norms > goals
        D = np.zeros_like(R)
        D[:, open_] = propose(R[:, open_], sides.ndim, watch.nit + 1)
        P = _conjugate(room.project(D), past)
        AP = operator.matmat(P)
        curvature, slope = _dots(P, AP), _dots(P, R)
        size = _dots(P, P)
        norm_A = max(norm_A, float(np.max(np.sqrt(_dots(AP, AP)[size > 0] / size[size > 0]), initial=0)))
        if (curvature < -1e-12 * norm_A * size).any():
            watch.give_up(f"A is not positive definite: a direction has curvature {curvature.min():.3g}")
            break
        sound = curvature > 1e-14 * norm_A * size
        curvature, slope = np.where(sound, curvature, 1.0), np.where(sound, slope, 0.0)
        step = slope / curvature
        S, AS = P * step, AP * step
        if safeguard:
            G = _conjugate(R, past)
            AG = operator.matmat(G)
            plain = _dots(G, R) ** 2 / np.maximum(_dots(G, AG), np.finfo(float).tiny)
            weak = open_ & (step * slope < WEAK * plain)
            if weak.any():
                helped += int(weak.sum())
                along = np.where(sound, _dots(AP, G) / curvature, 0.0)
                G, AG = G - P * along, AG - AP * along
                bend = _dots(G, AG)
                second = np.where(weak & (bend > 0), _dots(G, R) / np.where(bend > 0, bend, 1.0), 0.0)
                S, AS = S + G * second, AS + AG * second
        moved = _dots(S, AS)
        past.insert(0, (S, AS, moved))
        if kept is not None:
            del past[kept:]
        X += S * open_
        R = B - operator.matmat(X)
        nits += open_
        norms = np.where(open_, np.linalg.norm(R, axis=0), norms)
        energy = -0.5 * np.einsum("ij,ij->", X, B + R)
        over = watch(x, norms.max(), settled=bool((norms <= goals).all()), energy=energy, safeguard=helped)
    return watch.result(
        x, kind=DCDMResult, method="dcdm", nits=nits, n_safeguard=helped, residual=float(norms.max(initial=0))
    )


class _Proposal:
    """Calls ``M`` on residuals of shape (n, k) and looks at what comes back."""

    def __init__(self, M: Any, A: Any) -> None:
        apply = check_preconditioner(M, A)
        if apply is None:
            raise ArgumentError("M=None: expected what proposes directions, such as a DeepConjugateDirection")
        self.apply: Matvec = apply
        self.by_column = not callable(M) or hasattr(M, "matvec")

    def __call__(self, R: np.ndarray, ndim: int, nit: int) -> np.ndarray:
        if ndim == 1 or self.by_column:
            columns = [np.asarray(self.apply(r), np.float64) for r in np.ascontiguousarray(R.T)]
            D = np.stack([column.reshape(-1) for column in columns], axis=1)
        else:
            D = np.asarray(self.apply(R), np.float64)
        if D.shape != R.shape:
            raise ShapeError(f"M returned shape {D.shape} at iteration {nit}: expected {R.shape}")
        if not np.isfinite(D).all():
            raise ArgumentError(f"M returned NaN or infinite entries at iteration {nit}")
        return D


class _Room:
    """Where solutions live: the unknowns, without the null space."""

    def __init__(self, A: Any, mask: Any, nullspace: Any) -> None:
        mask = getattr(A, "fluid", None) if mask is None else mask
        nullspace = getattr(A, "nullspace", None) if nullspace is None else nullspace
        n = A.shape[0] if hasattr(A, "shape") else len(A)
        self.mask = None if mask is None else np.asarray(mask, bool).reshape(-1)
        if self.mask is not None and self.mask.shape != (n,):
            raise ShapeError(f"mask has {self.mask.size} entries: expected {n}, as A has rows")
        self.basis = None
        if nullspace is not None:
            basis = nullspace if scipy.sparse.issparse(nullspace) else np.asarray(nullspace, np.float64)
            basis = scipy.sparse.csc_array(basis.reshape(-1, 1) if basis.ndim == 1 else basis)
            if basis.shape[0] != n:
                raise ShapeError(f"nullspace has shape {basis.shape}: expected {n} rows, as A")
            gram = scipy.sparse.coo_array(basis.T @ basis)
            if (gram.coords[0] != gram.coords[1]).any() or not np.allclose(gram.data, 1, rtol=1e-12):
                basis = scipy.sparse.csc_array(np.linalg.qr(basis.toarray())[0])
            self.basis = basis if basis.shape[1] else None

    def check(self, B: np.ndarray) -> np.ndarray:
        """Right sides without their rounding outside the range of A, if it is no more than that."""
        if self.mask is not None and B[~self.mask].any():
            row = int(np.flatnonzero(B.any(axis=1) & ~self.mask)[0])
            raise ArgumentError(f"b has an entry in row {row}, outside the mask: expected zeros there")
        if self.basis is None:
            return B
        outside = np.abs(self.basis.T @ B)
        most = outside / np.maximum(np.linalg.norm(B, axis=0), np.finfo(float).tiny)
        if (most > 1e-8).any():
            column = int(np.argwhere(most > 1e-8)[0][0])
            raise ArgumentError(
                f"b is not in the range of A: {most.max():.3g} of it lies along column {column} of the null space"
            )
        return self.project(B)

    def project(self, D: np.ndarray) -> np.ndarray:
        """Directions within the mask, without the null space."""
        if self.mask is not None:
            D = np.where(self.mask[:, None], D, 0.0)
        return D if self.basis is None else D - self.basis @ (self.basis.T @ D)


def _conjugate(D: np.ndarray, past: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> np.ndarray:
    """Directions made A-orthogonal to earlier ones, the newest first."""
    for P, AP, curvature in past:
        D = D - P * np.where(curvature > 0, _dots(D, AP) / np.where(curvature > 0, curvature, 1.0), 0.0)
    return D


def _dots(X: np.ndarray, Y: np.ndarray) -> np.ndarray:
    return np.einsum("ij,ij->j", X, Y)
