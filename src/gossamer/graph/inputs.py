"""What people hold a graph in, turned into one thing: a canonical sparse adjacency."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import scipy.sparse

from gossamer._core.arrays import is_torch, to_numpy
from gossamer._core.checks import check_int
from gossamer._core.errors import ArgumentError, ShapeError, UnsupportedError, bad_argument
from gossamer.graph.files import read_file

_SYMMETRIC = 1e-6
"""Two directions of an edge may differ by this much of their weight: rounding, not direction."""


def as_adjacency(
    graph: Any,
    *,
    directed: bool = False,
    weighted: bool = True,
    self_loops: bool = True,
    n_nodes: int | None = None,
    name: str = "graph",
) -> scipy.sparse.csr_array:
    """Turn any common form of a graph into its adjacency: entry (i, j) is the weight of the edge from i to j.

    The result is canonical: floating weights above zero, columns sorted within each row, each edge stored once
    (undirected ones once in each direction). Isolated nodes are empty rows. The input is never modified; a canonical
    CSR array comes back without a copy of its weights.

    Parameters
    ----------
    graph : sparse matrix, networkx graph, (2, E) integer array or tensor, pair, object, or path
        A square scipy.sparse matrix or sparse tensor; a networkx graph (rows in the order of its nodes, weights from
        the attribute ``weight``); edges as an integer array, sources in its first row and targets in its second; a
        pair ``(edges, weights)``; an object with ``edge_index``, such as PyTorch Geometric's ``Data``; or a file, see
        :func:`read_graph`. Edges that stand several times are one: of weight 1, or the sum of weights that were given.
    directed : bool
        Whether edges have a direction. If not, a matrix must be symmetric, a networkx graph undirected; edges given in
        one direction count in both, edges given in both must have one weight.
    weighted : bool
        Whether weights count; if not, every edge has weight 1.
    self_loops : bool
        Whether edges from a node to itself stay.
    n_nodes : int, optional
        Number of nodes, for edges: the highest number may have no edge. A matrix must have this many rows.
    name : str
        What error messages call the graph.

    Returns
    -------
    scipy.sparse.csr_array, shape (n, n)
        float32 if the weights were, else float64.

    Raises
    ------
    ArgumentError
        If there are no nodes, a weight is negative, infinite or NaN, a node's number is out of range, or the graph has
        a direction and ``directed`` is False.
    ShapeError
        If a matrix is not square or edges are not in two rows.
    UnsupportedError
        If it is none of these forms.
    FormatError
        If a file is not what its name says.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.graph import as_adjacency
    >>> path = np.array([[0, 1], [1, 2]])
    >>> as_adjacency(path).toarray()
    array([[0., 1., 0.],
           [1., 0., 1.],
           [0., 1., 0.]])
    """
    if n_nodes is not None:
        n_nodes = check_int("n_nodes", n_nodes, low=1)
    if isinstance(graph, (str, os.PathLike)):
        graph = read_file(graph, relabel=False)[0]
    elif is_torch(graph) and str(graph.layout) != "torch.strided":
        graph = _from_torch(graph)
    if scipy.sparse.issparse(graph):
        A = _from_matrix(graph, directed, weighted, name)
    elif hasattr(graph, "adj") and hasattr(graph, "is_directed"):
        A = _from_networkx(graph, directed, weighted, name)
    else:
        A = _from_edges(*_take_edges(graph, name, n_nodes), directed, weighted, name)
    if n_nodes is not None and A.shape[0] != n_nodes:
        raise bad_argument("n_nodes", n_nodes, f"{A.shape[0]}, the nodes of {name}")
    if not self_loops and A.diagonal().any():
        rows = np.repeat(np.arange(A.shape[0]), np.diff(A.indptr))
        A = A.copy()
        A.data[rows == A.indices] = 0
        A.eliminate_zeros()
    return A


def read_graph(
    path: str | os.PathLike[str], *, directed: bool = False, weighted: bool = True, relabel: bool = False
) -> tuple[scipy.sparse.csr_array, np.ndarray]:
    """Read a graph from a file, with the names of its nodes.

    The ending tells the format. ``.mtx`` (also ``.mtx.gz``): Matrix Market. ``.npz``: ``scipy.sparse.save_npz``, or
    arrays ``indptr`` and ``indices`` (optionally ``data``; also with the prefix ``adj_`` or ``a_``), or ``edge_index``
    (optionally ``edge_weight``, ``num_nodes``). ``.parquet``: the columns ``source`` and ``target``, else the first
    two, and ``weight``, else the third (needs pyarrow). Anything else is a list of edges: two or three columns apart
    by commas, tabs or blanks, the third a weight; ``#`` starts a comment, lines of ``%`` and a line
    ``source,target[,weight]`` may come first. Text may be compressed by gzip.

    Parameters
    ----------
    path : path
        The file.
    directed, weighted : bool
        As in :func:`as_adjacency`.
    relabel : bool
        Nodes of a list of edges that are numbers are row numbers by default, so that missing ones are isolated
        nodes. True numbers only those that occur, in ascending order, as is always done where nodes are words.

    Returns
    -------
    adjacency : scipy.sparse.csr_array, shape (n, n)
        See :func:`as_adjacency`.
    names : ndarray, shape (n,)
        What the file calls the node of each row.

    Raises
    ------
    FormatError
        If the file is missing, damaged or not what its name says.
    ArgumentError
        As in :func:`as_adjacency`; also if numbers of nodes are so far apart that most rows would be empty.
    MissingDependencyError
        For Parquet without pyarrow.
    """
    graph, names = read_file(path, relabel=relabel)
    A = as_adjacency(graph, directed=directed, weighted=weighted, name=os.fspath(path))
    return A, np.arange(A.shape[0]) if names is None else names


def _from_matrix(matrix: Any, directed: bool, weighted: bool, name: str) -> scipy.sparse.csr_array:
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ShapeError(f"{name} has shape {matrix.shape}: expected a square adjacency")
    if matrix.shape[0] == 0:
        raise ArgumentError(f"{name} has no nodes: expected at least one")
    A = scipy.sparse.csr_array(matrix)
    A = scipy.sparse.csr_array((check_weights(A.data, name), A.indices, A.indptr), shape=A.shape)
    if not A.has_canonical_format:
        A = A.copy()  # it may share its arrays with the caller's
        A.sum_duplicates()
    if not A.data.all():
        A = A.copy()
        A.eliminate_zeros()
    if not directed and not _symmetric(A):
        raise ArgumentError(
            f"{name} is not symmetric: expected an undirected graph; pass directed=True, or A.maximum(A.T)"
        )
    return _weighed(A, weighted)


def _from_networkx(graph: Any, directed: bool, weighted: bool, name: str) -> scipy.sparse.csr_array:
    import networkx

    if graph.is_directed() and not directed:
        raise ArgumentError(
            f"{name} is a {type(graph).__name__}: expected an undirected graph; pass directed=True, or "
            f"graph.to_undirected()"
        )
    if len(graph) == 0:
        raise ArgumentError(f"{name} has no nodes: expected at least one")
    try:
        A = networkx.to_scipy_sparse_array(graph, weight="weight" if weighted else None, format="csr")
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"{name} has an edge whose weight is no number ({error})") from None
    return _from_matrix(A, directed, weighted, name)


def _from_torch(tensor: Any) -> scipy.sparse.coo_array:
    coordinates = tensor.detach().cpu().to_sparse_coo().coalesce()
    data, index = to_numpy(coordinates.values()), to_numpy(coordinates.indices())
    return scipy.sparse.coo_array((data, tuple(index)), shape=tuple(tensor.shape))


def _take_edges(graph: Any, name: str, n_nodes: int | None) -> tuple[np.ndarray, Any, int | None]:
    """Edges as an integer array in two rows, their weights or None, and how many nodes there are if that is known."""
    weights = None
    if getattr(graph, "edge_index", None) is not None:
        weights = getattr(graph, "edge_weight", None)
        n_nodes = getattr(graph, "num_nodes", None) if n_nodes is None else n_nodes
        graph = graph.edge_index
    elif isinstance(graph, tuple) and len(graph) == 2 and np.ndim(graph[0]) == 2:
        graph, weights = graph
    if not isinstance(graph, (np.ndarray, list, tuple)) and not is_torch(graph):
        raise UnsupportedError(
            f"{name} is a {type(graph).__name__}: expected a scipy.sparse matrix, a networkx graph, a (2, E) integer "
            f"array of edges, a pair (edges, weights) or a path"
        )
    try:
        edges = to_numpy(graph)
    except ValueError:
        raise ShapeError(f"{name} is a ragged list: expected two rows, sources and targets") from None
    if edges.ndim != 2 or edges.shape[0] != 2:
        hint = (
            "; transpose it"
            if edges.ndim == 2 and edges.shape[1] == 2
            else "; a dense adjacency goes in as scipy.sparse.csr_array(A)"
        )
        raise ShapeError(f"{name} has shape {edges.shape}: expected edges in two rows, (2, E){hint}")
    if edges.size and edges.dtype.kind not in "iu":
        raise UnsupportedError(
            f"{name} holds edges of dtype {edges.dtype}: expected integers, the rows of nodes"
        )
    return edges.astype(np.int64, copy=False), weights, n_nodes


def _from_edges(
    edges: np.ndarray, weights: Any, n_nodes: int | None, directed: bool, weighted: bool, name: str
) -> scipy.sparse.csr_array:
    n = int(edges.max(initial=-1)) + 1 if n_nodes is None else n_nodes
    if n == 0:
        raise ArgumentError(f"{name} has no edges: expected at least one, or n_nodes")
    outside = (edges < 0) | (edges >= n)
    if outside.any():
        raise ArgumentError(
            f"{name} has {int(outside.sum())} ends of edges outside its nodes 0 to {n - 1}, the first is "
            f"{edges[outside][0]}"
        )
    data = np.ones(edges.shape[1]) if weights is None else check_weights(to_numpy(weights), name)
    if data.shape != (edges.shape[1],):
        raise ShapeError(
            f"{name} has {edges.shape[1]} edges and weights of shape {data.shape}: expected one each"
        )
    A = scipy.sparse.coo_array((data, (edges[0], edges[1])), shape=(n, n)).tocsr()
    A.eliminate_zeros()
    A = _weighed(A, weighted and weights is not None)
    return A if directed else mirrored(A, A.T.tocsr(), name)


def mirrored(
    A: scipy.sparse.csr_array, other: scipy.sparse.csr_array, name: str, start: int = 0
) -> scipy.sparse.csr_array:
    """Rows from ``start`` with each edge in both directions, given those of the transpose.

    An edge that has both already must have one weight.
    """
    there, back = A.multiply(other.astype(bool)).tocsr(), other.multiply(A.astype(bool)).tocsr()
    differ = abs(there - back) > _SYMMETRIC * there.maximum(back)
    if differ.nnz:
        i, j = (int(k[0]) for k in differ.nonzero())
        raise ArgumentError(
            f"{name} has edges with another weight in the other direction, {-(-differ.nnz // 2)} of them, the first "
            f"between {i + start} and {j}; pass directed=True if that is meant"
        )
    return A.maximum(other).tocsr()


def _symmetric(A: scipy.sparse.csr_array) -> bool:
    other = A.T.tocsr()
    return (
        np.array_equal(A.indptr, other.indptr)
        and np.array_equal(A.indices, other.indices)
        and bool((np.abs(A.data - other.data) <= _SYMMETRIC * A.data).all())
    )


def check_weights(data: np.ndarray, name: str) -> np.ndarray:
    """Weights as float32 or float64, none negative, infinite or NaN."""
    if data.dtype.kind not in "biuf":
        raise UnsupportedError(f"{name} has weights of dtype {data.dtype}: expected real numbers")
    if data.dtype not in (np.float32, np.float64):
        data = data.astype(np.float64)
    good = (data >= 0) & (data < np.inf)
    if not good.all():
        raise ArgumentError(
            f"{name} has {int((~good).sum())} weights that are negative, infinite or NaN, the first is "
            f"{data[~good][0]}: expected numbers >= 0"
        )
    return data


def _weighed(A: scipy.sparse.csr_array, weighted: bool) -> scipy.sparse.csr_array:
    return A if weighted else scipy.sparse.csr_array((np.ones(A.nnz), A.indices, A.indptr), shape=A.shape)
