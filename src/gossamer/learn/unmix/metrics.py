"""How far endmembers and abundances are from true ones, whatever their order."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from gossamer._core.checks import check_array
from gossamer._core.errors import ShapeError


def match_endmembers(M: Any, found: Any, channels: Any = None) -> np.ndarray:
    """Which found endmember belongs to each true one: the matching with the least sum of angles.

    Parameters
    ----------
    M, found : array, shape (K, L)
        True and found spectra.
    channels : mask or indices, optional
        Channels to compare.

    Returns
    -------
    ndarray of int, shape (K,)
        ``found[order]`` is in the order of ``M``.
    """
    return linear_sum_assignment(_angles(M, found, channels))[1]


def sad(M: Any, found: Any, *, channels: Any = None) -> np.ndarray:
    """Spectral angle distances in radians, after matching.

    The angle between m and m' is ``arccos(m . m' / (|m| |m'|))``.

    Parameters
    ----------
    M, found : array, shape (K, L)
        True and found spectra.
    channels : mask or indices, optional
        Channels to compare; outlier channels, whose endmembers are noise, dominate the angle otherwise.

    Returns
    -------
    ndarray, shape (K,)
        One for each row of M.

    Raises
    ------
    ShapeError
        If the shapes differ.
    """
    angles = _angles(M, found, channels)
    return angles[linear_sum_assignment(angles)]


def abundance_rmse(A: Any, found: Any) -> np.ndarray:
    """Root mean squared errors of abundances, after matching.

    Parameters
    ----------
    A, found : array, shape (N, K)
        True and found abundances.

    Returns
    -------
    ndarray, shape (K,)
        One for each column of A, at the matching with the least sum of squared errors.

    Raises
    ------
    ShapeError
        If the shapes differ.
    """
    A, found = _pair("A", A, found)
    squares = ((A[:, :, None] - found[:, None, :]) ** 2).mean(axis=0)
    return np.sqrt(squares[linear_sum_assignment(squares)])


def _pair(name: str, true: Any, found: Any) -> tuple[np.ndarray, np.ndarray]:
    true, found = check_array(name, true, ndim=2), check_array("found", found, ndim=2)
    if true.shape != found.shape:
        raise ShapeError(f"{name} has shape {true.shape} and found {found.shape}: expected equal ones")
    return true.astype(np.float64), found.astype(np.float64)


def _angles(M: Any, found: Any, channels: Any) -> np.ndarray:
    M, found = _pair("M", M, found)
    if channels is not None:
        M, found = M[:, channels], found[:, channels]
    norms = np.linalg.norm(M, axis=1)[:, None] * np.linalg.norm(found, axis=1)
    cosines = np.divide(M @ found.T, norms, out=np.zeros_like(norms), where=norms > 0)
    return np.arccos(np.clip(cosines, -1, 1))
