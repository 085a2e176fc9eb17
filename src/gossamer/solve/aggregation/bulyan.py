"""Bulyan: select by Krum, then average per coordinate around the median."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer.solve.aggregation.distances import krum_scores, squared_distances
from gossamer.solve.aggregation.gradients import Gradients, check_faults
from gossamer.solve.aggregation.order import mean_of_closest, middle


def bulyan(G: Any, f: int) -> Any:
    """Return, per coordinate, the mean of the ``p - 4 f`` values closest to the median of ``p - 2 f`` chosen gradients.

    Gradients are chosen one at a time: Krum's best of those that are left, scored anew after each removal.
    Of equal scores the first wins: once few are left, two gradients may be each other's only neighbour.

    Parameters
    ----------
    G : array or tensor, shape (p, n), or list of p arrays or tensors, shape (n,)
        Gradients.
    f : int
        Bad workers; ``p >= 4 f + 3``.

    Raises
    ------
    ArgumentError
        f is too large for p.

    References
    ----------
    El Mhamdi, Guerraoui, Rouault. The hidden vulnerability of distributed learning in Byzantium. ICML 2018.
    """
    gradients, K = Gradients.of(G).finite_gram()
    f = check_faults(f, gradients.p, "bulyan", 4, 3)
    chosen = _select(squared_distances(K), f, gradients.p - 2 * f)

    def rule(block: np.ndarray) -> np.ndarray:
        ordered = block[chosen]
        ordered.sort(axis=0)
        return mean_of_closest(ordered, middle(ordered), len(ordered) - 2 * f)

    return gradients.by_coordinate(rule)


def _select(distances: np.ndarray, f: int, count: int) -> np.ndarray:
    left = np.arange(len(distances))
    chosen = np.empty(count, np.int64)
    for k in range(count):
        if len(left) > 1:
            best = int(np.argmin(krum_scores(distances[np.ix_(left, left)], f)))
        else:
            best = 0
        chosen[k] = left[best]
        left = np.delete(left, best)
    return np.sort(chosen)
