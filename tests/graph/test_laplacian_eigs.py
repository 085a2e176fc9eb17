"""Eigenpairs of Laplacians against dense algebra and closed forms, and batches of them."""

import warnings

import networkx as nx
import numpy as np
import pytest
import scipy.sparse
import torch

from gossamer._core.errors import ArgumentError, ShapeError, UnsupportedError
from gossamer.graph import laplacian_batch, laplacian_eigs
from gossamer.graph.encode.eigenpairs import smallest_eigenpairs


def dense_laplacian(graph, kind):
    A = nx.to_numpy_array(graph)
    degree = A.sum(1)
    D = np.diag(degree)
    if kind == "combinatorial":
        return D - A
    one = np.diag((degree > 0).astype(float))
    inverse = np.diag(1 / np.where(degree > 0, degree, 1))
    return one - (inverse @ A if kind == "rw" else np.sqrt(inverse) @ A @ np.sqrt(inverse))


GRAPHS = {
    "weighted": nx.from_numpy_array(np.array([[0, 2, 1, 0], [2, 0, 0, 3], [1, 0, 0, 0.5], [0, 3, 0.5, 0]])),
    "petersen": nx.petersen_graph(),
    "parts": nx.disjoint_union(nx.cycle_graph(4), nx.empty_graph(2)),
    "one": nx.empty_graph(1),
}


@pytest.mark.parametrize("kind", ["sym", "rw", "combinatorial"])
@pytest.mark.parametrize("name", sorted(GRAPHS))
def test_pairs_solve_the_eigenproblem_of_the_dense_laplacian(name, kind):
    graph = GRAPHS[name]
    L = dense_laplacian(graph, kind)
    lam, V = laplacian_eigs(graph, laplacian=kind)
    assert lam.dtype == V.dtype == np.float64
    np.testing.assert_allclose(L @ V, V * lam, atol=1e-12)
    np.testing.assert_allclose(lam, np.sort(np.linalg.eigvals(L).real), atol=1e-7)
    degree = nx.to_numpy_array(graph).sum(1)
    inner = np.diag(np.where(degree > 0, degree, 1)) if kind == "rw" else np.eye(len(L))
    np.testing.assert_allclose(V.T @ inner @ V, np.eye(len(L)), atol=1e-12)


def test_known_spectra():
    lam, _ = laplacian_eigs(nx.cycle_graph(9))
    np.testing.assert_allclose(lam, np.sort(1 - np.cos(2 * np.pi * np.arange(9) / 9)), atol=1e-12)
    lam, V = laplacian_eigs(nx.empty_graph(1))
    assert lam.tolist() == [0.0]
    assert abs(V).tolist() == [[1.0]]
    lam, _ = laplacian_eigs(nx.complete_bipartite_graph(3, 3))
    np.testing.assert_allclose(lam, [0, 1, 1, 1, 1, 2], atol=1e-12)
    assert lam.max() <= 2
    assert lam.min() >= 0


def test_small_graphs_are_padded_with_zeros_unless_told_otherwise():
    lam, V = laplacian_eigs(nx.path_graph(3), 5)
    assert lam.shape == (5,)
    assert V.shape == (3, 5)
    assert not lam[3:].any()
    assert not V[:, 3:].any()
    lam, V = laplacian_eigs(nx.path_graph(3), 5, pad=False)
    assert lam.shape == (3,)
    assert V.shape == (3, 3)


@pytest.mark.parametrize(
    "graph",
    [
        nx.star_graph(60),
        nx.disjoint_union_all([nx.cycle_graph(15)] * 5),
        nx.random_regular_graph(3, 70, seed=0),
    ],
    ids=["star", "five rings", "regular"],
)
@pytest.mark.filterwarnings("ignore:d=")
def test_lanczos_finds_every_copy_of_an_eigenvalue(graph):
    for d in (1, 5, 12):
        dense, sparse = (laplacian_eigs(graph, d, method=method) for method in ("dense", "sparse"))
        np.testing.assert_allclose(sparse[0], dense[0], atol=1e-10)
        V, L = sparse[1], dense_laplacian(graph, "sym")
        np.testing.assert_allclose(V.T @ V, np.eye(d), atol=1e-10)
        np.testing.assert_allclose(L @ V, V * sparse[0], atol=1e-9)


def test_the_method_is_chosen_by_size():
    L = scipy.sparse.csr_array(dense_laplacian(nx.random_regular_graph(3, 600, seed=0), "sym"))
    few, all_of_them = smallest_eigenpairs(L, 6), smallest_eigenpairs(L, 6, "dense")
    np.testing.assert_allclose(few[0], all_of_them[0], atol=1e-10)


