"""Diagonal, permutation, block-diagonal and Kronecker families against brute force."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer._core.errors import FormatError, ShapeError
from gossamer.linalg import (
    BlockDiagonal,
    Diagonal,
    DiagonalMatrix,
    Kronecker,
    Permutation,
    PermutationMatrix,
    weighted_error,
)


def problem(rows, cols, samples, seed):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((samples, cols))
    return rng.standard_normal((rows, cols)), X, X.T @ X


@given(st.integers(1, 7), st.integers(1, 7), st.integers(1, 9), st.integers(0, 1000))
def test_diagonal_is_one_least_squares_number_a_row(rows, cols, samples, seed):
    W, X, H = problem(rows, cols, samples, seed)
    fit = Diagonal().project(W, H)
    for i, d in enumerate(fit.factors["diagonal"]):
        best = np.linalg.lstsq(X[:, [i]], X @ W[i], rcond=None)[0][0]
        assert d == pytest.approx(best, abs=1e-8)


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 12), st.integers(0, 1000))
def test_block_diagonal_is_least_squares_a_block(blocks, rows, cols, samples, seed):
    W, X, H = problem(blocks * rows, blocks * cols, samples, seed)
    fit = BlockDiagonal(blocks).project(W, H)
    least = 0.0
    for i in range(blocks):
        target = X @ W[i * rows : (i + 1) * rows].T
        own = X[:, i * cols : (i + 1) * cols]
        least += ((target - own @ np.linalg.lstsq(own, target, rcond=None)[0]) ** 2).sum()
    assert weighted_error(W, fit.to_dense(), H) == pytest.approx(least, rel=1e-6, abs=1e-8 * (H * H).sum())


def test_block_diagonal_of_a_member_is_that_member_though_inputs_span_little():
    W, _, H = problem(6, 6, 2, 0)
    member = BlockDiagonal(2).project(W)
    np.testing.assert_allclose(BlockDiagonal(2).project(member, H).to_dense(), member.to_dense(), atol=1e-10)


@given(st.integers(1, 5), st.integers(1, 9), st.integers(0, 1000))
def test_permutation_is_the_best_of_all(n, samples, seed):
    W, _, H = problem(n, n, samples, seed)
    for metric in (None, np.diagonal(H).copy(), H):
        fit = Permutation().project(W, metric)
        least = min(weighted_error(W, np.eye(n)[list(order)], metric) for order in permutations(range(n)))
        assert weighted_error(W, fit.to_dense(), metric) == pytest.approx(least, rel=1e-9)


def test_permutation_moves_rows_as_its_order_says():
    P = PermutationMatrix.of(np.array([2, 0, 1]))
    np.testing.assert_array_equal(P @ np.array([10.0, 20, 30]), [30, 10, 20])
    np.testing.assert_array_equal(P.T @ (P @ np.arange(3.0)), np.arange(3.0))


@given(st.integers(0, 1000))
def test_kronecker_of_a_member_is_that_member(seed):
    rng = np.random.default_rng(seed)
    W = np.kron(rng.standard_normal((2, 3)), rng.standard_normal((4, 2)))
    fit = Kronecker((2, 3), (4, 2)).project(W)
    np.testing.assert_allclose(fit.to_dense(), W, atol=1e-10)


def test_kronecker_is_the_leading_singular_pair_of_the_rearrangement():
    W = np.random.default_rng(0).standard_normal((6, 8))
    blocks = W.reshape(2, 3, 4, 2).transpose(0, 2, 1, 3).reshape(8, 6)
    values = np.linalg.svd(blocks, compute_uv=False)
    fit = Kronecker((2, 4), (3, 2)).project(W)
    assert weighted_error(W, fit.to_dense()) == pytest.approx((values[1:] ** 2).sum())


def test_kronecker_in_a_metric_ends_where_neither_factor_improves():
    W, X, H = problem(6, 8, 30, 1)
    fit = Kronecker((2, 4), (3, 2), sweeps=500).project(W, H)
    A, B = fit.factors["left"], fit.factors["right"]
    error = weighted_error(W, fit.to_dense(), H)
    basis = np.stack([(X @ np.kron(E, B).T).ravel() for E in np.eye(8).reshape(8, 2, 4)], axis=1)
    best_left = np.linalg.lstsq(basis, (X @ W.T).ravel(), rcond=None)[0].reshape(2, 4)
    assert weighted_error(W, np.kron(best_left, B), H) == pytest.approx(error, rel=1e-5)
    basis = np.stack([(X @ np.kron(A, E).T).ravel() for E in np.eye(6).reshape(6, 3, 2)], axis=1)
    best_right = np.linalg.lstsq(basis, (X @ W.T).ravel(), rcond=None)[0].reshape(3, 2)
    assert weighted_error(W, np.kron(A, best_right), H) == pytest.approx(error, rel=1e-5)


def test_bad_shapes_and_factors_are_refused():
    with pytest.raises(ShapeError, match="square"):
        Permutation().project(np.ones((2, 3)))
    with pytest.raises(ShapeError, match="blocks=4"):
        BlockDiagonal(4).project(np.ones((6, 8)))
    with pytest.raises(ShapeError, match=r"\(6, 6\)"):
        Kronecker((2, 2), (3, 3)).project(np.ones((6, 5)))
    for order in ([0, 0, 2], [0, 1, 3], [-1, 0, 1]):
        with pytest.raises(FormatError, match="once"):
            PermutationMatrix.of(np.array(order))
    with pytest.raises(FormatError, match="int64"):
        PermutationMatrix.of(np.array([0, 1], dtype=np.int32))
    with pytest.raises(FormatError, match="float16"):
        DiagonalMatrix.of(np.ones(3, np.float16))
