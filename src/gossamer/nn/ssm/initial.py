"""Where diagonal state-space models start."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gossamer._core.checks import check_choice, check_int
from gossamer.linalg.dynamics.hippo import hippo, hippo_normal
from gossamer.linalg.dynamics.ptd import hippo_ptd

INITS = ("legs", "inv", "lin", "ptd")


@dataclass(frozen=True)
class InitialSystem:
    r"""A real system of n states, by one of every pair of conjugate modes.

    Attributes
    ----------
    Lambda : ndarray of complex128, shape (M,)
        Eigenvalues, imaginary parts at or above 0.
    B : ndarray of complex128, shape (M,)
        Input in the basis of eigenvectors.
    weights : ndarray of float64, shape (M,)
        2 for a pair, 1 for a real eigenvalue; they sum to n.
    V, Vinv : ndarray of complex128, shape (n, M) and (M, n), or None
        Eigenvectors and their inverse, where the system has a real form.
    """

    Lambda: np.ndarray
    B: np.ndarray
    weights: np.ndarray
    V: np.ndarray | None
    Vinv: np.ndarray | None

    def read(self, C: np.ndarray) -> np.ndarray:
        """Real outputs (..., n) in the basis of eigenvectors, (..., M)."""
        return C.astype(complex) if self.V is None else C @ self.V


def initial_system(init: str, n: int, rel: float = 0.1) -> InitialSystem:
    r"""The system that a diagonal layer starts from.

    "legs": HiPPO-LegS without its low-rank term, ``B / 2``. "inv":
    :math:`\lambda_j = -\frac12 + i \frac{n}{\pi} (\frac{n}{2 j + 1} - 1)`. "lin":
    :math:`\lambda_j = -\frac12 + i \pi j`. "ptd": HiPPO-LegS, perturbed and diagonalised.
    """
    check_choice("init", init, INITS)
    n = check_int("d_state", n, low=1)
    half = (n + 1) // 2
    if init in ("inv", "lin"):
        j = np.arange(half)
        imag = np.pi * j if init == "lin" else n / np.pi * (n / (2 * j + 1) - 1)
        weights = np.full(half, 2.0)
        if n % 2:
            weights[np.argmin(imag)] = 1
        return InitialSystem(-0.5 + 1j * imag, np.ones(half, complex), weights, None, None)
    if init == "legs":
        h = hippo_normal(n)
        weights = np.where(h.Lambda[:half].imag > 0, 2.0, 1.0)
        return InitialSystem(h.Lambda[:half], h.B[:half] / 2, weights, h.V[:, :half], h.V[:, :half].conj().T)
    r = hippo_ptd(n, rel)
    half = len(r.weights)
    return InitialSystem(
        r.Lambda[:half], (r.Vinv @ hippo(n)[1])[:half], r.weights, r.V[:, :half], r.Vinv[:half]
    )
