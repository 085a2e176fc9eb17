"""The measure of stability against brute force."""

import itertools
import math

import networkx as nx
import numpy as np
import pytest
import torch

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.graph import laplacian_batch, laplacian_eigs, pe_stability, perturb_edges
from gossamer.nn import SPE


def laplacian(graph):
    lam, V = laplacian_eigs(graph)
    return (V * lam) @ V.T


def degrees(A):
    return np.asarray(A.sum(axis=1))[:, None]


def relabelled(graph, seed):
    """The same graph in another order of nodes, and the place of each node in it."""
    place = np.random.default_rng(seed).permutation(len(graph))
    A = np.zeros((len(graph),) * 2)
    A[np.ix_(place, place)] = nx.to_numpy_array(graph)
    return nx.from_numpy_array(A), place


@pytest.mark.parametrize("seed", range(4))
def test_small_graphs_are_matched_by_the_best_permutation(seed):
    first = nx.gnp_random_graph(6, 0.5, seed=seed)
    second = nx.gnp_random_graph(6, 0.5, seed=seed + 10)
    L, L2 = laplacian(first), laplacian(second)
    best = min(np.linalg.norm(L - L2[np.ix_(order, order)]) for order in itertools.permutations(range(6)))
    found = pe_stability(degrees, first, second)
    assert found.eps == pytest.approx(best)
    assert found.eps == pytest.approx(np.linalg.norm(L - L2[np.ix_(found.perm, found.perm)]))
    change = degrees(nx.to_numpy_array(first)) - degrees(nx.to_numpy_array(second))[found.perm]
    assert found.distance == pytest.approx(np.linalg.norm(change))
    assert found.ratio == pytest.approx(found.distance / found.eps)


def test_larger_graphs_in_another_order_are_recognised():
    graph = nx.gnp_random_graph(20, 0.2, seed=1)
    other, place = relabelled(graph, 0)
    told = pe_stability(degrees, graph, other, perm=place)
    assert told.eps == pytest.approx(0, abs=1e-12)
    pruned = perturb_edges(other, 1, 0)
    searched, told = pe_stability(degrees, graph, pruned), pe_stability(degrees, graph, pruned, perm=place)
    assert searched.eps <= told.eps + 1e-12


def test_nothing_changed_is_ratio_zero_and_only_the_encoding_is_infinity():
    ring = nx.cycle_graph(8)
    assert pe_stability(degrees, ring, ring).ratio == 0
    calls = iter([np.zeros((8, 1)), np.ones((8, 1))])
    assert pe_stability(lambda A: next(calls), ring, ring, perm=range(8)).ratio == math.inf


def test_an_encoding_of_the_library_is_measured_on_relabelled_graphs_as_on_the_first():
    torch.manual_seed(0)
    pe = SPE(9, 4, rho_hidden=8, rho_layers=2).double().eval()

    def encode(A):
        with torch.no_grad():
            return pe(*laplacian_batch([A], 9).args)

    graph = nx.gnp_random_graph(9, 0.5, seed=0)
    pruned = perturb_edges(graph, 1, 1)
    other, place = relabelled(nx.from_scipy_sparse_array(pruned), 2)
    first = pe_stability(encode, graph, pruned, perm=range(9))
    second = pe_stability(encode, graph, other, perm=place)
    assert first.ratio == pytest.approx(second.ratio, rel=1e-8)
    assert 0 < first.ratio < math.inf
    assert set(first.to_dict()) >= {"distance", "eps", "ratio", "perm"}


def test_bad_input_is_refused_by_name():
    ring = nx.cycle_graph(4)
    with pytest.raises(ShapeError, match="A2 has 5 nodes"):
        pe_stability(degrees, ring, nx.cycle_graph(5))
    with pytest.raises(ArgumentError, match="perm"):
        pe_stability(degrees, ring, ring, perm=[0, 0, 1, 2])
    with pytest.raises(ArgumentError, match="pe_fn gave NaN"):
        pe_stability(lambda A: np.full((4, 1), np.nan), ring, ring)
    with pytest.raises(ShapeError, match="pe_fn gave"):
        pe_stability(lambda A: np.zeros(4), ring, ring)
    with pytest.raises(ArgumentError, match="laplacian="):
        pe_stability(degrees, ring, ring, laplacian="none")
