"""How much a network would miss each edge, from degrees alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse

from gossamer._core.arrays import is_torch, like, to_numpy
from gossamer.graph.inputs import as_adjacency
from gossamer.nn.graph.edge_importance import node_factors

Entries = tuple[np.ndarray, np.ndarray]


def teddy_edge_scores(
    A: Any, *, add_self_loops: bool = False, directed: bool = False, weighted: bool = False
) -> Any:
    r"""Score every edge by the degrees of its ends and of their neighbours; low scores can go.

    .. math:: T(u, v) = \tilde g(u)\, \tilde g(v), \qquad
        \tilde g(v) = \frac{1}{d_v^2} \sum_{w \in N(v)} \frac{1}{\sqrt{d_w}}

    A message between nodes of low degree carries a large share of what they hear. Edges between hubs score lowest.

    Parameters
    ----------
    A : sparse matrix, networkx graph, (2, E) integer array or tensor, or what else :func:`as_adjacency` takes
        The graph; its own self-loops do not count towards degrees.
    add_self_loops : bool
        Let every node be a neighbour of itself, as in attention networks.
    directed : bool
        The source's factor from out-degrees of it and in-degrees of its targets, the target's the other way round; the
        same on symmetric graphs.
    weighted : bool
        Degrees are sums of weights, means are weighted.

    Returns
    -------
    ndarray of float64, tensor or dict
        One for each entry of ``A.tocoo()``, or for each column of edges (a tensor if they are one), in that order; a
        dict by edge for a networkx graph, as its own measures give; for other forms one for each entry of
        ``as_adjacency(A)``. Self-loops have the largest of all scores.

    Raises
    ------
    ArgumentError, ShapeError, UnsupportedError
        As :func:`as_adjacency`.

    Notes
    -----
    One product of the adjacency with a vector: O(E) time and memory.

    References
    ----------
    Seo, Yun, Yang, "TEDDY: Trimming edges with degree-based discrimination strategy", ICLR 2024, arXiv 2402.01261.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.graph import teddy_edge_scores
    >>> star = np.array([[0, 0, 0, 0], [1, 2, 3, 4]])  # a centre with four leaves: 4^(-3/2) each
    >>> teddy_edge_scores(star)
    array([0.125, 0.125, 0.125, 0.125])
    """
    adjacency = as_adjacency(A, directed=directed, weighted=weighted, self_loops=False, name="A")
    rows, columns = entries_of(A, adjacency)
    out, into = node_factors(adjacency, add_self_loops=add_self_loops, directed=directed)
    scores = _gather(out, into, rows, columns)
    loops = rows == columns
    if loops.any():
        scores[loops] = scores.max()
    if hasattr(A, "edges"):
        return dict(zip(A.edges(), scores.tolist(), strict=True))
    return like(scores, A) if is_torch(A) else scores


def entries_of(graph: Any, adjacency: scipy.sparse.csr_array) -> Entries:
    """Sources and targets in the order in which the caller holds the edges."""
    if scipy.sparse.issparse(graph):
        return graph.tocoo().coords
    if hasattr(graph, "adj") and hasattr(graph, "is_directed"):
        place = {node: i for i, node in enumerate(graph)}
        ends = [(place[edge[0]], place[edge[1]]) for edge in graph.edges()]
        rows, columns = np.array(ends, np.int64).reshape(-1, 2).T
        return rows, columns
    if is_edge_array(graph):
        rows, columns = to_numpy(graph)
        return rows, columns
    return adjacency.tocoo().coords


def is_edge_array(graph: Any) -> bool:
    """Whether edges are held as columns of one array."""
    dense = is_torch(graph) and str(graph.layout) == "torch.strided"
    return dense or (isinstance(graph, (np.ndarray, list)) and np.ndim(graph) == 2)


def _gather(out: np.ndarray, into: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    scores = out[rows]
    scores *= into[columns]
    return scores


__all__ = ["entries_of", "is_edge_array", "teddy_edge_scores"]
