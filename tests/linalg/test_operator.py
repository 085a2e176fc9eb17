"""Structured matrices where NumPy, SciPy and torch expect operators; tags; configs."""

import copy
import pickle

import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg as sla
import torch

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.linalg import (
    BlockDiagonalMatrix,
    DiagonalMatrix,
    LowRank,
    LowRankMatrix,
    Permutation,
    PermutationMatrix,
    Unstructured,
    check_tags,
    kron,
    structure_from_config,
)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def spd(rng):
    """Identity plus low rank: symmetric, positive definite, never dense."""
    left = rng.standard_normal((30, 3))
    thin = LowRankMatrix(LowRank(3), (30, 30), {"left": left, "right": np.ascontiguousarray(left.T)})
    return (DiagonalMatrix.of(np.full(30, 2.0)) + thin.tagged("psd")).tagged("psd")


class TestScipy:
    def test_cg_and_gmres_solve(self, spd, rng):
        b = rng.standard_normal(30)
        expected = np.linalg.solve(spd.to_dense(), b)
        for solver in (sla.cg, sla.gmres, sla.minres, sla.bicgstab):
            x, info = solver(spd, b, rtol=1e-12)
            assert info == 0
            np.testing.assert_allclose(x, expected, atol=1e-8)

    def test_lsqr_and_lsmr_solve(self, rng):
        A = DiagonalMatrix.of(rng.uniform(1, 2, 12)) @ Unstructured(density=0.7).project(
            rng.standard_normal((12, 5))
        )
        b = rng.standard_normal(12)
        expected = np.linalg.lstsq(A.to_dense(), b, rcond=None)[0]
        for solver in (sla.lsqr, sla.lsmr):
            options = {"atol": 1e-13, "btol": 1e-13}
            np.testing.assert_allclose(solver(A, b, **options)[0], expected, atol=1e-8)

    def test_svds_and_eigsh_find_values(self, spd, rng):
        A = Unstructured(density=0.4).project(rng.standard_normal((20, 15)))
        values = np.linalg.svd(A.to_dense(), compute_uv=False)
        np.testing.assert_allclose(np.sort(sla.svds(A, k=3)[1])[::-1], values[:3])
        largest = sla.eigsh(spd, k=2, return_eigenvectors=False)
        np.testing.assert_allclose(np.sort(largest), np.linalg.eigvalsh(spd.to_dense())[-2:])

    def test_sparse_right_hand_sides_and_weights(self, rng):
        S = scipy.sparse.random_array((6, 4), density=0.5, rng=rng)
        A = LowRank(2).project(rng.standard_normal((5, 6)))
        np.testing.assert_allclose(A @ S, A.to_dense() @ S.toarray())
        np.testing.assert_allclose(LowRank(4).project(S).to_dense(), S.toarray(), atol=1e-12)

    def test_asarray_is_the_dense_matrix(self, spd):
        np.testing.assert_array_equal(np.asarray(spd), spd.to_dense())
        assert np.asarray(spd, dtype=np.float32).dtype == np.float32
        with pytest.raises(ValueError, match="copy"):
            np.asarray(spd, copy=False)


class TestTorch:
    def test_products_are_differentiable_to_second_order(self, rng):
        A = Unstructured(density=0.5).project(rng.standard_normal((4, 3)))
        x = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(lambda x: A @ x, (x,))
        assert torch.autograd.gradgradcheck(lambda x: (A @ x) ** 3, (x,))

    def test_gradients_reach_every_part_of_a_sum_of_products(self, rng):
        A = LowRank(2).project(torch.from_numpy(rng.standard_normal((4, 4))))
        leaves = {name: f.clone().requires_grad_() for name, f in A.factors.items()}
        B = A._with(leaves)
        x = torch.ones(4, dtype=torch.float64)
        ((B @ B.T + 2 * B) @ x).sum().backward()
        D = A.to_dense().requires_grad_()
        ((D @ D.T + 2 * D) @ x).sum().backward()
        torch.testing.assert_close(leaves["left"].grad, D.grad @ A.factors["right"].T)

    def test_no_native_route_while_a_factor_is_trained_but_native_without_gradients(self, rng, monkeypatch):
        A = Unstructured(density=0.5).project(torch.from_numpy(rng.standard_normal((4, 3))))
        A.factors["data"].requires_grad_()
        calls = []
        monkeypatch.setattr(
            type(A), "_multiply", lambda self, x: calls.append(1) or np.zeros((4, x.shape[1]))
        )
        A @ torch.ones(3, dtype=torch.float64)
        assert not calls
        with torch.no_grad():
            A @ torch.ones(3, dtype=torch.float64)
        assert calls

    def test_weights_in_bfloat16_are_projected_in_float32(self):
        W = torch.randn(4, 4).bfloat16()
        A = LowRank(4).project(W)
        assert A.is_torch
        torch.testing.assert_close(A.to_dense(), W.float(), atol=1e-5, rtol=1e-5)


