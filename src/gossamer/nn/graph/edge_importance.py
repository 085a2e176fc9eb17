"""What an edge counts for, from the degrees around it: factors of its two ends, and which entries of a matrix go."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy.sparse

from gossamer._core.arrays import to_numpy
from gossamer._core.checks import check_array, check_choice
from gossamer._core.errors import ShapeError
from gossamer._core.random import RandomState, check_random_state
from gossamer._kernels import csr
from gossamer.nn.graph.edge_pairs import EdgePairs, lowest

Factors = tuple[np.ndarray, np.ndarray]
SCORES = ("teddy", "degree", "random", "inverse")


def node_factors(
    adjacency: scipy.sparse.csr_array, *, add_self_loops: bool = False, directed: bool = False
) -> Factors:
    """Factors of sources and of targets, (n,) each, of a canonical adjacency without self-loops."""
    if add_self_loops:
        adjacency = (adjacency + scipy.sparse.eye_array(adjacency.shape[0], format="csr")).tocsr()
    out = _factor(adjacency, _sums(adjacency) if not directed else _sums(adjacency.T.tocsr()))
    return out, _factor(adjacency.T.tocsr(), _sums(adjacency)) if directed else out


def degree_factors(adjacency: scipy.sparse.csr_array, directed: bool = False) -> Factors:
    """The same from the ends' own degrees alone: ``1 / sqrt(d)`` each."""
    out = _inverse_root(_sums(adjacency))
    return out, _inverse_root(_sums(adjacency.T.tocsr())) if directed else out


def score_entries(
    score: Any,
    adjacency: scipy.sparse.csr_array,
    rows: np.ndarray,
    columns: np.ndarray,
    *,
    add_self_loops: bool = False,
    directed: bool = False,
) -> np.ndarray | None:
    """A number for each entry at ``rows`` and ``columns``; None for random ones, which are drawn for each edge.

    ``score`` is a name, or an array that has such numbers already.
    """
    if isinstance(score, str):
        check_choice("score", score, SCORES)
        if score == "random":
            return None
        if score == "degree":
            out, into = degree_factors(adjacency, directed)
        else:
            out, into = node_factors(adjacency, add_self_loops=add_self_loops, directed=directed)
        return (-1.0 if score == "inverse" else 1.0) * out[rows] * into[columns]
    given = to_numpy(check_array("score", score, ndim=1))
    if len(given) != len(rows):
        raise ShapeError(f"score has shape {given.shape}: expected ({len(rows)},), one a stored edge")
    return given


def choose_pruned(
    pairs: EdgePairs, scores: np.ndarray | None, p: float, random_state: RandomState = None
) -> np.ndarray:
    """Which ``floor(p P)`` edges go, bool (P,): those of lowest mean score, or random ones for None."""
    of_pairs = check_random_state(random_state).random(len(pairs)) if scores is None else pairs.mean(scores)
    return lowest(of_pairs, share_of(len(pairs), p), pairs.ends)


def share_of(total: int, p: float) -> int:
    """``floor(p total)``, not one less where the product is rounded down from an integer."""
    return math.floor(p * total * (1 + 1e-12))


def _factor(adjacency: scipy.sparse.csr_array, degrees_of_neighbours: np.ndarray) -> np.ndarray:
    data = adjacency.data.astype(np.float64, copy=False)
    heard = csr.matmat(
        adjacency.indptr, adjacency.indices, data, _inverse_root(degrees_of_neighbours)[:, None]
    )[:, 0]
    own = _sums(adjacency)
    return np.divide(heard, own**2, out=np.zeros_like(heard), where=own > 0)


def _sums(adjacency: scipy.sparse.csr_array) -> np.ndarray:
    return np.asarray(adjacency.sum(axis=1), np.float64)


def _inverse_root(degrees: np.ndarray) -> np.ndarray:
    return np.divide(1.0, np.sqrt(degrees), out=np.zeros_like(degrees), where=degrees > 0)


__all__ = ["SCORES", "choose_pruned", "degree_factors", "node_factors", "score_entries", "share_of"]
