"""Perturb, then diagonalise: a near matrix with well-conditioned eigenvectors."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

import numpy as np
import scipy.linalg

from gossamer._core.arrays import to_numpy
from gossamer._core.checks import check_array, check_float, check_int
from gossamer._core.errors import ShapeError
from gossamer._core.results import Result
from gossamer.linalg.dynamics.conditioning import Descent, Eigen, eigen
from gossamer.linalg.dynamics.hippo import hippo

TABLE_SIZES, TABLE_RELS = (16, 32, 64, 128, 256), (0.01, 0.1)
BAND = (0.8, 1.25)
"""Where ``||E|| / (rel ||A||)`` has to end."""
HIPPO_MARGIN = 0.5
_ROUNDS, _EXTRA_STEPS, _SEEDS = 3, 200, 4


@dataclass(frozen=True, repr=False, kw_only=True)
class PTDResult(Result):
    r"""A matrix ``A + E`` near A, and its eigendecomposition: :math:`A + E = V \mathrm{diag}(\Lambda) V^{-1}`.

    E is real. Eigenvalues with imaginary parts above 0 come first, ascending; then the real ones; then the conjugates
    of the first, in the same order. Columns of V have unit norm and are conjugates of each other as eigenvalues are.

    Attributes
    ----------
    Lambda : ndarray of complex128, shape (n,)
        Eigenvalues.
    V : ndarray of complex128, shape (n, n)
        Eigenvectors.
    Vinv : ndarray of complex128, shape (n, n)
        Their inverse.
    E : ndarray of float64, shape (n, n)
        The perturbation.
    kappa : float
        2-norm condition number of V.
    rel : float
        :math:`\|E\|_2 / \|A\|_2` as reached.
    max_real : float
        Largest real part of an eigenvalue.
    gamma : float
        Weight of the norm in the objective :math:`\kappa(V) + \gamma \|E\|_2`, as given or as found.
    """

    Lambda: np.ndarray
    V: np.ndarray
    Vinv: np.ndarray
    E: np.ndarray
    kappa: float
    rel: float
    max_real: float
    gamma: float

    @property
    def pairs(self) -> int:
        """Conjugate pairs among the eigenvalues; ``n - 2 pairs`` are real."""
        return int((self.Lambda.imag > 0).sum())

    @property
    def weights(self) -> np.ndarray:
        """How often each of the first ``n - pairs`` eigenvalues counts in a real part: 2 for a pair, 1 if real."""
        return np.where(self.Lambda[: len(self.Lambda) - self.pairs].imag > 0, 2.0, 1.0)

    def matrix(self) -> np.ndarray:
        """``V diag(Lambda) V^-1``, real, shape (n, n)."""
        return np.real((self.V * self.Lambda) @ self.Vinv)

    def states(self, b: Any, omegas: Any) -> np.ndarray:
        r"""``(i omega - A - E)^-1 b`` for every omega, shape (m, n). O(n^2) each.

        Parameters
        ----------
        b : array, shape (n,)
            Input of the system.
        omegas : array, shape (m,)
            Angular frequencies.
        """
        inner = self.Vinv @ np.asarray(b)
        return (inner / (1j * np.asarray(omegas, float)[:, None] - self.Lambda)) @ self.V.T


def ptd(
    A: Any,
    rel: float = 0.01,
    *,
    gamma: float | None = None,
    steps: int = 300,
    stable: bool | float = False,
    seed: int = 0,
    rate: float = 0.02,
) -> PTDResult:
    r"""Find a small perturbation E after which A is well diagonalisable, and diagonalise ``A + E``.

    Minimises :math:`\kappa_2(V) + \gamma \|E\|_2` over real E with :math:`A + E = V \Lambda V^{-1}` by Adam from a
    random start; by default :math:`\gamma` is steered so that :math:`\|E\|_2 = \text{rel} \, \|A\|_2`. Diagonalising
    this way is backward stable: the result is exact for a matrix at distance ``rel``, whatever the condition of A's
    own eigenvectors. The condition falls about as 1 / rel; 0.01 to 0.1 suits HiPPO matrices.

    Parameters
    ----------
    A : array, shape (n, n)
        A real matrix.
    rel : float
        Norm of E relative to that of A, above 0.
    gamma : float, optional
        Weight of the norm, fixed; ``rel`` then sets where the descent starts, not where it ends.
    steps : int
        Steps of Adam; O(n^3) each.
    stable : bool or float
        Whether to keep all real parts at or below -1/4; a number instead of True is that margin.
    seed : int
        Of the random start.
    rate : float
        Step of Adam for each entry of E, relative to ``rel * norm(A) / sqrt(n)``; it falls to a tenth. Several times as
        much reaches a better condition where n / rel is large, and may not settle where it is small.

    Returns
    -------
    PTDResult
        ``success`` is False if the norm left 0.8 to 1.25 times what was asked for, with the reason.

    Raises
    ------
    ArgumentError
        A is not a finite square matrix, or rel is not positive.
    numpy.linalg.LinAlgError
        Eigenvalues collided for several random starts.

    Warns
    -----
    UserWarning
        n is above 1024; or the eigenvectors are still so badly conditioned that the result is of little use.

    Notes
    -----
    A normal matrix needs no perturbation and is returned with E = 0. Stability, where asked for, is guaranteed: what
    the descent leaves to the right of the margin is moved to twice the margin, and E is what that takes.

    References
    ----------
    Yu, Nigmetov, Morozov, Mahoney, Erichson, "Robustifying State-space Models for Long Sequences via Approximate
    Diagonalization", ICLR 2024, arXiv 2310.01698. Banks, Kulkarni, Mukherjee, Srivastava, "Gaussian regularization of
    the pseudospectrum and Davies' conjecture", 2021.

    Examples
    --------
    >>> from gossamer.linalg import hippo, ptd
    >>> result = ptd(hippo(8)[0], rel=0.05, steps=100, stable=True)
    >>> bool(result.kappa < 20), bool(result.max_real <= -0.25)
    (True, True)
    """
    A = np.asarray(to_numpy(check_array("A", A, ndim=2)), np.float64)
    n = len(A)
    if A.shape != (n, n) or not n:
        raise ShapeError(f"A has shape {A.shape}: expected a square matrix")
    rel = check_float("rel", rel, low=0, closed="neither")
    if gamma is not None:
        gamma = check_float("gamma", gamma, low=0)
    steps, seed = check_int("steps", steps, low=0), check_int("seed", seed, low=0)
    rate = check_float("rate", rate, low=0, closed="neither")
    margin = (
        0.25 if stable is True else check_float("stable", stable, low=0, closed="neither") if stable else None
    )
    if n > 1024:
        warnings.warn(f"A has {n} rows: {steps} steps of O(n^3) each take long", stacklevel=2)
    size = float(np.linalg.norm(A, 2))
    if np.linalg.norm(A @ A.T - A.T @ A, 2) <= 1e-13 * max(size, 1e-300) ** 2:
        return _normal(A, size, margin)
    for attempt in range(_SEEDS):
        try:
            return _descend(A, size, rel, gamma, steps, margin, np.random.default_rng((seed, attempt)), rate)
        except np.linalg.LinAlgError as error:
            last = error
    raise np.linalg.LinAlgError(f"{last}, for {_SEEDS} random starts: give a larger rel than {rel:g}")


def _descend(
    A: np.ndarray,
    size: float,
    rel: float,
    gamma: float | None,
    steps: int,
    margin: float | None,
    rng: Any,
    rate: float,
) -> PTDResult:
    E = rng.standard_normal(A.shape)
    E *= rel * size / np.linalg.norm(E, 2)
    history: dict[str, list[float]] = {}
    descent = Descent(A, E, rel * size, size, margin, gamma, rate=rate)
    descent.run(steps, history)

    def unstable() -> bool:
        return margin is not None and bool(np.linalg.eigvals(A + descent.E).real.max() > -margin)

    def off() -> bool:
        reached = np.linalg.norm(descent.E, 2) / (rel * size)
        return gamma is None and not BAND[0] <= reached <= BAND[1]

    for _ in range(_ROUNDS if steps else 0):
        if not unstable() and not off():
            break
        descent.mu *= 10 if unstable() else 1
        descent.run(_EXTRA_STEPS, history)
    E, e = descent.E, eigen(A + descent.E)
    if margin is not None and e.w.real.max() > -margin:
        e, E = _moved(A, e, margin)
    message = ""
    if gamma is None and not BAND[0] <= np.linalg.norm(E, 2) / (rel * size) <= BAND[1]:
        message = f"||E|| ended at {np.linalg.norm(E, 2) / size:.3g} ||A||, asked for {rel:g}"
    found = gamma if gamma is not None else descent.gamma * e.kappa / (rel * size)
    return _result(e, E, size, found, history, message, success=not message)


def _moved(A: np.ndarray, e: Eigen, margin: float) -> tuple[Eigen, np.ndarray]:
    """Move eigenvalues right of the margin to twice the margin; conjugates move together, so that E stays real."""
    # distinct places: moved eigenvalues that met would have no eigenvectors of their own
    late = e.w.real > -margin
    w = np.where(late, -2 * margin * (1 + 0.01 * np.arange(len(e.w))) + 1j * e.w.imag, e.w)
    pair = e.w.imag < 0  # LAPACK puts the conjugate right behind
    w[pair] = w[np.flatnonzero(pair) - 1].conj()
    E = np.real((e.V * w) @ e.Vinv) - A
    return eigen(A + E), E


def _normal(A: np.ndarray, size: float, margin: float | None) -> PTDResult:
    """Orthonormal eigenvectors by the real Schur form, which has blocks of one and two rows only."""
    n, i = len(A), 0
    T, Q = scipy.linalg.schur(A, output="real")
    w, V = np.diagonal(T).astype(complex), Q.astype(complex)
    while i < n - 1:
        if abs(T[i + 1, i]) > 1e-14 * size:
            # [[a, b], [-b, a]] turns its two columns: eigenvalues a +- i b
            turn = 1j * (T[i, i + 1] - T[i + 1, i]) / 2
            w[i], w[i + 1] = w[i] + turn, w[i] - turn
            V[:, i] = (Q[:, i] + 1j * Q[:, i + 1]) / np.sqrt(2)
            V[:, i + 1] = V[:, i].conj()
            i += 1
        i += 1
    E, message = np.zeros_like(A), "A is normal: no perturbation is needed"
    if margin is not None and w.real.max() > -margin:
        w = np.where(w.real > -margin, -2 * margin + 1j * w.imag, w)
        E, message = np.real((V * w) @ V.conj().T) - A, "A is normal: only its eigenvalues were moved"
    return _result(Eigen(w, V, V.conj().T, 1.0, V[0], V[0]), E, size, np.inf, {}, message, success=True)


def _result(
    e: Eigen, E: np.ndarray, size: float, gamma: float, history: dict[str, Any], message: str, success: bool
) -> PTDResult:
    above, real = np.flatnonzero(e.w.imag > 0), np.flatnonzero(e.w.imag == 0)
    above, real = above[np.argsort(e.w.imag[above])], real[np.argsort(e.w.real[real])]
    kept, V, Vinv = np.concatenate([above, real]), e.V, e.Vinv
    # eigenvectors of real eigenvalues come real up to rounding of the inverse; conjugates are copied to be exact
    halves = V[:, kept], Vinv[kept], e.w[kept]
    for part, axis in ((halves[0], 1), (halves[1], 0)):
        np.moveaxis(part, axis, 0)[len(above) :].imag = 0
    V, Vinv, w = (
        np.concatenate([half, np.take(half, range(len(above)), axis).conj()], axis)
        for half, axis in zip(halves, (1, 0, 0), strict=True)
    )
    if e.kappa > 1e8:
        warnings.warn(
            f"the eigenvectors have condition {e.kappa:.2g}: expected far less, try a larger rel or more steps",
            stacklevel=4,
        )
    rel = float(np.linalg.norm(E, 2)) / max(size, 1e-300)
    return PTDResult(
        success=success,
        message=message,
        history=history,
        Lambda=w,
        V=V,
        Vinv=Vinv,
        E=E,
        kappa=e.kappa,
        rel=rel,
        max_real=float(w.real.max()),
        gamma=float(gamma),
    )


@lru_cache(maxsize=32)
def hippo_ptd(n: int, rel: float = 0.1, seed: int = 0) -> PTDResult:
    """Return the stable diagonalisation of HiPPO-LegS near it, from a table where there is one.

    Parameters
    ----------
    n : int
        States.
    rel : float
        Norm of the perturbation relative to that of the matrix.
    seed : int
        Of the random start. Tables answer seed 0, n of 16 to 256 in powers of two, and rel of 0.01 and 0.1; anything
        else is computed, in seconds for n = 64 and a minute for n = 256, and remembered.

    Returns
    -------
    PTDResult
        Shared by all callers: do not write into its arrays.

    Raises
    ------
    ArgumentError
        n is below 1, or rel is not positive.

    Notes
    -----
    Real parts are at most -1/2, and are pushed below -1, that of HiPPO's own slowest mode. A perturbation of this size
    changes the answer to slow inputs by about as much as to others: what is bounded is the largest change over all
    frequencies, which dropping the low-rank term lets grow with n.

    Examples
    --------
    >>> from gossamer.linalg import hippo_ptd
    >>> hippo_ptd(16).max_real <= -0.25
    True
    """
    A, _ = hippo(n)
    rel = check_float("rel", rel, low=0, closed="neither")
    name = table_name(n, rel)
    if seed == 0 and n in TABLE_SIZES and rel in TABLE_RELS:
        from safetensors.numpy import load

        E = load(TABLES.read_bytes())[name].astype(np.float64)
        e, size = eigen(A + E), float(np.linalg.norm(A, 2))
        return _result(e, E, size, np.nan, {}, f"table {name}", success=True)
    return ptd(A, rel, stable=HIPPO_MARGIN, seed=seed)


TABLES = files("gossamer.linalg.dynamics").joinpath("hippo_ptd.safetensors")
"""Perturbations of HiPPO-LegS; made by :mod:`gossamer.linalg.dynamics.make_tables`."""


def table_name(n: int, rel: float) -> str:
    """Name of a perturbation in the table."""
    return f"legs-{n}-{rel:g}"


__all__ = ["PTDResult", "hippo_ptd", "ptd"]
