"""Learners of the relaxation parameter: their laws, what they learn, and how answers find their questions."""

import pickle
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import lsq_linear

from gossamer._core.errors import ArgumentError, UnsupportedError
from gossamer._kernels import relax
from gossamer.solve import (
    ChebCB,
    EpsilonGreedy,
    FixedOmega,
    GridStencil,
    OmegaGrid,
    RelaxationTuner,
    TsallisINF,
    TsallisINFContextual,
    UniformOmega,
    best_fixed,
    sor,
)

FIVE = [1.0, 1.2, 1.4, 1.6, 1.8]


def learners(seed=0):
    return [
        TsallisINF(FIVE, random_state=seed),
        TsallisINFContextual(FIVE, 3, (0, 1), random_state=seed),
        ChebCB(FIVE, bounds=(0, 1), random_state=seed),
        UniformOmega(FIVE, random_state=seed),
        EpsilonGreedy(FIVE, random_state=seed),
    ]


def play(learner, rounds, seed=1):
    rng, chosen = np.random.default_rng(seed), []
    for _ in range(rounds):
        c = rng.random()
        index, omega = learner.ask(c)
        assert omega == FIVE[index]
        learner.tell(index, 1 + rng.integers(1, 30) + 10 * index, c)
        chosen.append(index)
    return chosen


@settings(deadline=None)
@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=30), st.integers(1, 10**6), st.floats(1e-3, 1e3))
def test_the_law_of_tsallis_sums_to_one_and_has_its_form(losses, t, scale):
    losses, eta = np.array(losses) * scale, 2 / np.sqrt(t)
    p = relax.tsallis_law(losses, eta)
    assert abs(p.sum() - 1) < 1e-12
    assert (p > 0).all()
    x = losses - 2 / (eta * np.sqrt(p))  # the same for all where p = 4 / (eta (k - x))^2
    assert np.ptp(x) <= 1e-6 * (1 + np.abs(losses).max() + np.abs(x).max())


def test_tsallis_plays_the_worse_of_two_seldom():
    worse = []
    for seed in range(3):
        learner, rng = TsallisINF([1.0, 1.5], random_state=seed), np.random.default_rng(100 + seed)
        played = []
        for _ in range(10_000):
            index, _ = learner.ask()
            learner.tell(index, 1 + (rng.random() < (0.4, 0.6)[index]))
            played.append(index)
        worse.append(np.mean(played))
    assert np.mean(worse) < 0.1


def test_the_regret_of_tsallis_grows_slower_than_its_bound():
    means = np.array([0.6, 0.35, 0.6])
    points, regret = [125, 250, 500, 1000, 2000], np.zeros(5)
    for seed in range(20):
        learner, rng = TsallisINF(FIVE[:3], random_state=seed), np.random.default_rng(100 + seed)
        lost = []
        for _ in range(points[-1]):
            index, _ = learner.ask()
            learner.tell(index, 1 + (rng.random() < means[index]))
            lost.append(means[index] - means.min())
        regret += np.cumsum(lost)[np.array(points) - 1] / 20
    assert np.polyfit(np.log(points), np.log(regret), 1)[0] < 0.6


def test_bins_learn_each_for_itself():
    learner = TsallisINFContextual(FIVE, 4, (-1, 1), random_state=0)
    np.testing.assert_allclose(learner.centres, [-0.75, -0.25, 0.25, 0.75])
    for _ in range(2000):
        for c in (-0.9, 0.9):
            index, _ = learner.ask(c)
            learner.tell(index, 10 + 20 * abs(index - (0 if c < 0 else 4)), c)
    assert learner.best(-0.8)[0] == 0
    assert learner.best(0.8)[0] == 4
    np.testing.assert_allclose(learner.probabilities_at(0.1), 0.2)


def test_chebcb_finds_the_best_for_every_context():
    learner, rng = ChebCB(FIVE, bounds=(0, 2), random_state=0), np.random.default_rng(1)
    slope, base = np.array([30.0, 15, 0, -15, -30]), np.array([20.0, 30, 42, 60, 80])
    right = []
    for _ in range(4000):
        c = rng.uniform(0, 2)
        costs = base + slope * c
        index, _ = learner.ask(c)
        learner.tell(index, costs[index], c)
        right.append(costs[index] == costs.min())
        assert (np.abs(learner.coefficients) <= learner.coefficient_bounds * (1 + 1e-9)).all()
        assert 0 < learner.eta < np.inf
    assert np.mean(right[2000:]) > 0.95
    np.testing.assert_allclose(learner.predict(1.0)[learner.best(1.0)[0]], 42, rtol=0.05)


