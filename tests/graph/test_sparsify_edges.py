"""Degree-based edge scores against their definition, and pruning that keeps what it promises."""

import itertools

import networkx
import numpy as np
import pytest
import scipy.sparse
import torch

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.graph import sparsify_edges, teddy_edge_scores


def random_graph(seed, n=30, density=0.15):
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.random((n, n)) < density, 1)
    return scipy.sparse.csr_array((upper | upper.T).astype(float))


def by_definition(A):
    dense = A.toarray() != 0
    near = [[w for w in range(len(dense)) if dense[v, w] and w != v] for v in range(len(dense))]
    g = [
        sum(len(near[w]) ** -0.5 for w in near[v]) / len(near[v]) if near[v] else 0.0
        for v in range(len(dense))
    ]
    entries = A.tocoo()
    return [g[u] / len(near[u]) * g[v] / len(near[v]) for u, v in zip(*entries.coords)]


@pytest.mark.parametrize("seed", range(20))
def test_scores_are_those_of_the_double_loop(seed):
    A = random_graph(seed)
    assert np.allclose(teddy_edge_scores(A), by_definition(A), rtol=1e-12, atol=0)
    assert np.allclose(teddy_edge_scores(A, directed=True), by_definition(A), rtol=1e-12, atol=0)


def test_stars_and_regular_graphs_have_their_closed_forms():
    for k in (1, 4, 9):
        star = networkx.star_graph(k)
        assert list(teddy_edge_scores(star).values()) == pytest.approx([k**-1.5] * k)
    ring = networkx.circulant_graph(12, [1, 2])
    assert list(teddy_edge_scores(ring).values()) == pytest.approx([4**-3.0] * 24)
    bridge = networkx.Graph([(0, 1), (1, 2), (2, 0), (3, 4), (4, 5), (5, 3), (0, 6), (6, 3)])
    scores = teddy_edge_scores(bridge)
    corner, middle = 3**-0.5, 2**-0.5
    g_hub = (2 * middle + middle) / 3  # two corners of the triangle and the middle, all of degree 2
    g_tip = (corner + middle) / 2
    assert scores[(1, 2)] == pytest.approx((g_tip / 2) ** 2)
    assert scores[(0, 1)] == pytest.approx(g_hub / 3 * g_tip / 2)
    assert scores[(0, 6)] == pytest.approx(g_hub / 3 * corner / 2)


def test_an_edge_scores_less_the_higher_its_ends_degrees_are():
    # leaves hung onto one end of an edge between two stars
    def at(extra):
        graph = networkx.Graph([("a", "b"), ("a", 0), ("b", 1)])
        graph.add_edges_from(("a", f"leaf{i}") for i in range(extra))
        return teddy_edge_scores(graph)[("a", "b")]

    values = [at(extra) for extra in range(8)]
    assert all(later < earlier for earlier, later in itertools.pairwise(values))


def test_directed_scores_are_those_of_out_and_in_degrees():
    rng = np.random.default_rng(3)
    D = rng.random((15, 15)) < 0.2
    np.fill_diagonal(D, False)
    out, into = D.sum(1).astype(float), D.sum(0).astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        source = np.nan_to_num((D @ np.where(into > 0, into**-0.5, 0)) / out**2)
        target = np.nan_to_num((D.T @ np.where(out > 0, out**-0.5, 0)) / into**2)
    u, v = scipy.sparse.coo_array(D).coords
    found = teddy_edge_scores(scipy.sparse.csr_array(D), directed=True)
    u, v = scipy.sparse.csr_array(D).tocoo().coords
    assert np.allclose(found, source[u] * target[v])


def test_weights_count_only_if_asked_for_and_self_loops_join_the_degrees():
    A = random_graph(1)
    W = A.copy()
    upper = scipy.sparse.triu(A).tocoo()
    weights = np.random.default_rng(0).uniform(0.5, 2, upper.nnz)
    W = scipy.sparse.coo_array((weights, upper.coords), shape=A.shape).tocsr()
    W = (W + W.T).tocsr()
    assert np.allclose(teddy_edge_scores(W), teddy_edge_scores(A))
    degree = W.sum(axis=1)
    g = W @ np.where(degree > 0, degree, 1) ** -0.5
    factor = np.divide(g, degree**2, out=np.zeros_like(g), where=degree > 0)
    u, v = W.tocoo().coords
    assert np.allclose(teddy_edge_scores(W, weighted=True), factor[u] * factor[v])
    looped = (A + scipy.sparse.eye_array(30)).tocsr()
    dense = looped.toarray()
    d = dense.sum(1)
    f = dense @ d**-0.5 / d**2
    u, v = A.tocoo().coords
    assert np.allclose(teddy_edge_scores(A, add_self_loops=True), f[u] * f[v])
    on, off = looped.tocoo().coords
    stored = teddy_edge_scores(looped)
    assert (stored[on == off] == stored.max()).all()
    assert np.allclose(stored[on != off], teddy_edge_scores(A))


