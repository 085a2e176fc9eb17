"""Scenes with known endmembers and abundances."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import uniform_filter

from gossamer._core.checks import check_array, check_choice, check_float, check_int
from gossamer._core.random import RandomState, check_random_state
from gossamer.learn.unmix.guidance import hoyer_sparseness


@dataclass(frozen=True)
class Scene:
    """A simulated cube and what it was made of.

    Attributes
    ----------
    X : ndarray, shape (N, L)
        Pixels in order of rows, with noise.
    M : ndarray, shape (K, L)
        Endmembers.
    A : ndarray, shape (N, K)
        Abundances.
    outlier_channels : ndarray of int
        Channels that hold nothing but noise.
    sparseness : ndarray, shape (N,)
        Hoyer's sparseness of the abundances of each pixel.
    shape : (int, int)
        Rows and columns of the image.
    """

    X: np.ndarray
    M: np.ndarray
    A: np.ndarray
    outlier_channels: np.ndarray
    sparseness: np.ndarray
    shape: tuple[int, int]


def simulate_scene(
    endmembers: Any,
    shape: tuple[int, int] = (64, 64),
    *,
    block: int = 8,
    kind: str = "smooth",
    snr_db: float = 30.0,
    n_outlier: int = 0,
    outlier_std: float = 2.0,
    max_abundance: float = 1.0,
    random_state: RandomState = 0,
) -> Scene:
    """Mix spectra over an image.

    Parameters
    ----------
    endmembers : array, shape (K, L)
        Spectra, not negative.
    shape : (int, int)
        Rows and columns of the image.
    block : int
        Side of the squares of one material.
    kind : {"smooth", "half_pure"}
        Squares of a random material each, blurred by a mean over ``block + 1`` pixels; or such squares, not blurred,
        in the left half and Dirichlet(2, .., 2) mixtures in the right one.
    snr_db : float
        White noise on all channels, in decibels below the signal.
    n_outlier : int
        Channels that are replaced by noise.
    outlier_std : float
        Its standard deviation.
    max_abundance : float
        Pixels with a larger share than that become even mixtures ("smooth").
    random_state : int, Generator or None
        Source of everything.

    Returns
    -------
    Scene

    Raises
    ------
    ArgumentError
        For parameters out of range.
    """
    M = check_array("endmembers", endmembers, ndim=2).astype(np.float64)
    K, L = M.shape
    rows, columns = (check_int("shape", side, low=1) for side in shape)
    block = check_int("block", block, low=1)
    check_choice("kind", kind, ("smooth", "half_pure"))
    n_outlier = check_int("n_outlier", n_outlier, low=0, high=L)
    most = check_float("max_abundance", max_abundance, low=1 / K)
    rng = check_random_state(random_state)
    squares = rng.integers(K, size=(-(-rows // block), -(-columns // block)))
    material = squares.repeat(block, axis=0).repeat(block, axis=1)[:rows, :columns]
    A = np.eye(K)[material]
    if kind == "smooth":
        A = uniform_filter(A, size=(block + 1, block + 1, 1), mode="nearest")
        A[A.max(axis=2) > most] = 1 / K
    else:
        half = columns // 2
        A[:, half:] = rng.dirichlet(np.full(K, 2.0), size=(rows, columns - half))
    A = A.reshape(-1, K)
    X = A @ M
    sd = np.sqrt((X**2).mean() / 10 ** (check_float("snr_db", snr_db) / 10))
    X += sd * rng.standard_normal(X.shape)
    outliers = np.sort(rng.choice(L, n_outlier, replace=False))
    X[:, outliers] = check_float("outlier_std", outlier_std, low=0) * rng.standard_normal((len(X), n_outlier))
    return Scene(np.maximum(X, 0), M, A, outliers, hoyer_sparseness(A), (rows, columns))
