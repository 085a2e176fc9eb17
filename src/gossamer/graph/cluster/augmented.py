"""The graph with a node for every value of every attribute."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse

from gossamer._core.checks import check_float
from gossamer.graph.cluster.attributes import encode_attributes
from gossamer.graph.simple_graph import simple_adjacency


def augment_with_attributes(
    A: Any, attributes: Any, weight: float = 1.0
) -> tuple[scipy.sparse.csr_array, np.ndarray]:
    """Add a node for every value of every attribute, joined with the nodes that have the value.

    Nodes that share values then have short paths between them, and every method for plain graphs sees attributes.

    Parameters
    ----------
    A : sparse matrix, networkx graph, edges, or path, of n nodes
        An undirected graph, as in :func:`as_adjacency`; self-loops are dropped with a warning.
    attributes : array or DataFrame, shape (n, M) or (n,)
        Categories of any type; None and NaN are missing, and give no edge.
    weight : float
        Of the new edges, above 0.

    Returns
    -------
    A_ext : csr_array, shape (n_ext, n_ext)
        The nodes, then the values of the first attribute in their order, then those of the second, and so on.
    value_index : ndarray of int64, shape (n, M)
        Row of the value of each node, -1 where it is missing.

    Raises
    ------
    ShapeError
        If there is not a row of attributes for each node.
    ArgumentError
        If an attribute has more than 50 distinct floating numbers: bin it first.

    Notes
    -----
    At most ``n M`` new edges. An attribute with another value for each node is an identifier, of which it warns.

    References
    ----------
    Zhou, Cheng, Yu, "Graph clustering based on structural/attribute similarities", VLDB 2009.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.graph import augment_with_attributes
    >>> A_ext, value_index = augment_with_attributes(np.array([[0, 1], [1, 2]]), ["red", "blue", "red"])
    >>> A_ext.shape, value_index.ravel().tolist()
    ((5, 5), [4, 3, 4])
    """
    A = simple_adjacency(A)
    n = A.shape[0]
    weight = check_float("weight", weight, low=0, closed="neither")
    columns = encode_attributes(attributes, n)
    value_index, end = np.full((n, len(columns)), -1, np.int64), n
    for number, codes in enumerate(columns):
        value_index[codes >= 0, number] = end + codes[codes >= 0]
        end += int(codes.max(initial=-1)) + 1
    node, attribute = np.nonzero(value_index >= 0)
    shape, value = (n, end - n), value_index[node, attribute] - n
    B = scipy.sparse.csr_array((np.full(len(node), weight), (node, value)), shape=shape)
    A_ext = scipy.sparse.csr_array(scipy.sparse.block_array([[A, B], [B.T, None]]))
    A_ext.sum_duplicates()
    return A_ext, value_index
