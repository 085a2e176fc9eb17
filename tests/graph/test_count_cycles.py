"""Numbers of cycles against enumeration, and edits of edges."""

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossamer._core.errors import ArgumentError
from gossamer.graph import as_adjacency, count_cycles, perturb_edges


def enumerated(graph):
    counts = {k: np.zeros(len(graph), int) for k in (3, 4, 5, 6)}
    for cycle in nx.simple_cycles(graph, length_bound=6):
        counts[len(cycle)][cycle] += 1
    return counts


@pytest.mark.parametrize("seed", range(30))
def test_counts_are_those_of_enumeration(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 13))
    if seed % 3 == 0 and n > 4:
        graph = nx.random_regular_graph(4 if n > 5 else 2, n, seed=seed)
    else:
        graph = nx.gnp_random_graph(n, float(rng.uniform(0.2, 0.7)), seed=seed)
    for k, expected in enumerated(graph).items():
        found = count_cycles(graph, k, per_node=True)
        assert found.dtype == np.int64
        assert np.array_equal(found, expected)
        assert count_cycles(graph, k) * k == expected.sum()


def test_complete_and_bipartite_graphs_have_their_closed_forms():
    assert count_cycles(nx.complete_graph(5), 5) == 12
    assert count_cycles(nx.complete_graph(4), 4) == 3
    assert count_cycles(nx.complete_graph(8), 6) == 28 * 60
    assert count_cycles(nx.complete_bipartite_graph(3, 4), 6) == 4 * 6
    assert [count_cycles(nx.cycle_graph(6), k) for k in (3, 4, 5, 6)] == [0, 0, 0, 1]
    assert [count_cycles(nx.star_graph(9), k) for k in (3, 4, 5, 6)] == [0, 0, 0, 0]


def test_traces_of_regular_graphs_give_the_same_counts():
    for r, n, seed in ((3, 12, 0), (4, 13, 1), (5, 14, 2)):
        graph = nx.random_regular_graph(r, n, seed=seed)
        A = nx.to_numpy_array(graph)
        trace = {k: np.trace(np.linalg.matrix_power(A, k)) for k in (3, 4, 5)}
        assert count_cycles(graph, 3) == trace[3] / 6
        assert count_cycles(graph, 4) == (trace[4] - 2 * r**2 * n + r * n) / 8
        assert count_cycles(graph, 5) == (trace[5] - 5 * (r - 1) * trace[3]) / 10


def test_weights_do_not_count():
    graph = nx.complete_graph(4)
    for _, _, data in graph.edges(data=True):
        data["weight"] = 2.5
    assert count_cycles(graph, 3) == 4


@pytest.mark.parametrize("k", [2, 7, 3.0, True])
def test_other_lengths_are_refused(k):
    with pytest.raises(ArgumentError, match="k="):
        count_cycles(nx.path_graph(3), k)


@settings(max_examples=25, deadline=None)
@given(st.integers(5, 14), st.floats(0.3, 0.9), st.integers(0, 1000))
def test_removals_keep_components_and_take_one_edge_each(n, p, seed):
    graph = nx.gnp_random_graph(n, p, seed=seed)
    free = graph.number_of_edges() - len(graph) + nx.number_connected_components(graph)
    k = min(free, 2)
    pruned = perturb_edges(graph, k, seed)
    A = as_adjacency(graph)
    assert pruned.nnz == A.nnz - 2 * k
    assert (abs(pruned - pruned.T)).nnz == 0
    assert nx.number_connected_components(
        nx.from_scipy_sparse_array(pruned)
    ) == nx.number_connected_components(graph)
    if n * (n - 1) // 2 > graph.number_of_edges() > 0:
        assert perturb_edges(graph, 2, seed, kind="move", keep_connected=False).nnz == A.nnz
        assert perturb_edges(graph, 1, seed, kind="add").nnz == A.nnz + 2


def test_the_seed_decides_and_there_must_be_enough_edges():
    ring = nx.cycle_graph(8)
    assert (perturb_edges(ring, 1, 3) != perturb_edges(ring, 1, 3)).nnz == 0
    with pytest.raises(ArgumentError, match="k=2: expected at most 1"):
        perturb_edges(ring, 2, 0)
    with pytest.raises(ArgumentError, match="without an edge"):
        perturb_edges(nx.complete_graph(4), 1, 0, kind="add")
    with pytest.raises(ArgumentError, match="kind="):
        perturb_edges(ring, 1, 0, kind="drop")
    assert perturb_edges(ring, 0, 0).nnz == 16
