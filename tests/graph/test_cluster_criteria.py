"""Criteria of clusterings against NetworkX, sums by hand and counted tables; generators; tables in files."""

import itertools

import networkx
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from gossamer._core.errors import ArgumentError, FormatError, ShapeError
from gossamer.graph import (
    attribute_entropy,
    attributed_lfr,
    attributed_sbm,
    modularity,
    noisy_attributes,
    read_attributes,
    reduced_mutual_information,
)
from gossamer.graph.cluster.criteria import log_tables


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 25), st.floats(0.05, 1), st.integers(1, 5), st.booleans(), st.integers(0, 2**32 - 1))
def test_modularity_is_that_of_networkx(n, density, K, loops, seed):
    rng = np.random.default_rng(seed)
    B = np.triu(rng.random((n, n)) * (rng.random((n, n)) < density), 0 if loops else 1)
    B[0, 1] = 1
    A = sp.csr_array(np.triu(B, 1) + np.triu(B, 1).T + np.diag(np.diag(B)))
    labels = rng.integers(0, K, n)
    communities = [set(np.flatnonzero(labels == c).tolist()) for c in np.unique(labels)]
    expected = networkx.community.modularity(networkx.from_scipy_sparse_array(A), communities)
    np.testing.assert_allclose(modularity(A, labels), expected, rtol=0, atol=1e-12)


def test_modularity_of_one_cluster_and_of_no_edges_is_nothing():
    assert modularity(networkx.path_graph(4), ["x"] * 4) == pytest.approx(0)
    assert modularity(sp.csr_array((3, 3)), [0, 1, 2]) == 0


def test_entropy_by_hand():
    table = [("a", 1), ("a", 2), ("b", 3), ("b", None), ("b", 4)]
    labels = np.array([0, 0, 0, 9, 9])
    third = np.log2(3) * 1 / 3 + np.log2(1.5) * 2 / 3
    assert attribute_entropy(table, labels) == pytest.approx(3 / 5 * (third + np.log2(3)) + 0)
    assert attribute_entropy(["a", "a", "b"], [1, 1, 0]) == 0
    assert attribute_entropy(list("abcd") * 2, np.zeros(8)) == pytest.approx(2)


def count_tables(a, b):
    """Contingency tables with the row sums a and the column sums b, one by one."""
    if len(a) == 1:
        return 1
    total = 0
    for row in itertools.product(*(range(min(a[0], s) + 1) for s in b)):
        if sum(row) == a[0]:
            total += count_tables(a[1:], [s - r for s, r in zip(b, row)])
    return total


@pytest.mark.parametrize(
    ("a", "b"), [((5, 5), (4, 6)), ((4, 3, 5), (6, 6)), ((4, 4, 4), (3, 5, 4)), ((10, 8), (6, 6, 6))]
)
def test_the_number_of_tables_is_close_to_the_count(a, b):
    exact = np.log(count_tables(list(a), list(b)))
    assert abs(log_tables(np.array(a), np.array(b)) - exact) < 0.15 * exact


def test_reduced_information_rewards_no_fragments():
    rng = np.random.default_rng(0)
    truth = np.repeat(np.arange(4), 50)
    noise = rng.integers(0, 60, 200)
    assert reduced_mutual_information(truth, truth, normalized=True) == pytest.approx(1)
    assert reduced_mutual_information(truth + 7, truth) > 1.5
    assert reduced_mutual_information(noise, truth) < 0.05
    assert reduced_mutual_information(np.zeros(200), truth) == pytest.approx(0, abs=1e-12)
    assert reduced_mutual_information(noise, truth) == pytest.approx(reduced_mutual_information(truth, noise))


