"""HiPPO matrices: linear systems whose state holds the best approximation of the past of their input."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gossamer._core.checks import check_choice, check_int
from gossamer._core.errors import bad_argument

MEASURES = ("legs", "legt", "fourier")


def hippo(n: int, measure: str = "legs") -> tuple[np.ndarray, np.ndarray]:
    r"""Return the system ``x' = A x + B u`` whose state holds ``n`` coefficients of the past of ``u``.

    "legs": Legendre polynomials on the whole past, with :math:`q_j = \sqrt{2 j + 1}`,
    :math:`A_{jk} = -q_j q_k` below the diagonal, :math:`-(j + 1)` on it, 0 above, and :math:`B = q`.
    "legt": orthonormal Legendre polynomials on the last unit of time. "fourier": constant, cosines and sines of the
    last unit of time.

    Parameters
    ----------
    n : int
        States; odd for "fourier" (a constant, and pairs).
    measure : {"legs", "legt", "fourier"}
        Which past, and which functions.

    Returns
    -------
    A : ndarray of float64, shape (n, n)
    B : ndarray of float64, shape (n,)

    Raises
    ------
    ArgumentError
        n is below 1, or even for "fourier", or the measure is unknown.

    Notes
    -----
    The matrix of "legs" is far from normal: its eigenvectors have a condition number that grows exponentially.
    Diagonalise it by :func:`hippo_ptd`, or keep its low-rank term (:func:`hippo_normal`).

    References
    ----------
    Gu, Dao, Ermon, Rudra, Re, "HiPPO: Recurrent Memory with Optimal Polynomial Projections", NeurIPS 2020.

    Examples
    --------
    >>> from gossamer.linalg import hippo
    >>> A, B = hippo(3)
    >>> (A.round(2) + 0).tolist()
    [[-1.0, 0.0, 0.0], [-1.73, -2.0, 0.0], [-2.24, -3.87, -3.0]]
    """
    n = check_int("n", n, low=1)
    check_choice("measure", measure, MEASURES)
    index = np.arange(n)
    q = np.sqrt(2.0 * index + 1)
    if measure == "legs":
        return -np.tril(np.outer(q, q), -1) - np.diag(index + 1.0), q
    if measure == "legt":
        above = index[:, None] < index
        signs = np.where(above, 1.0, (-1.0) ** (index[:, None] - index))
        # coefficient j of u(t - s) is over P_j(2 s - 1), whose value at s = 0 alternates
        return -np.outer(q, q) * signs, q * (-1.0) ** index
    if n % 2 == 0:
        raise bad_argument("n", n, "an odd number for 'fourier'", f"nearest valid: {n + 1}")
    waves = np.arange(1, n // 2 + 1)
    A = np.zeros((n, n))
    A[2 * waves - 1, 2 * waves] = -2 * np.pi * waves
    A[2 * waves, 2 * waves - 1] = 2 * np.pi * waves
    ends = np.zeros(n)  # values of the functions at both ends of the window
    ends[0], ends[2 * waves - 1] = 1, np.sqrt(2)
    # at the jump a Fourier series gives the mean of both sides: u(t - 1) = 2 ends . x - u(t)
    return A - 2 * np.outer(ends, ends), 2 * ends


@dataclass(frozen=True)
class HippoNormal:
    r"""HiPPO-LegS as normal plus low-rank: :math:`A = V (\mathrm{diag}(\Lambda) - p p^H) V^H`.

    Attributes
    ----------
    Lambda : ndarray of complex128, shape (n,)
        Real parts are -1/2; in the order of :class:`PTDResult`: imaginary parts above 0 ascending, 0, conjugates.
    V : ndarray of complex128, shape (n, n)
        Unitary; columns are conjugates of each other as eigenvalues are.
    p : ndarray of complex128, shape (n,)
        The low-rank term in the basis V.
    B : ndarray of complex128, shape (n,)
        The input in the basis V.
    """

    Lambda: np.ndarray
    V: np.ndarray
    p: np.ndarray
    B: np.ndarray

    def states(self, omegas: np.ndarray) -> np.ndarray:
        r"""States :math:`(i \omega - A)^{-1} B` for every omega, in the basis V, shape (m, n). O(n) each."""
        R = self.p / (1j * np.asarray(omegas)[:, None] - self.Lambda)
        # B = sqrt(2) p, and the low-rank term is removed by the formula of Sherman and Morrison
        return np.sqrt(2) * R / (1 + R @ self.p.conj())[:, None]

    def diagonal_states(self, omegas: np.ndarray) -> np.ndarray:
        r"""The same of S4D-LegS, which drops the low-rank term and halves B."""
        return self.p / np.sqrt(2) / (1j * np.asarray(omegas)[:, None] - self.Lambda)


def hippo_normal(n: int) -> HippoNormal:
    r"""Split HiPPO-LegS into a normal matrix and a term of rank one.

    :math:`A + p p^T = -\frac12 I + K` with :math:`p = B / \sqrt 2` and K skew-symmetric.

    Parameters
    ----------
    n : int
        States.

    Returns
    -------
    HippoNormal

    References
    ----------
    Gu, Goel, Re, "Efficiently Modeling Long Sequences with Structured State Spaces", ICLR 2022.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.linalg import hippo, hippo_normal
    >>> h = hippo_normal(8)
    >>> A = h.V @ (np.diag(h.Lambda) - np.outer(h.p, h.p.conj())) @ h.V.conj().T
    >>> bool(np.allclose(A, hippo(8)[0]))
    True
    """
    A, B = hippo(n)
    p = B / np.sqrt(2)
    skew = A + np.outer(p, p) + 0.5 * np.eye(n)
    frequencies, V = np.linalg.eigh(-1j * (skew - skew.T) / 2)
    above = n // 2
    frequencies, V = frequencies[::-1][:above][::-1], V[:, ::-1][:, :above][:, ::-1]
    Lambda = np.concatenate([-0.5 + 1j * frequencies, np.full(n % 2, -0.5), -0.5 - 1j * frequencies])
    if n % 2:
        kernel = np.linalg.svd(skew)[2][-1:].T.astype(complex)
        V = np.hstack([V, kernel, V.conj()])
    else:
        V = np.hstack([V, V.conj()])
    return HippoNormal(Lambda, V, V.conj().T @ p, V.conj().T @ B)


__all__ = ["HippoNormal", "hippo", "hippo_normal"]
