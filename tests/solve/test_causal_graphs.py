"""Graphs are ordered and made acyclic as one would by hand; moments of chunks are those of the table."""

import numpy as np
import pytest

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.solve import acyclicity, is_dag, partial_cov, to_dag, topological_order, varsortability


def test_an_order_points_every_edge_forward():
    rng = np.random.default_rng(0)
    for _ in range(20):
        hidden = rng.permutation(12)
        W = np.triu(rng.random((12, 12)) < 0.3, 1).astype(float)[np.ix_(hidden, hidden)]
        place = np.argsort(topological_order(W))
        i, j = np.nonzero(W)
        assert (place[i] < place[j]).all()
        assert is_dag(W)
    assert topological_order(np.zeros((3, 3))).tolist() == [0, 1, 2]
    with pytest.raises(ArgumentError, match="cycle among 2 variables"):
        topological_order([[0, 1, 0], [1, 0, 0], [0, 0, 0]])
    assert not is_dag(np.eye(2))


def test_edges_go_one_by_one_from_the_smallest_until_no_cycle_is_left():
    rng = np.random.default_rng(1)
    for _ in range(20):
        W = rng.normal(size=(6, 6))
        np.fill_diagonal(W, 0)
        by_hand = np.where(np.abs(W) <= 0.3, 0, W)
        while not is_dag(by_hand):
            sizes = np.where(by_hand != 0, np.abs(by_hand), np.inf)
            by_hand.flat[np.argmin(sizes)] = 0
        np.testing.assert_array_equal(to_dag(W, 0.3), by_hand)
    with pytest.raises(ArgumentError, match="threshold=-1"):
        to_dag(W, -1)
    with pytest.raises(ShapeError, match="square"):
        to_dag(W[:3])


def test_variances_along_paths():
    chain = np.diag([1.0, 1.0], 1)
    X = np.random.default_rng(0).normal(size=(1000, 3))
    assert varsortability(X * [1, 2, 3], chain) == 1
    assert varsortability(X * [3, 2, 1], chain) == 0
    assert varsortability(X / X.std(axis=0), chain) == 0.5
    assert np.isnan(varsortability(X, np.zeros((3, 3))))


def test_chunks_in_any_order_give_the_covariance_with_large_means_too():
    X = np.random.default_rng(0).normal(size=(500, 4)) @ np.triu(np.ones((4, 4))) + 1e7
    state = None
    for part in np.array_split(X, [3, 4, 200]):
        state = partial_cov(part, state)
    expected = np.cov((X - 1e7).T, bias=True)
    np.testing.assert_allclose(state.covariance, expected, rtol=1e-7)
    assert state.n == 500
    with pytest.raises(ShapeError, match="expected 4 as before"):
        partial_cov(X[:, :3], state)
    with pytest.raises(ShapeError, match="at least one row"):
        partial_cov(X[:0])


def test_measures_refuse_what_is_no_graph():
    with pytest.raises(ArgumentError, match="outside the domain"):
        acyclicity([[0, 2], [2, 0]])
    with pytest.raises(ArgumentError, match=r"W\[0, 0\]=1"):
        acyclicity(np.eye(2))
    with pytest.raises(ArgumentError, match="kind='tr'"):
        acyclicity(np.zeros((2, 2)), "tr")