def test_chebcb_begins_without_preference_and_follows_its_formula():
    learner = ChebCB(FIVE, degree=3, bounds=(0, 1), random_state=0)
    np.testing.assert_allclose(learner.probabilities_at(0.3), 0.2)
    features, arms, costs, predicted = [], [], [], []
    rng = np.random.default_rng(2)
    for t in range(1, 60):
        c = rng.random()
        y = learner.coefficients @ np.polynomial.chebyshev.chebvander([2 * c - 1], 3)[0]
        p = learner.probabilities_at(c)
        best = int(y.argmin())
        want = 1 / (5 + learner.eta * (y - y[best]))
        want[best] += 1 - want.sum()
        np.testing.assert_allclose(p, want, rtol=1e-9)
        index, _ = learner.ask(c)
        cost = float(rng.integers(1, 50))
        learner.tell(index, cost, c)
        features.append(np.polynomial.chebyshev.chebvander([2 * c - 1], 3)[0])
        arms.append(index)
        costs.append(cost)
        predicted.append(y[index])
        K, lip = max(costs), max(costs) - min(costs)
        N = 2 + 4 * lip / K * (1 + np.log(4))
        bound = np.array([1 / N, *(2 * lip / (K * N * np.arange(1, 4)))])
        np.testing.assert_allclose(learner.coefficient_bounds, bound, rtol=1e-12)
        residual = 0.0
        for arm in set(arms):  # every parameter fitted anew to all that was seen
            rows = np.array(features)[np.array(arms) == arm]
            target = (np.array(costs)[np.array(arms) == arm] - 1) / (K * N)
            theta = np.linalg.lstsq(rows, target, rcond=1e-6)[0]
            if (np.abs(theta) > bound).any():
                theta = lsq_linear(rows, target, (-bound - 1e-15, bound + 1e-15), tol=1e-14).x
            ours = learner.coefficients[arm]
            assert ((rows @ ours - target) ** 2).sum() <= ((rows @ theta - target) ** 2).sum() + 1e-7
            if arm == index and (np.abs(np.linalg.lstsq(rows, target, rcond=1e-6)[0]) > bound).any():
                residual = ((rows @ ours - target) ** 2).sum()
        alpha = (np.pi + 2 / np.pi * np.log(9)) / (2 * K * N * 5) * lip
        R = ((np.array(predicted) - np.array(costs) / (K * N)) ** 2).sum() - residual
        assert learner.eta == pytest.approx(2 * t * np.sqrt(5 * t / (R + 2 * alpha**2 * t)), rel=1e-4)


@pytest.mark.parametrize("cost", [1, 7])
def test_chebcb_survives_costs_that_are_all_equal(cost):
    learner = ChebCB(FIVE, bounds=(0, 1), random_state=0)
    for c in np.linspace(0, 1, 50):
        index, _ = learner.ask(c)
        learner.tell(index, cost, c)
        assert 0 < learner.eta < np.inf
        assert (learner.coefficient_bounds[1:] == 0).all()
        assert not learner.coefficients[:, 1:].any()
    np.testing.assert_allclose(learner.probabilities_at(0.5).sum(), 1)


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 2**32 - 1), st.integers(1, 7), st.integers(1, 12))
def test_bounded_least_squares_is_scipys(seed, m, rows):
    rng = np.random.default_rng(seed)
    X, y, bound = rng.normal(size=(rows, m)), 3 * rng.normal(size=rows), rng.uniform(0.05, 1, m)
    theirs = lsq_linear(X, y, (-bound, bound), method="bvls", tol=1e-14, max_iter=500).x
    free = np.linalg.lstsq(X, y, rcond=1e-6)[0]
    for start in (np.zeros(m), bound * rng.choice([-1, 1, 0.3], m)):
        ours = start.copy()
        held = relax.least_squares(X.T @ X, X.T @ y, bound, ours)
        assert held == (np.abs(free) > bound).any()
        assert (np.abs(ours) <= bound * (1 + 1e-12)).all()
        assert ((X @ ours - y) ** 2).sum() <= ((X @ theirs - y) ** 2).sum() + 1e-9
        if not held:
            np.testing.assert_allclose(ours, free, atol=1e-6)
    ours = np.zeros(m)
    assert relax.least_squares(X.T @ X, X.T @ y, 0 * bound, ours)
    assert not ours.any()


