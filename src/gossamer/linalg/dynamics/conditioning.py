"""The condition number of the eigenvectors of a real matrix, and a descent that lowers it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg

_COLLISION = 1e-13
"""Eigenvalues closer than this, relative to the norm, have no usable eigenvectors."""


@dataclass(frozen=True)
class Eigen:
    """Eigenvalues ``w``, unit eigenvectors ``V`` and their inverse, in LAPACK's order; ``kappa`` is the condition."""

    w: np.ndarray
    V: np.ndarray
    Vinv: np.ndarray
    kappa: float
    top: np.ndarray
    bottom: np.ndarray


def eigen(M: np.ndarray) -> Eigen:
    r"""Diagonalise a real matrix; O(n^3).

    The largest singular values of V and of its inverse are read off Gram matrices, which keep them to full precision
    whatever the condition.

    Raises
    ------
    numpy.linalg.LinAlgError
        Eigenvalues collide, so that V is singular.
    """
    w, V = np.linalg.eig(M)
    w, V = w.astype(complex), V.astype(complex)
    with np.errstate(all="ignore"):
        Vinv = np.linalg.inv(V)
    if not np.isfinite(Vinv).all():
        raise np.linalg.LinAlgError("eigenvectors are linearly dependent")
    last = [len(M) - 1] * 2
    high, top = scipy.linalg.eigh(V.conj().T @ V, subset_by_index=last)
    low, bottom = scipy.linalg.eigh(Vinv @ Vinv.conj().T, subset_by_index=last)
    kappa = float(np.sqrt(high[-1] * low[-1]))
    return Eigen(w, V, Vinv, kappa, top[:, 0], bottom[:, 0])


def log_kappa_slope(e: Eigen, size: float, on_diagonal: np.ndarray) -> np.ndarray:
    r"""Slope in the matrix of ``log kappa + sum_i on_diagonal_i Re(lambda_i)``, shape (n, n), real.

    With :math:`M = V^{-1} dA V`: :math:`d\lambda_i = M_{ii}`, :math:`dV = V (F \circ M)`,
    :math:`F_{ij} = 1 / (\lambda_j - \lambda_i)`, columns kept at unit norm.

    Raises
    ------
    numpy.linalg.LinAlgError
        Two eigenvalues are closer than rounding.
    """
    n = len(e.w)
    gaps = e.w - e.w[:, None]
    np.fill_diagonal(gaps, 1)
    if np.abs(gaps).min() < _COLLISION * size:
        raise np.linalg.LinAlgError("eigenvalues collide")
    # d log sigma_1 = Re(u1^H dV v1) / sigma_1; sigma_n and its vectors come from the inverse
    u1 = e.V @ e.top
    sigma1 = np.linalg.norm(u1)
    un = e.Vinv.conj().T @ e.bottom
    sigma_n = 1 / np.linalg.norm(un)
    G = np.outer(u1 / sigma1, e.top.conj()) / sigma1 - np.outer(un * sigma_n, e.bottom.conj()) / sigma_n
    G -= e.V * np.real(np.sum(e.V.conj() * G, axis=0))
    W = (e.V.conj().T @ G) / gaps.conj()
    W[np.arange(n), np.arange(n)] = on_diagonal
    return np.real(e.Vinv.conj().T @ W @ e.V.conj().T)


def spectral_norm(E: np.ndarray) -> tuple[float, np.ndarray]:
    """The 2-norm of a real matrix, and its slope ``u v^T``."""
    square, v = scipy.linalg.eigh(E.T @ E, subset_by_index=[len(E) - 1] * 2)
    norm = float(np.sqrt(max(square[-1], 0.0)))
    return norm, np.outer(E @ v[:, 0] / max(norm, 1e-300), v[:, 0])


@dataclass
class Descent:
    r"""Adam on E over ``log kappa(V) + gamma ||E|| / target + mu sum_i max(0, Re lambda_i + 2 margin)``.

    ``gamma`` follows the norm until it meets the target, as fast as E moves; with ``fixed`` it stays, and the objective
    is ``kappa + fixed ||E||``. ``margin`` is None where stability is not asked for.
    """

    A: np.ndarray
    E: np.ndarray
    target: float
    size: float
    margin: float | None
    fixed: float | None = None
    gamma: float = 1.0
    mu: float = 1.0
    rate: float = 0.02

    def __post_init__(self) -> None:
        self.first, self.second, self.count = np.zeros_like(self.E), np.zeros_like(self.E), 0

    def run(self, steps: int, history: dict[str, list[float]]) -> None:
        """Take ``steps`` steps; the rate falls by a cosine to a tenth."""
        rate = self.rate * self.target / np.sqrt(len(self.E))
        for step in range(steps):
            slope = self._slope(history)
            self.count += 1
            # near a collision the slope has a pole: one bad step must not spoil the averages
            slope *= min(1.0, 10 * np.sqrt(slope.size) / max(np.linalg.norm(slope) * self.target, 1e-300))
            self.first += 0.1 * (slope - self.first)
            self.second += 0.01 * (slope**2 - self.second)
            m, v = self.first / (1 - 0.9**self.count), self.second / (1 - 0.99**self.count)
            falling = 0.55 + 0.45 * np.cos(np.pi * step / steps)
            self.E -= rate * falling * m / (np.sqrt(v) + 1e-12)

    def _slope(self, history: dict[str, list[float]]) -> np.ndarray:
        e = eigen(self.A + self.E)
        norm, direction = spectral_norm(self.E)
        weight, pull = 1.0, self.gamma / self.target
        if self.fixed is not None:
            weight, pull = e.kappa, self.fixed
        push = np.zeros(len(e.w))
        if self.margin is not None:
            push[e.w.real > -2 * self.margin] = self.mu
        slope = weight * log_kappa_slope(e, self.size, push / weight) + pull * direction
        for key, value in (("kappa", e.kappa), ("rel", norm / self.size), ("max_real", e.w.real.max())):
            history.setdefault(key, []).append(float(value))
        if self.fixed is None:
            self.gamma *= float(np.exp(2.5 * self.rate * np.clip(norm / self.target - 1, -1, 1)))
        return slope
