"""Rules that average, at every coordinate, the values closest to a robust centre."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gossamer.solve.aggregation.gradients import Gradients, check_faults
from gossamer.solve.aggregation.order import inner_mean, mean_of_closest, middle


def meamed(G: Any, f: int) -> Any:
    """Return the mean around the median: of every coordinate, the ``p - f`` values closest to the median.

    Parameters
    ----------
    G : array or tensor, shape (p, n), or list of p arrays or tensors, shape (n,)
        Gradients.
    f : int
        Bad workers; ``p >= 2 f + 1``.

    Raises
    ------
    ArgumentError
        f is too large for p.

    References
    ----------
    Xie, Koyejo, Gupta. Generalized Byzantine-tolerant SGD. arXiv 1802.10116.
    """
    return _around(G, f, "meamed", lambda ordered, _: middle(ordered))


def phocas(G: Any, f: int) -> Any:
    """Return the mean around the trimmed mean: of every coordinate, the ``p - f`` values closest to it.

    Parameters
    ----------
    G : array or tensor, shape (p, n), or list of p arrays or tensors, shape (n,)
        Gradients.
    f : int
        Bad workers; ``p >= 2 f + 1``.

    Raises
    ------
    ArgumentError
        f is too large for p.

    References
    ----------
    Xie, Koyejo, Gupta. Phocas: dimensional Byzantine-resilient stochastic gradient descent. arXiv 1805.09682.
    """
    return _around(G, f, "phocas", inner_mean)


def _around(G: Any, f: int, name: str, center: Callable[[np.ndarray, int], np.ndarray]) -> Any:
    gradients = Gradients.of(G).finite()
    f = check_faults(f, gradients.p, name, 2, 1)

    def rule(block: np.ndarray) -> np.ndarray:
        block.sort(axis=0)
        return mean_of_closest(block, center(block, f), len(block) - f)

    return gradients.by_coordinate(rule)