@pytest.mark.parametrize("which", range(5))
def test_the_same_seed_gives_the_same_choices_and_pickling_changes_nothing(which):
    one, other = learners()[which], learners()[which]
    first = play(one, 80)
    assert first == play(other, 80)
    copy = pickle.loads(pickle.dumps(other))
    assert play(one, 80, seed=2) == play(copy, 80, seed=2)
    assert play(learners(seed=9)[which], 80) != first


@pytest.mark.parametrize("which", range(5))
def test_answers_may_come_late_and_in_any_order(which):
    learner = learners()[which]
    questions = [(learner.ask(c)[0], c) for c in np.linspace(0, 1, 12)]
    for index, c in reversed(questions):
        learner.tell(index, 5 + index, c)
    with pytest.raises(ArgumentError, match="no such question"):
        learner.tell(questions[0][0], 5, 0.0)
    index, _ = learner.ask(0.5)
    learner.withdraw(index, 0.5)
    with pytest.raises(ArgumentError, match="no such question"):
        learner.withdraw(index, 0.5)
    assert learner.probabilities_at(0.5).sum() == pytest.approx(1)


def test_importance_weights_are_those_of_the_question():
    learner = TsallisINF(FIVE, random_state=0)
    index, _ = learner.ask()
    late, _ = learner.ask()
    learner.tell(index, 11.0)
    p = learner.probabilities
    assert not np.allclose(p, 0.2)
    learner.tell(late, 6.0)
    want = np.zeros(5)
    want[index] += 10 / 0.2
    want[late] += 5 / 0.2  # not the probability that it has when the answer comes
    np.testing.assert_allclose(learner._state.losses, want)


def test_threads_share_a_tuner():
    tuner = RelaxationTuner("sor", "tsallis", FIVE, random_state=0)
    A, b = GridStencil((8, 8), shift=0.5), np.ones(64)

    def work():
        for _ in range(10):
            tuner.solve(A, b)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tuner.n_solves == 40
    assert not tuner.learner._open


def test_baselines():
    assert FixedOmega(1.3).ask() == (0, 1.3)
    table = [[5, 3, 9], [5, 4, 1]]
    assert best_fixed(table, [1.0, 1.2, 1.4]) == (1.2, 3.5)
    greedy = EpsilonGreedy(FIVE, epsilon=0.0, random_state=0)
    assert sorted(play(greedy, 5)) == [0, 1, 2, 3, 4]
    assert np.bincount(play(greedy, 100)).argmax() == 0
    uniform = np.bincount(play(UniformOmega(FIVE, random_state=0), 2000), minlength=5)
    assert (np.abs(uniform - 400) < 100).all()
    assert len(OmegaGrid()) == 20
    assert OmegaGrid.spaced(1, 1.9, 10).nearest(1.72) == 7


def test_the_tuner_solves_and_counts():
    A, b = GridStencil((8, 8), shift=0.1).to_scipy(), np.arange(64.0)
    for method in ("sor", "ssor_pcg"):
        for learner in ("chebcb", "tsallis", "tsallis-cb", FixedOmega(1.5)):
            tuner = RelaxationTuner(method, learner, FIVE, bounds=(0, 1), random_state=0, rtol=1e-9)
            results = [tuner.solve(A, b, context=0.5) for _ in range(5)]
            for result in results:
                assert result.success
                np.testing.assert_allclose(A @ result.x, b, atol=1e-5)
            assert (tuner.n_solves, tuner.n_iterations) == (5, sum(r.nit for r in results))
    nothing = RelaxationTuner("ssor_pcg", "tsallis").solve(A, np.zeros(64))
    assert nothing.nit == 0  # and told as 1, the least cost there is


