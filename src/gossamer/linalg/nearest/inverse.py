"""The damped inverse of a second moment, as its Cholesky factor: what saliency and the sweep both need."""

from __future__ import annotations

import hashlib
from threading import Lock

import numpy as np
from scipy.linalg import lapack

from gossamer._core.errors import ArgumentError

DAMPING = 0.01
_REMEMBERED = 2**26
_recent: dict[bytes, tuple[np.ndarray, np.ndarray]] = {}
_lock = Lock()


def damped(metric: np.ndarray, damping: float = DAMPING) -> tuple[np.ndarray, np.ndarray]:
    """Return ``H + damping mean(diag H) I`` in float64 and the dead columns.

    Parameters
    ----------
    metric : ndarray, shape (K, K)
        Second moment ``H = E[x x^T]``.
    damping : float
        Fraction of the mean of the diagonal that is added to it.

    Returns
    -------
    H : ndarray of float64, shape (K, K)
        A copy; the diagonal of dead columns is 1.
    dead : ndarray of bool, shape (K,)
        Columns whose input was always zero: their weights do not matter.
    """
    H = metric.astype(np.float64)
    diagonal = np.einsum("ii->i", H)  # a view
    dead = diagonal <= 0
    diagonal[dead] = 1
    diagonal += damping * diagonal.mean()
    return H, dead


def inverse_factor(metric: np.ndarray, damping: float = DAMPING) -> tuple[np.ndarray, np.ndarray]:
    r"""Return the upper triangular ``U`` with ``U^T U = H_damped^{-1}``, and the dead columns.

    Row j of ``U`` divided by ``U_jj`` is the update that the columns to the right of j receive in an OBS
    sweep, and ``U_jj^2`` is the entry j of the inverse of the trailing block ``H[j:, j:]``. The factor comes
    from the Cholesky factor of the reversed ``H`` by one triangular inversion: ``2 K^3 / 3`` operations, no
    explicit inverse. If rounding makes ``H`` indefinite the damping grows tenfold until the factorisation
    succeeds.

    The last factors are remembered by the content of ``H``, up to 64 MiB of them: layers that share an input (Q, K
    and V; gate and up), and saliency and sweep of one layer, ask for the same one.

    Returns
    -------
    U : ndarray of float64, shape (K, K)
        Read-only.
    dead : ndarray of bool, shape (K,)
        Read-only.

    Raises
    ------
    ArgumentError
        If ``H`` is so indefinite that a hundredfold mean diagonal does not help.
    """
    content = np.ascontiguousarray(metric)
    digest = hashlib.blake2b(content.data, digest_size=16, key=f"{content.dtype} {damping}".encode())
    key = digest.digest()
    with _lock:
        known = _recent.pop(key, None)
    found = known or _inverse_factor(metric, damping)
    for array in found:
        array.setflags(write=False)
    with _lock:
        _recent[key] = found
        while sum(upper.nbytes for upper, _ in _recent.values()) > _REMEMBERED:
            del _recent[next(iter(_recent))]
    return found


def _inverse_factor(metric: np.ndarray, damping: float) -> tuple[np.ndarray, np.ndarray]:
    while damping <= 100:
        H, dead = damped(metric, damping)
        lower, info = lapack.dpotrf(H[::-1, ::-1], lower=1, clean=1)
        if info == 0:
            upper, info = lapack.dtrtri(np.asfortranarray(lower[::-1, ::-1]), lower=0)
        if info == 0:
            return upper, dead
        damping = max(10 * damping, 1e-6)
    raise ArgumentError("metric is not positive semi-definite: expected E[x x^T]")


def inverse_diagonal(metric: np.ndarray, damping: float = DAMPING) -> np.ndarray:
    """The diagonal of the damped inverse, shape (K,); a metric of shape (K,) is inverted entry by entry."""
    if metric.ndim == 1:
        return 1 / np.where(metric > 0, metric, 1).astype(np.float64)
    upper, _ = inverse_factor(metric, damping)
    return np.einsum("ij,ij->j", upper, upper)
