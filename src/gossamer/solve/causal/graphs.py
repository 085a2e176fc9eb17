"""Weighted graphs as matrices: acyclic or not, and made so."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer._core.checks import check_float
from gossamer._core.errors import ArgumentError
from gossamer.solve.causal.acyclicity import check_weights


def topological_order(W: Any) -> np.ndarray:
    """An order of the variables in which every edge points forward.

    Parameters
    ----------
    W : array, shape (d, d)
        Edges where not zero, from row to column. Zero diagonal.

    Returns
    -------
    ndarray, shape (d,), int64
        Of several orders the one that takes the smallest index first.

    Raises
    ------
    ArgumentError
        If there is a cycle.
    """
    edges = check_weights("W", W) != 0
    order = _order(edges)
    if len(order) < len(edges):
        raise ArgumentError(f"W has a cycle among {len(edges) - len(order)} variables: expected a DAG")
    return order


def is_dag(W: Any) -> bool:
    """Whether the nonzeros of a square matrix are the edges of a directed acyclic graph; a diagonal is a cycle."""
    edges = np.asarray(W) != 0
    return not np.diag(edges).any() and len(_order(edges)) == len(edges)


def to_dag(W: Any, threshold: float = 0.3) -> np.ndarray:
    """Remove small weights, then the smallest one that is left until no cycle is.

    Equivalent to removing the smallest edge of the whole graph while it is cyclic.

    Parameters
    ----------
    W : array, shape (d, d)
        Weights; zero diagonal.
    threshold : float
        Weights of at most this size go. 0.3 suits effects of 0.5 and more; it is in units of the data.

    Returns
    -------
    ndarray, shape (d, d), float64
        The weights that stay.

    Raises
    ------
    ArgumentError
        If W is not square or has a diagonal, or the threshold is negative.
    """
    kept = check_weights("W", W)
    kept[np.abs(kept) <= check_float("threshold", threshold, low=0)] = 0
    rows, columns = np.nonzero(kept)
    order = np.argsort(np.abs(kept[rows, columns]), kind="stable")
    rows, columns = rows[order], columns[order]
    if len(_order(kept != 0)) == len(kept):
        return kept
    # acyclic once the first k are gone is monotone in k
    low, high = 0, len(rows)
    while high - low > 1:
        middle = (low + high) // 2
        edges = np.zeros(kept.shape, bool)
        edges[rows[middle:], columns[middle:]] = True
        low, high = (low, middle) if len(_order(edges)) == len(kept) else (middle, high)
    kept[rows[:high], columns[:high]] = 0
    return kept


def _order(edges: np.ndarray) -> np.ndarray:
    """Variables outside of and not behind a cycle, every edge forward, the smallest index first."""
    waiting = edges.sum(axis=0)
    free = waiting == 0
    order = []
    while free.any():
        node = int(np.argmax(free))
        order.append(node)
        free[node] = False
        children = np.flatnonzero(edges[node])
        waiting[children] -= 1
        free[children[waiting[children] == 0]] = True
    return np.array(order, dtype=np.int64)
