"""Choosing one option for each layer: a multiple-choice knapsack, solved by its Lagrangian."""

from __future__ import annotations

import numpy as np

from gossamer._core.errors import ArgumentError


def choose(cost: np.ndarray, loss: np.ndarray, multiplier: float) -> np.ndarray:
    """For every layer the option with the least ``cost + multiplier * loss``.

    Parameters
    ----------
    cost, loss : ndarray, shape (layers, options)
        What an option costs and loses; infinite entries are never chosen.
    multiplier : float
        Price of one unit of loss; infinity minimises the loss, then the cost.

    Returns
    -------
    ndarray of int, shape (layers,)
        Ties go to the lower cost, then to the lower index.
    """
    if np.isinf(multiplier):
        primary, secondary = loss, cost
    else:
        primary, secondary = cost + multiplier * loss, cost
    best = primary.min(axis=1, keepdims=True)
    tied = primary <= best * (1 + 1e-12)
    return np.where(tied, secondary, np.inf).argmin(axis=1)


def cheapest_within(cost: np.ndarray, loss: np.ndarray, limit: float) -> np.ndarray:
    """The choice with the least total cost whose total loss is at most ``limit``.

    The Lagrangian gives the best choice on the lower convex hull, from where single layers are moved to cheaper
    options, the best saving for its loss first, as long as the limit holds. The total cost is above the optimum by
    at most the cost difference of one layer's neighbouring hull options.

    Parameters
    ----------
    cost, loss : ndarray, shape (layers, options)
        As in :func:`choose`.
    limit : float
        Largest total loss.

    Returns
    -------
    ndarray of int, shape (layers,)

    Raises
    ------
    ArgumentError
        If even the least loss of every layer exceeds ``limit``; the message has that least loss.

    Notes
    -----
    ``O(layers options)`` operations for each of 60 bisection steps. Exchange ``cost`` and ``loss`` for the choice
    with the least loss within a cost.
    """
    rows = np.arange(len(cost))
    safest = choose(cost, loss, np.inf)
    least = float(loss[rows, safest].sum())
    if least > limit:
        raise ArgumentError(f"limit={limit:.6g}: expected at least {least:.6g}, which the best options reach")
    low, high = 0.0, float(np.ptp(cost[np.isfinite(cost)]) + 1)
    while loss[rows, choose(cost, loss, high)].sum() > limit and high < 1e300:
        high *= 16
    best = choose(cost, loss, high) if high < 1e300 else safest
    for _ in range(60):
        middle = (low + high) / 2
        candidate = choose(cost, loss, middle)
        if loss[rows, candidate].sum() <= limit:
            best, high = candidate, middle
        else:
            low = middle
    return _fill(cost, loss, best, limit)


def _fill(cost: np.ndarray, loss: np.ndarray, choice: np.ndarray, limit: float) -> np.ndarray:
    rows = np.arange(len(cost))
    choice = choice.copy()
    while True:
        saving = cost[rows, choice][:, None] - cost
        extra = loss - loss[rows, choice][:, None]
        room = limit - loss[rows, choice].sum()
        fits = (saving > 0) & (extra <= room)
        if not fits.any():
            return choice
        worth = np.where(fits, saving / np.maximum(extra, 1e-300), -np.inf)
        layer, option = np.unravel_index(int(worth.argmax()), worth.shape)
        choice[layer] = option
