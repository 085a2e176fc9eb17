"""Samples of rows: their probabilities, what they keep, and regression on them."""

import tracemalloc

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.solve import (
    coreset_distortion,
    lp_coreset,
    lp_coreset_stream,
    lp_matrix,
    lp_regression,
    lp_sample_size,
)
from gossamer.solve.sketch.row_sample import (
    inclusion_probabilities,
    independent_sample,
    multinomial_sample,
)

SCORES = (
    "lewis",
    "sensitivity",
    "leverage",
    "root_leverage",
    "leverage+sensitivity",
    "sensitivity+l2",
    "uniform",
)


def problem(n=300, d=4, seed=0):
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(n, d))
    return A, A @ np.arange(1.0, d + 1) + rng.standard_t(2, size=n)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=30), st.integers(1, 40))
def test_probabilities_are_scores_cut_at_one(scores, m):
    scores = np.array(scores)
    if not scores.any():
        return
    q = inclusion_probabilities(scores, m)
    held = scores > 0
    assert q.sum() == pytest.approx(min(m, held.sum()))
    assert not q[~held].any()
    free = held & (q < 1 - 1e-12)
    if free.any():
        alpha = (scores[free] / q[free]).mean()
        np.testing.assert_allclose(q[held], np.minimum(1, scores[held] / alpha), rtol=1e-9)


@pytest.mark.parametrize("sampling", ["independent", "multinomial"])
def test_weights_are_unbiased_and_certain_rows_weigh_one(sampling):
    scores = np.array([100.0, 5, 1, 1, 2, 0, 1, 3, 2, 1])
    draw = independent_sample if sampling == "independent" else multinomial_sample
    rng = np.random.default_rng(0)
    draws = 20_000
    total, square = np.zeros(10), np.zeros(10)
    for _ in range(draws):
        index, weight = draw(scores, 4, rng)
        w = np.zeros(10)
        w[index] = weight
        total, square = total + w, square + w * w
    mean = total / draws
    error = np.sqrt((square / draws - mean**2) / draws)
    assert (abs(mean - (scores > 0)) <= 5 * error + 1e-12).all()
    if sampling == "independent":
        assert square[0] == total[0] == draws
    assert total[5] == 0


@pytest.mark.parametrize("scores", SCORES)
@pytest.mark.parametrize("p", [1, 1.5, 3, 4])
def test_every_score_keeps_norms_on_a_benign_matrix(p, scores):
    A, _ = problem(1200)
    coreset = lp_coreset(A, p, 600, scores=scores, random_state=0)
    assert 500 < len(coreset) < 700
    again = lp_coreset(A, p, 600, scores=scores, random_state=0)
    np.testing.assert_array_equal(coreset.index, again.index)
    assert coreset_distortion(A, coreset, p, budget=250, random_state=0) < 0.6
    np.testing.assert_allclose(coreset.apply(A), A[coreset.index] * coreset.weight[:, None] ** (1 / p))
    sparse = coreset.apply(scipy.sparse.csr_array(A))
    np.testing.assert_allclose(sparse.toarray(), coreset.apply(A))


@pytest.mark.parametrize("p", [1, 1.5, 3, 4])
def test_the_size_that_is_asked_for_is_enough(p):
    A = lp_matrix(1500, 3, "gaussian", random_state=0)
    m = lp_sample_size(p, 0.5, 0.01, d=3, n=1500)
    assert m < 600
    passed = [
        coreset_distortion(A, lp_coreset(A, p, m, random_state=s), p, budget=200, random_state=s) <= 0.5
        for s in range(20)
    ]
    assert sum(passed) >= 19


def test_uniform_samples_lose_rows_that_scores_keep():
    A = lp_matrix(2000, 8, "heavy", random_state=0)
    for p in (1, 4):
        lost = coreset_distortion(A, lp_coreset(A, p, 400, scores="uniform", random_state=0), p, budget=300)
        kept = coreset_distortion(A, lp_coreset(A, p, 400, random_state=0), p, budget=300, random_state=0)
        assert lost > 0.9
        assert kept < 0.9


def test_the_search_finds_what_random_directions_miss():
    A = np.concatenate([np.eye(6), np.full((500, 6), 1e-3)])
    coreset = lp_coreset(A, 2, 400, scores=np.r_[np.zeros(6), np.ones(500)], random_state=0)
    assert coreset_distortion(A, coreset, 2, random_state=0) == pytest.approx(1, abs=0.01)
    whole = lp_coreset(A, 2, 506, scores="uniform", random_state=0)
    assert len(whole) == 506
    assert coreset_distortion(A, whole, 2, budget=100, random_state=0) < 1e-12


