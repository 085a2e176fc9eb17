"""Exact updates of blocks whose graph is a forest, by elimination along its trees."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse

from gossamer._core.errors import ArgumentError
from gossamer._kernels.descent import CYCLE, Graph
from gossamer.solve.descent.blocks import Block
from gossamer.solve.descent.forests import checked_solution
from gossamer.solve.descent.problems.problem import State
from gossamer.solve.descent.updates.gradient import sparse_factor
from gossamer.solve.descent.updates.line_search import armijo


def message_passing_step(state: State, block: Block) -> None:
    """``x_b -= (hess_bb f)^{-1} g_b`` in O(|b|): messages up each tree, and down again.

    Exact for quadratics; elsewhere a line search follows. Fixed blocks of treewidth 2 go to a sparse factorisation.
    """
    b, problem = block.ids, state.problem
    g = state.block_gradient(b)
    if problem.quadratic:
        state.move(state.along(b, -_solve(problem.graph, b, block, g)))
        return
    H: Any = state.sparse_hessian(b)  # type: ignore[attr-defined]
    d = -_solve(Graph(H), np.arange(len(b)), block, g)
    slope = float(g @ d)
    if slope < 0:
        path = state.along(b, d)
        step = armijo(path, state.value(), slope)
        if step:
            state.move(path, step)


def _solve(graph: Graph, nodes: np.ndarray, block: Block, g: np.ndarray) -> np.ndarray:
    if not block.notes.get("treewidth 2"):
        outcome, where, d = graph.eliminate(nodes, g)
        if outcome != CYCLE:
            return checked_solution(outcome, where, d)
        if not treewidth_at_most_two(_part(graph, nodes)):
            raise ArgumentError(
                f'a block of {len(nodes)} nodes has treewidth > 2: update="message-passing" expects forests, as '
                'select="forest-gsd" or partition="forest" give, or treewidth 2'
            )
        block.notes["treewidth 2"] = True
    return sparse_factor(_part(graph, nodes))(g)


def _part(graph: Graph, nodes: np.ndarray) -> Any:
    whole = scipy.sparse.csr_array((graph.value, graph.index, graph.start), shape=(graph.nodes, graph.nodes))
    return whole[nodes][:, nodes]


def treewidth_at_most_two(A: Any) -> bool:
    """Whether the graph of a symmetric sparse matrix reduces to nothing by taking out nodes of degree at most 2.

    The two neighbours of a node that goes are joined. O(|b|) for graphs that reduce.
    """
    csr = scipy.sparse.csr_array(A)
    near = [set(csr.indices[csr.indptr[i] : csr.indptr[i + 1]].tolist()) - {i} for i in range(csr.shape[0])]
    queue = [i for i, around in enumerate(near) if len(around) <= 2]
    gone = [False] * len(near)
    left = len(near)
    while queue:
        i = queue.pop()
        if gone[i] or len(near[i]) > 2:
            continue
        gone[i] = True
        left -= 1
        around = list(near[i])
        for j in around:
            near[j].discard(i)
        if len(around) == 2:
            near[around[0]].add(around[1])
            near[around[1]].add(around[0])
        queue += [j for j in around if len(near[j]) <= 2]
    return left == 0
