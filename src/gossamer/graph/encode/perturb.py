"""Small changes of a graph's edges."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse

from gossamer._core.checks import check_choice, check_int
from gossamer._core.errors import bad_argument
from gossamer._core.random import RandomState, check_random_state
from gossamer.graph.simple_graph import simple_adjacency

KINDS = ("remove", "add", "move")


def perturb_edges(
    A: Any, k: int = 1, random_state: RandomState = None, *, kind: str = "remove", keep_connected: bool = True
) -> scipy.sparse.csr_array:
    """Remove, add or move k random edges of a graph.

    Parameters
    ----------
    A : graph
        Undirected, any form of :func:`as_adjacency`.
    k : int
        Edges, one after the other.
    random_state : int, Generator or None
        Which ones.
    kind : {"remove", "add", "move"}
        Moving is removing and adding as many elsewhere. New edges have weight 1.
    keep_connected : bool
        Remove no bridges, so that the number of components stays.

    Returns
    -------
    csr_array of float64, shape (n, n)

    Raises
    ------
    ArgumentError
        If there are fewer than k such edges, or places for them.

    Notes
    -----
    Each removal that keeps components looks for bridges, O(n + m); additions look at all pairs, O(n^2).

    Examples
    --------
    >>> import networkx as nx
    >>> from gossamer.graph import perturb_edges
    >>> perturb_edges(nx.cycle_graph(5), 1, random_state=0).nnz
    8
    """
    k = check_int("k", k, low=0)
    check_choice("kind", kind, KINDS)
    rng = check_random_state(random_state)
    B = scipy.sparse.lil_array(simple_adjacency(A))
    for done in range(k):
        taken = None
        if kind != "add":
            edges = _edges(scipy.sparse.csr_array(B), keep_connected)
            if not len(edges):
                kept = "edges that are no bridges" if keep_connected else "edges"
                raise bad_argument("k", k, f"at most {done}: the graph has no more {kept}")
            taken = tuple(edges[rng.integers(len(edges))])
        free = None
        if kind != "remove":
            places = np.argwhere(np.triu(B.toarray() == 0, 1))
            if not len(places):
                raise bad_argument("k", k, f"at most {done}: the graph has no more pairs without an edge")
            free = tuple(places[rng.integers(len(places))])
        for place, weight in ((taken, 0.0), (free, 1.0)):
            if place is not None:
                B[place], B[place[::-1]] = weight, weight
    result = scipy.sparse.csr_array(B)
    result.eliminate_zeros()
    return result


def _edges(A: scipy.sparse.csr_array, no_bridges: bool) -> np.ndarray:
    """Edges (m, 2), lower end first, without bridges if asked."""
    rows, columns = A.nonzero()
    upper = rows < columns
    edges = np.stack([rows[upper], columns[upper]], axis=1)
    if no_bridges and len(edges):
        bridge = {tuple(sorted(edge)) for edge in _bridges(A)}
        edges = edges[[tuple(edge) not in bridge for edge in edges.tolist()]]
    return edges


def _bridges(A: scipy.sparse.csr_array) -> list[tuple[int, int]]:
    """Edges whose removal parts a component: those of a depth-first tree that nothing below reaches around."""
    n, found = A.shape[0], []
    order, low = np.full(n, -1), np.zeros(n, np.int64)
    clock = 0
    for root in range(n):
        if order[root] >= 0:
            continue
        order[root] = low[root] = clock
        clock += 1
        stack = [(root, -1, int(A.indptr[root]))]
        while stack:
            node, parent, place = stack.pop()
            if place < A.indptr[node + 1]:
                stack.append((node, parent, place + 1))
                other = int(A.indices[place])
                if order[other] < 0:
                    order[other] = low[other] = clock
                    clock += 1
                    stack.append((other, node, int(A.indptr[other])))
                elif other != parent:
                    low[node] = min(low[node], order[other])
            elif parent >= 0:
                low[parent] = min(low[parent], low[node])
                if low[node] > order[parent]:
                    found.append((parent, node))
    return found


__all__ = ["perturb_edges"]
