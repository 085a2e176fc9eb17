"""Attributes as nodes, Laplacians against dense ones, smooth vectors against eigenvectors, clusters that are known."""

import warnings

import networkx
import numpy as np
import pandas
import pytest
import scipy.linalg
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.metrics import normalized_mutual_info_score as nmi

from gossamer._core.errors import ArgumentError, GossamerError, ShapeError, UnsupportedError
from gossamer.graph import (
    AttributedAMGClustering,
    SACluster,
    attributed_sbm,
    augment_with_attributes,
    laplacian_spd,
    modularity,
    smooth_vectors,
)
from gossamer.graph.cluster.smooth_vectors import orthonormal_coordinates


def random_graph(n, density, seed):
    B = sp.triu(sp.random_array((n, n), density=density, rng=np.random.default_rng(seed)), 1)
    A = sp.csr_array(B + B.T)
    A.data[:] = 1
    return A


def test_a_complete_graph_of_four_with_three_attributes_has_twelve_nodes():
    A = sp.csr_array(np.ones((4, 4)) - np.eye(4))
    A_ext, index = augment_with_attributes(A, [(1, 1, 1), (2, 2, 2), (2, 3, 3), (1, 2, 1)])
    assert A_ext.shape == (12, 12)
    assert A_ext.nnz - A.nnz == 2 * 12
    assert index.tolist() == [[4, 6, 9], [5, 7, 10], [5, 8, 11], [4, 7, 9]]


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 30), st.integers(1, 4), st.integers(1, 5), st.floats(0.1, 3), st.integers(0, 2**32 - 1))
def test_nodes_gain_an_edge_an_attribute_and_values_have_one_a_node(n, M, values, weight, seed):
    rng = np.random.default_rng(seed)
    A, table = random_graph(n, 0.3, seed), rng.integers(0, values, (n, M)).astype(object)
    table[rng.random((n, M)) < 0.2] = None
    with warnings.catch_warnings(action="ignore"):  # of columns that look like identifiers
        A_ext, index = augment_with_attributes(A, table, weight)
    there = index >= 0
    np.testing.assert_array_equal(there, table != None)  # noqa: E711
    distinct = [{value for value in column if value is not None} for column in table.T]
    assert A_ext.shape[0] == n + sum(map(len, distinct))
    np.testing.assert_array_equal(A_ext[:n, :n].toarray(), A.toarray())
    np.testing.assert_allclose(A_ext.toarray(), A_ext.toarray().T)
    gained = A_ext.sum(axis=1)[:n] - A.sum(axis=1)
    np.testing.assert_allclose(gained, weight * there.sum(axis=1))
    for (node, attribute), row in np.ndenumerate(index):
        if row >= 0:
            same = np.sum(table[:, attribute] == table[node, attribute])
            np.testing.assert_allclose(A_ext[[row]].sum(), weight * same)


