"""The Laplacian of a graph, made positive definite without touching its low end."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse
from scipy.sparse.csgraph import connected_components

from gossamer.graph.simple_graph import simple_adjacency


def laplacian_spd(A: Any, *, weighted: bool = True) -> scipy.sparse.csr_array:
    r"""The Laplacian with one term of rank one for each component, which makes it positive definite.

    .. math::

        L_s = D - A + \sum_{\text{components}} (e_i + e_j)(e_i + e_j)^T

    with i the first node of a component and j its first neighbour (i itself where it has none): vectors that are
    constant on components, the null space of ``D - A``, get the energy 4 each.

    Parameters
    ----------
    A : sparse matrix, networkx graph, edges, or path, of n nodes
        An undirected graph, as in :func:`as_adjacency`; self-loops are dropped with a warning.
    weighted : bool
        Whether weights count; if not, every edge has weight 1.

    Returns
    -------
    csr_array of float64, shape (n, n)
        Symmetric positive definite.

    Raises
    ------
    ArgumentError, ShapeError, UnsupportedError, FormatError
        As :func:`as_adjacency`.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.graph import laplacian_spd
    >>> laplacian_spd(np.array([[0, 1], [1, 2]])).toarray()
    array([[ 2.,  0.,  0.],
           [ 0.,  3., -1.],
           [ 0., -1.,  1.]])
    """
    A = simple_adjacency(A, weighted=weighted)
    n = A.shape[0]
    first = np.unique(connected_components(A, directed=False)[1], return_index=True)[1]
    neighbour = first.copy()
    joined = A.indptr[first] < A.indptr[first + 1]
    neighbour[joined] = A.indices[A.indptr[first[joined]]]
    row, column = np.r_[first, first, neighbour, neighbour], np.r_[first, neighbour, first, neighbour]
    terms = scipy.sparse.csr_array((np.ones(len(row)), (row, column)), shape=(n, n))
    L = scipy.sparse.csr_array(scipy.sparse.diags_array(A.sum(axis=1)) - A + terms)
    L.sum_duplicates()
    L.eliminate_zeros()
    return L
