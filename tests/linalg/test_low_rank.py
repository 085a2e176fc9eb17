"""Low rank is the truncated singular value decomposition, seen through the metric."""

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given
from hypothesis import strategies as st

from gossamer._core.errors import ArgumentError, FormatError
from gossamer.linalg import LowRank, LowRankMatrix, weighted_error, weighted_low_rank


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 10), st.integers(0, 1000))
def test_the_error_is_the_sum_of_the_squares_left_out(rows, cols, rank, seed):
    W = np.random.default_rng(seed).standard_normal((rows, cols))
    left_out = scipy.linalg.svdvals(W)[rank:]
    fit = LowRank(rank).project(W)
    assert fit.rank == min(rank, rows, cols)
    assert weighted_error(W, fit.to_dense()) == pytest.approx((left_out**2).sum(), abs=1e-12)


@given(st.integers(1, 8), st.integers(2, 8), st.integers(1, 4), st.integers(1, 8), st.integers(0, 1000))
def test_the_error_in_any_metric_is_that_of_the_whitened_problem(rows, cols, rank, samples, seed):
    rng = np.random.default_rng(seed)
    W, X = (
        rng.standard_normal((rows, cols)),
        rng.standard_normal((samples, cols)),
    )  # fewer samples than columns: H is singular
    H = X.T @ X
    outputs = scipy.linalg.svdvals(W @ X.T)
    fit = LowRank(rank).project(W, H)
    assert weighted_error(W, fit.to_dense(), H) == pytest.approx(
        (outputs[rank:] ** 2).sum(), abs=1e-8 * outputs[0] ** 2
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(4, 6), (6, 4)])
def test_a_singular_metric_makes_no_entry_grow(rng, dtype, shape):
    W = rng.standard_normal(shape).astype(dtype)
    h = np.array([1.0, 0, 2, 1e-9, 3, 4])[: shape[1]]
    for metric in (h, np.diag(h), np.zeros(shape[1]), np.ones(shape[1:] * 2)):
        fit = LowRank(3).project(W, metric).to_dense()
        assert np.linalg.norm(fit) <= np.linalg.norm(W) * (1 + 1e-6)


@pytest.mark.parametrize("shape", [(9, 14), (14, 9)])
def test_float32_and_float64_agree(rng, shape):
    W, X = rng.standard_normal(shape), rng.standard_normal((40, shape[1]))
    for metric in (None, X.T @ X):
        wide = LowRank(3).project(W, metric).to_dense()
        narrow = LowRank(3).project(W.astype(np.float32), metric).to_dense()
        np.testing.assert_allclose(narrow, wide, atol=1e-5)


def test_factors_are_balanced(rng):
    fit = weighted_low_rank(1e6 * rng.standard_normal((5, 7)), None, 3)
    np.testing.assert_allclose(np.linalg.norm(fit.B, axis=0), np.linalg.norm(fit.A, axis=1))


@pytest.mark.parametrize(
    ("dtype", "bytes_each"), [("float16", 2), ("bfloat16", 2), ("float64", 8), (None, 4)]
)
def test_the_storage_dtype_is_kept_in_numpy_and_torch(rng, dtype, bytes_each):
    import torch

    W = rng.standard_normal((6, 8)).astype(np.float32)
    A = LowRank(2, dtype).project(W)
    assert A.nbytes == bytes_each * 2 * (6 + 8)
    expected = dtype or "float32"
    assert A.factors["left"].dtype == (np.uint16 if dtype == "bfloat16" else np.dtype(expected))
    assert A.torch().factors["left"].dtype == getattr(torch, expected)
    precision = {"float16": 1e-3, "bfloat16": 1e-2}.get(expected, 1e-6)
    exact = LowRank(2).project(W).to_dense()
    assert np.abs(A.to_dense() - exact).max() < precision * np.abs(exact).max()
    np.testing.assert_allclose(A.torch().to_dense().numpy(), A.to_dense(), rtol=1e-5, atol=1e-6)


def test_a_rank_too_high_to_pay_runs_dense_and_says_so(rng):
    W, x = rng.standard_normal((12, 10)), rng.standard_normal((10, 500))
    A = LowRank(9).project(W)
    assert (A.plan(1).route, A.plan(500).route) == ("native", "dense")
    assert (LowRank(2).project(W).plan(500).route, A.T.plan(1).route) == ("native", "structured")
    np.testing.assert_allclose(A @ x, A.to_dense() @ x, atol=1e-10)


def test_values_outside_a_storage_dtype_are_refused():
    with pytest.raises(ArgumentError, match="too large for float16"):
        LowRank(1, "float16").project(np.full((2, 2), 1e12))


def test_bad_parameters_and_factors_are_refused():
    with pytest.raises(ArgumentError, match="rank=0"):
        LowRank(0)
    with pytest.raises(ArgumentError, match="did you mean 'float16'"):
        LowRank(1, "float-16")
    f32, f64 = np.zeros((3, 1), np.float32), np.zeros((1, 4))
    with pytest.raises(FormatError, match="float32 and float64"):
        LowRankMatrix(LowRank(1), (3, 4), {"left": f32, "right": f64})
    with pytest.raises(FormatError, match="do not give"):
        LowRankMatrix(LowRank(1), (3, 4), {"left": f64, "right": f64})
