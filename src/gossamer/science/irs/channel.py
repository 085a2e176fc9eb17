"""Uplink channels from a user over a reflecting surface to a base station, as sparse Kronecker problems."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from gossamer._core.arrays import to_numpy
from gossamer._core.checks import check_array, check_float, check_int
from gossamer._core.errors import ShapeError, bad_argument
from gossamer._core.random import RandomState, check_random_state
from gossamer.solve.bayes.modes import mode_products

FAINT = 1e-5


@dataclass(frozen=True)
class IRSProblem:
    """Pilots received over a surface, and the truth: ``y = (A_1 kron A_2 kron A_3) x + n``.

    Attributes
    ----------
    factors : list of ndarray, shapes (K_P, n_g), (K_I, n_g), (R, n_g)
        Surface, user and base station seen through patterns and pilots, complex.
    y : ndarray, shape (K_P K_I R,)
        Received: by pattern, pilot, antenna; the last one fastest.
    x : ndarray, shape (n_g^3,)
        True gains on the grid of angles; its support is a run, one entry and a run.
    noise_var : float
        Variance of the noise.
    snr_db : float
        Mean power of the signal over that of the noise.
    channels : ndarray, shape (K_P, R, T)
        True channel under every pattern.
    links : list of ndarray, shapes (K_P, n_g), (T, n_g), (R, n_g)
        Factors before the pilots: what turns x into channels.
    """

    factors: list[np.ndarray]
    y: np.ndarray
    x: np.ndarray
    noise_var: float
    snr_db: float
    channels: np.ndarray
    links: list[np.ndarray]

    @property
    def support(self) -> list[np.ndarray]:
        """Indices of the true support, a mode each."""
        sizes = [A.shape[1] for A in self.factors]
        return [np.unique(index) for index in np.nonzero(self.x.reshape(sizes))]

    def channels_of(self, x: Any) -> np.ndarray:
        """Channels (K_P, R, T) that gains x (n_g^3,) on the grid stand for."""
        x = to_numpy(check_array("x", x, ndim=1, real=False))
        if x.shape != self.x.shape:
            raise ShapeError(f"x has shape {x.shape}: expected {self.x.shape}")
        patterns, transmit, receive = (len(A) for A in self.links)
        return mode_products(x[:, None], self.links).reshape(patterns, transmit, receive).swapaxes(1, 2)


def steering(antennas: int, angles: np.ndarray) -> np.ndarray:
    """Responses of a uniform linear array at half a wavelength: (antennas, angles), columns of unit norm."""
    return np.exp(1j * np.pi * np.outer(np.arange(antennas), angles)) / math.sqrt(antennas)


def simulate_channel(
    snr_db: float,
    *,
    transmit: int = 6,
    receive: int = 16,
    elements: int = 256,
    grid: int = 18,
    pilots: int = 3,
    patterns: int = 6,
    paths: int = 3,
    random_state: RandomState = None,
) -> IRSProblem:
    r"""Draw a channel over a reflecting surface and the pilots received through it.

    User to surface: :math:`H_1 = \sqrt{TL/P} \sum_p \alpha_p a_L(u_p) a_T(u_d)^H` with P adjacent angles of arrival
    and one of departure; surface to base :math:`H_2` likewise. Under pattern :math:`\theta_k` the base receives
    :math:`H_2 \mathrm{diag}(\theta_k) H_1 X + N`. All angles lie on the grid ``2 k / n_g - 1``, where products of
    arrival and departure responses of the surface depend on the difference of their indices modulo :math:`n_g` only.

    Parameters
    ----------
    snr_db : float
        Mean power of the signal over that of the noise, in decibels.
    transmit, receive, elements : int
        Antennas T of the user and R of the base, elements L of the surface.
    grid : int
        Angles n_g.
    pilots, patterns : int
        QPSK pilots K_I sent under each of K_P patterns of the surface.
    paths : int
        Adjacent angles of arrival P, at most ``grid``.
    random_state : int, Generator or None
        Source of randomness.

    Returns
    -------
    IRSProblem
        Measurements, factors and truth.

    Raises
    ------
    ArgumentError
        For sizes below one, or more paths than angles.

    References
    ----------
    He and Joseph, arXiv 2307.14719, 2024.

    Examples
    --------
    >>> from gossamer.science import channel_nmse, simulate_channel
    >>> from gossamer.solve import kro_sbl
    >>> problem = simulate_channel(25, patterns=12, random_state=0)
    >>> found = kro_sbl(problem.factors, problem.y, noise_var=problem.noise_var)
    >>> channel_nmse(problem, found.x) < 0.1
    True
    """
    snr_db = check_float("snr_db", snr_db)
    T, R, L, n, K_I, K_P, P = (
        check_int(name, value, low=1)
        for name, value in (
            ("transmit", transmit), ("receive", receive), ("elements", elements), ("grid", grid),
            ("pilots", pilots), ("patterns", patterns), ("paths", paths),
        )
    )  # fmt: skip
    if n < P:
        raise bad_argument("paths", paths, f"at most grid={grid}")
    rng = check_random_state(random_state)
    u = 2 * np.arange(n) / n - 1
    A_T, A_R, A_L = steering(T, u), steering(R, u), steering(L, u)
    (first, leave_user), (second, leave_surface) = (
        (int(rng.integers(n - P + 1)) + np.arange(P), int(rng.integers(n))) for _ in range(2)
    )
    alpha, beta = (_circular(rng, (P,)) for _ in range(2))
    H_1 = math.sqrt(T * L / P) * np.outer(A_L[:, first] @ alpha, A_T[:, leave_user].conj())
    H_2 = math.sqrt(R * L / P) * np.outer(A_R[:, second] @ beta, A_L[:, leave_surface].conj())

    signs = np.array([-1.0, 1.0])
    X = (rng.choice(signs, (T, K_I)) + 1j * rng.choice(signs, (T, K_I))) / math.sqrt(2 * T)
    theta = np.empty((L, K_P))
    for k in range(K_P):
        while True:
            theta[:, k] = rng.choice(signs, L) / math.sqrt(L)
            if np.linalg.norm((H_2 * theta[:, k]) @ H_1) >= FAINT:
                break
    channels = np.stack([(H_2 * theta[:, k]) @ H_1 for k in range(K_P)])

    surface = theta.T @ (A_L[:, :1] * A_L.conj())
    factors = [surface, X.T @ A_T.conj(), A_R]
    x = np.zeros((n, n, n), complex)
    cascade = np.ix_((leave_surface - first) % n, np.array([leave_user]), second)
    x[cascade] = (math.sqrt(T * R) * L / P) * np.outer(alpha, beta)[:, None, :]
    signal = (channels @ X).swapaxes(1, 2).reshape(-1)
    noise_var = float(np.square(np.abs(signal)).mean() / 10 ** (snr_db / 10))
    y = signal + math.sqrt(noise_var) * _circular(rng, signal.shape)
    return IRSProblem(factors, y, x.reshape(-1), noise_var, snr_db, channels, [surface, A_T.conj(), A_R])


def channel_nmse(problem: IRSProblem, x: Any) -> float:
    """Squared error of the estimated channels over their squared size, the mean over patterns.

    Parameters
    ----------
    problem : IRSProblem
        The truth.
    x : array, shape (n_g^3,)
        Estimated gains on the grid.

    Returns
    -------
    float
        0 for a perfect estimate, 1 for x = 0.

    Raises
    ------
    ShapeError
        If x does not fit.
    """
    gap = np.square(np.abs(problem.channels_of(x) - problem.channels)).sum(axis=(1, 2))
    return float((gap / np.square(np.abs(problem.channels)).sum(axis=(1, 2))).mean())


def symbol_error_rate(
    problem: IRSProblem, x: Any, *, symbols: int = 100_000, random_state: RandomState = None
) -> float:
    """Share of QPSK symbols decided wrongly when the link is steered by the estimated channel.

    Under each pattern user and base use the leading singular vectors of the estimate; noise has the signal-to-noise
    ratio of the problem on the link that results, and symbols are decided by the estimated gain.

    Parameters
    ----------
    problem : IRSProblem
        The truth.
    x : array, shape (n_g^3,)
        Estimated gains on the grid.
    symbols : int
        Sent under each pattern.
    random_state : int, Generator or None
        Source of symbols and noise.

    Returns
    -------
    float
        In [0, 1]; 0.75 is guessing.

    Raises
    ------
    ArgumentError
        If x does not fit.
    """
    symbols, rng = check_int("symbols", symbols, low=1), check_random_state(random_state)
    alphabet = np.exp(1j * np.pi * (np.arange(4) + 0.5) / 2)
    wrong = 0
    for truth, estimate in zip(problem.channels, problem.channels_of(x), strict=True):
        U, s, Vh = np.linalg.svd(estimate)
        gain, believed = U[:, 0].conj() @ truth @ Vh[0].conj(), s[0]
        sent = rng.integers(4, size=symbols)
        noise = abs(gain) * 10 ** (-problem.snr_db / 20) * _circular(rng, (symbols,))
        received = gain * alphabet[sent] + noise
        decided = np.argmin(np.abs(received[:, None] - believed * alphabet), axis=1)
        wrong += int((decided != sent).sum())
    return wrong / (symbols * len(problem.channels))


def _circular(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)) / math.sqrt(2)
