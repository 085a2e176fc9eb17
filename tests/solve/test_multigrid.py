"""Multigrid by matching against greedy matchings, dense products, dense error operators and SciPy's solutions."""

import itertools

import networkx
import numpy as np
import pytest
import scipy.sparse as sp
import scipy.sparse.linalg as spla
from hypothesis import given, settings
from hypothesis import strategies as st

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._kernels import relax
from gossamer.solve import BootstrapAMG, CompatibleMatchingAMG, GridStencil, cg, dcdm
from gossamer.solve.multigrid.coarsening import aggregate, coarse_matrix, coarse_vector, compatible_pairs


def laplacian(n, density, seed, index=np.int32):
    """A random graph's Laplacian with a little added to the diagonal, its weights in [1, 2)."""
    rng = np.random.default_rng(seed)
    B = sp.triu(
        sp.random_array((n, n), density=density, rng=rng, data_sampler=lambda size: 1 + rng.random(size)), 1
    )
    A = sp.csr_array(B + B.T)
    L = sp.csr_array(sp.diags_array(A.sum(axis=1) + 0.01) - A)
    L.sort_indices()
    L.indices, L.indptr = L.indices.astype(index), L.indptr.astype(index)
    return L


def rows_of(A):
    return relax.rows(A.indptr, A.indices, A.data)


def weights(A, w):
    """|c_ij| of the edges i < j, from the formula."""
    A, d = A.tocoo(), A.diagonal()
    return {
        (i, j): abs(1 - 2 * a * w[i] * w[j] / (d[i] * w[i] ** 2 + d[j] * w[j] ** 2))
        for i, j, a in zip(A.row.tolist(), A.col.tolist(), A.data)
        if i < j
    }


def greedy(edges):
    mate = {}
    for (i, j), _ in sorted(edges.items(), key=lambda item: (-item[1], item[0])):
        if i not in mate and j not in mate:
            mate[i], mate[j] = j, i
    return mate


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.floats(0, 0.6), st.booleans())
def test_the_matching_is_the_greedy_one_and_half_as_heavy_as_the_best(seed, n, density, ones):
    A = laplacian(n, density, seed, np.int64 if seed % 2 else np.int32)
    w = np.ones(n) if ones else np.random.default_rng(seed).standard_normal(n)
    mate = compatible_pairs(rows_of(A), w)
    edges = weights(A, w)
    assert {i: int(j) for i, j in enumerate(mate) if j >= 0} == greedy(edges)
    if edges:
        graph = networkx.Graph()
        least = min(edges.values())
        graph.add_weighted_edges_from((*edge, np.log(c / (0.999 * least))) for edge, c in edges.items())
        best = sum(graph.edges[edge]["weight"] for edge in networkx.max_weight_matching(graph))
        ours = sum(graph.edges[i, int(j)]["weight"] for i, j in enumerate(mate) if i < j)
        assert ours >= best / 2 - 1e-9


