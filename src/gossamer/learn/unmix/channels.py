"""Channels of an image cube: which to trust, and how sparse what they show is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gossamer._core.checks import check_array, check_float
from gossamer._core.errors import ShapeError


@dataclass(frozen=True)
class Trust:
    """Which channels follow from their neighbours.

    Attributes
    ----------
    trusted : ndarray of bool, shape (L,)
        Channels whose noise is below ``factor`` times the median of all.
    noise : ndarray, shape (L,)
        Standard deviation of what the neighbours do not explain.
    """

    trusted: np.ndarray
    noise: np.ndarray


def trusted_channels(X: Any, *, factor: float = 3.0) -> Trust:
    """Find channels that are blank or degraded: those that their neighbours do not explain.

    Each channel is regressed on the two channels on either side of it and a constant, over all pixels. Spectra are
    smooth, so what is left is noise.

    Parameters
    ----------
    X : array, shape (N, L)
        Pixels by channels, in the order of their wavelengths.
    factor : float
        Times the median noise, above which a channel is not trusted.

    Returns
    -------
    Trust

    Raises
    ------
    ShapeError
        For a single channel.
    """
    X = check_array("X", X, ndim=2)
    factor = check_float("factor", factor, low=0, closed="neither")
    if X.shape[1] < 2:
        raise ShapeError(f"X has shape {X.shape}: expected at least two channels")
    return trust_of(X.sum(axis=0, dtype=np.float64), _second_moments(X), len(X), factor)


def trust_of(sums: np.ndarray, second: np.ndarray, N: int, factor: float = 3.0) -> Trust:
    """:func:`trusted_channels` of N pixels with these sums (L,) and products ``X^T X`` (L, L)."""
    L = len(sums)
    mean = sums / N
    second = second / N - np.outer(mean, mean)
    noise = np.zeros(L)
    for channel in range(L):
        near = [c for c in range(max(channel - 2, 0), min(channel + 3, L)) if c != channel]
        cross = second[near, channel]
        weights = np.linalg.lstsq(second[np.ix_(near, near)], cross, rcond=1e-10)[0]
        noise[channel] = np.sqrt(max(second[channel, channel] - cross @ weights, 0.0))
    live = mean > 0
    typical = float(np.median(noise[live])) if live.any() else 0.0
    # without any noise nothing can be told apart: rounding is not noise
    rounding = 1e-7 * np.sqrt(np.diag(second).max(initial=0.0))
    return Trust(live & (noise <= max(factor * typical, rounding)), noise)


def sparsity_estimate(X: Any) -> float:
    r"""Estimate how sparse abundances are from how sparse channels are, ``lambda_hat`` of l1/2-NMF.

    ``1/sqrt(L) sum_l (sqrt(N) - |y_l|_1 / |y_l|_2) / sqrt(N - 1)``.

    Parameters
    ----------
    X : array, shape (N, L)
        Pixels by channels, not negative.

    Returns
    -------
    float

    References
    ----------
    Qian, Jia, Zhou, Robles-Kelly, "Hyperspectral unmixing via L1/2 sparsity-constrained nonnegative matrix
    factorization", IEEE TGRS 2011.
    """
    X = check_array("X", X, ndim=2)
    return sparsity_of(X.sum(axis=0, dtype=np.float64), np.einsum("nl,nl->l", X, X, dtype=np.float64), len(X))


def sparsity_of(sums: np.ndarray, squares: np.ndarray, N: int) -> float:
    """:func:`sparsity_estimate` of N pixels with these sums and sums of squares (L,)."""
    norms, L = np.sqrt(squares), len(sums)
    ratio = np.divide(sums, norms, out=np.full(L, np.sqrt(N)), where=norms > 0)
    return float(((np.sqrt(N) - ratio) / np.sqrt(max(N - 1, 1))).sum() / np.sqrt(L))


def _second_moments(X: np.ndarray) -> np.ndarray:
    total = np.zeros((X.shape[1], X.shape[1]))
    for start in range(0, len(X), 65536):
        rows = X[start : start + 65536].astype(np.float64)
        total += rows.T @ rows
    return total
