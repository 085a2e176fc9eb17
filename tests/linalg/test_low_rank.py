"""Low rank is the truncated singular value decomposition, seen through the metric."""

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given
from hypothesis import strategies as st

from gossamer._core.errors import ArgumentError, FormatError
from gossamer.linalg import LowRank, LowRankMatrix, truncated_svd, weighted_error


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


def test_directions_that_no_input_has_get_zero(rng):
    W = rng.standard_normal((4, 6))
    h = np.array([1.0, 0, 2, 0, 3, 4])
    for metric in (h, np.diag(h)):
        fit = LowRank(3).project(W, metric).to_dense()
        np.testing.assert_allclose(fit[:, [1, 3]], 0, atol=1e-12)
    assert not LowRank(2).project(W, np.zeros(6)).to_dense().any()


def test_factors_are_balanced(rng):
    left, right = truncated_svd(1e6 * rng.standard_normal((5, 7)), 3)
    np.testing.assert_allclose(np.linalg.norm(left, axis=0), np.linalg.norm(right, axis=1))


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
