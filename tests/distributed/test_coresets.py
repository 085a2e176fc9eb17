"""Chunks of rows on a cluster have the scores and samples of the matrix in memory."""

import numpy as np
import pytest

from gossamer import distributed, solve
from gossamer._core.errors import ArgumentError, ShapeError, UnsupportedError

da = pytest.importorskip("dask.array", reason="needs dask: pip install 'gossamer[distributed]'")


def problem(n=6000):
    A = solve.lp_matrix(n, 4, "heavy", random_state=0)
    A += 0.1 * np.random.default_rng(0).normal(size=A.shape)
    return A, A @ np.arange(4.0) + np.random.default_rng(1).standard_t(3, n)


def test_weights_on_a_cluster_are_those_in_memory(client):
    A, _ = problem()
    lazy = da.from_array(A, chunks=(1700, 3)).persist()
    np.testing.assert_allclose(distributed.leverage_scores(lazy), solve.leverage_scores(A), rtol=1e-10)
    for p in (1, 4):
        np.testing.assert_allclose(distributed.lewis_weights(lazy, p), solve.lewis_weights(A, p), rtol=1e-8)


@pytest.mark.parametrize(
    ("p", "scores"),
    [
        (1, "lewis"),
        (4, "lewis"),
        (3, "halving"),
        (1.5, "root_leverage"),
        (4, "sensitivity+l2"),
        (1, "uniform"),
    ],
)
def test_a_cluster_draws_the_rows_that_memory_draws(client, p, scores):
    A, b = problem()
    here = solve.lp_coreset(A, p, 400, scores=scores, b=b, random_state=3)
    rows, there = distributed.lp_coreset(
        da.from_array(A, chunks=(2500, 4)),
        p,
        400,
        scores=scores,
        b=da.from_array(b, chunks=999),
        random_state=3,
    )
    np.testing.assert_array_equal(there.index, here.index)
    np.testing.assert_allclose(there.weight, here.weight, rtol=1e-6)
    np.testing.assert_array_equal(rows, np.c_[A, b][here.index])
    near = solve.lp_regression(rows[:, :4], rows[:, 4], p, sample_weight=there.weight)
    np.testing.assert_allclose(near.fun, solve.lp_regression(A, b, p, coreset=here).fun, rtol=1e-6)


def test_rounds_of_sampling_are_the_same_in_chunks():
    A, _ = problem(20_000)
    here = solve.lp_coreset(A, 1.5, eps=1.0, scores="root_leverage", random_state=0)
    _, there = distributed.lp_coreset(
        da.from_array(A, chunks=(6000, 4)), 1.5, eps=1.0, scores="root_leverage", random_state=0
    )
    assert there.rounds == here.rounds
    np.testing.assert_array_equal(there.index, here.index)


def test_bad_input_is_named():
    A = da.ones((100, 3), chunks=(50, 3))
    with pytest.raises(UnsupportedError, match="expected a Dask array"):
        distributed.lp_coreset(np.ones((100, 3)), 1, 10)
    with pytest.raises(ShapeError, match="two axes"):
        distributed.lewis_weights(A[:, 0], 1)
    with pytest.raises(ShapeError, match="b has shape"):
        distributed.lp_coreset(A, 1, 10, b=np.ones(99))
    with pytest.raises(ArgumentError, match="real numbers"):
        distributed.leverage_scores(A.astype(complex))
    with pytest.raises(ArgumentError, match="did you mean"):
        distributed.lp_coreset(A, 1, 10, scores="lewes")
    with pytest.raises(ValueError, match="rows 50 to 99 have NaN"):
        distributed.leverage_scores(da.concatenate([A[:50], da.full((50, 3), np.nan)]))
