"""Numbers of short cycles, in closed form from powers of the adjacency."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse

from gossamer._core.checks import check_int
from gossamer.graph.inputs import as_adjacency
from gossamer.graph.simple_graph import simple_adjacency


def count_cycles(A: Any, k: int, *, per_node: bool = False) -> int | np.ndarray:
    r"""Count the cycles of length k of a graph, or those through each node.

    A cycle through i is two paths from i to a node opposite that share nothing else. With :math:`P_2, P_3` the numbers
    of simple paths of length 2 and 3,

    .. math:: c_3(i) = \tfrac12 (A P_2)_{ii}, \quad c_4(i) = \tfrac12 \textstyle\sum_j A_{ij} (P_3)_{ij}, \quad
        c_5(i) = \tfrac12 \textstyle\sum_j (P_2 P_3)_{ij} - \dots, \quad
        c_6(i) = \tfrac12 \textstyle\sum_j (P_3^2)_{ij} - \dots

    (products entry by entry in the last two), less the pairs of paths that meet, which are products of sparse matrices
    too. Weights and directions are not asked for: an edge is there or not.

    Parameters
    ----------
    A : graph
        Undirected, n nodes, any form of :func:`as_adjacency`; self-loops are dropped with a warning.
    k : int
        3, 4, 5 or 6.
    per_node : bool
        Whether to count for each node: a cycle then counts at each of its k nodes.

    Returns
    -------
    int, or int64 array of shape (n,)

    Raises
    ------
    ArgumentError
        If k is not in 3..6, or the graph is refused.

    Notes
    -----
    A few products of sparse matrices with as many entries as there are pairs of nodes three steps apart: O(n) memory
    and time on graphs of bounded degree, O(n^3) time where everything is near everything. Cycles of length 6 also look
    at the edges between the neighbours of each node.

    Examples
    --------
    >>> import networkx as nx
    >>> from gossamer.graph import count_cycles
    >>> [count_cycles(nx.petersen_graph(), k) for k in (3, 4, 5, 6)]
    [0, 0, 12, 10]
    >>> count_cycles(nx.complete_graph(4), 3, per_node=True).tolist()
    [3, 3, 3, 3]
    """
    k = check_int("k", k, low=3, high=6)
    simple = simple_adjacency(A, weighted=False)
    E = scipy.sparse.csr_array(as_adjacency(simple, weighted=False).astype(np.int64))
    counts = (_triangles, _squares, _pentagons, _hexagons)[k - 3](E)
    return counts if per_node else int(counts.sum()) // k


def _triangles(A: Any) -> np.ndarray:
    return _rows(A * (A @ A)) // 2


def _squares(A: Any) -> np.ndarray:
    return _rows(A * _paths3(A)) // 2


def _pentagons(A: Any) -> np.ndarray:
    """Pairs of paths i-x-j and i-a-b-j, less those with x = a or x = b; each cycle has two such j."""
    two = A @ A
    inside = A * two
    met = _apart(inside @ A + A @ inside) - 2 * inside
    return _rows(_apart(two) * _paths3(A) - met) // 2


def _hexagons(A: Any) -> np.ndarray:
    """Ordered pairs of paths i-a-b-j and i-c-e-j, less those with a = c, b = e, a = e or b = c."""
    two, degree = A @ A, _rows(A)
    inside = A * two
    paths = _paths3(A)
    # a = c: the ways on from a to j that avoid i, squared, summed over neighbours a of i other than j
    same = A @ (two * two) - 2 * (A * (A @ two)) + _scale(degree, A) - (A * ((degree - 1) ** 2)[None, :])
    same = _apart(same)
    crossed = _apart(inside @ inside) - A * (inside @ A + A @ inside) + inside
    total = _rows(paths * paths) - _rows(same) - _rows(same.T) + _rows(paths) - 2 * _rows(crossed)
    return (total + _crossed_twice(A)) // 2


def _paths3(A: Any) -> Any:
    """Numbers of simple paths of length 3: walks, less those that turn back."""
    degree = _rows(A)
    walks = _apart(A @ A @ A)
    return walks - _scale(degree, A) - (A * degree[None, :]) + A


def _crossed_twice(A: Any) -> np.ndarray:
    """For each i, over all j, the ordered pairs of adjacent nodes that i and j both have as neighbours."""
    found = np.zeros(A.shape[0], np.int64)
    for i in range(A.shape[0]):
        around = A.indices[A.indptr[i] : A.indptr[i + 1]]
        shared = A[:, around]
        found[i] = (shared @ shared[around] * shared).sum() - (
            shared[[i]] @ shared[around] * shared[[i]]
        ).sum()
    return found


def _apart(M: Any) -> Any:
    """The matrix without its diagonal."""
    return scipy.sparse.csr_array(M - scipy.sparse.diags_array(M.diagonal(), dtype=M.dtype))


def _scale(factors: np.ndarray, M: Any) -> Any:
    return M * factors[:, None]


def _rows(M: Any) -> np.ndarray:
    return np.asarray(M.sum(axis=1), np.int64).ravel()


__all__ = ["count_cycles"]