def test_blocks_have_the_edges_that_were_asked_for():
    graph = attributed_sbm(10, 3, p_in=1, p_out=0, random_state=0)
    A = graph.adjacency.toarray()
    np.testing.assert_array_equal(A, (graph.labels[:, None] == graph.labels) & ~np.eye(10, dtype=bool))
    assert attributed_sbm(10, 3, p_in=1, p_out=1, random_state=0).adjacency.nnz == 90
    graph = attributed_sbm(3000, 3, mean_degree=12, ratio=0.25, random_state=1)
    A, same = graph.adjacency, graph.labels[:, None] == graph.labels
    assert A.nnz / 3000 == pytest.approx(12, rel=0.05)
    density = A.multiply(~same).sum() / (~same).sum() / (A.multiply(same).sum() / same.sum())
    assert density == pytest.approx(0.25, rel=0.05)
    assert (A != A.T).nnz == 0
    assert A.max() == 1
    assert not A.diagonal().any()


def test_attributes_agree_as_often_as_they_should():
    labels = np.repeat(np.arange(4), 2500)
    table = noisy_attributes(labels, 2, 0.6, random_state=0)
    np.testing.assert_allclose((table == labels[:, None]).mean(axis=0), 0.6 + 0.4 / 4, atol=0.02)
    np.testing.assert_array_equal(noisy_attributes(labels, 1, 1.0)[:, 0], labels)


def test_lfr_graphs_mix_as_they_should():
    graph = attributed_lfr(250, 0.2, min_community=20, random_state=5)
    A = graph.adjacency
    rows, columns = A.nonzero()
    assert np.mean(graph.labels[rows] != graph.labels[columns]) == pytest.approx(0.2, abs=0.08)
    assert np.bincount(graph.labels).min() >= 20
    assert not A.diagonal().any()
    assert graph.attributes.shape == (250, 1)


def test_tables_are_read_by_name_or_in_order(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text('office,node,share\nBoston, 7,0.5\n"New York",3,\n', encoding="utf-8-sig")
    table = read_attributes(path, [3, 5, 7])
    assert table.tolist() == [["New York", None], [None, None], ["Boston", 0.5]]
    assert read_attributes(path, [3, 5, 7], drop=["share"]).shape == (3, 1)
    with pytest.raises(ArgumentError, match=r"drop='shares'.*did you mean"):
        read_attributes(path, [3, 5, 7], drop=["shares"])
    path.write_text("rank\n1\n2\n\n1\n")
    assert read_attributes(path, range(3)).tolist() == [["1"], ["2"], ["1"]]
    assert read_attributes(path, ["x", "y", "z"], key="name").shape == (3, 1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not a CSV table"),
        ("a,b\n1\n", "row 1 has 1 cells: expected 2"),
        ("a\n1\n", "1 rows for 2 nodes"),
        ("node,a\n9,1\n", "about nodes that the graph lacks"),
        ("node,a\n0,1\n0,2\n", "several rows"),
    ],
)
def test_tables_that_do_not_fit_are_refused(tmp_path, text, said):
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(FormatError, match=said):
        read_attributes(path, [0, 1])
    with pytest.raises(FormatError, match="no such file"):
        read_attributes(tmp_path / "none.csv", [0, 1])


def test_bad_input_is_named():
    with pytest.raises(ShapeError, match="labels has shape"):
        modularity(networkx.path_graph(4), [0, 1])
    with pytest.raises(ShapeError, match="truth has shape"):
        reduced_mutual_information([0, 1], [0, 1, 1])
    with pytest.raises(ArgumentError, match="labels is empty"):
        reduced_mutual_information([], [])
    with pytest.raises(ShapeError, match="attributes has"):
        attribute_entropy(["a"], [0, 1])
    with pytest.raises(ArgumentError, match="expected p_in and p_out, or mean_degree and ratio"):
        attributed_sbm(10, 2, p_in=0.5)
    with pytest.raises(ArgumentError, match="p_in"):
        attributed_sbm(10, 2, p_in=1.5, p_out=0.1)
    with pytest.raises(ArgumentError, match="n_blocks=11"):
        attributed_sbm(10, 11, p_in=1, p_out=0)
    with pytest.raises(ArgumentError, match="agreement"):
        noisy_attributes([0, 1], 1, 2.0)
    with pytest.raises(ArgumentError, match="min_community"):
        attributed_lfr(30, 0.1, min_community=40, random_state=0)