@pytest.mark.parametrize("p", [0.0, 0.1, 0.4, 0.75, 0.99])
@pytest.mark.parametrize("score", ["teddy", "degree", "random", "inverse"])
def test_a_pruned_graph_is_symmetric_with_the_exact_count(p, score):
    A = (random_graph(2) + scipy.sparse.eye_array(30)).tocsr()
    edges = (A.nnz - 30) // 2
    pruned, report = sparsify_edges(A, p, score, random_state=0)
    assert (pruned != pruned.T).nnz == 0
    assert pruned.diagonal().tolist() == [1.0] * 30
    assert report.edges == edges
    assert report.kept == edges - int(p * edges) == (pruned.nnz - 30) // 2
    assert sum(after for _, after in report.by_degree.values()) == report.kept
    assert report.new_isolated == int(((A.sum(1) > 1) & (pruned.sum(1) == 1)).sum())


def test_what_is_pruned_grows_with_p_and_lowest_scores_go_first():
    A = random_graph(5)
    before = A
    for p in (0.1, 0.3, 0.5, 0.9):
        after, _ = sparsify_edges(A, p)
        assert (after > before).nnz == 0
        before = after
    scores = teddy_edge_scores(A)
    kept = np.asarray(after[A.tocoo().coords]).ravel() > 0
    assert scores[kept].min() >= scores[~kept].max()
    weakest, _ = sparsify_edges(A, 0.5, "inverse")
    strongest, _ = sparsify_edges(A, 0.5)
    assert weakest.multiply(strongest).nnz < strongest.nnz


def test_ties_are_decided_alike_in_every_form_and_order():
    ring = networkx.cycle_graph(20)
    A = networkx.to_scipy_sparse_array(ring, format="csr")
    expected = sparsify_edges(A, 0.5)[0].toarray()
    shuffled = A.tocoo()
    order = np.random.default_rng(0).permutation(shuffled.nnz)
    coo = scipy.sparse.coo_array(
        (shuffled.data[order], tuple(c[order] for c in shuffled.coords)), shape=A.shape
    )
    pruned = sparsify_edges(coo, 0.5)[0]
    assert pruned.format == "coo"
    assert np.array_equal(pruned.toarray(), expected)
    edges = np.array(list(ring.edges)).T[:, ::-1].copy()
    for form in (edges, torch.from_numpy(edges)):
        kept = np.asarray(sparsify_edges(form, 0.5)[0])
        dense = np.zeros((20, 20))
        dense[kept[0], kept[1]] = dense[kept[1], kept[0]] = 1
        assert np.array_equal(dense, expected)
    graph = sparsify_edges(ring, 0.5)[0]
    assert np.array_equal(networkx.to_numpy_array(graph, nodelist=range(20)), expected)
    assert len(ring.edges) == 20
    single = A.astype(np.int32)
    assert sparsify_edges(single, 0.3)[0].dtype == np.int32


def test_scores_of_ones_own_are_taken_and_directions_may_part():
    A = random_graph(7)
    own = np.random.default_rng(0).random(A.nnz)
    pruned, _ = sparsify_edges(A, 0.3, own)
    u, v = A.tocoo().coords
    mean = scipy.sparse.csr_array((own, (u, v)), shape=A.shape)
    mean = ((mean + mean.T) / 2).tocsr()
    gone = (A - pruned).tocsr()
    gone.eliminate_zeros()
    kept = np.asarray(mean[pruned.nonzero()]).ravel()
    assert np.asarray(mean[gone.nonzero()]).max() <= kept.min()
    apart, report = sparsify_edges(A, 0.3, own, per_direction=True)
    assert apart.nnz == A.nnz - int(0.3 * A.nnz)
    assert report.edges == A.nnz
    assert (apart != apart.T).nnz > 0


def test_bad_input_is_refused_and_an_empty_graph_comes_back():
    A = random_graph(0)
    for p in (1.0, -0.1, float("nan")):
        with pytest.raises(ArgumentError, match="p="):
            sparsify_edges(A, p)
    with pytest.raises(ShapeError, match="square"):
        teddy_edge_scores(scipy.sparse.csr_array(np.ones((2, 3))))
    with pytest.raises(ArgumentError, match="not symmetric"):
        teddy_edge_scores(scipy.sparse.csr_array(np.triu(np.ones((3, 3)), 1)))
    with pytest.raises(ArgumentError, match="score"):
        sparsify_edges(A, 0.1, "weight")
    with pytest.raises(ShapeError, match="score"):
        sparsify_edges(A, 0.1, np.ones(3))
    bad = A.copy()
    bad.data[0] = np.nan
    with pytest.raises(ArgumentError):
        teddy_edge_scores(bad)
    empty = scipy.sparse.csr_array((4, 4))
    with pytest.warns(UserWarning, match="no edges"):
        pruned, report = sparsify_edges(empty, 0.5)
    assert pruned is empty
    assert report.edges == 0