def test_a_learner_hears_of_the_cap_and_nothing_of_what_went_wrong():
    heard = []

    class Spy(FixedOmega):
        def _learn(self, index, cost, place, remembered):
            heard.append(cost)

    tuner = RelaxationTuner("sor", Spy(1.0), maxiter=7)
    A, b = GridStencil((8, 8)), np.ones(64)
    assert not tuner.solve(A, b).success
    tuner.solve(A, b, callback=lambda it: it.nit == 2)
    with pytest.raises(ArgumentError, match="b has shape"):
        tuner.solve(A, np.ones(3))
    assert heard == [7]
    indefinite = RelaxationTuner("ssor_pcg", Spy(1.0), maxiter=50)
    assert not indefinite.solve([[1.0, 2.0], [2.0, 1.0]], [1.0, -1.0]).success
    assert heard == [7, 50]


def test_a_bad_solve_is_cut_short_and_finished():
    class Stubborn(FixedOmega):
        def best(self, context=None):
            return 0, 1.55

    A, b = GridStencil((10, 10)), np.ones(100)
    slow = sor(A, b, omega=1.0).nit
    for method in ("sor", "ssor_pcg"):
        tuner = RelaxationTuner(method, Stubborn(1.0), max_cost=10)
        result = tuner.solve(A, b)
        assert result.success
        assert result.omega == 1.0
        assert np.linalg.norm(b - A @ result.x) <= result.goal * (1 + 1e-6)
        assert result.nit == len(result.history["residual"]) - 1
        assert 10 < result.nit < slow


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: TsallisINF([1.0, 2.0]), ArgumentError, r"grid=\[1.0, 2.0\]"),
        (lambda: TsallisINF([]), ArgumentError, "grid="),
        (lambda: TsallisINF([1.5, 1.2]), ArgumentError, "ascending"),
        (lambda: ChebCB(FIVE, bounds=(1, 1)), ArgumentError, "bounds="),
        (lambda: ChebCB(FIVE, bounds=3), ArgumentError, "bounds=3"),
        (lambda: ChebCB(FIVE, degree=-1), ArgumentError, "degree=-1"),
        (lambda: ChebCB(FIVE).ask(), ArgumentError, "context=None"),
        (lambda: ChebCB(FIVE).ask(1.1), ArgumentError, "clip=True"),
        (lambda: ChebCB(FIVE).ask(np.nan), ArgumentError, "context=nan"),
        (lambda: TsallisINFContextual(FIVE, 0), ArgumentError, "n_bins=0"),
        (lambda: TsallisINF(FIVE).tell(0, 0.5), ArgumentError, "cost=0.5"),
        (lambda: TsallisINF(FIVE).tell(0, np.nan), ArgumentError, "cost=nan"),
        (lambda: TsallisINF(FIVE).tell(9, 2), ArgumentError, "index=9"),
        (lambda: EpsilonGreedy(FIVE, 2.0), ArgumentError, "epsilon=2.0"),
        (lambda: best_fixed([[1.0]], FIVE), ArgumentError, "costs has shape"),
        (lambda: RelaxationTuner("jacobi"), ArgumentError, "method='jacobi'"),
        (lambda: RelaxationTuner("sor", "chebcb"), ArgumentError, "bounds=None"),
        (lambda: RelaxationTuner("sor", "ucb"), ArgumentError, "learner='ucb'"),
        (lambda: RelaxationTuner("sor", 3), UnsupportedError, "without ask"),
        (lambda: RelaxationTuner("sor", "tsallis", omega=1.0), ArgumentError, "omega"),
        (lambda: RelaxationTuner("sor", "tsallis", max_cost=0), ArgumentError, "max_cost=0"),
    ],
)
def test_bad_input(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_contexts_outside_are_taken_if_asked():
    learner = ChebCB(FIVE, bounds=(0, 1), clip=True, random_state=0)
    index, _ = learner.ask(3.0)
    learner.tell(index, 4, 3.0)
    assert ChebCB([1.5], bounds=(0, 1)).ask(0.2) == (0, 1.5)
    assert TsallisINF([1.5]).probabilities.tolist() == [1.0]
