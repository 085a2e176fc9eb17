"""Krum and Multi-Krum: the gradients with the nearest neighbours."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer._core.checks import check_int
from gossamer.solve.aggregation.distances import krum_scores, squared_distances
from gossamer.solve.aggregation.gradients import Gradients, check_faults


def krum(G: Any, f: int) -> Any:
    """Return the gradient with the smallest sum of squared distances to its ``p - f - 2`` nearest neighbours.

    Parameters
    ----------
    G : array or tensor, shape (p, n), or list of p arrays or tensors, shape (n,)
        Gradients.
    f : int
        Bad workers; ``p >= 2 f + 3``.

    Raises
    ------
    ArgumentError
        f is too large for p.

    Notes
    -----
    ``O(p^2 n)``: distances come from the Gram matrix, in float64.

    References
    ----------
    Blanchard, El Mhamdi, Guerraoui, Stainer. Machine learning with adversaries: Byzantine tolerant gradient descent.
    NeurIPS 2017.
    """
    return _mean_of_best(G, f, 1, "krum")


def multi_krum(G: Any, f: int, *, m: int | None = None) -> Any:
    """Return the mean of the m gradients that :func:`krum` scores best.

    Parameters
    ----------
    G : array or tensor, shape (p, n), or list of p arrays or tensors, shape (n,)
        Gradients.
    f : int
        Bad workers; ``p >= 2 f + 3``.
    m : int, optional
        Gradients to average, ``p - f - 2`` by default.

    Raises
    ------
    ArgumentError
        f is too large for p, or m not in 1..p.

    References
    ----------
    Blanchard, El Mhamdi, Guerraoui, Stainer. Machine learning with adversaries: Byzantine tolerant gradient descent.
    NeurIPS 2017.
    """
    return _mean_of_best(G, f, m, "multi_krum")


def _mean_of_best(G: Any, f: int, m: int | None, name: str) -> Any:
    gradients, K = Gradients.of(G).finite_gram()
    f = check_faults(f, gradients.p, name, 2, 3)
    m = gradients.p - f - 2 if m is None else check_int("m", m, low=1, high=gradients.p)
    best = np.argsort(krum_scores(squared_distances(K), f), kind="stable")[:m]
    coef = np.zeros(gradients.p)
    coef[best] = 1 / m
    return gradients.combine(coef)
