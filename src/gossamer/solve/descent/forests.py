"""Blocks of a graph that are forests, and the exact solution of systems on them."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer._core.checks import check_array, check_int
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._kernels.descent import CYCLE, PIVOT, Graph
from gossamer.solve.operators import check_csr, check_sides


def greedy_forest(scores: Any, adjacency: Any) -> np.ndarray:
    """A maximal set of nodes that induces a forest, nodes of high score first.

    Nodes come by decreasing score; one is taken if its neighbours that were taken lie in different trees.

    Parameters
    ----------
    scores : array, shape (n,)
        Preference for each node.
    adjacency : array or sparse matrix, shape (n, n)
        Symmetric; entries off the diagonal are edges.

    Returns
    -------
    ndarray of int64
        The nodes, ascending. No node can be added without closing a cycle.

    Raises
    ------
    ArgumentError, ShapeError
        If the graph is not symmetric, or the shapes do not fit.

    Notes
    -----
    ``O(n + |E| alpha(n))``, by radix sort and union-find.

    Examples
    --------
    >>> from gossamer.solve import greedy_forest
    >>> triangle = [[0, 1, 1], [1, 0, 1], [1, 1, 0]]
    >>> greedy_forest([1.0, 3.0, 2.0], triangle)
    array([1, 2])
    """
    graph = graph_of(adjacency)
    scores = np.asarray(check_array("scores", scores, ndim=1), np.float64)
    if scores.shape != (graph.nodes,):
        raise ShapeError(f"scores has shape {scores.shape}: expected ({graph.nodes},), one for each node")
    return graph.greedy_forest(scores)


def tree_partition(adjacency: Any, order: Any = None) -> list[np.ndarray]:
    """A partition of a graph's nodes into forests.

    Each node joins the first forest in which its neighbours lie in pairwise different trees, or opens a new one.

    Parameters
    ----------
    adjacency : array or sparse matrix, shape (n, n)
        Symmetric; entries off the diagonal are edges.
    order : array of int, shape (n,), optional
        Order in which nodes choose; 0 .. n - 1 by default.

    Returns
    -------
    list of ndarray of int64
        Ascending nodes of each forest, the first opened first.

    Raises
    ------
    ArgumentError
        If ``order`` is no permutation, or the graph not symmetric.

    Examples
    --------
    >>> from gossamer.solve import tree_partition
    >>> [block.tolist() for block in tree_partition([[0, 1, 1], [1, 0, 1], [1, 1, 0]])]
    [[0, 1], [2]]
    """
    graph = graph_of(adjacency)
    return members(graph.forests(np.arange(graph.nodes) if order is None else np.asarray(order)))


def tree_solve(A: Any, rhs: Any) -> np.ndarray:
    """Solve ``A x = rhs`` where the graph of A is a forest, in time linear in its nodes.

    Elimination from leaves to roots and substitution back, which is what belief propagation computes on Gaussians in
    one sweep up and one down.

    Parameters
    ----------
    A : array or sparse matrix, shape (n, n)
        Symmetric positive definite, with the pattern of a forest.
    rhs : array, shape (n,)
        Right side.

    Returns
    -------
    ndarray, shape (n,)
        The solution, in double precision.

    Raises
    ------
    ArgumentError
        If the graph of A has a cycle.
    numpy.linalg.LinAlgError
        If a pivot is not positive.

    Examples
    --------
    >>> from gossamer.solve import tree_solve
    >>> tree_solve([[2.0, -1.0, 0.0], [-1.0, 2.0, -1.0], [0.0, -1.0, 2.0]], [0.0, 0.0, 4.0])
    array([1., 2., 3.])
    """
    graph = graph_of(A, "A")
    right, _ = check_sides(graph.nodes, rhs)
    outcome, where, x = graph.eliminate(np.arange(graph.nodes), right)
    return checked_solution(outcome, where, x)


def lattice_forests(rows: int, columns: int) -> list[np.ndarray]:
    """Two interlocking combs that cover a lattice, each of them a tree.

    Parameters
    ----------
    rows, columns : int
        Size of the lattice; node ``(i, j)`` has the number ``i * columns + j``.

    Returns
    -------
    list of ndarray of int64
        The first column with every even row short of its last node, and the rest.

    Examples
    --------
    >>> from gossamer.solve import lattice_forests
    >>> [comb.tolist() for comb in lattice_forests(3, 3)]
    [[0, 1, 3, 6, 7], [2, 4, 5, 8]]
    """
    rows, columns = check_int("rows", rows, low=1), check_int("columns", columns, low=1)
    i, j = np.indices((rows, columns))
    first = (j == 0) | ((i % 2 == 0) & (j < columns - 1))
    combs = [np.flatnonzero(first), np.flatnonzero(~first)]
    return [comb for comb in combs if len(comb)]


def graph_of(adjacency: Any, name: str = "adjacency") -> Graph:
    """A checked graph of a symmetric matrix."""
    csr = check_csr(name, adjacency)
    if (csr.data == 0).any():
        csr = csr.copy()  # the entries may be the caller's
        csr.eliminate_zeros()
    gap = abs(csr - csr.T)
    if gap.nnz and gap.data.max() > 1e-10 * np.abs(csr.data).max():
        raise ArgumentError(f"{name} is not symmetric: it differs from its transpose by {gap.data.max():.3g}")
    return Graph(csr)


def members(label: np.ndarray) -> list[np.ndarray]:
    """Ascending members of each group of numbered labels."""
    order = np.argsort(label, kind="stable")
    counts = np.bincount(label)
    return [part for part in np.split(order, np.cumsum(counts)[:-1]) if len(part)]


def checked_solution(outcome: int, where: int, x: np.ndarray) -> np.ndarray:
    """The solution of an elimination, or the error that it ended with."""
    if outcome == CYCLE:
        raise ArgumentError(f"graph of A has a cycle, through node {where}: expected a forest")
    if outcome == PIVOT:
        raise np.linalg.LinAlgError(f"the pivot of node {where} is not positive: A is not positive definite")
    return x
