"""Scores of rows in p-norms against brute force, closed forms and the inequalities between them."""

import warnings

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

from gossamer._core.errors import ArgumentError, CostError
from gossamer.solve import (
    ConvergenceWarning,
    leverage_scores,
    lewis_weights,
    lp_matrix,
    lp_sensitivities,
    max_sensitivity,
    total_sensitivity,
)

POWERS = (0.5, 1, 1.5, 2, 3, 4, 6)


def gaussian(n=40, d=4, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def exact(A, p, **more):
    return lp_sensitivities(A, p, method="exact", **more).scores


@pytest.mark.parametrize("p", POWERS)
def test_lewis_weights_are_the_leverage_of_what_they_weigh(p):
    A = gaussian(200, 5) * np.random.default_rng(1).exponential(size=(200, 1))
    w = lewis_weights(A, p)
    np.testing.assert_allclose(leverage_scores(w[:, None] ** (0.5 - 1 / p) * A), w, rtol=1e-8)
    assert w.sum() == pytest.approx(5, abs=1e-8)
    R = gaussian(5, 5, 3)
    np.testing.assert_allclose(lewis_weights(A @ R, p), w, rtol=1e-7)
    np.testing.assert_allclose(lewis_weights(scipy.sparse.csr_array(A), p), w, rtol=1e-9)
    thrice = lewis_weights(np.concatenate([A, A[:1], A[:1]]), p)
    np.testing.assert_allclose(thrice[[0, 200, 201]], thrice[0], rtol=1e-8)


@pytest.mark.parametrize("p", POWERS)
def test_a_row_repeated_k_times_shares_its_weight(p):
    A = gaussian(30, 3)
    np.testing.assert_allclose(
        3 * lewis_weights(np.repeat(A, 3, axis=0), p)[::3], lewis_weights(A, p), rtol=1e-7
    )


def test_lewis_weights_for_two_are_leverage_and_limits():
    A = gaussian()
    np.testing.assert_allclose(lewis_weights(A, 2), leverage_scores(A), rtol=1e-9)
    assert not lewis_weights(np.zeros((4, 2)), 1).any()
    padded = np.concatenate([A, np.zeros((3, 4))])
    np.testing.assert_allclose(lewis_weights(padded, 1)[:40], lewis_weights(A, 1))
    with pytest.warns(ConvergenceWarning, match="max_iter=2"):
        lewis_weights(A, 1, max_iter=2)
    with pytest.warns(RuntimeWarning, match="rank 4"):
        np.testing.assert_allclose(lewis_weights(np.hstack([A, A[:, :1]]), 1), lewis_weights(A, 1), rtol=1e-7)


@pytest.mark.parametrize("p", [0.5, 1, 1.5, 3, 4])
def test_sensitivities_in_the_plane_by_all_angles(p):
    A = gaussian(25, 2)
    angles = np.linspace(0, np.pi, 400_001)
    if p <= 1:  # suprema lie where a row vanishes: look there as well
        angles = np.append(angles, np.arctan2(-A[:, 0], A[:, 1]))
    powers = np.abs(A @ np.array([np.cos(angles), np.sin(angles)])) ** p
    brute = (powers / powers.sum(axis=0)).max(axis=1)
    np.testing.assert_allclose(exact(A, p), brute, rtol=1e-4)


def test_closed_forms():
    a = gaussian(20, 1)
    for p in POWERS:
        np.testing.assert_allclose(exact(a, p), np.abs(a[:, 0]) ** p / (np.abs(a) ** p).sum(), rtol=1e-6)
        np.testing.assert_allclose(exact(np.eye(4), p), 1, rtol=1e-6)
    A = gaussian()
    np.testing.assert_allclose(exact(A, 2), leverage_scores(A), rtol=1e-8)


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.sampled_from([1, 1.5, 2.5, 4]))
def test_the_inequalities_between_the_scores(seed, p):
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(8, 30)), int(rng.integers(1, 5))
    A = rng.normal(size=(n, d)) * rng.exponential(size=(n, 1)) ** 2
    scores, w, tau = exact(A, p), lewis_weights(A, p), leverage_scores(A)
    more = 1 + 1e-6
    if p < 2:
        assert (n ** -(1 - p / 2) * tau ** (p / 2) <= scores * more).all()
        assert (scores <= tau ** (p / 2) * more).all()
        assert (scores <= w * more).all()
        assert (w <= d ** (1 - p / 2) * scores * more).all()
        assert scores.sum() <= d * more
    else:
        assert (tau ** (p / 2) <= scores * more).all()
        assert (scores <= n ** (p / 2 - 1) * tau ** (p / 2) * more).all()
        assert (scores <= d ** (p / 2 - 1) * w * more).all()
        assert scores.sum() <= d ** (p / 2) * more
    R = rng.normal(size=(d, d)) + 3 * np.eye(d)
    np.testing.assert_allclose(exact(A @ R, p), scores, rtol=1e-5)
    more_rows = np.concatenate([A, rng.normal(size=(3, d))])
    assert (exact(more_rows, p, rows=np.arange(n)) <= scores * more).all()