def test_every_form_of_a_graph_gives_the_same_pairs():
    graph = nx.petersen_graph()
    expected = laplacian_eigs(graph)
    edges = np.array(graph.edges).T
    weights = torch.from_numpy(nx.to_numpy_array(graph))
    for form in (
        nx.to_scipy_sparse_array(graph),
        edges,
        torch.from_numpy(edges),
        weights,
        weights.to_sparse(),
    ):
        lam, V = laplacian_eigs(form)
        assert isinstance(lam, torch.Tensor) == isinstance(form, torch.Tensor)
        np.testing.assert_allclose(np.asarray(lam), expected[0], atol=1e-12)
        W, expected_W = (
            np.asarray(V * lam**2) @ np.asarray(V).T,
            expected[1] * expected[0] ** 2 @ expected[1].T,
        )
        np.testing.assert_allclose(W, expected_W, atol=1e-12)


@pytest.mark.parametrize("kind", ["sym", "rw", "combinatorial"])
def test_gradients_reach_weights_only_when_asked(kind):
    generator = torch.Generator().manual_seed(0)
    upper = torch.rand(6, 6, dtype=torch.float64, generator=generator).triu(1)
    weights = (upper + upper.T).requires_grad_()
    lam, V = laplacian_eigs(weights, 7, kind)
    assert not lam.requires_grad
    assert not V.requires_grad
    graded = laplacian_eigs(weights, 7, kind, detach=False)
    torch.testing.assert_close(graded[0].detach(), lam)

    def kernel(half):
        lam, V = laplacian_eigs(half.triu(1) + half.triu(1).T, laplacian=kind, detach=False)
        return (V * lam.exp()) @ V.T

    assert torch.autograd.gradcheck(kernel, (upper.clone().requires_grad_(),))


def test_a_cut_through_an_eigenspace_is_reported():
    with pytest.warns(UserWarning, match="cuts an eigenspace"):
        laplacian_eigs(nx.cycle_graph(6), 2)
    with pytest.warns(UserWarning, match="cuts an eigenspace"):
        laplacian_eigs(torch.from_numpy(nx.to_numpy_array(nx.cycle_graph(6))), 2, detach=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        laplacian_eigs(nx.cycle_graph(6), 3)  # between eigenspaces
    with pytest.warns(UserWarning, match="self-loops"):
        lam, _ = laplacian_eigs(nx.Graph([(0, 1), (1, 1)]))
    np.testing.assert_allclose(lam, [0, 2], atol=1e-12)


def test_a_batch_holds_each_graph_and_gives_it_back():
    graphs = [nx.path_graph(3), nx.petersen_graph(), nx.cycle_graph(5), nx.empty_graph(1)]
    batch = laplacian_batch(graphs)
    assert len(batch) == 4
    assert batch.lam.shape == (4, 10)
    assert batch.sizes.tolist() == [3, 10, 5, 1]
    assert batch.mask.sum(1).tolist() == [3, 10, 5, 1]
    for number, graph in enumerate(graphs):
        lam, V = laplacian_eigs(graph, 10)
        rows = batch.nodes([number])
        np.testing.assert_array_equal(batch.lam[number], lam)
        np.testing.assert_array_equal(batch.V[rows], V)
        own = batch.edge_index[:, batch.edges([number])] - int(rows[0])
        np.testing.assert_array_equal(own, np.stack(nx.to_scipy_sparse_array(graph).nonzero()))
    taken = batch.take([2, 0])
    again = laplacian_batch([graphs[2], graphs[0]], 10)
    for a, b in zip(taken.args, again.args):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("graph", "options", "message"),
    [
        (scipy.sparse.csr_array(np.triu(np.ones((3, 3)), 1)), {}, "not symmetric"),
        (scipy.sparse.csr_array(np.ones((2, 3))), {}, "square"),
        (scipy.sparse.csr_array(-np.ones((2, 2))), {}, "negative"),
        (scipy.sparse.csr_array(np.full((2, 2), np.nan)), {}, "NaN"),
        (scipy.sparse.csr_array((0, 0)), {}, "no nodes"),
        (nx.empty_graph(0), {}, "no nodes"),
        (torch.ones(2, 3), {}, "square"),
        (nx.path_graph(3), {"d": 0}, "d=0"),
        (nx.path_graph(3), {"laplacian": "rww"}, "did you mean 'rw'"),
        (nx.path_graph(3), {"method": "lanczos"}, "method='lanczos'"),
        (nx.path_graph(3), {"method": "sparse"}, "method='sparse'"),
    ],
)
def test_bad_input_is_refused_by_name(graph, options, message):
    with pytest.raises(ValueError, match=message):
        laplacian_eigs(graph, **options)


def test_other_bad_input():
    with pytest.raises(UnsupportedError, match="detach=False"):
        laplacian_eigs(nx.path_graph(3), detach=False)
    with pytest.raises(ShapeError, match="square"):
        laplacian_eigs(torch.ones(2, 3), detach=False)
    with pytest.raises(ArgumentError, match="graphs is empty"):
        laplacian_batch([])
    with pytest.raises(ArgumentError, match="index"):
        laplacian_batch([nx.path_graph(2)]).take([1])
    with pytest.raises(ArgumentError, match=r"graphs\[1\] has no nodes"):
        laplacian_batch([nx.path_graph(2), nx.empty_graph(0)])
