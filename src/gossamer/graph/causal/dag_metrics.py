"""How far an estimated graph is from the true one: edges, equivalence classes, interventions."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer._core.arrays import to_numpy
from gossamer._core.checks import check_array
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._core.lazy import require
from gossamer.solve import is_dag


def dag_metrics(W_true: Any, W_est: Any, sid: bool = False) -> dict[str, float]:
    """Compare an estimated directed graph with the true one, edge by edge.

    Parameters
    ----------
    W_true, W_est : array, shape (d, d)
        Weights or 0/1; an edge from i to j where ``W[i, j]`` is not zero. Zero diagonal. Equivalence classes and
        interventions are those of DAGs, see :func:`gossamer.solve.to_dag`; edges are counted in any graph.
    sid : bool
        Whether to compute the structural intervention distance too (needs the package gadjid).

    Returns
    -------
    dict of str to float
        ``fdr``: reversed and false edges over predicted ones; ``tpr``: right edges over true ones; ``fpr``: reversed
        and false edges over pairs without a true one; ``shd``: pairs of variables whose edge is extra, missing or
        reversed; ``shd_c``: the same between the graphs of their equivalence classes, where an edge may be undirected,
        NaN if either graph has a cycle;
        ``nnz``: predicted edges; ``sid``, if asked for: ordered pairs whose effect would be computed wrongly by
        adjusting for the parents in the estimate. Smaller is better, but for ``tpr``.

    Raises
    ------
    ArgumentError
        If the shapes differ, a graph has a diagonal, or one has a cycle and ``sid`` is asked for.

    References
    ----------
    Tsamardinos, Brown, Aliferis, Machine Learning 65, 2006 (SHD); Peters and Bühlmann, Neural Computation 27, 2015
    (SID).

    Examples
    --------
    >>> from gossamer.graph import dag_metrics
    >>> chain = [[0, 1, 0], [0, 0, 1], [0, 0, 0]]
    >>> backwards = [[0, 0, 0], [1, 0, 0], [0, 1, 0]]
    >>> measured = dag_metrics(chain, backwards)
    >>> measured["shd"], measured["shd_c"]  # both chains say the same about independence
    (2, 0)
    """
    true, estimate = (_edges(name, W, acyclic=sid) for name, W in (("W_true", W_true), ("W_est", W_est)))
    if true.shape != estimate.shape:
        raise ShapeError(f"W_est has shape {estimate.shape}: expected {true.shape} as W_true")
    d, present, predicted = len(true), int(true.sum()), int(estimate.sum())
    right = int((true & estimate).sum())
    wrong = predicted - right
    acyclic = is_dag(true) and is_dag(estimate)
    measured: dict[str, float] = {
        "fdr": wrong / max(predicted, 1),
        "tpr": right / max(present, 1),
        "fpr": wrong / max(d * (d - 1) // 2 - present, 1),
        "shd": _pairs_that_differ(true, estimate),
        "shd_c": _pairs_that_differ(_class(true), _class(estimate)) if acyclic else float("nan"),
        "nnz": predicted,
    }
    if sid:
        distance = require("gadjid", "graph").sid
        _, mistakes = distance(true.astype(np.int8), estimate.astype(np.int8), "from row to column")
        measured["sid"] = int(mistakes)
    return measured


def cpdag(W: Any) -> np.ndarray:
    """The graph of all DAGs with the same independences: a 1 at [i, j] alone is an edge, at [j, i] too undirected.

    Colliders keep their directions, then Meek's first three rules spread them; ``O(d^3)`` bool operations a round.

    Parameters
    ----------
    W : array, shape (d, d)
        A DAG; edges where not zero.

    Returns
    -------
    ndarray, shape (d, d), int8
        The completed partially directed acyclic graph.

    Raises
    ------
    ArgumentError
        If W has a cycle.

    References
    ----------
    Meek, "Causal inference and causal explanation with background knowledge", UAI 1995.
    """
    return _class(_edges("W", W, acyclic=True)).astype(np.int8)


def edge_average_precision(W_true: Any, W_est: Any) -> float:
    """Average precision of edges ranked by the size of their weights: what no threshold was chosen for.

    Equivalent to ``sklearn.metrics.average_precision_score`` of the entries off the diagonal.

    Parameters
    ----------
    W_true : array, shape (d, d)
        Edges where not zero. Zero diagonal.
    W_est : array, shape (d, d)
        Weights before any threshold; cycles are allowed.

    Returns
    -------
    float
        In (0, 1]; NaN for a graph without edges.

    Raises
    ------
    ArgumentError
        If the shapes differ or the true graph has a diagonal.
    """
    true = _edges("W_true", W_true, acyclic=False)
    weights = np.abs(to_numpy(check_array("W_est", W_est, ndim=2)))
    if weights.shape != true.shape:
        raise ShapeError(f"W_est has shape {weights.shape}: expected {true.shape} as W_true")
    off = ~np.eye(len(true), dtype=bool)
    hit, size = true[off], weights[off]
    if not hit.any():
        return float("nan")
    order = np.argsort(-size, kind="stable")
    hit, size = hit[order], size[order]
    last = np.append(np.flatnonzero(np.diff(size)), len(size) - 1)  # edges of equal weight enter together
    found = np.cumsum(hit)[last]
    gained = np.diff(found, prepend=0)
    return float((gained * found / (last + 1)).sum() / hit.sum())


def _edges(name: str, value: Any, *, acyclic: bool) -> np.ndarray:
    edges = to_numpy(check_array(name, value, ndim=2)) != 0
    if edges.shape[0] != edges.shape[1]:
        raise ShapeError(f"{name} has shape {edges.shape}: expected a square matrix")
    if np.diag(edges).any():
        raise ArgumentError(f"{name} has an edge from a variable to itself: expected a zero diagonal")
    if acyclic and not is_dag(edges):
        raise ArgumentError(f"{name} has a cycle: expected a DAG, see gossamer.solve.to_dag")
    return edges


def _pairs_that_differ(a: np.ndarray, b: np.ndarray) -> int:
    differ = a != b
    return int(np.triu(differ | differ.T, 1).sum())


def _class(edges: np.ndarray) -> np.ndarray:
    """Edges of the equivalence class; undirected ones in both directions."""
    near = edges | edges.T
    apart = ~near & ~np.eye(len(edges), dtype=bool)
    directed = np.zeros_like(edges)
    for child in range(len(edges)):
        parents = np.flatnonzero(edges[:, child])
        unmarried = apart[np.ix_(parents, parents)].any(axis=1)
        directed[parents[unmarried], child] = True
    while True:
        loose = near & ~directed & ~directed.T
        forced = _times(directed.T, apart) & loose  # a -> b - c with a, c apart: b -> c
        forced |= _times(directed, directed) & loose  # a -> b -> c with a - c: a -> c
        for a, b in np.argwhere(loose & ~forced):
            between = np.flatnonzero(loose[a] & directed[:, b])  # a - c -> b, a - e -> b with c, e apart
            if apart[np.ix_(between, between)].any():
                forced[a, b] = True
        if not forced.any():
            return directed | loose
        directed |= forced


def _times(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Whether a middle exists: the product of two bool matrices."""
    return a.astype(np.float32) @ b.astype(np.float32) > 0
