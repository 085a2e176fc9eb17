"""Two processes give the clusters, the products and the solutions that one gives."""

import numpy as np
import pytest
import scipy.sparse as sp
import scipy.sparse.linalg as spla

from gossamer import distributed
from gossamer._core.errors import ArgumentError, ShapeError, UnsupportedError
from gossamer.graph import AttributedAMGClustering, attributed_sbm, laplacian_spd
from gossamer.solve import CompatibleMatchingAMG, GridStencil, solve


def test_restarts_on_a_cluster_give_the_same_bits(client):
    graph = attributed_sbm(150, 3, p_in=0.1, p_out=0.04, n_attributes=2, random_state=0)
    for options in ({}, {"select": "inertia", "batch_size": 40}):
        here, there = (
            AttributedAMGClustering(3, max_hierarchies=6, restarts=13, random_state=0, **options)
            for _ in range(2)
        )
        here.fit(graph.adjacency, graph.attributes)
        assert distributed.fit_clustering(there, graph.adjacency, graph.attributes, client=client) is there
        np.testing.assert_array_equal(there.labels_, here.labels_)
        assert (there.modularity_, there.entropy_) == (here.modularity_, here.entropy_)


@pytest.mark.parametrize("blocks", [None, 1, 5])
def test_products_are_those_of_one_machine_to_the_last_bit(client, blocks):
    A = sp.random_array((71, 40), density=0.1, rng=np.random.default_rng(0)).tocsr()
    S = distributed.SpreadMatrix(A, client, blocks)
    rng = np.random.default_rng(1)
    x, y, X = rng.standard_normal(40), rng.standard_normal(71), rng.standard_normal((40, 3))
    assert S.shape == A.shape
    assert S.nnz == A.nnz
    assert len(S.bounds) == {None: 2, 1: 1, 5: 5}[blocks] + 1
    np.testing.assert_array_equal(S @ x, A @ x)
    np.testing.assert_array_equal(S @ X, A @ X)
    np.testing.assert_allclose(S.T @ y, A.T @ y, atol=1e-14)


def test_a_product_that_was_left_on_the_cluster_is_a_matrix(client):
    B = sp.random_array((60, 60), density=0.1, rng=np.random.default_rng(0)).tocsr()
    futures = distributed.spgemm(B, B.T.tocsr(), client=client, gather=False)
    S = distributed.SpreadMatrix(futures, client)
    x = np.arange(60.0)
    np.testing.assert_allclose(S @ x, B @ (B.T @ x), rtol=1e-12)
    np.testing.assert_allclose(S.diagonal(), (B @ B.T).diagonal(), rtol=1e-12)


def test_multigrid_in_the_blocks_solves_laplacians(client):
    graph = attributed_sbm(600, 2, mean_degree=6, ratio=0.02, random_state=0)
    A, b = laplacian_spd(graph.adjacency), np.random.default_rng(0).standard_normal(600)
    S = distributed.SpreadMatrix(A, client)
    result = solve(S, b, M=S.block_multigrid(conv_ratio=0.5, random_state=0), rtol=1e-7)
    assert result.success
    np.testing.assert_allclose(result.x, spla.spsolve(A.tocsc(), b), rtol=1e-4, atol=1e-5)
    assert result.nit < solve(A, b, M="jacobi", rtol=1e-7).nit / 2


def test_the_preconditioner_is_the_inverse_block_by_block(client):
    A, r = GridStencil((8, 6)).to_scipy().tocsr(), np.random.default_rng(0).standard_normal(48)
    S = distributed.SpreadMatrix(A, client)
    M = S.block_multigrid(CompatibleMatchingAMG(sweeps=0))
    parts = [slice(*pair) for pair in zip(S.bounds[:-1].tolist(), S.bounds[1:].tolist())]
    here = [
        CompatibleMatchingAMG(sweeps=0).setup(A[part, part]).aspreconditioner() @ r[part] for part in parts
    ]
    np.testing.assert_array_equal(M @ r, np.concatenate(here))


def test_bad_input_is_named(client):
    A = sp.eye_array(6).tocsr()
    with pytest.raises(UnsupportedError, match="A is a ndarray"):
        distributed.SpreadMatrix(np.eye(3), client)
    with pytest.raises(ArgumentError, match="blocks=0"):
        distributed.SpreadMatrix(A, client, 0)
    with pytest.raises(ShapeError, match=r"blocks of \[5, 6\] columns"):
        distributed.SpreadMatrix(client.scatter([A, A[:, :5]]), client)
    S = distributed.SpreadMatrix(A, client)
    with pytest.raises(ArgumentError, match='cycle="K"'):
        S.block_multigrid(CompatibleMatchingAMG(cycle="K"))
    with pytest.raises(UnsupportedError, match="amg is a int"):
        S.block_multigrid(3)
    with pytest.raises(ArgumentError, match="one or the other"):
        S.block_multigrid(CompatibleMatchingAMG(), sweeps=1)
    with pytest.raises(ArgumentError, match="positive diagonal"):
        distributed.SpreadMatrix(-A, client).block_multigrid()
    with pytest.raises(ShapeError, match="expected a square one"):
        distributed.SpreadMatrix(A[:4], client).block_multigrid()
    with pytest.raises(UnsupportedError, match="estimator is int"):
        distributed.fit_clustering(3, A)
