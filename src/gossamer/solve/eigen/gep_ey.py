"""Top of a generalised eigenvalue problem as an unconstrained minimum, by products alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gossamer._core.checks import check_array, check_int
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._core.random import RandomState, check_random_state
from gossamer.solve.iteration import Callback, SolverResult, Watch

Product = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class GEPResult(SolverResult):
    """What :func:`gep_ey` returns; ``x`` is the minimiser U, (p, K).

    Attributes
    ----------
    eigenvalues : ndarray, shape (K,)
        Descending; 0 where there are fewer than K positive ones.
    vectors : ndarray, shape (p, K)
        ``W`` with ``W^T B W = I``; zero columns for eigenvalues of 0.
    loss : float
        The minimum, ``-sum(eigenvalues ** 2)`` once converged.
    """

    eigenvalues: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False)
    vectors: np.ndarray = field(default_factory=lambda: np.empty((0, 0)), repr=False)
    loss: float = 0.0


def gep_ey(
    A: Any,
    B: Any,
    p: int,
    K: int,
    *,
    U0: Any = None,
    tol: float = 1e-8,
    maxiter: int = 1000,
    random_state: RandomState = None,
    callback: Callback | None = None,
) -> GEPResult:
    r"""Find the largest eigenvalues of ``A w = lambda B w`` by minimising the Eckart-Young loss.

    .. math:: L(U) = \mathrm{tr}(-2 U^T A U + (U^T B U)^2), \qquad U \in R^{p \times K}.

    Its minimisers are :math:`W_K \Lambda_K^{1/2} O` for any orthogonal O, every other critical point is a saddle, and
    nothing is constrained: no factor of B, no orthogonalisation. Take it where only products with A and B can be had,
    both change slowly (start from the last ``x``), or p is too large for :func:`scipy.linalg.eigh`; with a
    factorisation of B at hand :func:`scipy.sparse.linalg.eigsh` needs fewer products.

    Parameters
    ----------
    A, B : callable, array, sparse matrix or operator
        ``A(U)`` or ``A @ U`` for U of shape (p, K). A symmetric, B symmetric positive definite.
    p : int
        Order of the problem.
    K : int
        Number of eigenvalues.
    U0 : array, shape (p, K), optional
        Start; Gaussian by default.
    tol : float
        Converged when the gradient is at most ``tol`` times the sizes of its two terms.
    maxiter : int
        Most iterations; one product with A and one with B each.
    random_state : int, Generator or None
        Of the start.
    callback : callable, optional
        Called with an :class:`Iteration`.

    Returns
    -------
    GEPResult

    Raises
    ------
    ArgumentError, ShapeError
        K above p, products of another shape, NaN, or a direction in which B is not positive.

    Notes
    -----
    Nonlinear conjugate gradients. Along a line the loss is a quartic, whose coefficients the two products give, so
    that steps are exact and there is no rate to choose. O(p K^2) an iteration besides the products.

    References
    ----------
    Chapman, Wells, Lawry Aguila, "Unconstrained stochastic CCA: unifying multiview and self-supervised learning",
    ICLR 2024, arXiv 2310.01012.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.solve import gep_ey
    >>> A, B = np.diag([3.0, 2.0, 1.0, -5.0]), np.diag([1.0, 2.0, 1.0, 1.0])
    >>> gep_ey(A, B, 4, 2, random_state=0).eigenvalues.round(6).tolist()
    [3.0, 1.0]
    """
    p = check_int("p", p, low=1)
    K = check_int("K", K, low=1, high=p)
    A_mul, B_mul = _product("A", A, p), _product("B", B, p)
    if U0 is None:
        U = check_random_state(random_state).standard_normal((p, K))
    else:
        U = np.array(check_array("U0", U0, ndim=2), dtype=np.float64)
        if U.shape != (p, K):
            raise ShapeError(f"U0 has shape {U.shape}: expected ({p}, {K})")
    AU, BU = A_mul(U), B_mul(U)
    M = U.T @ BU
    size = np.sum(U * AU) / np.sum(M * M) if np.sum(M * M) > 0 else 0.0
    factor = np.sqrt(size) if size > 0 else 1 / np.sqrt(p * max(np.abs(M).max(initial=0.0), 1e-300))
    U, AU, BU, M = factor * U, factor * AU, factor * BU, factor**2 * M
    scale = max(float(np.linalg.norm(AU) + np.linalg.norm(BU @ M)), 1e-300)
    watch = Watch("gradient", tol=tol, maxiter=maxiter, callback=callback)
    D, before = np.zeros_like(U), np.zeros_like(U)
    loss = _loss(U, AU, M)
    G = BU @ M - AU
    over = watch(U, float(np.linalg.norm(G)) / scale, loss=loss)
    while not over:
        # Polak and Ribiere; a direction that does not descend starts again
        turn = float(np.sum(G * (G - before))) / max(float(np.sum(before * before)), 1e-300)
        D = -G + max(turn, 0.0) * D if watch.nit else -G
        if np.sum(D * G) >= 0:
            D = -G
        AD, BD = A_mul(D), B_mul(D)
        step = _exact_step(U, AU, BU, M, D, AD, BD)
        U, AU, BU = U + step * D, AU + step * AD, BU + step * BD
        M = U.T @ BU
        before, G = G, BU @ M - AU
        loss = _loss(U, AU, M)
        scale = max(scale, float(np.linalg.norm(AU)))
        over = watch(U, float(np.linalg.norm(G)) / scale, loss=loss)
    values, W = _ritz(U, AU, M)
    return watch.result(U, kind=GEPResult, method="cg", eigenvalues=values, vectors=W, loss=loss)


def _product(name: str, operator: Any, p: int) -> Product:
    apply = operator if callable(operator) and not hasattr(operator, "shape") else operator.__matmul__
    shape = getattr(operator, "shape", (p, p))
    if tuple(shape) != (p, p):
        raise ShapeError(f"{name} has shape {tuple(shape)}: expected ({p}, {p})")

    def multiply(U: np.ndarray) -> np.ndarray:
        out = np.asarray(apply(U), dtype=np.float64)
        if out.shape != U.shape:
            raise ShapeError(f"{name}(U) has shape {out.shape}: expected {U.shape}")
        if not np.isfinite(out).all():
            raise ArgumentError(f"{name}(U) has NaN or infinite entries")
        return out

    return multiply


def _loss(U: np.ndarray, AU: np.ndarray, M: np.ndarray) -> float:
    return float(-2 * np.sum(U * AU) + np.sum(M * M))


def _exact_step(
    U: np.ndarray,
    AU: np.ndarray,
    BU: np.ndarray,
    M: np.ndarray,
    D: np.ndarray,
    AD: np.ndarray,
    BD: np.ndarray,
) -> float:
    """Where the quartic ``L(U + t D)`` is least."""
    cross = U.T @ BD
    M1, M2 = cross + cross.T, D.T @ BD
    if np.trace(M2) <= 0:
        raise ArgumentError(f"B is not positive definite: a direction has curvature {np.trace(M2):.3g}")
    slope = -4 * np.sum(D * AU) + 2 * np.sum(M * M1)
    square = -2 * np.sum(D * AD) + np.sum(M1 * M1) + 2 * np.sum(M * M2)
    cubic, quartic = 2 * np.sum(M1 * M2), np.sum(M2 * M2)
    unit = max(abs(slope), 1e-300) ** (1 / 3) / max(quartic, 1e-300) ** (
        1 / 3
    )  # t in units that keep the cubic scaled
    c = np.array([quartic * unit**4, cubic * unit**3, square * unit**2, slope * unit, 0.0])
    roots = np.roots(np.polyder(c))
    real = roots.real[np.abs(roots.imag) <= 1e-6 * (1 + np.abs(roots.real))]
    return float(real[np.argmin(np.polyval(c, real))] * unit)


def _ritz(U: np.ndarray, AU: np.ndarray, M: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues and B-orthonormal vectors within the span of U; directions that shrank to nothing are zero."""
    sizes, Q = np.linalg.eigh((M + M.T) / 2)
    kept = sizes > 1e-7 * max(sizes.max(initial=0.0), 1e-300)
    basis = Q[:, kept] / np.sqrt(sizes[kept])
    inner = basis.T @ (U.T @ AU) @ basis
    values, O = np.linalg.eigh((inner + inner.T) / 2)
    out, W = np.zeros(U.shape[1]), np.zeros_like(U)
    count = int((values > 0).sum())
    order = np.argsort(-values)[:count]
    out[:count] = values[order]
    W[:, :count] = U @ (basis @ O[:, order])
    return out, W