def test_attributes_come_in_any_form():
    A = random_graph(4, 1, 0)
    forms = [
        ["b", "a", "b", None],
        np.array([2.0, 1.0, 2.0, np.nan]),
        pandas.DataFrame({"x": pandas.Categorical(["b", "a", "b", None])}),
        pandas.DataFrame({"x": pandas.array([2, 1, 2, None], dtype="Int64")}),
        np.array(["b", "a", "b", None], object)[:, None],
    ]
    for form in forms:
        assert augment_with_attributes(A, form)[1].ravel().tolist() == [5, 4, 5, -1]
    mixed = augment_with_attributes(A, ["b", 1, "b", None])[1]
    assert mixed.ravel().tolist() == [4, 5, 4, -1]


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_laplacian_is_positive_definite_with_four_for_each_component(parts, weighted):
    rng = np.random.default_rng(parts)
    blocks = []
    for size in np.full(parts, 60 // parts):
        B = np.triu(rng.random((size, size)) < 0.2, 1) * (1 + rng.random((size, size)))
        B[np.arange(size - 1), np.arange(1, size)] = 1.5
        blocks.append(B + B.T)
    A = sp.csr_array(scipy.linalg.block_diag(*blocks))
    L = laplacian_spd(A, weighted=weighted)
    D = L.toarray()
    np.testing.assert_array_equal(D, D.T)
    assert np.linalg.eigvalsh(D)[0] > 1e-3
    np.testing.assert_allclose(D.sum(), 4 * parts)
    pattern = A.toarray() if weighted else (A.toarray() > 0) * 1.0
    terms = D - (np.diag(pattern.sum(axis=1)) - pattern)
    assert np.linalg.matrix_rank(terms) == parts
    np.testing.assert_allclose(np.linalg.eigvalsh(terms)[-parts:], 2)


def test_isolated_nodes_have_a_row_and_loops_go():
    A = sp.csr_array(np.diag([0.0, 1, 0]))
    with pytest.warns(UserWarning, match="1 self-loops"):
        np.testing.assert_array_equal(laplacian_spd(A).toarray(), 4 * np.eye(3))


def test_smooth_vectors_span_the_lowest_eigenvectors():
    graph = attributed_sbm(400, 4, p_in=0.2, p_out=0.01, random_state=0)
    W = smooth_vectors(graph.adjacency, 14, conv_ratio=0, random_state=0)
    U = orthonormal_coordinates(W)
    assert W.shape == (400, 15)
    np.testing.assert_allclose(U.T @ U, np.eye(U.shape[1]), atol=1e-12)
    A = graph.adjacency.toarray()
    lowest = np.linalg.eigh(np.diag(A.sum(axis=1)) - A)[1][:, :4]
    assert np.linalg.svd(U.T @ lowest, compute_uv=False).min() >= 0.9


def fit(A, attributes=None, K=4, **options):
    options = {"max_hierarchies": 10, "restarts": 10, "random_state": 0, **options}
    return AttributedAMGClustering(K, **options).fit(A, attributes)


def test_clear_structure_is_found_without_attributes_and_doubtful_one_with_them():
    clear = attributed_sbm(300, 4, p_in=0.2, p_out=0.01, random_state=0)
    model = fit(clear.adjacency)
    assert nmi(model.labels_, clear.labels) > 0.95
    assert np.isnan(model.entropy_)
    assert model.modularity_ == modularity(clear.adjacency, model.labels_)
    doubtful = attributed_sbm(300, 4, p_in=0.08, p_out=0.06, n_attributes=4, random_state=0)
    alone, together = (
        nmi(fit(doubtful.adjacency, a).labels_, doubtful.labels) for a in (None, doubtful.attributes)
    )
    assert together > alone + 0.3


def test_an_attribute_is_found_in_a_graph_that_says_nothing():
    truth = np.random.default_rng(0).integers(0, 3, 120)
    colour = np.array(list("xyz"))[truth]
    model = fit(networkx.path_graph(120), colour, K=3, select="inertia")
    assert nmi(model.labels_, truth) >= 0.95
    assert model.entropy_ < 0.1
    ends = fit(
        networkx.path_graph(120), colour, K=3
    )  # pieces of a path have modularity, and attributes do not count
    assert ends.modularity_ > model.modularity_


def test_attributes_that_are_constant_change_little():
    graph = attributed_sbm(300, 4, p_in=0.2, p_out=0.01, random_state=1)
    alone, together = fit(graph.adjacency), fit(graph.adjacency, np.ones((300, 2), int))
    assert abs(together.modularity_ - alone.modularity_) <= 0.02
    assert together.entropy_ == 0


def test_forms_of_graphs_and_no_attributes_are_the_same_thing():
    graph = networkx.planted_partition_graph(3, 15, 0.7, 0.05, seed=0)
    A = networkx.to_scipy_sparse_array(graph)
    expected = fit(A, K=3).labels_
    for same in (graph, A.astype(np.float32), np.array(A.nonzero())):
        np.testing.assert_array_equal(fit(same, K=3).labels_, expected)
    np.testing.assert_array_equal(fit(A, np.empty((45, 0)), K=3).labels_, expected)


def test_the_same_seed_gives_the_same_labels_on_any_number_of_threads():
    graph = attributed_sbm(200, 3, p_in=0.1, p_out=0.05, n_attributes=2, random_state=0)
    models = [fit(graph.adjacency, graph.attributes, K=3, n_jobs=jobs) for jobs in (1, 2, 3)]
    for other in models[1:]:
        np.testing.assert_array_equal(other.labels_, models[0].labels_)
        assert other.embedding_.tobytes() == models[0].embedding_.tobytes()


def test_options_and_the_contract():
    graph = attributed_sbm(150, 3, p_in=0.2, p_out=0.02, n_attributes=2, random_state=0)
    table = graph.attributes.astype(object)
    table[:30, 0] = None
    for options in (
        {"balance": True}, {"normalize": True}, {"select": "inertia"}, {"weighted": True}, {"attribute_weight": 0.1},
        {"batch_size": 50},
    ):  # fmt: skip
        model = fit(graph.adjacency, table, K=3, **options)
        assert model.modularity_ > 0.1, options
        assert model.labels_.dtype == np.int64
        assert len(np.unique(model.labels_)) == 3
        assert model.embedding_.shape == (150 + 6, model.embedding_.shape[1])
        assert model.n_hierarchies_ == len(model.rho_) <= 10
    again = clone(model)
    np.testing.assert_array_equal(again.fit_predict(graph.adjacency, table), model.labels_)
    heavier = AttributedAMGClustering(2).set_params(attribute_weight=2.0)
    assert heavier.get_params()["attribute_weight"] == 2.0


def test_balanced_points_have_one_variance():
    graph = attributed_sbm(150, 3, p_in=0.2, p_out=0.02, n_attributes=2, random_state=0)
    model = fit(graph.adjacency, graph.attributes, K=3, balance=True)
    points = model._points()
    for block in (np.arange(150), *model.value_index_.T):
        np.testing.assert_allclose(points[block].var(axis=0).sum(), 1)


def test_small_and_odd_graphs():
    assert sorted(fit(networkx.path_graph(5), K=5).labels_) == [0, 1, 2, 3, 4]
    apart = networkx.disjoint_union(networkx.complete_graph(8), networkx.complete_graph(8))
    apart.add_node(16)
    labels = fit(apart, K=3, restarts=100).labels_
    assert len(set(labels[:8])) == len(set(labels[8:16])) == 1
    assert labels[0] != labels[8]
    with pytest.warns(UserWarning, match="self-loops"):
        fit(sp.csr_array(np.ones((6, 6))), K=2)


def test_bad_input_is_named():
    A = random_graph(20, 0.3, 0)
    for K in (1, 21, 2.5):
        with pytest.raises(ArgumentError, match="n_clusters"):
            fit(A, K=K)
    with pytest.raises(ArgumentError, match="not symmetric"):
        fit(sp.csr_array(sp.triu(A)))
    with pytest.raises(ShapeError, match="attributes has 19 rows: expected 20"):
        fit(A, np.zeros(19, int))
    with pytest.raises(ShapeError, match="attributes has shape"):
        fit(A, np.zeros((20, 1, 1), int))
    with pytest.raises(UnsupportedError, match="attributes has dtype complex"):
        fit(A, np.zeros(20, complex))
    with pytest.raises(ArgumentError, match="select='best'"):
        fit(A, select="best")
    with pytest.raises(ArgumentError, match="attribute_weight"):
        fit(A, np.zeros(20, int), attribute_weight=0)
    big = random_graph(60, 0.3, 0)
    with pytest.raises(ArgumentError, match="60 distinct numbers: expected categories; bin it first"):
        fit(big, np.linspace(0, 1, 60))
    with pytest.warns(UserWarning, match="identifiers"):
        fit(A, [f"n{i}" for i in range(20)])
    with pytest.raises(GossamerError):
        SACluster(30).fit(A, np.zeros(20, int))


def test_walks_of_sa_cluster_are_powers_of_the_transition_matrix():
    graph = attributed_sbm(40, 2, p_in=0.4, p_out=0.05, n_attributes=2, random_state=0)
    whole, index = augment_with_attributes(graph.adjacency, graph.attributes)
    weights = np.array([0.5, 2.0])
    dense = whole.toarray()
    for column, weight in zip(index.T, weights):
        for node, value in enumerate(column):
            dense[node, value] = weight
    P = dense / dense.sum(axis=1, keepdims=True)
    expected = sum(0.3 * 0.7**k * np.linalg.matrix_power(P, k) for k in range(4))[:40, :40]
    found = SACluster(2, restart=0.3, length=3)._walks(whole, index, weights)
    np.testing.assert_allclose(found, expected, atol=1e-14)


def test_sa_cluster_finds_clear_clusters_and_votes_for_the_attribute_that_agrees():
    graph = attributed_sbm(120, 2, p_in=0.4, p_out=0.02, n_attributes=1, agreement=0.95, random_state=0)
    noise = np.random.default_rng(0).integers(0, 6, 120)
    model = SACluster(2).fit(graph.adjacency, np.c_[graph.attributes, noise])
    assert nmi(model.labels_, graph.labels) > 0.7
    assert model.attribute_weights_[0] > 1.3 > 0.7 > model.attribute_weights_[1]
    np.testing.assert_allclose(model.attribute_weights_.mean(), 1)
    assert (model.labels_[model.medoids_] == [0, 1]).all()
    assert model.modularity_ == modularity(graph.adjacency, model.labels_)
