r"""The posterior of ``y = H x + n`` under ``x ~ N(0, diag(gamma))``, for Kronecker and for plain H.

Only matrices of the sizes of the factors are formed. With :math:`A_i \Gamma_i A_i^H = U_i P_i U_i^H` the covariance
of y is diagonal in the basis of the :math:`U_i`, and all that is needed follows from its spectrum :math:`1/D` by mode
products.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import scipy.linalg

from gossamer.solve.bayes.modes import mode_products, outer


@dataclass(frozen=True)
class Posterior:
    """Moments at given variances.

    Attributes
    ----------
    mean : ndarray, shape (P, N)
        Posterior means, one row a snapshot.
    var : ndarray, shape (N,)
        Posterior variances.
    cost : float
        ``log det Sigma_y + y^H Sigma_y^-1 y``, the mean over snapshots.
    misfit : float
        ``|y - H mean|^2``, the mean over snapshots.
    spent : float
        Measurements that the estimate uses up: the trace of ``Sigma_y^-1 H Gamma H^H``.
    """

    mean: np.ndarray
    var: np.ndarray
    cost: float
    misfit: float
    spent: float


class Model(Protocol):
    """H with as many columns as are kept, and variances a mode."""

    def posterior(self, Y: np.ndarray, noise: float) -> Posterior:
        """Moments given Y (M, P)."""

    def mean(self, Y: np.ndarray, noise: float) -> np.ndarray:
        """Posterior means (P, N) given Y (M, P)."""

    def forward(self, x: np.ndarray) -> np.ndarray:
        """H x for x (N, P): (M, P)."""


class KroneckerModel:
    """``H = A_1 kron ... kron A_I`` and ``gamma = gamma_1 kron ... kron gamma_I``, never formed.

    Parameters
    ----------
    factors : list of ndarray, shapes (M_i, N_i)
        Columns that are kept.
    gammas : list of ndarray, shapes (N_i,)
        Variances.
    noiseless : bool
        Whether to take the limit of no noise, by pseudo-inverses of every mode.
    """

    def __init__(
        self, factors: Sequence[np.ndarray], gammas: Sequence[np.ndarray], noiseless: bool = False
    ) -> None:
        self.factors, self.gammas, self.noiseless = factors, gammas, noiseless
        self.bases, self.back, spectra = [], [], []
        for A, g in zip(factors, gammas, strict=True):
            U, p, B = _spectrum_exact(A, g) if noiseless else _spectrum(A, g)
            self.bases.append(U.conj().T)
            self.back.append(B)
            spectra.append(p)
        self.power = outer(spectra)

    def _inverse(self, noise: float) -> np.ndarray:
        if not self.noiseless:
            return 1.0 / (noise + self.power)
        return np.divide(1.0, self.power, out=np.zeros_like(self.power), where=self.power > 0)

    def posterior(self, Y: np.ndarray, noise: float) -> Posterior:
        """Moments given Y (M, P)."""
        D = self._inverse(noise)
        Z = mode_products(Y, self.bases)
        used = Z * D
        mean = mode_products(used.T, self.back)
        gone = mode_products(D, [np.square(np.abs(B)) for B in self.back])[0]
        P = len(Z)
        return Posterior(
            mean=mean,
            var=np.maximum(outer(self.gammas) - gone, 0.0),
            cost=float(-np.log(D[D > 0]).sum() + (np.square(np.abs(Z)) * D).sum() / P),
            misfit=float(noise**2 * np.square(np.abs(used)).sum() / P),
            spent=float((D * self.power).sum()),
        )

    def mean(self, Y: np.ndarray, noise: float) -> np.ndarray:
        """Posterior means (P, N) given Y (M, P)."""
        return mode_products((mode_products(Y, self.bases) * self._inverse(noise)).T, self.back)

    def forward(self, x: np.ndarray) -> np.ndarray:
        """H x for x (N, P): (M, P)."""
        return mode_products(x, self.factors).T


def _spectrum(A: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    scaled = A * g
    p, U = np.linalg.eigh(scaled @ A.conj().T)
    return U, np.maximum(p, 0.0), scaled.conj().T @ U


def _spectrum_exact(A: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """By the singular values of ``A diag(g)^1/2``: what is numerically zero is zero."""
    root = np.sqrt(g)
    U, s, Vh = np.linalg.svd(A * root, full_matrices=False)
    s = np.where(s > max(A.shape) * np.finfo(float).eps * s[0], s, 0.0)
    return U, np.square(s), root[:, None] * (Vh.conj().T * s)


class PlainModel:
    """Any H with a variance of its own for every column, by the Cholesky factor of the covariance of y."""

    def __init__(self, factors: Sequence[np.ndarray], gammas: Sequence[np.ndarray]) -> None:
        (self.A,), (self.g,) = factors, gammas
        self.scaled = self.A * self.g

    def posterior(self, Y: np.ndarray, noise: float) -> Posterior:
        """Moments given Y (M, P)."""
        gram = self.scaled @ self.A.conj().T
        M = len(gram)
        gram.reshape(-1)[:: M + 1] += noise
        L = scipy.linalg.cholesky(gram, lower=True, overwrite_a=True, check_finite=False)
        white, half = (
            scipy.linalg.solve_triangular(L, B, lower=True, check_finite=False) for B in (Y, self.scaled)
        )
        solved = scipy.linalg.solve_triangular(L, white, lower=True, trans="C", check_finite=False)
        gone = np.square(np.abs(half)).sum(axis=0)
        P = Y.shape[1]
        return Posterior(
            mean=(self.scaled.conj().T @ solved).T,
            var=np.maximum(self.g - gone, 0.0),
            cost=float(2 * np.log(np.diag(L).real).sum() + np.square(np.abs(white)).sum() / P),
            misfit=float(noise**2 * np.square(np.abs(solved)).sum() / P),
            spent=float((gone / np.maximum(self.g, 1e-300)).sum()),
        )

    def mean(self, Y: np.ndarray, noise: float) -> np.ndarray:
        """Posterior means (P, N) given Y (M, P)."""
        return self.posterior(Y, noise).mean

    def forward(self, x: np.ndarray) -> np.ndarray:
        """H x for x (N, P): (M, P)."""
        return self.A @ x
