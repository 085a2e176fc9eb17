"""Forests of graphs, colours, and elimination on trees: against NetworkX and dense solutions."""

import time

import networkx as nx
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.solve import (
    LabelPropagation,
    Quadratic,
    block_coordinate_descent,
    greedy_forest,
    lattice_forests,
    partition_blocks,
    tree_partition,
    tree_solve,
)
from gossamer.solve.descent.updates.messages import treewidth_at_most_two


def random_graph(n, seed):
    rng = np.random.default_rng(seed)
    return nx.gnm_random_graph(n, int(rng.integers(0, 3 * n)), seed=seed)


def adjacency(graph):
    return nx.to_scipy_sparse_array(graph, nodelist=range(len(graph)), dtype=float, format="csr")


def lattice(rows, columns, weight=1.0):
    return adjacency(nx.convert_node_labels_to_integers(nx.grid_2d_graph(rows, columns))) * weight


def is_forest(graph, nodes):
    part = graph.subgraph(nodes)
    return part.number_of_edges() == len(part) - nx.number_connected_components(part)


@settings(max_examples=100)
@given(st.integers(1, 40), st.integers(0, 10**6))
def test_a_greedy_forest_is_a_maximal_forest_and_takes_good_nodes_first(n, seed):
    graph = random_graph(n, seed)
    scores = np.random.default_rng(seed).normal(size=n)
    nodes = greedy_forest(scores, adjacency(graph))
    assert is_forest(graph, nodes)
    taken = set(nodes.tolist())
    for node in set(range(n)) - taken:
        better = [other for other in taken if scores[other] > scores[node]]
        assert not is_forest(graph, [*better, node])


@settings(max_examples=50)
@given(st.integers(1, 40), st.integers(0, 10**6))
def test_partitions_cover_and_are_what_they_say(n, seed):
    graph = random_graph(n, seed)
    A = adjacency(graph)
    order = np.random.default_rng(seed).permutation(n)
    forests = tree_partition(A, order)
    np.testing.assert_array_equal(np.sort(np.concatenate(forests)), np.arange(n))
    assert all(is_forest(graph, block) for block in forests)
    for k, block in enumerate(
        forests
    ):  # first fit: a node that came later would close a cycle in earlier forests
        for node in block:
            before = order[: np.flatnonzero(order == node)[0]]
            for earlier in forests[:k]:
                assert not is_forest(graph, [*np.intersect1d(earlier, before), node])
    laplacian = sp.csr_array(sp.diags_array(A.sum(axis=1) + 1) - A)
    problem = Quadratic(laplacian, np.ones(n))
    for rule in ("colour", "colour-ordered"):
        colours = partition_blocks(problem, rule)
        np.testing.assert_array_equal(np.sort(np.concatenate(colours)), np.arange(n))
        assert all(graph.subgraph(block).number_of_edges() == 0 for block in colours)


def test_lattices_take_two_colours_and_two_combs():
    for rows, columns in ((1, 1), (1, 5), (5, 1), (2, 2), (7, 10), (10, 7)):
        graph = nx.convert_node_labels_to_integers(nx.grid_2d_graph(rows, columns))
        combs = lattice_forests(rows, columns)
        np.testing.assert_array_equal(np.sort(np.concatenate(combs)), np.arange(rows * columns))
        assert all(is_forest(graph, comb) for comb in combs)
        assert len(combs) <= 2
    problem = Quadratic(sp.csr_array(sp.eye_array(48) * 5 - lattice(6, 8)), np.ones(48))
    board = np.indices((6, 8)).sum(axis=0).ravel() % 2
    assert [set(block) for block in partition_blocks(problem, "colour-ordered")] == [
        set(np.flatnonzero(board == side)) for side in (0, 1)
    ]


@given(st.integers(1, 200), st.integers(0, 10**6))
def test_elimination_on_a_forest_is_the_dense_solution(n, seed):
    rng = np.random.default_rng(seed)
    parent = np.array([rng.integers(-1, i) if i else -1 for i in range(n)])
    child = np.flatnonzero(parent >= 0)
    link = rng.normal(size=len(child))
    A = sp.coo_array((link, (child, parent[child])), shape=(n, n)).tocsr()
    A = A + A.T
    A = sp.csr_array(A + sp.diags_array(abs(A).sum(axis=1) + rng.uniform(0.1, 1, n)))
    shuffle = rng.permutation(n)
    A, rhs = A[shuffle][:, shuffle], rng.normal(size=n)
    np.testing.assert_allclose(tree_solve(A, rhs), np.linalg.solve(A.toarray(), rhs), rtol=1e-10, atol=1e-12)


def test_a_chain_of_a_million_takes_less_than_a_second():
    n = 1_000_000
    A = sp.csr_array(sp.diags_array([-np.ones(n - 1), 2.5 * np.ones(n), -np.ones(n - 1)], offsets=[-1, 0, 1]))
    rhs = np.ones(n)
    from gossamer.solve.descent.forests import graph_of

    graph = graph_of(A)
    start = time.thread_time()
    outcome, _, x = graph.eliminate(np.arange(n), rhs)
    assert time.thread_time() - start < 1
    assert outcome == 0
    np.testing.assert_allclose(A @ x, rhs, atol=1e-12)


