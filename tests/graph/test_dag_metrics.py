"""Distances between DAGs agree with hand counts, with other libraries and with brute force over equivalence classes."""

import itertools

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.graph import cpdag, dag_metrics, edge_average_precision, simulate_dag


def graph(d, *edges):
    W = np.zeros((d, d))
    for i, j in edges:
        W[i, j] = 1
    return W


def test_counts_of_graphs_drawn_by_hand():
    true = graph(4, (0, 1), (1, 2), (0, 2), (2, 3))
    assert dag_metrics(true, true) == {"fdr": 0, "tpr": 1, "fpr": 0, "shd": 0, "shd_c": 0, "nnz": 4}
    assert dag_metrics(true, np.zeros((4, 4)))["shd"] == 4
    # (1, 2) right, (0, 1) reversed, (0, 3) extra, (0, 2) and (2, 3) missing
    other = dag_metrics(true, graph(4, (1, 2), (1, 0), (0, 3)))
    assert other["fdr"] == 2 / 3
    assert other["tpr"] == 1 / 4
    assert other["fpr"] == 2 / 2
    assert other["shd"] == 4
    assert other["nnz"] == 3


def test_chains_and_forks_are_one_class_and_a_collider_another():
    chain, fork, collider = graph(3, (0, 1), (1, 2)), graph(3, (1, 0), (1, 2)), graph(3, (0, 1), (2, 1))
    assert dag_metrics(chain, fork)["shd_c"] == 0
    assert dag_metrics(chain, collider)["shd_c"] == 2
    np.testing.assert_array_equal(cpdag(chain), chain + chain.T)
    np.testing.assert_array_equal(cpdag(collider), collider)


def colliders(edges):
    d = len(edges)
    near = edges | edges.T
    return {
        (a, k, b)
        for k in range(d)
        for a, b in itertools.combinations(np.flatnonzero(edges[:, k]), 2)
        if not near[a, b]
    }


@pytest.mark.parametrize("seed", range(12))
def test_a_class_is_the_union_of_all_orientations_with_the_same_colliders(seed):
    edges = simulate_dag(5, 1 + seed % 2, random_state=seed)
    pairs = [tuple(p) for p in np.argwhere(edges)]
    union = np.zeros_like(edges)
    for flips in itertools.product((False, True), repeat=len(pairs)):
        other = np.zeros_like(edges)
        for (i, j), flip in zip(pairs, flips, strict=True):
            other[(j, i) if flip else (i, j)] = True
        powers = np.linalg.matrix_power(np.eye(5) + other, 5)
        if np.trace(powers) == 5 and colliders(other) == colliders(edges):
            union |= other
    np.testing.assert_array_equal(cpdag(edges), union)


def test_they_are_those_of_gcastle():
    castle = pytest.importorskip("castle.metrics.evaluation")
    rng = np.random.default_rng(0)
    for seed in range(50):
        d = int(rng.integers(3, 12))
        true, estimate = (simulate_dag(d, 1, random_state=rng) for _ in range(2))
        ours = dag_metrics(true, estimate)
        theirs = castle.MetricsDAG(estimate.astype(int), true.astype(int)).metrics
        for key in ("shd", "nnz"):
            assert ours[key] == theirs[key], seed
        for key in ("fdr", "tpr", "fpr"):
            assert ours[key] == pytest.approx(theirs[key], abs=6e-5), seed


def separated(edges, i, j, given):
    """Whether ``given`` is a valid adjustment set for i on j, by d-separation in the graph without what i causes."""
    d = len(edges)
    reach = np.linalg.matrix_power(np.eye(d) + edges, d) > 0
    causal = [v for v in range(d) if v != i and reach[i, v] and reach[v, j]]
    if any(reach[v, g] for v in causal for g in given):
        return False
    proper = edges.copy()
    for v in causal:
        proper[i, v] = False
    kept = np.flatnonzero(reach_to(proper, [i, j, *given]))
    moral = (proper | proper.T)[np.ix_(kept, kept)]
    for child in kept:
        parents = [p for p in kept if proper[p, child]]
        for a, b in itertools.permutations(parents, 2):
            moral[list(kept).index(a), list(kept).index(b)] = True
    blocked = [list(kept).index(g) for g in given]
    moral[blocked] = moral[:, blocked] = False
    walk = np.linalg.matrix_power(np.eye(len(kept)) + moral, len(kept)) > 0
    return not walk[list(kept).index(i), list(kept).index(j)]


def reach_to(edges, nodes):
    d = len(edges)
    reach = np.linalg.matrix_power(np.eye(d) + edges, d) > 0
    return reach[:, nodes].any(axis=1)


def test_intervention_distance_counts_invalid_parent_adjustments():
    pytest.importorskip("gadjid")
    for seed in range(20):
        true, estimate = (simulate_dag(5, 1, random_state=2 * seed + side) for side in range(2))
        reach = np.linalg.matrix_power(np.eye(5) + true, 5) > 0
        wrong = 0
        for i, j in itertools.permutations(range(5), 2):
            parents = np.flatnonzero(estimate[:, i])
            wrong += bool(reach[i, j]) if j in parents else not separated(true, i, j, parents)
        measured = dag_metrics(true, estimate, sid=True)
        assert measured["sid"] == wrong, seed
        assert dag_metrics(true, true, sid=True)["sid"] == 0


def test_average_precision_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    off = ~np.eye(8, dtype=bool)
    for _ in range(10):
        true, weights = simulate_dag(8, 2, random_state=rng), rng.normal(size=(8, 8)).round(1)
        expected = average_precision_score(true[off], np.abs(weights)[off])
        assert edge_average_precision(true, weights) == pytest.approx(expected, rel=1e-12)
    assert np.isnan(edge_average_precision(np.zeros((3, 3)), np.ones((3, 3))))


def test_cycles_and_other_shapes_are_refused():
    loop = [[0, 1], [1, 0]]
    counted = dag_metrics([[0, 1], [0, 0]], loop)
    assert (counted["shd"], counted["fdr"], counted["tpr"]) == (1, 0.5, 1)
    assert np.isnan(counted["shd_c"])
    with pytest.raises(ArgumentError, match="W_est has a cycle"):
        dag_metrics(np.zeros((2, 2)), loop, sid=True)
    with pytest.raises(ArgumentError, match="W has a cycle"):
        cpdag(loop)
    with pytest.raises(ArgumentError, match="W_true has an edge from a variable to itself"):
        dag_metrics(np.eye(2), np.zeros((2, 2)))
    with pytest.raises(ShapeError, match=r"expected \(3, 3\)"):
        dag_metrics(np.zeros((3, 3)), np.zeros((2, 2)))
    with pytest.raises(ShapeError, match="square"):
        cpdag(np.zeros((3, 2)))
    with pytest.raises(ShapeError, match="W_est"):
        edge_average_precision(np.zeros((3, 3)), np.zeros((2, 2)))
