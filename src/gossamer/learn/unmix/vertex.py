"""Vertex component analysis: the pixels that are the corners of the data."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer._core.checks import check_array, check_int
from gossamer._core.errors import bad_argument
from gossamer._core.random import RandomState, check_random_state


def vca(X: Any, k: int, *, random_state: RandomState = None) -> tuple[np.ndarray, np.ndarray]:
    """Find the k purest pixels by projections (VCA).

    Mixtures with shares that sum to one fill a simplex whose corners are the pure pixels. The data are projected to k
    dimensions (k - 1 and a constant where the signal is weak); then, k times, the pixel that is farthest out in a
    random direction orthogonal to the corners found is the next corner.

    Parameters
    ----------
    X : array, shape (N, L)
        Pixels by channels.
    k : int
        Endmembers, at least 2, at most min(N, L).
    random_state : int, Generator or None
        Source of the directions.

    Returns
    -------
    indices : ndarray of int, shape (k,)
        Pixels.
    endmembers : ndarray, shape (k, L)
        Their spectra, cleared of noise by the projection.

    Raises
    ------
    ArgumentError
        For k out of range.

    Notes
    -----
    O(N L^2) for the projection and O(N k^2) for the corners.

    References
    ----------
    Nascimento, Bioucas-Dias, "Vertex component analysis: a fast algorithm to unmix hyperspectral data", IEEE TGRS 2005.
    """
    X = check_array("X", X, ndim=2)
    N, L = X.shape
    k = check_int("k", k, low=2)
    if k > min(N, L):
        raise bad_argument("k", k, f"at most {min(N, L)} for X of shape {X.shape}")
    rng = check_random_state(random_state)
    mean = X.mean(axis=0, dtype=np.float64)
    second = X.T.astype(np.float64) @ X / N
    centred = np.linalg.eigh(second - np.outer(mean, mean))[1][:, ::-1]
    weak = _snr(second, mean, centred[:, :k], k) < 15 + 10 * np.log10(k)
    if weak:
        basis = centred[:, : k - 1]
        low = (X - mean) @ basis
        spectra = low @ basis.T + mean
        far = np.sqrt(np.einsum("nk,nk->n", low, low).max())
        points = np.column_stack([low, np.full(N, far)])
    else:
        basis = np.linalg.eigh(second)[1][:, ::-1][:, :k]
        low = X @ basis
        spectra = low @ basis.T
        centre = low.mean(axis=0)
        heights = low @ centre
        # projective scaling takes shares that do not sum to one to the simplex; pixels without light stay at zero
        safe = np.where(np.abs(heights) > 1e-12 * np.abs(heights).max(), heights, np.inf)
        points = low / safe[:, None]
    corners = np.zeros((k, k))
    corners[0, -1] = 1.0
    indices = np.zeros(k, np.int64)
    for i in range(k):
        w = rng.standard_normal(k)
        f = w - corners.T @ np.linalg.lstsq(corners.T, w, rcond=None)[0]
        indices[i] = np.argmax(np.abs(points @ (f / np.linalg.norm(f))))
        corners[i] = points[indices[i]]
    return indices, spectra[indices].astype(X.dtype)


def _snr(second: np.ndarray, mean: np.ndarray, basis: np.ndarray, k: int) -> float:
    """Decibels of the signal in k dimensions over the rest."""
    total = float(np.trace(second))
    kept = float(np.einsum("lk,lm,mk->", basis, second - np.outer(mean, mean), basis) + mean @ mean)
    rest = total - kept
    if rest <= 1e-12 * total:
        return np.inf
    signal = kept - k / len(mean) * total
    return -np.inf if signal <= 0 else float(10 * np.log10(signal / rest))
