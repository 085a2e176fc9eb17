"""A small quadratic with absolute values and bounds, to the last digits."""

from __future__ import annotations

import numpy as np
import scipy.linalg

from gossamer._kernels.descent import coordinates

SWEEPS = 8
MOST_ROUNDS = 2000
JITTER = 1e-11
ROUNDING = 8 * np.finfo(np.float64).eps


def minimise_block(
    H: np.ndarray, g: np.ndarray, x: np.ndarray, lam: np.ndarray, low: np.ndarray, high: np.ndarray
) -> np.ndarray:
    """``argmin_z g^T (z - x) + 1/2 (z - x)^T H (z - x) + sum lam_i |z_i|`` for ``low <= z <= high``.

    Sweeps of coordinate descent find which entries are zero or at a bound; a Cholesky solution on the others ends it,
    so that steps are below 1e-12 of the gradient, or rounding. Where the solution leaves the face, the step ends
    at its border.

    Parameters
    ----------
    H : ndarray, shape (t, t)
        Positive semi-definite.
    g, x, lam, low, high : ndarray, shape (t,)
        Gradient at x, where x is, and the penalty.
    """
    z, q = x.copy(), g.astype(np.float64, copy=True)
    tol, curvature = 1e-12 * float(np.max(np.abs(g) + lam, initial=0.0)), np.diagonal(H)
    for _ in range(MOST_ROUNDS):
        rounding = ROUNDING * float(np.max(curvature * np.abs(z), initial=0.0))
        made = coordinates(H, lam, low, high, z, q, SWEEPS, max(tol, rounding))
        if made == 1:
            break
        while not _polish(H, lam, low, high, z, q):
            pass
    return z


def _polish(
    H: np.ndarray, lam: np.ndarray, low: np.ndarray, high: np.ndarray, z: np.ndarray, q: np.ndarray
) -> bool:
    """Newton's step on the face of z, as far as the face goes, in place; False if that ended at a border."""
    free = np.flatnonzero(((z != 0) | (lam == 0)) & (z > low) & (z < high))
    if not len(free):
        return True
    here = z[free]
    part = H[np.ix_(free, free)]
    # with columns that depend on each other the face has flat directions: what little is added bounds the step there
    part[np.diag_indices_from(part)] += JITTER * float(np.trace(part)) / len(free)
    try:
        factor = scipy.linalg.cho_factor(part, lower=True, check_finite=False)
    except np.linalg.LinAlgError:
        return True
    d = -scipy.linalg.cho_solve(factor, q[free] + lam[free] * np.sign(here), check_finite=False)
    if not np.isfinite(d).all():
        return True
    # the nearest border on the way: zero where there is a weight, or a bound
    lower = np.where((lam[free] > 0) & (here > 0), np.maximum(low[free], 0.0), low[free])
    upper = np.where((lam[free] > 0) & (here < 0), np.minimum(high[free], 0.0), high[free])
    with np.errstate(divide="ignore", invalid="ignore"):
        room = np.where(d < 0, (lower - here) / d, np.where(d > 0, (upper - here) / d, np.inf))
    step = min(1.0, float(room.min()))
    moved = here + step * d
    if step < 1:
        hit = room <= step
        moved[hit] = np.where(d[hit] < 0, lower[hit], upper[hit])
    q += H[:, free] @ (moved - here)
    z[free] = moved
    return step == 1
