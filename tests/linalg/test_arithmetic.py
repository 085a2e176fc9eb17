"""Sums, products, transposes, multiples and Kronecker products of families and members."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gossamer._core.errors import ArgumentError, FormatError, ShapeError, UnsupportedError
from gossamer.linalg import (
    BlockDiagonal,
    BlockDiagonalMatrix,
    Diagonal,
    DiagonalMatrix,
    Kronecker,
    KroneckerMatrix,
    KroneckerProduct,
    KroneckerProductMatrix,
    LowRank,
    LowRankMatrix,
    Permutation,
    PermutationMatrix,
    Product,
    ProductMatrix,
    Scaled,
    ScaledMatrix,
    Sum,
    SumMatrix,
    Transpose,
    TransposedMatrix,
    Unstructured,
    kron,
    weighted_error,
)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def W(rng):
    return rng.standard_normal((12, 16)).astype(np.float32)


@pytest.fixture
def H(rng):
    X = rng.standard_normal((64, 16)) @ rng.standard_normal((16, 16))
    return (X.T @ X / 64).astype(np.float32)


class TestSum:
    def test_families_and_members_open_nested_sums(self, W):
        family = Unstructured(density=0.3) + LowRank(1) + Diagonal()
        assert family == Sum((Unstructured(density=0.3), LowRank(1), Diagonal()))
        member = family.project(W) + LowRank(2).project(W)
        assert isinstance(member, SumMatrix)
        assert [type(part).__name__ for part in member.parts] == [
            "CSRMatrix", "LowRankMatrix", "DiagonalMatrix", "LowRankMatrix",
        ]  # fmt: skip
        assert set(member.factors) >= {"0.indptr", "1.left", "2.diagonal", "3.right"}

    def test_a_member_rebuilds_from_its_factors(self, W):
        A = (Unstructured(density=0.3) + LowRank(1)).project(W)
        B = SumMatrix(A.structure, A.shape, A.factors)
        np.testing.assert_array_equal(A.to_dense(), B.to_dense())
        with pytest.raises(FormatError, match=r"2\.left"):
            SumMatrix(A.structure, A.shape, {**A.factors, "2.left": np.zeros((12, 1))})
        with pytest.raises(FormatError):
            SumMatrix(A.structure, A.shape, {k: v for k, v in A.factors.items() if k != "1.left"})

    @pytest.mark.parametrize("kind", [None, "diagonal", "full"])
    def test_sweeps_never_raise_the_error_in_the_metric(self, W, H, kind):
        metric = {None: None, "diagonal": np.diagonal(H).copy(), "full": H}[kind]
        terms = Unstructured(density=0.25), LowRank(2)
        errors = [
            weighted_error(W, Sum(terms, sweeps).project(W, metric).to_dense(), metric)
            for sweeps in (0, 1, 3, 8)
        ]
        assert all(later <= earlier for earlier, later in pairwise(errors))
        assert errors[-1] < errors[0]

    def test_a_repair_term_lowers_the_error(self, W, H):
        pruned = Unstructured(density=0.25).project(W, H)
        repaired = (Unstructured(density=0.25) + LowRank(2)).project(W, H)
        assert weighted_error(W, repaired.to_dense(), H) < 0.8 * weighted_error(W, pruned.to_dense(), H)

    def test_a_matrix_that_is_a_sum_is_recovered(self, rng):
        sparse = np.zeros((20, 20))
        sparse.flat[rng.choice(400, 20, replace=False)] = 10 * rng.standard_normal(20)
        thin = rng.standard_normal((20, 1)) @ rng.standard_normal((1, 20))
        W = sparse + thin
        fit = Sum((Unstructured(density=0.05), LowRank(1)), sweeps=200).project(W)
        assert weighted_error(W, fit.to_dense()) < 1e-6 * weighted_error(W, 0 * W)

    def test_shapes_must_agree(self, W):
        with pytest.raises(ShapeError, match=r"\(12, 16\).*\(16, 12\)"):
            LowRank(1).project(W) + LowRank(1).project(W.T)
        with pytest.raises(TypeError):
            LowRank(1).project(W) + 3
        with pytest.raises(ArgumentError, match="terms"):
            Sum((LowRank(1), "dense"))


class TestProduct:
    def test_a_product_of_two_low_rank_fits_is_the_nearest_of_that_rank(self, W, H):
        fit = Product((LowRank(3), LowRank(3)), inner=(5,)).project(W.astype(np.float64))
        best = LowRank(3).project(W.astype(np.float64))
        assert weighted_error(W, fit.to_dense()) == pytest.approx(
            weighted_error(W, best.to_dense()), rel=1e-6
        )

    def test_a_scaled_permutation_is_recovered(self, rng):
        W = np.diag(rng.uniform(1, 2, 8))[:, rng.permutation(8)]
        fit = (Diagonal() @ Permutation()).project(W)
        assert weighted_error(W, fit.to_dense()) < 1e-20
        fit = (Permutation() @ Diagonal()).project(W)
        assert weighted_error(W, fit.to_dense()) < 1e-10

    def test_sweeps_never_raise_the_error_in_the_metric(self, W, H):
        family = Unstructured(density=0.5), LowRank(4)
        errors = [
            weighted_error(W, Product(family, (8,), sweeps).project(W, H).to_dense(), H)
            for sweeps in (0, 1, 4)
        ]
        assert errors[2] <= errors[1] <= errors[0]
        assert errors[2] < errors[0]

    def test_nested_products_open_and_inner_sizes_are_kept(self, rng):
        A, B, C = (LowRank(2).project(rng.standard_normal(s)) for s in ((3, 4), (4, 5), (5, 6)))
        chain = A @ B @ C
        assert isinstance(chain, ProductMatrix)
        assert len(chain.parts) == 3
        assert chain.structure.inner == (4, 5)
        assert [part.shape for part in chain.T.parts] == [(6, 5), (5, 4), (4, 3)]
        np.testing.assert_allclose((A @ (B @ C)).to_dense(), chain.to_dense())
        rebuilt = ProductMatrix(chain.structure, chain.shape, chain.factors)
        np.testing.assert_array_equal(rebuilt.to_dense(), chain.to_dense())

    def test_shapes_must_chain(self, W):
        with pytest.raises(ShapeError, match="chain"):
            LowRank(1).project(W) @ LowRank(1).project(W)
        with pytest.raises(ArgumentError, match="inner"):
            Product((LowRank(1), LowRank(1)), inner=(2, 3))
        with pytest.raises(ArgumentError, match="inner"):
            Product((LowRank(1), LowRank(1)), inner=(0,))


class TestTranspose:
    def test_families_closed_under_transposition_stay_themselves(self, rng):
        members = [
            LowRank(1).project(rng.standard_normal((3, 4))),
            Diagonal().project(rng.standard_normal((3, 4))),
            PermutationMatrix.of(np.array([2, 0, 1])),
            BlockDiagonal(2).project(rng.standard_normal((4, 6))),
            Kronecker((1, 2), (3, 2)).project(rng.standard_normal((3, 4))),
        ]
        for A in members:
            assert type(A.T) is type(A)

    def test_others_get_a_view_that_opens_again(self, W):
        A = Unstructured(density=0.3).project(W)
        assert isinstance(A.T, TransposedMatrix)
        assert A.T.T is A
        assert A.T.structure == Transpose(Unstructured(density=0.3)) == Unstructured(density=0.3).T
        family = Unstructured(density=0.3)
        assert family.T.T is family
        assert A.T.factors["0.data"] is A.factors["data"]

    def test_projection_runs_along_columns(self, W):
        fit = Unstructured(density=0.25, scope="row").T.project(W).to_dense()
        assert ((fit != 0).sum(axis=0) == 3).all()

    def test_a_metric_lowers_its_error(self, W, H):
        family = Unstructured(density=0.3).T
        blind, aware = family.project(W), family.project(W, H)
        assert weighted_error(W, aware.to_dense(), H) < weighted_error(W, blind.to_dense(), H)


class TestScaled:
    def test_multiples_of_multiples_merge(self, W):
        A = LowRank(2).project(W)
        B = 3 * (2 * A) / 4
        assert isinstance(B, ScaledMatrix)
        assert B.structure == Scaled(LowRank(2))
        np.testing.assert_allclose(B.to_dense(), 1.5 * A.to_dense(), rtol=1e-6)

    def test_the_nearest_multiple_of_a_permutation_may_be_negative(self, rng):
        order = rng.permutation(7)
        W = -2.5 * np.eye(7)[order]
        fit = Scaled(Permutation()).project(W)
        assert weighted_error(W, fit.to_dense()) < 1e-20

    def test_a_tensor_scale_is_differentiable(self, W):
        A = LowRank(2).project(torch.from_numpy(W))
        scale = torch.tensor(2.0, requires_grad=True)
        (scale * A @ torch.ones(16)).sum().backward()
        torch.testing.assert_close(scale.grad, A.to_dense().sum())

    def test_only_single_numbers_scale(self, W):
        with pytest.raises(ShapeError, match="one number"):
            LowRank(2).project(W) * np.ones(3)
        with pytest.raises(ArgumentError, match="scalar"):
            LowRank(2).project(W) * "two"


class TestKron:
    @given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(0, 100))
    def test_of_arrays_is_numpys(self, a, b, c, d, seed):
        rng = np.random.default_rng(seed)
        A, B = rng.standard_normal((a, b)), rng.standard_normal((c, d))
        K = kron(A, B)
        assert isinstance(K, KroneckerMatrix)
        x = rng.standard_normal((b * d, 2))
        np.testing.assert_allclose(K.to_dense(), np.kron(A, B))
        np.testing.assert_allclose(K @ x, np.kron(A, B) @ x, atol=1e-12)

    def test_of_structured_matrices_keeps_their_structure(self, rng):
        A = Diagonal().project(rng.standard_normal((3, 3)))
        B = LowRank(1).project(rng.standard_normal((4, 5)))
        K = kron(A, B)
        assert isinstance(K, KroneckerProductMatrix)
        assert K.shape == (12, 15)
        np.testing.assert_allclose(K.to_dense(), np.kron(A.to_dense(), B.to_dense()))

    def test_fit_recovers_a_member(self, rng):
        W = np.kron(np.diag(rng.standard_normal(3)), rng.standard_normal((4, 5)))
        fit = KroneckerProduct(Diagonal(), LowRank(4), (3, 3), (4, 5)).project(W)
        assert weighted_error(W, fit.to_dense()) < 1e-18 * weighted_error(W, 0 * W)

    def test_mixed_factors_are_refused(self, rng):
        with pytest.raises(UnsupportedError, match="structured"):
            kron(np.eye(2), DiagonalMatrix.of(np.ones(2)))


class TestKinds:
    def test_operators_of_numpy_and_torch_come_to_ours(self, W):
        A = LowRank(2).project(W)
        D = A.to_dense()
        assert isinstance(np.float32(2) * A, ScaledMatrix)
        np.testing.assert_allclose(
            np.ones((3, 12), np.float32) @ A, np.ones((3, 12)) @ D, rtol=1e-4, atol=1e-4
        )
        torch.testing.assert_close(
            torch.ones(3, 12) @ A, torch.ones(3, 12) @ torch.from_numpy(D), rtol=1e-4, atol=1e-4
        )
        with pytest.raises(TypeError):
            A * A

    def test_arithmetic_of_arrays_and_tensors_gives_tensors(self, W):
        A = LowRank(2).project(W)
        assert (A + A.torch()).is_torch
        assert all(part.is_torch for part in (A.torch() @ A.T).parts)

    def test_a_float64_term_makes_a_float64_sum(self, W):
        A = LowRank(2).project(W) + LowRank(2).project(W.astype(np.float64))
        assert A.dtype == np.float64
        assert (A @ np.ones(16, np.float32)).dtype == np.float64

    def test_block_diagonal_and_low_rank_members_are_built_from_arrays(self, rng):
        A = BlockDiagonalMatrix.of(rng.standard_normal((2, 3, 4)))
        assert A.shape == (6, 8)
        with pytest.raises(FormatError, match="inner sizes"):
            LowRankMatrix(LowRank(1), (3, 4), {"left": np.zeros((3, 2)), "right": np.zeros((2, 4))})
