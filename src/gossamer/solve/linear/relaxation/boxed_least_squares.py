"""Small least squares problems whose coefficients are bounded, from their normal equations."""

from __future__ import annotations

import numpy as np


def boxed_least_squares(gram: np.ndarray, moment: np.ndarray, bound: np.ndarray) -> np.ndarray:
    """Minimise ``x.gram.x / 2 - moment.x`` over ``abs(x) <= bound``.

    Coordinates are free or at a bound. The free ones go towards their minimum until one of them meets its bound; when
    they are there, the one at a bound that wants inside most is freed.

    Parameters
    ----------
    gram : ndarray, shape (m, m)
        Symmetric positive semidefinite.
    moment, bound : ndarray, shape (m,)
        ``bound`` is not negative.

    Returns
    -------
    ndarray, shape (m,)

    Notes
    -----
    The method of Stark and Parker, "Bounded-variable least-squares", 1995. O(m^3) a step, a few steps.
    """
    m = len(moment)
    x, free = np.zeros(m), np.zeros(m, bool)
    slack = 1e-10 * max(float(np.abs(moment).max(initial=0)), 1e-300)
    for _ in range(20 * (m + 1)):
        slope = moment - gram @ x
        wants = np.where((np.sign(slope) * x < bound) & ~free, np.abs(slope), 0)  # a step inside would gain
        enter = int(wants.argmax())
        if wants[enter] <= slack:
            break
        free[enter] = True
        while free.any():
            at = np.flatnonzero(free)
            others = moment[at] - gram[np.ix_(at, ~free)] @ x[~free]
            goal = np.linalg.lstsq(gram[np.ix_(at, at)], others, rcond=1e-12)[0]
            step = goal - x[at]
            room = np.full(len(at), np.inf)
            moves = step != 0
            room[moves] = (np.sign(step[moves]) * bound[at][moves] - x[at][moves]) / step[moves]
            if room.min() >= 1:
                x[at] = goal
                break
            first = int(room.argmin())
            x[at] += max(float(room[first]), 0.0) * step
            x[at[first]] = np.copysign(bound[at[first]], step[first])
            free[at[first]] = False
    return x
