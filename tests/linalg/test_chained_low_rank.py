"""Entry-wise products of low-rank matrices: against NumPy, never worse than low rank, without the joint factors."""

import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gossamer._core.errors import ArgumentError, FormatError
from gossamer.linalg import ChainedLowRank, ChainedLowRankMatrix, LowRank, weighted_error


def member(seed=0, n=7, m=9, r=3, s=2, dtype=np.float64):
    rng = np.random.default_rng(seed)
    shapes = ((n, r), (r, m), (n, s), (s, m))
    return ChainedLowRankMatrix.of(*(rng.standard_normal(shape).astype(dtype) for shape in shapes))


def test_joint_factors_are_row_wise_kronecker_products():
    A = member()
    left, right, outer_left, outer_right = A.factors.values()
    joint = np.stack([np.kron(a, b) for a, b in zip(left, outer_left, strict=True)])
    other = np.stack([np.kron(a, b) for a, b in zip(right.T, outer_right.T, strict=True)])
    np.testing.assert_allclose(joint @ other.T, A.to_dense())
    assert np.linalg.matrix_rank(A.to_dense()) == 6


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("columns", [1, 5])
def test_products_are_those_of_the_dense_matrix(dtype, columns):
    A, rng = member(dtype=dtype), np.random.default_rng(1)
    x, y = rng.standard_normal((9, columns)).astype(dtype), rng.standard_normal((7, columns)).astype(dtype)
    tight = {"rtol": 1e-4, "atol": 1e-4} if dtype == np.float32 else {"rtol": 1e-12}
    np.testing.assert_allclose(A @ x, A.to_dense() @ x, **tight)
    np.testing.assert_allclose(A.T @ y, A.to_dense().T @ y, **tight)


def test_gradients_reach_all_factors():
    factors = [torch.from_numpy(f).requires_grad_() for f in member(n=3, m=4, r=2).factors.values()]
    x = torch.randn(4, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, *f: ChainedLowRankMatrix.of(*f) @ x, (x, *factors))


def test_products_form_neither_the_matrix_nor_joint_factors():
    A = member(n=3000, m=3000, r=30, s=20)
    x = np.ones((3000, 1))
    tracemalloc.start()
    A @ x
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.1 * 3000 * 30 * 20 * 8


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 2**32 - 1),
    sizes=st.tuples(st.integers(1, 8), st.integers(1, 8)),
    ranks=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    kind=st.sampled_from(["none", "diagonal", "full"]),
)
def test_the_projection_is_never_worse_than_low_rank(seed, sizes, ranks, kind):
    rng = np.random.default_rng(seed)
    W, X = rng.standard_normal(sizes), rng.standard_normal((sizes[1], 12))
    metric = {"none": None, "diagonal": (X**2).mean(1), "full": X @ X.T / 12}[kind]
    found = weighted_error(W, ChainedLowRank(*ranks, sweeps=3).project(W, metric).to_dense(), metric)
    low = weighted_error(W, LowRank(ranks[0]).project(W, metric).to_dense(), metric)
    assert found <= low * (1 + 1e-9) + 1e-20


def test_a_member_near_low_rank_is_found_where_low_rank_of_as_many_numbers_fails():
    left, right, outer_left, outer_right = member(n=20, m=16, r=2).factors.values()
    W = (left @ right) * (1 + 0.2 * outer_left @ outer_right)
    errors = [weighted_error(W, ChainedLowRank(2, 3, sweeps).project(W).to_dense()) for sweeps in (0, 2, 200)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-9 * weighted_error(W, LowRank(5).project(W).to_dense())


def test_zero_stays_zero_and_bad_input_is_named():
    assert not ChainedLowRank(2, 2).project(np.zeros((3, 4))).to_dense().any()
    with pytest.raises(ArgumentError, match="outer_rank=0"):
        ChainedLowRank(2, 0)
    good = list(member().factors.values())
    with pytest.raises(FormatError, match="right has shape"):
        ChainedLowRankMatrix.of(good[0], good[1][:2], *good[2:])
    with pytest.raises(FormatError, match="expected all float32"):
        ChainedLowRankMatrix.of(good[0].astype(np.float32), *good[1:])