class TestTags:
    def test_families_imply_and_arithmetic_keeps(self, spd):
        D = DiagonalMatrix.of(np.array([1.0, 2, 3]))
        P = PermutationMatrix.of(np.array([2, 0, 1]))
        assert D.tags == {"symmetric", "lower_triangular", "upper_triangular"}
        assert P.tags == (P @ P.T).tags == kron(P, P).tags == {"orthogonal"}
        assert (P + P).tags == set()
        assert (2 * D.tagged("psd")).tags >= {"psd"}
        assert "psd" not in (-D.tagged("psd")).tags
        assert spd.tags >= {"psd", "symmetric"}
        for A in (D, P, spd, 2 * D, -D, kron(D, D), D @ D, P @ P, D + D):
            check_tags(A)

    def test_triangles_change_sides_when_transposed(self):
        L = Unstructured(density=1.0).project(np.tril(np.ones((4, 4)))).tagged("lower_triangular")
        assert L.T.tags == {"upper_triangular"}
        check_tags(L)
        check_tags(L.T)

    @pytest.mark.parametrize(
        "tag", ["symmetric", "psd", "orthogonal", "lower_triangular", "upper_triangular"]
    )
    def test_a_false_tag_is_found(self, rng, tag):
        A = LowRank(5).project(rng.standard_normal((5, 5))).tagged(tag)
        with pytest.raises(ArgumentError, match="is false"):
            check_tags(A, probes=16)

    def test_a_symmetric_matrix_is_its_own_transpose(self, spd):
        assert spd.T is spd

    def test_tags_live_through_copies_kinds_and_files(self, spd, tmp_path):
        spd.save(tmp_path / "a")
        loaded = type(spd).load(tmp_path / "a")
        for twin in (
            copy.deepcopy(spd),
            pickle.loads(pickle.dumps(spd)),
            spd.torch(),
            spd.torch().numpy(),
            loaded,
        ):
            assert twin.tags == spd.tags

    def test_tags_are_checked_when_declared(self):
        A = LowRank(2).project(np.ones((3, 4)))
        with pytest.raises(ArgumentError, match="did you mean 'symmetric'"):
            A.tagged("symetric")
        with pytest.raises(ShapeError, match="not square"):
            A.tagged("orthogonal")


class TestConfig:
    def test_unknown_kinds_and_parameters_name_the_nearest(self):
        with pytest.raises(ArgumentError, match="did you mean 'low-rank'"):
            structure_from_config({"kind": "lowrank", "rank": 2})
        with pytest.raises(ArgumentError, match="did you mean 'rank'"):
            structure_from_config({"kind": "low-rank", "rnk": 2})
        with pytest.raises(ArgumentError, match="kind"):
            structure_from_config({"rank": 2})
        with pytest.raises(ArgumentError, match="rank"):
            structure_from_config({"kind": "low-rank"})

    def test_nested_families_survive(self):
        family = (Unstructured(density=0.5) + LowRank(2)).T
        assert structure_from_config(family.to_config()) == family


def test_a_product_with_another_length_names_both():
    A = BlockDiagonalMatrix.of(np.ones((2, 3, 4)))
    with pytest.raises(ShapeError, match=r"x has shape \(7,\): expected 8 rows"):
        A @ np.ones(7)
    with pytest.raises(ArgumentError, match="complex"):
        A @ np.ones(8, complex)


def test_infinite_inputs_pass_through():
    P = Permutation().project(np.eye(3))
    np.testing.assert_array_equal(P @ np.array([np.inf, 1, np.nan]), [np.inf, 1, np.nan])


def test_plans_name_the_route():
    A = Unstructured(density=0.5).project(np.ones((4, 4)))
    assert A.plan(3).route == "native"
    assert (A + A).plan(3).route == "native"
    assert (A + LowRank(1).project(np.ones((4, 4)))).plan(3).route in ("structured", "native")
    assert (A + A).flops(3) == 2 * A.flops(3)
