"""Prune a share of the edges of a graph, once."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse

from gossamer._core.arrays import is_torch
from gossamer._core.checks import check_float
from gossamer._core.random import RandomState
from gossamer._core.results import Result
from gossamer.graph.inputs import as_adjacency
from gossamer.graph.sparsify.edge_scores import entries_of, is_edge_array
from gossamer.nn.graph.edge_importance import choose_pruned, score_entries
from gossamer.nn.graph.edge_pairs import EdgePairs


@dataclass(frozen=True, kw_only=True, repr=False)
class EdgeReport(Result):
    """What pruning did to a graph.

    Attributes
    ----------
    edges : int
        Before, without self-loops; an undirected edge is one.
    kept : int
        Of these.
    new_isolated : int
        Nodes that had neighbours and have none now.
    by_degree : dict of str to (int, int)
        Edges before and after, by the smaller degree of their ends: "1", "2-3", "4-7" and so on.
    """

    edges: int = 0
    kept: int = 0
    new_isolated: int = 0
    by_degree: dict[str, tuple[int, int]] = field(default_factory=dict)


def sparsify_edges(
    A: Any,
    p: float,
    score: Any = "teddy",
    per_direction: bool = False,
    random_state: RandomState = None,
    *,
    add_self_loops: bool = False,
    directed: bool = False,
    weighted: bool = False,
) -> tuple[Any, EdgeReport]:
    """Remove the share ``p`` of the edges that score lowest; both directions of an edge go together.

    Scores are those of the whole graph, so that what is removed grows with p and an edge never comes back. Self-loops
    stay. Equal scores are decided by a fixed hash of the two nodes, whatever order edges are stored in.

    Parameters
    ----------
    A : sparse matrix, networkx graph, (2, E) integer array or tensor, or what else :func:`as_adjacency` takes
        The graph. It is not changed; weights stay as they are.
    p : float
        Share to remove, in [0, 1): ``floor(p E)`` of E edges.
    score : {"teddy", "degree", "random", "inverse"} or array
        See :func:`teddy_edge_scores`; "degree" looks at the edge's own ends only; "inverse" removes what TEDDY would
        keep longest. An array has a number for each entry of ``A.tocoo()`` or column of edges; those of both directions
        are averaged.
    per_direction : bool
        Count and remove the two directions of an edge separately, which may leave one (the published code does).
    random_state : int, Generator or None
        Of "random".
    add_self_loops, directed, weighted : bool
        As in :func:`teddy_edge_scores`. Directed edges are removed one by one.

    Returns
    -------
    pruned : as A
        A matrix in the format and dtype of A, columns of the edge array, a copy of the networkx graph; else a CSR
        array.
    report : EdgeReport
        Counts, and isolated nodes that are new.

    Raises
    ------
    ArgumentError, ShapeError, UnsupportedError
        p outside [0, 1), an unknown score, scores that do not fit, or as :func:`as_adjacency`.

    Warns
    -----
    UserWarning
        If there is no edge to remove.

    References
    ----------
    Seo, Yun, Yang, arXiv 2402.01261.

    Examples
    --------
    >>> import networkx
    >>> from gossamer.graph import sparsify_edges
    >>> hubs = networkx.barbell_graph(5, 0)  # two cliques and a bridge
    >>> pruned, report = sparsify_edges(hubs, 0.2)
    >>> len(pruned.edges), report.edges, report.new_isolated
    (17, 21, 0)
    """
    p = check_float("p", p, low=0, high=1, closed="left")
    adjacency = as_adjacency(A, directed=directed, weighted=weighted, self_loops=False, name="A")
    rows, columns = (np.asarray(ends) for ends in entries_of(A, adjacency))
    scores = score_entries(score, adjacency, rows, columns, add_self_loops=add_self_loops, directed=directed)
    apart = rows != columns
    if directed or per_direction:
        number = np.full(len(rows), -1)
        number[apart] = np.arange(int(apart.sum()))
        pairs = EdgePairs(number, np.stack([rows[apart], columns[apart]]).astype(np.int64))
    else:
        pairs = EdgePairs.of(rows, columns)
    if not len(pairs):
        warnings.warn("A has no edges: it is returned as it is", stacklevel=2)
        return A, EdgeReport(message="there was no edge to remove")
    gone = choose_pruned(pairs, scores, p, random_state)
    keep = ~pairs.entries(gone)
    return _kept(A, adjacency, keep), _report(adjacency, pairs, ~gone)


def _kept(A: Any, adjacency: scipy.sparse.csr_array, keep: np.ndarray) -> Any:
    if hasattr(A, "adj") and hasattr(A, "is_directed"):
        pruned = A.copy()
        pruned.remove_edges_from([edge for edge, stays in zip(A.edges(), keep) if not stays])
        return pruned
    if scipy.sparse.issparse(A):
        entries = A.tocoo()
        coords = tuple(ends[keep] for ends in entries.coords)
        kind = type(entries)
        return kind((entries.data[keep], coords), shape=A.shape, dtype=A.dtype).asformat(A.format)
    if is_edge_array(A):
        return A[:, np.flatnonzero(keep)] if is_torch(A) else np.asarray(A)[:, keep]
    entries = adjacency.tocoo()
    coords = tuple(ends[keep] for ends in entries.coords)
    return scipy.sparse.csr_array((entries.data[keep], coords), shape=adjacency.shape)


def _report(adjacency: scipy.sparse.csr_array, pairs: EdgePairs, kept: np.ndarray) -> EdgeReport:
    n = adjacency.shape[0]
    before = np.bincount(pairs.ends.ravel(), minlength=n)
    after = np.bincount(pairs.ends[:, kept].ravel(), minlength=n)
    smaller = np.minimum(*before[pairs.ends])
    level = np.log2(smaller).astype(np.int64)
    classes = {}
    for k in np.unique(level):
        low, high = 2 ** int(k), 2 ** (int(k) + 1) - 1
        here = level == k
        name = str(low) if low == high else f"{low}-{high}"
        classes[name] = int(here.sum()), int((here & kept).sum())
    return EdgeReport(
        message=f"{int(kept.sum())} of {len(pairs)} edges are left",
        edges=len(pairs),
        kept=int(kept.sum()),
        new_isolated=int(((before > 0) & (after == 0)).sum()),
        by_degree=classes,
    )


__all__ = ["EdgeReport", "sparsify_edges"]