def test_root_leverage_recurs_until_it_no_longer_shrinks():
    A = lp_matrix(20_000, 2, "gaussian", random_state=0)
    coreset = lp_coreset(A, 1.5, eps=1.0, scores="root_leverage", random_state=0)
    assert coreset.rounds >= 1
    assert len(coreset) < 5000
    assert coreset_distortion(A, coreset, 1.5, budget=300, random_state=0) < 1


@pytest.mark.parametrize("p", [1, 4])
def test_halves_find_what_lewis_weights_find(p):
    A = lp_matrix(6000, 4, "heavy", random_state=0)
    A[:, 0] += np.random.default_rng(1).normal(size=6000)
    kept = [
        coreset_distortion(A, lp_coreset(A, p, 800, scores=s, random_state=0), p, budget=50, random_state=0)
        for s in ("lewis", "halving")
    ]
    assert kept[1] < max(1.5 * kept[0], 0.3)
    assert len(lp_coreset(A, p, 800, scores="halving", random_state=0)) == pytest.approx(800, abs=120)
    with pytest.raises(ArgumentError, match="m=3"):
        lp_coreset(A, p, 3, scores="halving", random_state=0)


def test_the_right_side_is_one_more_column():
    A, b = problem()
    for rows in (A, scipy.sparse.csr_array(A)):
        for scores in ("lewis", "halving", "sensitivity"):
            there = lp_coreset(np.c_[A, b], 3, 60, scores=scores, random_state=0)
            here = lp_coreset(rows, 3, 60, b=b, scores=scores, random_state=0)
            np.testing.assert_array_equal(here.index, there.index)
            np.testing.assert_allclose(here.weight, there.weight, rtol=1e-6)


