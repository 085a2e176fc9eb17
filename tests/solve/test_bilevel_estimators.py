"""Running estimates and lazy iterates against their definitions."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.solve import MSVR, STORM, SparseVector, theory_gamma
from gossamer.solve.bilevel.inner import EagerDescent, LazyDescent, StepLengths
from gossamer.solve.bilevel.outer import DenseDescent, LazyDecay
from gossamer.solve.bilevel.spectrum import clip_eigenvalues, solve_positive

seeds = st.integers(0, 10_000)


@given(seeds, st.floats(0.05, 1), st.floats(0, 5))
def test_sampled_blocks_follow_the_formula_and_others_stay_bit_by_bit(seed, alpha, gamma):
    rng = np.random.default_rng(seed)
    s = MSVR(6, (2, 3), 2, alpha=alpha, gamma=gamma)
    s.update(np.arange(6), rng.normal(size=(6, 2, 3)), np.zeros((6, 2, 3)))
    before, blocks = s.value.copy(), np.array([4, 1])
    new, old = rng.normal(size=(2, 2, 2, 3))
    s.update(blocks, new, old)
    wanted = (1 - alpha) * before[blocks] + alpha * new + gamma * (new - old)
    np.testing.assert_allclose(s.value[blocks], wanted, rtol=1e-13, atol=1e-13)
    rest = [0, 2, 3, 5]
    assert np.array_equal(s.value[rest], before[rest])


@given(seeds, st.floats(0.05, 1))
def test_with_all_blocks_and_the_theorys_weight_it_is_storm(seed, beta):
    rng = np.random.default_rng(seed)
    storm, msvr = STORM(beta), MSVR(1, (4,), 1, alpha=beta)
    for _ in range(5):
        new, old = rng.normal(size=(2, 4))
        msvr.update(np.array([0]), new[None], old[None])
        np.testing.assert_allclose(storm.update(new, old), msvr.value[0], atol=1e-12)


def test_the_weight_of_the_theory():
    assert theory_gamma(10, 10, 0.3) == pytest.approx(0.7)
    assert theory_gamma(100, 10, 0.9) == pytest.approx(90 / (10 * 0.1) + 0.1)
    assert theory_gamma(5, 5, 1) == 0
    with pytest.raises(ArgumentError, match="alpha"):
        theory_gamma(5, 4, 1)


@pytest.mark.parametrize("alpha", [0.1, 0.5])
def test_around_a_fixed_value_the_variance_falls_by_alpha_over_two_minus_alpha(alpha):
    rng = np.random.default_rng(0)
    s = MSVR(4000, (1,), 4000, alpha=alpha)
    for _ in range(60):
        h = 3 + rng.normal(size=(4000, 1))
        s.update(np.arange(4000), h, h)  # the iterate rests: the same samples give the same values
    assert s.value.mean() == pytest.approx(3, abs=0.03)
    assert s.value.var() == pytest.approx(alpha / (2 - alpha), rel=0.1)


def test_with_the_theorys_weight_a_drifting_target_is_tracked_more_closely():
    errors = {}
    for gamma in ("theory", 0.0):
        rng = np.random.default_rng(0)
        s, total = MSVR(40, (1,), 4, alpha=0.1, gamma=gamma), 0.0
        for t in range(600):
            blocks = rng.choice(40, 4, replace=False)
            noise = 0.1 * rng.normal(size=(4, 1))
            s.update(blocks, 0.01 * t + noise, 0.01 * (t - 1) + noise)
            total += float(np.mean((s.value - 0.01 * t) ** 2)) if t >= 200 else 0.0
        errors[gamma] = total
    assert errors["theory"] < 0.25 * errors[0.0]


def test_the_first_visit_takes_the_sample():
    s = MSVR(3, (1,), 1, alpha=0.1, gamma=7.0)
    s.update(np.array([2]), np.array([[5.0]]), np.array([[-1.0]]))
    assert s.value.ravel().tolist() == [0, 0, 5]
    assert s.seen.tolist() == [False, False, True]


def test_refusals():
    s = MSVR(3, (1,), 2, gamma=1.0)
    one = np.ones((2, 1))
    with pytest.raises(ArgumentError, match="holds 1 twice"):
        s.update(np.array([1, 1]), one, one)
    with pytest.raises(ArgumentError, match="expected 0 to 2"):
        s.update(np.array([1, 3]), one, one)
    with pytest.raises(ShapeError, match="old has shape"):
        s.update(np.array([0, 1]), one, np.ones((2, 2)))
    with pytest.raises(ArgumentError, match="gamma"):
        MSVR(3, (1,), 2, gamma="half")
    with pytest.raises(ArgumentError, match="beta"):
        STORM(0.0)


@settings(max_examples=25)
@given(seeds, st.sampled_from([math.inf, 1.5, 0.3]), st.booleans())
def test_lazy_rows_are_the_eager_ones(seed, radius, changing):
    rng = np.random.default_rng(seed)
    y0, s = np.zeros((7, 2)), np.zeros((7, 2))
    lazy, eager = (
        kind(y0.copy(), s, np.linspace(0.5, 1.5, 7), radius) for kind in (LazyDescent, EagerDescent)
    )
    lazy.MOST_PIECES = 4
    for t in range(40):
        if changing and t % 3 == 0:
            tau = float(rng.uniform(0.1, 0.5))
            lazy.steps.change(t, tau)
            eager.steps.change(t, tau)
        blocks = rng.choice(7, 2, replace=False)
        for a, b in zip(lazy.read(blocks, t), eager.read(blocks, t)):
            np.testing.assert_allclose(a, b, atol=1e-12)
        lazy.store(blocks, t, lazy.read(blocks, t)[0])
        s[blocks] = rng.normal(size=(2, 2))
        lazy.advance(t)
        eager.advance(t)
        np.testing.assert_allclose(lazy.all(t + 1), eager.all(t + 1), atol=1e-12)
    assert len(lazy.steps.starts) <= 6


def test_step_lengths_add_up():
    steps = StepLengths(1.0)
    steps.change(3, 0.5)
    steps.change(3, 0.25)
    assert steps.total(np.array([0, 2, 5]), 7).tolist() == [4.0, 2.0, 0.5]
    assert [steps.at(t) for t in (0, 2, 3, 9)] == [1, 1, 0.25, 0.25]
    steps.forget(5)
    assert steps.starts == [3]


@settings(max_examples=25)
@given(seeds, st.floats(0.05, 1))
def test_a_sparse_gradients_lazy_step_is_the_dense_one(seed, beta):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=9)
    lazy, full = LazyDecay(x, beta), DenseDescent(x, beta)
    for t in range(25):
        index = np.sort(rng.choice(9, 3, replace=False))
        for a, b in zip(lazy.read(index), full.read(index)):
            np.testing.assert_allclose(a[index], b[index], atol=1e-12)
        new, old = (SparseVector(index, rng.normal(size=3)) for _ in range(2))
        lazy.push(new, old, 0.1 if t < 12 else 0.03)
        full.push(new, old, 0.1 if t < 12 else 0.03)
        assert lazy.norm == pytest.approx(full.norm, abs=1e-6)
    np.testing.assert_allclose(lazy.full(), full.full(), atol=1e-12)


@given(seeds)
def test_clipping_is_the_projection_onto_the_interval(seed):
    rng = np.random.default_rng(seed)
    H = rng.normal(size=(3, 4, 4)) * 2
    P, count = clip_eigenvalues(H, 0.5, 2.0)
    w = np.linalg.eigvalsh(P)
    assert w.min() >= 0.5 - 1e-9
    assert w.max() <= 2 + 1e-9
    assert np.array_equal(P, P.swapaxes(1, 2))
    assert 0 <= count <= 3
    again, none = clip_eigenvalues(P, 0.5 - 1e-9, 2 + 1e-9)
    assert none == 0
    np.testing.assert_allclose(again, P)
    # the nearest point: the residual makes no acute angle with any member of the set
    S = 0.5 * (H + H.swapaxes(1, 2))
    Q = np.linalg.qr(rng.normal(size=(3, 4, 4)))[0]
    member = (Q * rng.uniform(0.5, 2, (3, 1, 4))) @ Q.swapaxes(1, 2)
    assert np.all(np.einsum("kij,kij->k", S - P, member - P) <= 1e-9)
    b = rng.normal(size=(3, 4))
    np.testing.assert_allclose(np.einsum("kij,kj->ki", P, solve_positive(P, b)), b, atol=1e-9)
    with pytest.raises(ArgumentError, match="positive definite"):
        solve_positive(-P, b)