def test_bad_graphs_are_named():
    ring = adjacency(nx.cycle_graph(4)) + 3 * sp.eye_array(4)
    with pytest.raises(ArgumentError, match="graph of A has a cycle"):
        tree_solve(ring, np.ones(4))
    with pytest.raises(np.linalg.LinAlgError, match="pivot of node"):
        tree_solve(np.array([[1.0, 2.0], [2.0, 1.0]]), np.ones(2))
    with pytest.raises(ArgumentError, match="not symmetric"):
        tree_solve(np.array([[1.0, 2.0], [0.0, 1.0]]), np.ones(2))
    with pytest.raises(ShapeError, match="scores has shape"):
        greedy_forest(np.ones(3), ring)
    with pytest.raises(ArgumentError, match="order has"):
        tree_partition(ring, [0, 1, 2, 2])
    with pytest.raises(ArgumentError, match="rows=0"):
        lattice_forests(0, 3)


@pytest.mark.parametrize(
    ("select", "partition"),
    [("forest-gsd", "variable"), ("forest-gs", "variable"), ("forest-random", "variable"), ("cyclic", "combs"),
     ("gsq", "forest"), ("general", "variable"), ("cyclic", "colour"), ("perm", "forest-ordered")],
)  # fmt: skip
def test_labels_propagate_to_the_solution_of_the_laplacian(select, partition):
    W = lattice(12, 9, 1e5)
    rng = np.random.default_rng(0)
    y = np.zeros(108)
    y[rng.choice(108, 20, replace=False)] = rng.normal(size=20)
    problem = LabelPropagation(W, y)
    if partition == "combs":
        place = np.full(108, -1)
        place[problem.unlabelled] = np.arange(problem.n)
        partition = [place[c][place[c] >= 0] for c in lattice_forests(12, 9)]
    update = "exact" if select == "general" else "message-passing"
    result = block_coordinate_descent(
        problem, select=select, partition=partition, update=update, tol=1e-11, maxiter=5000, random_state=0
    )
    assert result.success
    exact = sp.linalg.spsolve(sp.csc_array(problem.A), problem.b)
    np.testing.assert_allclose(result.x, exact, atol=1e-8)
    completed = problem.complete(result.x)
    np.testing.assert_array_equal(completed[y != 0], y[y != 0])


def test_forests_are_maximal_and_not_truncated():
    problem = LabelPropagation(lattice(30, 30), np.r_[1.0, np.zeros(899)])
    result = block_coordinate_descent(problem, select="forest-gsd", block_size=5, maxiter=3, record=True)
    assert all(len(block) > 900 / 2 for block in result.blocks)


def test_blocks_of_treewidth_two_are_solved_and_wider_ones_refused():
    ladder = lattice(2, 20)
    problem = Quadratic(sp.csr_array(4 * sp.eye_array(40) - ladder), np.ones(40))
    result = block_coordinate_descent(
        problem, partition=[np.arange(40)], select="cyclic", update="message-passing"
    )
    assert result.nit == 1
    np.testing.assert_allclose(problem.A @ result.x, 1, atol=1e-12)
    grid = Quadratic(sp.csr_array(5 * sp.eye_array(9) - lattice(3, 3)), np.ones(9))
    with pytest.raises(ArgumentError, match="treewidth > 2"):
        block_coordinate_descent(grid, partition=[np.arange(9)], select="cyclic", update="message-passing")
    assert treewidth_at_most_two(ladder)
    assert treewidth_at_most_two(adjacency(nx.cycle_graph(8)))
    assert not treewidth_at_most_two(adjacency(nx.complete_graph(4)))


def test_a_graph_without_labels_in_a_component_is_singular():
    two = sp.block_diag([lattice(2, 2), lattice(2, 2)], format="csr")
    with pytest.raises(ArgumentError, match="singular"):
        LabelPropagation(two, np.r_[1.0, np.zeros(7)])
    with pytest.raises(ArgumentError, match="singular"):
        LabelPropagation(lattice(2, 2), np.zeros(4))
    connected = LabelPropagation(two, np.r_[1.0, np.zeros(6), -1.0])
    result = block_coordinate_descent(connected, select="forest-gsd", tol=1e-12)
    np.testing.assert_allclose(connected.complete(result.x), np.r_[np.ones(4), -np.ones(4)], atol=1e-10)


def test_all_nodes_labelled_leave_nothing_to_do():
    problem = LabelPropagation(lattice(2, 2), np.ones(4))
    result = block_coordinate_descent(problem, select="forest-gsd")
    assert result.success
    assert result.x.shape == (0,)


def test_stored_zeros_are_no_edges_and_stay_where_they_are():
    ring = adjacency(nx.cycle_graph(4))
    ring.data[[0, 2]] = 0.0  # both directions of the edge between 0 and 1
    before = ring.copy()
    assert ring[0, 1] == ring[1, 0] == 0
    np.testing.assert_array_equal(greedy_forest(np.ones(4), ring), np.arange(4))
    assert ring.nnz == before.nnz == 8
    np.testing.assert_array_equal(ring.indices, before.indices)