def test_a_table_in_a_file_is_not_copied(tmp_path):
    A, _ = problem(20_000, 40)
    np.save(tmp_path / "table.npy", A)
    there = np.load(tmp_path / "table.npy", mmap_mode="r")
    tracemalloc.start()
    coreset = lp_coreset(there, 1.5, 300, random_state=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < A.nbytes
    np.testing.assert_array_equal(coreset.index, lp_coreset(A, 1.5, 300, random_state=0).index)


def test_streams_are_merged_and_reduced():
    A, _ = problem(4000)
    rows, coreset = lp_coreset_stream((A[i : i + 500] for i in range(0, 4000, 500)), 1.5, 600, random_state=0)
    np.testing.assert_array_equal(rows, A[coreset.index])
    assert coreset.n == 4000
    assert 450 < len(coreset) < 750
    assert coreset_distortion(A, coreset, 1.5, budget=300, random_state=0) < 0.6


def test_weights_that_are_there_already_multiply():
    A, b = problem()
    w = np.random.default_rng(0).integers(0, 3, 300).astype(float)
    coreset = lp_coreset(A, 3, 300, sample_weight=w, random_state=0)
    np.testing.assert_allclose(coreset.sample_weight(), w)
    repeated = np.repeat(np.arange(300), w.astype(int))
    result = lp_regression(A, b, 3, coreset=coreset)
    np.testing.assert_allclose(result.x, lp_regression(A[repeated], b[repeated], 3).x, rtol=1e-5)


def test_median_regression_is_that_of_scikit_learn():
    linear_model = pytest.importorskip("sklearn.linear_model")
    A, b = problem()
    ours = lp_regression(A, b, 1)
    model = linear_model.QuantileRegressor(quantile=0.5, alpha=0, solver="highs", fit_intercept=False).fit(
        A, b
    )
    assert ours.fun == pytest.approx(np.abs(b - model.predict(A)).sum(), rel=1e-8)
    assert abs(ours.gap) < 1e-7 * ours.fun


def assert_optimal(A, residual, p):
    """The gradient vanishes, up to what residuals below 1e-8 can make up for: near p = 1 they have any slope."""
    slopes = np.sign(residual) * np.abs(residual) ** (p - 1)
    free = np.abs(residual) < 1e-8
    more = np.linalg.lstsq(A[free].T, -A.T @ slopes, rcond=None)[0]
    assert np.abs(A.T @ slopes + A[free].T @ more).max() < 1e-4
    assert (np.abs(slopes[free] + more) <= 1e-8 ** (p - 1)).all()


@pytest.mark.parametrize("p", [1.1, 1.5, 3, 4, 10])
def test_the_minimum_is_that_of_a_general_minimiser(p):
    A, b = problem()
    result = lp_regression(A, b, p)
    residual = A @ result.x - b
    size = np.abs(residual).max()
    assert result.success
    assert_optimal(A, residual / size, p)
    found = minimize(
        lambda x: (np.abs((A @ x - b) / size) ** p).sum(), result.x + 0.01, method="BFGS", tol=1e-12
    )
    assert result.fun <= found.fun * size**p * (1 + 1e-8)
    cvxpy = pytest.importorskip("cvxpy")
    x = cvxpy.Variable(4)
    value = cvxpy.Problem(cvxpy.Minimize(cvxpy.pnorm(A @ x - b, p))).solve(solver="CLARABEL")
    assert result.fun ** (1 / p) == pytest.approx(value, rel=1e-6)


def test_least_squares_exact_fits_and_weights():
    A, b = problem()
    np.testing.assert_allclose(lp_regression(A, b, 2).x, np.linalg.lstsq(A, b, rcond=None)[0], rtol=1e-10)
    for p in (1, 1.5, 2, 4):
        fit = lp_regression(A, A @ np.ones(4), p)
        np.testing.assert_allclose(fit.x, np.ones(4), rtol=1e-9)
        assert fit.fun == pytest.approx(0, abs=1e-12)
        w = np.random.default_rng(0).integers(0, 3, 300).astype(float)
        repeated = np.repeat(np.arange(300), w.astype(int))
        weighted = lp_regression(A, b, p, sample_weight=w)
        assert weighted.fun == pytest.approx(lp_regression(A[repeated], b[repeated], p).fun, rel=1e-8)
        assert weighted.rows_used == (w > 0).sum()
    sparse = lp_regression(scipy.sparse.csr_array(A), b, 3)
    np.testing.assert_allclose(sparse.x, lp_regression(A, b, 3).x, rtol=1e-8)
    with pytest.warns(RuntimeWarning, match="rank 4"):
        twice = lp_regression(np.hstack([A, A[:, :1]]), b, 3)
    assert twice.fun == pytest.approx(lp_regression(A, b, 3).fun)
    short = lp_regression(A, b, 4, maxiter=1, tol=1e-14)
    assert not short.success


def test_a_coreset_of_all_rows_with_b_is_nearly_optimal():
    A, b = problem(3000)
    for p in (1, 1.5, 4):
        best = lp_regression(A, b, p)
        coreset = lp_coreset(np.c_[A, b], p, 800, random_state=0)
        hidden = np.where(np.isin(np.arange(3000), coreset.index), b, np.nan)  # only its rows of b are read
        near = lp_regression(A, hidden, p, coreset=coreset)
        assert (np.abs(A @ near.x - b) ** p).sum() <= 1.05 * best.fun


def test_sizes():
    assert lp_sample_size(4, 0.5, 0.1, d=3, n=10**6) == int(np.ceil(9 * np.log(10**7) / 0.25))
    assert lp_sample_size(1, 0.5, 0.1, d=3, n=20) == 20
    small = lp_sample_size(4, 0.5, 0.1, 3.0, d=3, n=10**6, scores="sensitivity")
    assert small == int(np.ceil(3**1.5 * np.log(10**7) / 0.25))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda A, b: lp_coreset(A, 1, 3), ArgumentError, "m=3"),
        (lambda A, b: lp_coreset(A, 1), ArgumentError, "expected one of them"),
        (lambda A, b: lp_coreset(A, 1, 10, scores="lever"), ArgumentError, "did you mean"),
        (lambda A, b: lp_coreset(A, 1, 10, scores=-np.ones(300)), ArgumentError, "300 numbers"),
        (lambda A, b: lp_coreset(A, 1, 10, scores=np.zeros(300)), ArgumentError, "positive"),
        (lambda A, b: lp_coreset(A, 1, 10, sampling="poisson"), ArgumentError, "one of independent"),
        (lambda A, b: lp_coreset(0 * A, 1, 10), ArgumentError, "not zero"),
        (lambda A, b: lp_regression(A, b, 0.5), ArgumentError, "p=0.5"),
        (lambda A, b: lp_regression(A, b, np.inf), ArgumentError, "p=inf"),
        (lambda A, b: lp_regression(A, b[:5], 1), ShapeError, "b has shape"),
        (lambda A, b: lp_regression(A, b, 1, sample_weight=0 * b), ArgumentError, "positive weight"),
        (lambda A, b: lp_regression(A, b, 1, sample_weight=-1 + 0 * b), ArgumentError, "300 numbers"),
        (lambda A, b: lp_regression(A, b, 1, coreset=lp_coreset(A, 2, 9)), ArgumentError, "p=1"),
        (lambda A, b: lp_coreset(A, 2, 9).apply(A[:9]), ShapeError, "300 rows"),
        (lambda A, b: lp_sample_size(1, 0.5, 0.1, d=3, n=9, scores="uniform"), ArgumentError, "one of"),
        (lambda A, b: lp_coreset_stream([], 1, 9), ArgumentError, "at least one block"),
        (lambda A, b: coreset_distortion(A, lp_coreset(A, 2, 9), 1), ArgumentError, "p=2"),
    ],
)
def test_bad_input_is_named(call, error, words):
    with np.errstate(all="ignore"), pytest.raises(error, match=words):
        call(*problem())
