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
    search = CornerSearch(X.mean(axis=0, dtype=np.float64), X.T.astype(np.float64) @ X / N, k)
    low = search.project(X)
    points = search.points(low, search.reach(low))

    def farthest(direction: np.ndarray) -> tuple[int, np.ndarray]:
        index = int(np.argmax(np.abs(points @ direction)))
        return index, points[index]

    indices = np.array(search.run(farthest, check_random_state(random_state)), np.int64)
    return indices, search.spectra(low[indices]).astype(X.dtype)


class CornerSearch:
    """The projection and the directions of VCA, given the moments of pixels that may lie anywhere.

    Parameters
    ----------
    mean : ndarray, shape (L,)
    second : ndarray, shape (L, L)
        ``X^T X / N``.
    k : int
    channels : ndarray of bool, optional
        Where these channels are in the pixels, which may have more.
    """

    def __init__(
        self, mean: np.ndarray, second: np.ndarray, k: int, channels: np.ndarray | None = None
    ) -> None:
        self.mean, self.k = mean, k
        centred = np.linalg.eigh(second - np.outer(mean, mean))[1][:, ::-1]
        self.weak = _snr(second, mean, centred[:, :k], k) < 15 + 10 * np.log10(k)
        self.basis = centred[:, : k - 1] if self.weak else np.linalg.eigh(second)[1][:, ::-1][:, :k]
        self.spread = self.basis  # over all channels, so that pixels need not be copied
        if channels is not None:
            self.spread = np.zeros((len(channels), self.basis.shape[1]))
            self.spread[channels] = self.basis

    def project(self, X: np.ndarray) -> np.ndarray:
        """Coordinates of pixels, float64: (n, k), or (n, k - 1) where the signal is weak."""
        low = (X @ self.spread.astype(X.dtype)).astype(np.float64)
        return low - self.mean @ self.basis if self.weak else low

    def reach(self, low: np.ndarray) -> float:
        """How far pixels are out: their largest norm, or their largest height over the mean pixel."""
        if self.weak:
            return float(np.sqrt(np.einsum("nk,nk->n", low, low).max(initial=0.0)))
        return float(np.abs(low @ (self.mean @ self.basis)).max(initial=0.0))

    def points(self, low: np.ndarray, reach: float) -> np.ndarray:
        """Pixels (n, k) on the simplex, ``reach`` being the largest of all."""
        if self.weak:
            return np.column_stack([low, np.full(len(low), reach)])
        heights = low @ (self.mean @ self.basis)
        # projective scaling takes shares that do not sum to one to the simplex; pixels without light stay at zero
        safe = np.where(np.abs(heights) > 1e-12 * reach, heights, np.inf)
        return low / safe[:, None]

    def spectra(self, low: np.ndarray) -> np.ndarray:
        """Projections as spectra: (n, L)."""
        return low @ self.basis.T + (self.mean if self.weak else 0)

    def run(self, farthest: Any, rng: np.random.Generator) -> list[Any]:
        """Names of the k corners, ``farthest(direction)`` giving the name and the point of a pixel."""
        corners = np.zeros((self.k, self.k))
        corners[0, -1] = 1.0
        found = []
        for i in range(self.k):
            w = rng.standard_normal(self.k)
            f = w - corners.T @ np.linalg.lstsq(corners.T, w, rcond=None)[0]
            name, corners[i] = farthest(f / np.linalg.norm(f))
            found.append(name)
        return found


def _snr(second: np.ndarray, mean: np.ndarray, basis: np.ndarray, k: int) -> float:
    """Decibels of the signal in k dimensions over the rest."""
    total = float(np.trace(second))
    kept = float(np.einsum("lk,lm,mk->", basis, second - np.outer(mean, mean), basis) + mean @ mean)
    rest = total - kept
    if rest <= 1e-12 * total:
        return np.inf
    signal = kept - k / len(mean) * total
    return -np.inf if signal <= 0 else float(10 * np.log10(signal / rest))
