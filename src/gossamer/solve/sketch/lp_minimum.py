"""Many small problems at once: the least norm of ``A x`` with one row of A held at one."""

from __future__ import annotations

import numpy as np

from gossamer.solve.sketch.power_loss import curvature, slope, smoothed, stages

MOST = 1 << 22  # numbers of a batch
STEPS = 60


def least_powers(
    B: np.ndarray, weights: np.ndarray, rows: np.ndarray, start: np.ndarray, p: float, tol: float = 1e-12
) -> tuple[np.ndarray, np.ndarray]:
    r"""Minima of :math:`\sum_j w_j |b_j x|^p` subject to ``rows[i] @ x = 1``, for every i, and their places.

    Parameters
    ----------
    B : ndarray, shape (m, d)
        Full column rank.
    weights : ndarray, shape (m,)
        Positive.
    rows : ndarray, shape (q, d)
        The constraints, none of them zero.
    start : ndarray, shape (q, d)
        Where to begin, with ``rows[i] @ start[i] = 1``.
    p : float
        At least one.
    tol : float
        Relative decrement at which Newton's method ends.

    Returns
    -------
    minima : ndarray, shape (q,)
        At the places found: upper bounds of the minima, exact to 1e-6 or better.
    places : ndarray, shape (q, d)
        The x.
    """
    places = start.copy()
    scale = weights ** (1 / p)
    scaled = B * scale[:, None]
    d = B.shape[1]
    outer = (scaled[:, :, None] * scaled[:, None, :]).reshape(len(B), d * d)
    step = max(MOST // max(len(B), d * d), 1)
    for lo in range(0, len(rows), step):
        hi = min(lo + step, len(rows))
        places[lo:hi] = _newton(scaled, outer, rows[lo:hi], places[lo:hi], p, tol)
    places /= np.einsum("qd,qd->q", rows, places)[:, None]  # rounding moves a place off its constraint
    minima = np.concatenate(
        [(np.abs(scaled @ places[lo : lo + step].T) ** p).sum(axis=0) for lo in range(0, len(rows), step)]
    )
    return minima, places


def _newton(
    A: np.ndarray, outer: np.ndarray, rows: np.ndarray, x: np.ndarray, p: float, tol: float
) -> np.ndarray:
    """Damped Newton steps for a batch; those that are done are left alone."""
    d = A.shape[1]
    size = np.sqrt(np.mean((A @ x.T) ** 2, axis=0))  # residuals of one problem have one scale
    x = x.copy()
    for exponent, mu in stages(p, 1.0):
        active = np.arange(len(x))
        for _ in range(STEPS):
            R = (A @ x[active].T) / size[active]
            value = smoothed(R, exponent, mu).sum(axis=0)
            gradient = (A.T @ slope(R, exponent, mu)) / size[active]
            H = (outer.T @ curvature(R, exponent, mu)).T.reshape(-1, d, d) / size[active, None, None] ** 2
            H += 1e-14 * np.trace(H, axis1=1, axis2=2)[:, None, None] / d * np.eye(d)
            both = np.stack([gradient.T, rows[active]], axis=2)
            solved = np.linalg.solve(H, both)
            share = np.einsum("qd,qd->q", rows[active], solved[:, :, 0])
            share /= np.einsum("qd,qd->q", rows[active], solved[:, :, 1])
            move = -(solved[:, :, 0] - share[:, None] * solved[:, :, 1])
            decrement = -np.einsum("dq,qd->q", gradient, move)
            left = decrement > tol * value
            if not left.any():
                break
            active, move, value, decrement, R = (
                active[left],
                move[left],
                value[left],
                decrement[left],
                R[:, left],
            )
            length = _search(A, R, move, size[active], value, decrement, exponent, mu)
            x[active] += length[:, None] * move
            active = active[length > 0]
            if not len(active):
                break
    return x


def _search(
    A: np.ndarray,
    R: np.ndarray,
    move: np.ndarray,
    size: np.ndarray,
    value: np.ndarray,
    decrement: np.ndarray,
    p: float,
    mu: float,
) -> np.ndarray:
    """Step lengths that lower each value by a share of what the slope promises; zero where none does."""
    change = (A @ move.T) / size
    length = np.ones(len(move))
    open_ = np.arange(len(move))
    for _ in range(40):
        trial = smoothed(R[:, open_] + length[open_] * change[:, open_], p, mu).sum(axis=0)
        bad = ~(trial <= value[open_] - 0.1 * length[open_] * decrement[open_] + 1e-15 * value[open_])
        open_ = open_[bad]
        if not len(open_):
            return length
        length[open_] /= 2
    length[open_] = 0
    return length
