"""Fixed partitions of the coordinates into blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gossamer._core.checks import check_choice, check_int
from gossamer._core.errors import ArgumentError
from gossamer.solve.descent.forests import graph_of, members
from gossamer.solve.descent.problems.problem import BCDProblem

BY_SIZE = ("order", "sort", "avg", "hsort", "havg")
BY_GRAPH = ("colour", "forest", "colour-ordered", "forest-ordered")


def partition_blocks(
    problem: BCDProblem, rule: str, block_size: int | None = None, graph: Any = None
) -> list[np.ndarray]:
    """Cut the coordinates of a problem into fixed blocks.

    Parameters
    ----------
    problem : BCDProblem
        The objective.
    rule : str
        ``"order"``: consecutive coordinates. ``"sort"``: by ascending ``L_i``, so that large ones share a block.
        ``"avg"``: the smallest and the largest ``L_i`` in turn. ``"hsort"``, ``"havg"``: the same by row sums of
        ``|H|``. ``"colour"``: no two neighbours in a block. ``"forest"``: every block induces a forest. In the last
        two, nodes of large ``L_i`` choose first; in ``"colour-ordered"`` and ``"forest-ordered"``, those of small
        number.
    block_size : int, optional
        Coordinates in a block, for the first five; the last block may be smaller.
    graph : array or sparse matrix, shape (n, n), optional
        Which coordinates are neighbours, for the others; the problem's own by default.

    Returns
    -------
    list of ndarray of int64
        Blocks; every coordinate is in one of them.

    Raises
    ------
    ArgumentError
        For an unknown rule, or a block size that is missing or outside of 1 .. n.

    References
    ----------
    Nutini, Laradji, Schmidt, "Let's Make Block Coordinate Descent Converge Faster", arXiv 1712.08859.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.solve import LeastSquares, partition_blocks
    >>> problem = LeastSquares(np.diag([3.0, 1.0, 2.0, 4.0]), np.ones(4))
    >>> [block.tolist() for block in partition_blocks(problem, "sort", 2)]
    [[1, 2], [0, 3]]
    """
    check_choice("partition", rule, (*BY_SIZE, *BY_GRAPH))
    if rule in BY_GRAPH:
        return _by_graph(problem, rule, graph)
    size = check_int("block_size", block_size, low=1, high=problem.n)
    if rule == "order":
        order = np.arange(problem.n)
    else:
        weight = problem.row_sums(np.arange(problem.n)) if rule.startswith("h") else problem.lipschitz
        order = np.argsort(weight, kind="stable")
        if rule.endswith("avg"):
            order = _ends_inwards(order)
    return np.split(order, np.arange(size, problem.n, size))


def _ends_inwards(order: np.ndarray) -> np.ndarray:
    mixed = np.empty_like(order)
    half = (len(order) + 1) // 2
    mixed[0::2], mixed[1::2] = order[:half], order[half:][::-1]
    return mixed


def _by_graph(problem: BCDProblem, rule: str, graph: Any) -> list[np.ndarray]:
    nodes = problem.graph if graph is None else graph_of(graph, "graph")
    if nodes.nodes != problem.n:
        raise ArgumentError(f"graph has {nodes.nodes} nodes: expected {problem.n}, one for each coordinate")
    ordered = rule.endswith("-ordered")
    order = np.arange(problem.n) if ordered else np.argsort(-problem.lipschitz, kind="stable")
    return members(nodes.colours(order) if rule.startswith("colour") else nodes.forests(order))


def explicit_blocks(partition: Sequence[Any], n: int) -> list[np.ndarray]:
    """Blocks that the caller lists, each coordinate in one of them."""
    parts = []
    for block in partition:
        array = np.asarray(block)
        if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
            raise ArgumentError(f"partition has a block {block!r}: expected arrays of integers")
        parts.append(array.astype(np.int64))
    flat = np.concatenate(parts or [np.zeros(0, np.int64)])
    if len(flat) and (flat.min() < 0 or flat.max() >= n):
        raise ArgumentError(f"partition spans {flat.min()}..{flat.max()}: expected 0..{n - 1}")
    counts = np.bincount(flat, minlength=n)
    if (counts != 1).any():
        i = int(np.argmax(counts != 1))
        raise ArgumentError(f"partition has coordinate {i} {counts[i]} times: expected each of {n} once")
    return parts
