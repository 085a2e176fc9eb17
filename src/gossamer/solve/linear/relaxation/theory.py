"""What theory says about the relaxation parameter, for matrices small enough to take eigenvalues of."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.linalg

from gossamer._core.checks import check_array, check_float
from gossamer._core.errors import ArgumentError
from gossamer._core.results import Result
from gossamer.solve.linear.relaxation.sor import sor
from gossamer.solve.operators import check_csr, check_sides


@dataclass(frozen=True, kw_only=True)
class SORTheory(Result):
    """What :func:`sor_theory` computes.

    Attributes
    ----------
    omegas : ndarray, shape (d,)
        The parameters asked for.
    rho : ndarray, shape (d,)
        Spectral radius of the iteration matrix.
    counts : ndarray of int64, shape (d,)
        Iterations that :func:`sor` took.
    surrogate : ndarray, shape (d,)
        The near-asymptotic bound on the counts.
    energy_bound : ndarray, shape (d,)
        Bound on the energy norm of the iteration matrix, on its contraction in one sweep.
    energy : ndarray, shape (d,)
        That norm.
    tau : float
        How far the matrix is from the asymptotic regime, over all ``omegas``.
    beta : float
        Spectral radius of the Jacobi iteration.
    omega_opt : float
        Young's parameter; NaN for ``beta >= 1``, where the Jacobi iteration diverges.
    """

    omegas: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False)
    rho: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False)
    counts: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False)
    surrogate: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False)
    energy_bound: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False)
    energy: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False)
    tau: float = math.nan
    beta: float = math.nan
    omega_opt: float = math.nan


def sor_theory(A: Any, omegas: Any, *, b: Any = None, rtol: float = 1e-8) -> SORTheory:
    r"""Compute what decides how fast :func:`sor` converges, for every parameter of a list.

    With :math:`C_\omega = I - A (D / \omega + L)^{-1}`: its spectral radius :math:`\rho`; the surrogate
    :math:`U = 1 + \log tol / \log(\rho + \tau (1 - \rho))`, where :math:`\tau` is the largest of
    :math:`(\|C_\omega^{k-1}\|_2^{1/(k-1)} - \rho) / (1 - \rho)` at the counts k, which bounds them; the bound of
    Hackbusch on the energy norm; and Young's optimal parameter. Learners see none of it.

    Parameters
    ----------
    A : array or sparse matrix, shape (n, n)
        Symmetric positive definite; dense matrices are formed, n of a few hundred is fine.
    omegas : array, shape (d,)
        Inside (0, 2).
    b : array, shape (n,), optional
        Right side for the counts; ones by default.
    rtol : float
        Of the counts.

    Returns
    -------
    SORTheory

    Raises
    ------
    ArgumentError, ShapeError
        If ``A`` is not symmetric positive definite or an omega is outside (0, 2).

    Notes
    -----
    O(d n^3) time. With :math:`\Omega = (2 - \omega) / (2 \omega)` and r the spectral radius of
    :math:`D^{-1} L D^{-1} L^T`, the bound on the energy norm is
    :math:`(1 - 2 \Omega / (1 / \omega + (\Omega^2 + r - 1/4) / \lambda))^{1/2}`, with :math:`\lambda` the least
    eigenvalue of :math:`D^{-1} A`, or the largest one where what it divides is negative. ``omega_opt`` is optimal for
    consistently ordered matrices, among them 5- and 7-point stars in the natural order.

    References
    ----------
    Young, "Iterative solution of large linear systems", 1971. Hackbusch, "Iterative solution of large sparse systems of
    equations", 2016. Khodak et al., "Learning to relax", ICLR 2024, arXiv 2310.02246.

    Examples
    --------
    >>> from gossamer.solve import GridStencil, sor_theory
    >>> theory = sor_theory(GridStencil((10, 10)).to_scipy(), [1.0, 1.5, 1.56])
    >>> round(theory.omega_opt, 3)
    1.56
    """
    matrix, d, L = _split(A)
    points = np.asarray(check_array("omegas", omegas, ndim=1), np.float64)
    for omega in points.tolist():
        check_float("omegas", omega, low=0, high=2, closed="neither")
    n = len(d)
    b, _ = check_sides(n, np.ones(n) if b is None else b)
    counts = np.array([sor(matrix, b, omega=omega, rtol=rtol).nit for omega in points], np.int64)

    beta = _radius((L + L.T) / d[:, None])
    spectrum = scipy.linalg.eigh(matrix, np.diag(d), eigvals_only=True) if n else np.ones(1)
    lower = _radius((L / d[:, None]) @ (L.T / d[:, None]))
    root = np.real(scipy.linalg.sqrtm(matrix))
    inverse_root = np.linalg.inv(root)

    rho, energy, norm = np.empty(len(points)), np.empty(len(points)), np.empty(len(points))
    for i, omega in enumerate(points):
        C = np.eye(n) - scipy.linalg.solve_triangular(np.diag(d / omega) + L, matrix.T, lower=True, trans=1).T
        rho[i] = _radius(C)
        energy[i] = np.linalg.norm(inverse_root @ C @ root, 2)
        power = max(int(counts[i]) - 1, 1)
        norm[i] = np.linalg.norm(np.linalg.matrix_power(C, power), 2) ** (1 / power)
    tau = float(np.max((norm - rho) / (1 - rho), initial=0.0))
    half = (2 - points) / (2 * points)
    rest = half**2 + lower - 0.25  # (D/w + L) D^-1 (D/w + L)^T <= A / w + rest D
    share = 2 * half / (1 / points + rest / np.where(rest > 0, spectrum[0], spectrum[-1]))
    with np.errstate(divide="ignore"):  # one sweep is enough where the radius is 0
        surrogate = 1 + math.log(rtol) / np.log(rho + tau * (1 - rho))
    return SORTheory(
        omegas=points,
        rho=rho,
        counts=counts,
        surrogate=surrogate,
        energy_bound=np.sqrt(1 - share),
        energy=energy,
        tau=tau,
        beta=beta,
        omega_opt=young_omega(beta) if beta < 1 else math.nan,
        message=f"{len(points)} parameters, n={n}",
    )


def young_omega(beta: float) -> float:
    r"""Return the optimal parameter of SOR, :math:`1 + (\beta / (1 + \sqrt{1 - \beta^2}))^2`.

    Parameters
    ----------
    beta : float
        Spectral radius of the Jacobi iteration, in [0, 1); ``cos(pi / (m + 1))`` on a square of m x m points.

    Examples
    --------
    >>> from gossamer.solve import young_omega
    >>> young_omega(0.0)
    1.0
    """
    beta = check_float("beta", beta, low=0, high=1, closed="left")
    return 1 + (beta / (1 + math.sqrt(1 - beta * beta))) ** 2


def young_radius(beta: float, omega: float) -> float:
    r"""Return the spectral radius of SOR for a consistently ordered matrix.

    :math:`((\omega \beta + \sqrt{\omega^2 \beta^2 - 4 (\omega - 1)}) / 2)^2` up to :func:`young_omega`, and
    :math:`\omega - 1` beyond.

    Parameters
    ----------
    beta : float
        Spectral radius of the Jacobi iteration, in [0, 1).
    omega : float
        Inside (0, 2).
    """
    best = young_omega(beta)
    omega = check_float("omega", omega, low=0, high=2, closed="neither")
    if omega >= best:
        return omega - 1
    along = omega * beta
    return ((along + math.sqrt(max(along * along - 4 * (omega - 1), 0.0))) / 2) ** 2


def ssor_cg_bound(A: Any, omegas: Any, *, rtol: float = 1e-8) -> np.ndarray:
    r"""Bound the iterations of :func:`ssor_pcg` for every parameter of a list, by the condition number.

    With :math:`\alpha = \lambda_{\max}(D A^{-1})` and :math:`b = \lambda_{\max}((L D^{-1} L^T - D / 4) A^{-1})` the
    preconditioned condition number is at most :math:`(1 + (2 - \omega)^2 \alpha / (4 \omega) + b \omega) / (2 -
    \omega)`; the rest is Chebyshev's bound on conjugate gradients, for the residual.

    Parameters
    ----------
    A : array or sparse matrix, shape (n, n)
        Symmetric positive definite; dense matrices are formed.
    omegas : array, shape (d,)
        Inside (0, 2).
    rtol : float
        Of the residual, from a start at zero.

    Returns
    -------
    ndarray of float64, shape (d,)

    Raises
    ------
    ArgumentError, ShapeError
        As :func:`sor_theory`.

    References
    ----------
    Axelsson, "Iterative solution methods", 1994, theorem 7.17.
    """
    matrix, d, L = _split(A)
    points = np.asarray(check_array("omegas", omegas, ndim=1), np.float64)
    for omega in points.tolist():
        check_float("omegas", omega, low=0, high=2, closed="neither")
    eps = check_float("rtol", rtol, low=0, high=1, closed="neither")
    alpha = scipy.linalg.eigh(np.diag(d), matrix, eigvals_only=True)[-1]
    between = (L / d) @ L.T - np.diag(d) / 4
    beta = scipy.linalg.eigh(between, matrix, eigvals_only=True)[-1]
    condition = np.linalg.cond(matrix)
    inverse = (2 - points) / (1 + (2 - points) ** 2 * alpha / (4 * points) + beta * points)
    gain = -np.log(1 - 2 / (1 + np.sqrt(1 / inverse)))
    return 1 + math.log(math.sqrt(condition) / eps + math.sqrt(condition / eps**2 - 1)) / gain


def _split(A: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    matrix = check_csr("A", A).toarray()
    if not np.allclose(matrix, matrix.T, rtol=1e-10, atol=0):
        raise ArgumentError("A is not symmetric: expected a symmetric positive definite matrix")
    if len(matrix) and np.linalg.eigvalsh(matrix)[0] <= 0:
        raise ArgumentError("A is not positive definite")
    return matrix, np.diagonal(matrix).copy(), np.tril(matrix, -1)


def _radius(matrix: np.ndarray) -> float:
    return float(np.abs(np.linalg.eigvals(matrix)).max(initial=0.0))