def test_equal_weights_and_long_chains_of_refusals():
    grid = GridStencil((12, 9)).to_scipy().tocsr()
    edges = weights(grid, np.ones(108))
    mate = compatible_pairs(rows_of(grid), np.ones(108))
    assert {i: int(j) for i, j in enumerate(mate) if j >= 0} == greedy(edges)
    n = 3000  # weights that rise along a path: every proposal turns the one before away
    rising = sp.diags_array([-np.arange(1.0, n), -np.arange(1.0, n)], offsets=[1, -1])
    path = sp.csr_array(rising + sp.diags_array(np.full(n, 3.0 * n)))
    mate = compatible_pairs(rows_of(path), np.ones(n))
    assert (mate[mate] == np.arange(n)).all()
    assert mate[-1] == n - 2


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.floats(0, 0.4))
def test_the_prolongator_is_orthonormal_and_keeps_the_vector(seed, n, density):
    A = laplacian(n, density, seed, np.int64 if seed % 2 else np.int32)
    rng = np.random.default_rng(seed)
    w = rng.standard_normal(n)
    w[rng.random(n) < 0.2] = 0
    w[0] = 1
    step = aggregate(compatible_pairs(rows_of(A), w), w)
    P = step.to_csr()
    np.testing.assert_allclose((P.T @ P).toarray(), np.eye(step.groups), atol=1e-14)
    np.testing.assert_allclose(P @ coarse_vector(step, w), w, atol=1e-14)
    np.testing.assert_allclose(P.T @ w, coarse_vector(step, w), atol=1e-14)
    coarse = coarse_matrix(rows_of(A), step)
    assert coarse.has_canonical_format
    np.testing.assert_allclose(coarse.toarray(), (P.T @ A @ P).toarray(), rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(coarse.toarray(), coarse.toarray().T)
    assert np.linalg.eigvalsh(coarse.toarray()).min() > 0
    again = aggregate(compatible_pairs(rows_of(coarse), P.T @ w), P.T @ w)
    np.testing.assert_allclose(
        step.then(again).to_csr().toarray(), (P @ again.to_csr()).toarray(), atol=1e-15
    )


def error_operator(solver, n):
    E = np.eye(n)
    for column in E.T:
        x = column.copy()
        solver._step(np.zeros(n), x)
        column[:] = x
    return E


OPTIONS = [
    {},
    {"cycle": "W"},
    {"sweeps": 0},
    {"sweeps": 2, "smooth": True},
    {"coarse": "gs"},
    {"max_levels": 2},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_cycle_contracts_in_the_energy_norm_and_its_inverse_is_symmetric(options):
    n = 200
    A = laplacian(n, 0.03, 5)
    amg = CompatibleMatchingAMG(**options).setup(A)
    assert amg.sizes[-1] < n
    assert 1 < amg.operator_complexity < 10
    D = A.toarray()
    E = error_operator(amg, n)
    root = np.linalg.cholesky(D).T
    assert np.linalg.norm(root @ E @ np.linalg.inv(root), 2) < 1
    B = amg.aspreconditioner() @ np.eye(n)
    np.testing.assert_allclose(B, B.T, atol=1e-9 * np.abs(B).max())
    np.testing.assert_allclose(np.eye(n) - B @ D, E, atol=1e-8 * np.abs(B).max())
    assert np.linalg.eigvalsh((B + B.T) / 2).min() > 0


@pytest.mark.parametrize("cycle", ["V", "W", "K"])
def test_solutions_are_those_of_scipy(cycle):
    A = laplacian(300, 0.02, 1)
    b = np.random.default_rng(0).standard_normal(300)
    x = spla.spsolve(A.tocsc(), b)
    amg = CompatibleMatchingAMG(cycle=cycle).setup(A)
    for accelerate in (True, False):
        result = amg.solve(b, rtol=1e-10, accelerate=accelerate, maxiter=400)
        assert result.success
        np.testing.assert_allclose(result.x, x, rtol=1e-6, atol=1e-7 * np.abs(x).max())
    assert dcdm(A, b, M=amg, rtol=1e-10, maxiter=200).success


def test_conjugate_gradients_with_the_composite_on_a_grid():
    A, b = GridStencil((100, 100)).to_scipy().tocsr(), np.random.default_rng(0).standard_normal(10_000)
    amg = BootstrapAMG(conv_ratio=0.5, random_state=0).setup(A)
    assert amg.rho_[-1] <= 0.5 < amg.rho_[-2]
    assert amg.smooth_vectors_.shape == (10_000, amg.n_hierarchies_ + 1)
    result = cg(A, b, M=amg, rtol=1e-8)
    assert result.success
    assert result.nit <= 25
    np.testing.assert_allclose(result.x, spla.spsolve(A.tocsc(), b), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("composition", ["multiplicative", "symmetric", "additive"])
def test_composites_are_the_products_or_the_mean_of_their_cycles(composition):
    n = 80
    A = laplacian(n, 0.06, 3)
    amg = BootstrapAMG(3, 1e-9, composition=composition, random_state=0).setup(A)
    assert amg.n_hierarchies_ == 3
    E = [np.column_stack([h.cycle(np.zeros(n), e.copy()) for e in np.eye(n)]) for h in amg.hierarchies_]
    expected = {
        "multiplicative": E[2] @ E[1] @ E[0],
        "symmetric": E[0] @ E[1] @ E[2] @ E[1] @ E[0],
        "additive": sum(E) / 3,
    }[composition]
    np.testing.assert_allclose(error_operator(amg, n), expected, atol=1e-9)
    B = amg.aspreconditioner() @ np.eye(n)
    np.testing.assert_allclose(B, B.T, atol=1e-9 * np.abs(B).max())
    vectors = amg.smooth_vectors_
    np.testing.assert_array_equal(vectors[:, 0], 1)
    np.testing.assert_allclose(np.einsum("ik,ik->k", vectors, A @ vectors)[1:], 1)


def test_more_hierarchies_do_not_slow_the_composite_down():
    for seed in range(3):
        rho = BootstrapAMG(8, 1e-6, random_state=seed).setup(laplacian(250, 0.04, seed)).rho_
        assert all(after <= 1.1 * before for before, after in itertools.pairwise(rho))


def test_the_same_seed_gives_the_same_bits_and_inputs_stay():
    A = laplacian(120, 0.05, 2)
    before = A.copy()
    first, second = (BootstrapAMG(4, 1e-6, random_state=7).setup(A).smooth_vectors_ for _ in range(2))
    assert first.tobytes() == second.tobytes()
    assert (before != A).nnz == 0


def test_small_and_odd_matrices():
    for A in (sp.eye_array(1), sp.eye_array(50), sp.diags_array(np.arange(1.0, 30))):
        amg = BootstrapAMG(3, 0.5, random_state=0).setup(A)
        np.testing.assert_allclose(amg.solve(np.ones(A.shape[0])).x, 1 / A.diagonal(), rtol=1e-9)
    star = sp.lil_array((500, 500))
    star[0, 1:] = star[1:, 0] = -1
    star.setdiag(np.r_[499.5, np.full(499, 1.0)])
    assert CompatibleMatchingAMG().setup(star.tocsr()).solve(np.ones(500)).success


def test_bad_input_is_named():
    A = laplacian(40, 0.2, 0)
    with pytest.raises(ArgumentError, match="A is not symmetric"):
        CompatibleMatchingAMG().setup(sp.csr_array(A + sp.triu(A, 1)))
    with pytest.raises(ArgumentError, match="positive diagonal"):
        CompatibleMatchingAMG().setup(-A)
    with pytest.raises(ArgumentError, match="not positive definite"):
        CompatibleMatchingAMG().setup(sp.csr_array(A - 30 * (np.ones((40, 40)) - np.eye(40))))
    with pytest.raises(ShapeError, match="w has shape"):
        CompatibleMatchingAMG().setup(A, np.ones(3))
    with pytest.raises(ArgumentError, match="w is zero"):
        CompatibleMatchingAMG().setup(A, np.zeros(40))
    with pytest.raises(ArgumentError, match="call setup"):
        CompatibleMatchingAMG().aspreconditioner()
    for wrong in ({"cycle": "F"}, {"coarse": "lu"}, {"sweeps": -1}, {"max_levels": 0}):
        with pytest.raises(ArgumentError, match=next(iter(wrong))):
            BootstrapAMG(**wrong)
    with pytest.raises(ArgumentError, match="composition='sum'"):
        BootstrapAMG(composition="sum")
