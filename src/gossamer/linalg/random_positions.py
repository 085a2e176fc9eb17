"""Places of entries drawn at random: what sparse weights start from, and where new entries may go."""

from __future__ import annotations

import math

import numpy as np

from gossamer._core.checks import check_float, check_int


def erdos_renyi_count(n_in: int, n_out: int, epsilon: float) -> int:
    """Entries of an Erdos-Renyi weight: ``floor(epsilon (n_in + n_out))``, at most all.

    The share of possible entries, ``epsilon (n_in + n_out) / (n_in n_out)``, falls as layers grow: the number of
    entries is linear in the number of units.

    Parameters
    ----------
    n_in, n_out : int
        Units on the two sides.
    epsilon : float
        Half the mean number of entries of a unit, for layers of equal sides.

    Returns
    -------
    int

    References
    ----------
    Mocanu et al., "Scalable training of artificial neural networks with adaptive sparse connectivity inspired by
    network science", Nature Communications 2018.
    """
    n_in, n_out = check_int("n_in", n_in, low=1), check_int("n_out", n_out, low=1)
    epsilon = check_float("epsilon", epsilon, low=0, closed="neither")
    return min(math.floor(epsilon * (n_in + n_out)), n_in * n_out)


def draw_positions(total: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """``count`` distinct ones of the numbers below ``total``, ascending: every subset is equally likely.

    Memory is O(count), whatever ``total`` is.

    Parameters
    ----------
    total : int
        Places.
    count : int
        How many of them; at most ``total``.
    rng : Generator
        Source of the draw.

    Returns
    -------
    ndarray of int64, shape (count,)
    """
    total = check_int("total", total, low=0)
    count = check_int("count", count, low=0, high=total)
    if not count:
        return np.empty(0, np.int64)
    return np.sort(rng.choice(total, count, replace=False, shuffle=False).astype(np.int64, copy=False))


def empty_positions(taken: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """The places of given ranks among those that are not taken: rank 0 is the first empty place.

    With ranks from :func:`draw_positions`, a uniform draw of empty places at any density.

    Parameters
    ----------
    taken : ndarray of int64, shape (k,)
        Ascending, distinct.
    ranks : ndarray of int64, shape (count,)
        Ranks among the empty places.

    Returns
    -------
    ndarray of int64, shape (count,)
    """
    empty_before = taken - np.arange(len(taken))
    return ranks + np.searchsorted(empty_before, ranks, side="right")