@pytest.mark.parametrize("kind", ["gaussian", "vandermonde", "heavy"])
@pytest.mark.parametrize("p", [1, 1.5, 3, 4])
def test_fast_bounds_hold_the_exact_values(kind, p):
    A = lp_matrix(160, 5, kind, random_state=0)
    found = lp_sensitivities(A, p, random_state=0)
    true = exact(A, p)
    assert (found.lower <= true * (1 + 1e-6)).all()
    assert (true <= found.upper * (1 + 1e-6)).all()
    held = found.lower > 0
    assert (found.upper[held] <= 2 * found.lower[held] * (1 + 1e-6)).all()
    assert found.total == pytest.approx(true.sum(), rel=0.5)
    assert total_sensitivity(A, p, random_state=0) == pytest.approx(true.sum(), rel=0.2)
    low, high = max_sensitivity(A, p)
    assert low <= true.max() * (1 + 1e-6)
    assert true.max() <= high * (1 + 1e-6)


def test_scores_from_a_coreset_of_many_rows():
    A = lp_matrix(6000, 4, "gaussian", random_state=0)
    rows = np.arange(0, 6000, 600)
    true = exact(A, 4, rows=rows)
    found = lp_sensitivities(A, 4, rows=rows, random_state=0)
    assert found.scores.shape == (10,)
    assert (abs(np.log(found.scores / true)) < np.log(2)).all()


@pytest.mark.parametrize("kind", ["gaussian", "vandermonde", "heavy"])
@pytest.mark.parametrize("p", [0.5, 1, 4])
def test_halves_overestimate_and_their_sum_is_bounded(kind, p):
    n, d = 9000, 4
    A = lp_matrix(n, d, kind, random_state=0)
    found = lp_sensitivities(A, p, method="halving", random_state=0)
    rows = np.argsort(found.scores)[:: n // 12]
    if p >= 1:
        true = lp_sensitivities(A, p, rows=rows, factor=1.01, random_state=0).scores
    else:
        true = d ** (p / 2 - 1) * lewis_weights(A, p)[rows]  # below the sensitivities
    assert (found.scores[rows] >= 0.99 * true).all()
    assert found.total <= 1.5 * 2 * max(d, d ** (p - 1)) * 1.5  # the ellipsoid bounds a row by d^{p/2-1} w
    some = lp_sensitivities(A, p, method="halving", rows=rows, random_state=0)
    np.testing.assert_array_equal(some.scores, found.scores[rows])


def test_rows_outside_the_span_of_a_half_have_score_one():
    A = np.zeros((8000, 3))
    A[:, :2] = gaussian(8000, 2)
    A[17] = [1.0, 2, 3]
    missed = 0
    for seed in range(6):
        found = lp_sensitivities(A, 1, method="halving", random_state=seed)
        assert found.scores[17] == 1
        missed += found.scores[17] == 1
        assert found.scores[18:].max() < 0.1
    assert missed == 6


def test_buckets_overestimate_within_their_size():
    A = gaussian(120, 4)
    found = lp_sensitivities(A, 1, method="bucket", bucket=4, random_state=0)
    true = exact(A, 1)
    assert (found.scores >= 0.99 * true).mean() > 0.95
    assert found.total < 4 * true.sum()
    assert found.solves == 7 * 30
    one = lp_sensitivities(A, 1, method="bucket", bucket=1, random_state=0)
    np.testing.assert_allclose(one.scores, true, rtol=1e-5)


def test_generators():
    assert lp_matrix(400, 8, "vandermonde").shape == (400, 8)
    total = exact(lp_matrix(400, 8, "vandermonde"), 4).sum()
    assert 8 < total < 16
    flat = lp_matrix(256, 8, "flat", random_state=0)
    assert 8**0.75 < exact(flat, 1.5, rows=np.arange(4)).sum() * 64 < 8  # all rows are alike
    np.testing.assert_allclose(leverage_scores(flat), 8 / 256)
    assert np.linalg.matrix_rank(lp_matrix(300, 6, "heavy", random_state=0)) == 6
    assert lp_matrix(30, 6, "low-rank+sparse", random_state=0).shape == (30, 6)
    toeplitz = lp_matrix(30, 6, "toeplitz", random_state=0)
    np.testing.assert_array_equal(toeplitz[1:, :-1], toeplitz[:-1, 1:])


def test_zero_rows_and_equal_rows():
    A = np.concatenate([gaussian(20, 3), np.zeros((2, 3))])
    for method in ("exact", "recursive"):
        found = lp_sensitivities(A, 3, method=method)
        assert not found.scores[20:].any()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.testing.assert_allclose(exact(np.ones((7, 2)), 3), 1 / 7, rtol=1e-8)
    huge = gaussian(50, 3)
    huge[0] *= 1e12
    assert exact(huge, 4)[0] == pytest.approx(1)
    assert lewis_weights(huge, 1)[0] == pytest.approx(1)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: lewis_weights(gaussian(), 0), ArgumentError, "p=0"),
        (lambda: lewis_weights(np.full((3, 1), np.nan), 1), ArgumentError, "NaN"),
        (lambda: lp_sensitivities(gaussian(), 2, method="fast"), ArgumentError, "one of recursive"),
        (lambda: lp_sensitivities(gaussian(), 2, method="bucket"), ArgumentError, "expected 1"),
        (lambda: lp_sensitivities(gaussian(), 2, rows=[40]), ArgumentError, "0 to 39"),
        (lambda: lp_sensitivities(gaussian(200, 5), 0.5, method="exact"), CostError, "sets of 4 rows"),
        (lambda: lp_sensitivities(gaussian(), 2, factor=1.0), ArgumentError, "factor=1.0"),
        (lambda: total_sensitivity(gaussian(), 0.5), ArgumentError, "p=0.5"),
        (lambda: lp_matrix(10, 3, "random"), ArgumentError, "one of"),
    ],
)
def test_bad_input_is_named(call, error, words):
    with pytest.raises(error, match=words):
        call()
