"""The matrix whose powers an embedding multiplies: steps of a walk, adjacency, or its symmetric form."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import scipy.sparse

from gossamer._core.errors import ArgumentError
from gossamer._kernels import propagate
from gossamer.graph.inputs import as_adjacency
from gossamer.graph.stored import Rows, StoredGraph

MATRICES = ("transition", "adjacency", "sym")

Graph: TypeAlias = scipy.sparse.csr_array | StoredGraph


@dataclass(frozen=True)
class Walk:
    """A graph, ready for products with its powers.

    Power k of the matrix, times rows scaled by ``head``, is ``growth**k`` and ``tail`` times what ``blocks`` give.

    Attributes
    ----------
    blocks : iterable of (slice, Edges)
        Rows for the native product, each divided by its degree or all by ``growth``; read anew from the disk each time
        if the graph is stored there.
    degrees : ndarray, shape (n,)
        Sums of rows.
    head : ndarray, shape (n,)
        What the rows of the random matrix are multiplied with.
    tail : ndarray, shape (n,), or None
        What the rows of products are multiplied with; None for 1.
    growth : float
        Keeps powers of an adjacency in the range of float32.
    """

    blocks: Iterable[tuple[slice, propagate.Edges]]
    degrees: np.ndarray
    head: np.ndarray
    tail: np.ndarray | None
    growth: float

    @property
    def n(self) -> int:
        """Nodes."""
        return len(self.degrees)


def open_graph(graph: Any, directed: bool) -> Graph:
    """A graph in any form, as it is on the disk or as an adjacency in memory."""
    if not isinstance(graph, StoredGraph):
        return as_adjacency(graph, directed=directed, name="A")
    if graph.directed and not directed:
        raise ArgumentError("A is directed: expected an undirected graph; pass directed=True")
    return graph


def make_walk(graph: Graph, beta: float, input_matrix: str) -> Walk:
    """Prepare a graph; the popularity of a node is the sum of its column, to the power of ``beta``, 0 if that is 0."""
    degrees, popularity = (
        graph.sums() if isinstance(graph, StoredGraph) else (_sums(graph, 1), _sums(graph, 0))
    )
    total = popularity.sum()
    head = np.zeros(len(degrees))
    some = popularity > 0
    head[some] = (popularity[some] / total) ** beta
    growth = float(degrees @ popularity / total) if input_matrix == "adjacency" and total > 0 else 1.0
    tail = None
    if input_matrix == "sym":
        tail = np.sqrt(degrees)
        head = np.where(degrees > 0, head / np.sqrt(np.where(degrees > 0, degrees, 1)), 0)
    if isinstance(graph, StoredGraph):
        blocks: Iterable[tuple[slice, propagate.Edges]] = _StoredBlocks(graph, degrees, input_matrix, growth)
    else:
        edges = step_edges(rows_of(graph), degrees, graph.shape[1], input_matrix, growth)
        blocks = ((slice(0, len(degrees)), edges),)
    return Walk(blocks, degrees, head, tail, growth)


@dataclass(frozen=True)
class _StoredBlocks:
    graph: StoredGraph
    degrees: np.ndarray
    input_matrix: str
    growth: float

    def __iter__(self) -> Iterator[tuple[slice, propagate.Edges]]:
        for where, rows in self.graph.blocks():
            yield (
                where,
                step_edges(rows, self.degrees[where], self.graph.shape[1], self.input_matrix, self.growth),
            )


def rows_of(A: scipy.sparse.csr_array) -> Rows:
    """The stored entries of a matrix."""
    return Rows(A.indptr, A.indices, A.data)


def step_edges(
    rows: Rows, degrees: np.ndarray, columns: int, input_matrix: str, growth: float
) -> propagate.Edges:
    """Rows (r, columns) for the native product; weights that are all the same become a factor of the row."""
    divisor = np.full(len(degrees), growth) if input_matrix == "adjacency" else degrees
    inverse = 1 / np.where(divisor > 0, divisor, 1)
    weights = rows.weights
    if weights is None or len(weights) == 0 or (weights == weights[0]).all():
        scale = (inverse * (1 if weights is None or len(weights) == 0 else weights[0])).astype(np.float32)
        return propagate.edges(rows.indptr, rows.indices, None, scale, columns)
    weights = (weights * np.repeat(inverse, np.diff(rows.indptr))).astype(np.float32)
    return propagate.edges(rows.indptr, rows.indices, weights, None, columns)


def _sums(A: scipy.sparse.csr_array, axis: int) -> np.ndarray:
    return np.asarray(A.sum(axis=axis, dtype=np.float64)).ravel()
