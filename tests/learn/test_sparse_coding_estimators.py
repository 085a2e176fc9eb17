"""The estimators of sparse coding: scikit-learn's contract, bars, inference, where the work runs, bad input."""

import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import parametrize_with_checks

from gossamer.learn import (
    AnnealingSchedule,
    BinarySparseCoding,
    DiscreteSparseCoding,
    GaussianSparseCoding,
    MaximalCausesAnalysis,
    MaximumMagnitudeCausesAnalysis,
    TernarySparseCoding,
    bars,
)

SHORT = AnnealingSchedule(4)
ALL = (
    BinarySparseCoding,
    TernarySparseCoding,
    DiscreteSparseCoding,
    MaximalCausesAnalysis,
    MaximumMagnitudeCausesAnalysis,
    GaussianSparseCoding,
)
DATA = {
    BinarySparseCoding: {},
    TernarySparseCoding: {"values": (-1, 1)},
    DiscreteSparseCoding: {"values": (1, 2)},
    MaximalCausesAnalysis: {"combine": "max"},
    MaximumMagnitudeCausesAnalysis: {"combine": "magnitude"},
    GaussianSparseCoding: {"amplitude": (2.0, 0.5)},
}


@parametrize_with_checks(
    [
        *(kind(2, schedule=SHORT) for kind in ALL),
        BinarySparseCoding(2, schedule=SHORT, fit_offset=True),
        GaussianSparseCoding(2, schedule=SHORT, noise="full", slab_cov="full"),
    ]
)
def test_they_keep_the_contract_of_scikit_learn(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        check(estimator)


def drawn(kind, n=400, prob=0.2, **options):
    W = bars.bars_dictionary(8, negative=kind is MaximumMagnitudeCausesAnalysis) * 10.0
    return (W, *bars.bars_data(W, n, prob=prob, noise=1.0, random_state=0, **DATA[kind], **options))


def at_the_truth(kind, W, steps=3, **options):
    """A model that starts from the true parts, at T = 1."""
    schedule = AnnealingSchedule(steps, T=1.0, truncation=1.0 if kind is not GaussianSparseCoding else 0.0)
    return kind(
        len(W), schedule=schedule, W_init=np.abs(W) if kind is MaximalCausesAnalysis else W, **options
    )


@pytest.mark.parametrize("kind", ALL)
def test_the_true_parts_stay(kind):
    W, X, S = drawn(kind, 1000)
    start = {"pi_init": 0.2, "sigma_init": 1.0} if kind is GaussianSparseCoding else {}
    model = at_the_truth(kind, W, steps=30, n_candidates=8, max_active=5, random_state=0, **start).fit(X)
    parts = model.components_
    if kind is GaussianSparseCoding:
        parts = parts * (model.slab_mean_ / 2)[:, None]
        np.testing.assert_allclose(model.prior_, (S != 0).mean(axis=0), atol=0.02)
    assert np.abs(parts - W).max() < 1.0
    np.testing.assert_allclose(
        model.noise_, 1.0, rtol=0.1 if kind is MaximumMagnitudeCausesAnalysis else 0.05
    )
    if kind in (BinarySparseCoding, TernarySparseCoding, MaximalCausesAnalysis):
        np.testing.assert_allclose(model.prior_, (S != 0).mean(), rtol=0.05)
    if kind is DiscreteSparseCoding:
        np.testing.assert_allclose(model.prior_, [(v == S).mean() for v in (0, 1, 2)], atol=0.02)
    found = model.posterior(X)
    assert ((found.marginal > 0.5) == (S != 0)).mean() > 0.98
    assert np.sqrt(np.mean((found.reconstruction - X) ** 2)) < 1.5


def test_binary_bars_are_found_from_noise():
    W = bars.bars_dictionary(10) * 10
    X, _ = bars.bars_data(W, 800, random_state=0)
    model = BinarySparseCoding(random_state=100, max_active=5).fit(X)
    assert bars.match_dictionaries(model.components_, W).errors.max() < 0.5
    assert len(model.bound_) == model.n_iter_ == 150
    assert model.n_states_ == 1 + 10 + 28 + 56 + 70 + 56
    assert model.n_used_ < 800


@pytest.mark.parametrize("kind", ALL)
def test_the_posterior_lists_states_by_probability(kind):
    W, X, _ = drawn(kind, 60)
    model = at_the_truth(kind, W, n_candidates=5, max_active=2, random_state=0).fit(X)
    found = model.posterior(X, top_k=6, adaptive=False)
    assert found.states.shape == (60, 6, 8)
    assert (np.diff(found.log_prob, axis=1) <= 0).all()
    assert (np.exp(found.log_prob).sum(axis=1) <= 1 + 1e-9).all()
    np.testing.assert_allclose(found.mean, model.transform(X), rtol=1e-10, atol=1e-12)
    everything = model.posterior(X, top_k=10**6, adaptive=False)
    np.testing.assert_allclose(np.exp(everything.log_prob).sum(axis=1), 1, rtol=1e-10)
    p = np.exp(everything.log_prob)
    np.testing.assert_allclose(
        everything.marginal, np.einsum("nk,nkh->nh", p, everything.states != 0), atol=1e-10
    )
    if kind is not GaussianSparseCoding:
        np.testing.assert_allclose(everything.mean, np.einsum("nk,nkh->nh", p, everything.states), atol=1e-10)
    else:
        assert set(np.unique(found.states)) <= {0, 1}


def test_a_crowded_sample_gets_more_causes():
    W = bars.bars_dictionary(8) * 10
    X, S = bars.bars_data(W, 300, prob=0.45, noise=1.0, random_state=1)
    model = at_the_truth(
        BinarySparseCoding, W, n_candidates=4, max_active=2, learn=(), pi_init=0.45, sigma_init=1.0
    )
    model.fit(X)
    cut, wide = model.posterior(X, adaptive=False), model.posterior(X)
    assert ((wide.marginal > 0.5) == S).mean() > 0.99 > ((cut.marginal > 0.5) == S).mean()
    assert (wide.n_active > wide.states[:, 0].sum(axis=1))[wide.n_active < 8].all()
    assert wide.n_active.max() > 4
    limited = model.posterior(X, max_active=3, n_candidates=5)
    assert (limited.n_active.max(), limited.n_candidates.max()) == (3, 5)
    assert not limited.success


@pytest.mark.parametrize("kind", ALL)
def test_samples_are_the_models_own(kind):
    W, X, _ = drawn(kind)
    start = {"pi_init": 0.2} if kind is GaussianSparseCoding else {}
    model = at_the_truth(kind, W, random_state=0, learn=("W", "sigma"), **start).fit(X)
    Y, S = model.sample(3000, random_state=1, return_latent=True)
    np.testing.assert_allclose(np.std(Y - model.inverse_transform(S)), model.noise_, rtol=0.05)
    expected = 1 - model.prior_[0] if kind is DiscreteSparseCoding else np.mean(model.prior_)
    np.testing.assert_allclose((S != 0).mean(), expected, atol=0.02)
    assert (model.sample(5, random_state=3) == model.sample(5, random_state=3)).all()


def test_the_score_prefers_the_right_superposition():
    for kind, combine in ((BinarySparseCoding, "sum"), (MaximalCausesAnalysis, "max")):
        W = bars.bars_dictionary(8) * 10
        X, _ = bars.bars_data(W, 500, prob=0.3, noise=1.0, combine=combine, random_state=0)
        scores = {
            other: at_the_truth(other, W, steps=20, random_state=0).fit(X[:400]).score(X[400:])
            for other in (BinarySparseCoding, MaximalCausesAnalysis)
        }
        assert max(scores, key=scores.get) is kind


@pytest.mark.parametrize("kind", ALL)
def test_the_result_does_not_depend_on_where_it_runs(kind):
    W, X, _ = drawn(kind, 300)
    model = at_the_truth(kind, W, n_candidates=6, max_active=3, chunk_size=64, random_state=0)
    one = clone(model).fit(X)
    again = clone(model).fit(X)
    assert (one.components_ == again.components_).all()
    for other in (clone(model).set_params(n_jobs=2), clone(model).set_params(chunk_size=100)):
        other.fit(X)
        np.testing.assert_allclose(other.components_, one.components_, rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(other.noise_, one.noise_, rtol=1e-8)
        np.testing.assert_allclose(other.bound_, one.bound_, rtol=1e-10)


def test_threads_change_no_bit(monkeypatch):
    W, X, _ = drawn(MaximalCausesAnalysis, 700)
    fits = []
    for threads in ("1", "2", "5"):
        monkeypatch.setenv("GOSSAMER_THREADS", threads)
        fits.append(at_the_truth(MaximalCausesAnalysis, W, random_state=0).fit(X).components_)
    assert (fits[0] == fits[1]).all()
    assert (fits[0] == fits[2]).all()


@pytest.mark.parametrize("kind", ALL)
def test_float32_gives_the_same_parameters(kind):
    W, X, _ = drawn(kind)
    wide, narrow = (at_the_truth(kind, W, random_state=0).fit(X.astype(t)) for t in ("float64", "float32"))
    assert narrow.components_.dtype == narrow.transform(X.astype("float32")).dtype == np.float32
    np.testing.assert_allclose(narrow.components_, wide.components_, atol=1e-3)
    np.testing.assert_allclose(narrow.noise_, wide.noise_, rtol=1e-4)


@pytest.mark.parametrize("kind", [BinarySparseCoding, TernarySparseCoding, GaussianSparseCoding])
def test_features_may_be_permuted_and_data_scaled(kind):
    W, X, _ = drawn(kind)
    order = np.random.default_rng(0).permutation(16)
    base = at_the_truth(kind, W, random_state=0).fit(X)
    permuted = at_the_truth(kind, W[:, order], random_state=0).fit(X[:, order])
    np.testing.assert_allclose(permuted.components_, base.components_[:, order], rtol=1e-8, atol=1e-9)
    if kind is not GaussianSparseCoding:  # its first noise has a fixed part
        scaled = at_the_truth(kind, 3 * W, random_state=0).fit(3 * X)
        np.testing.assert_allclose(scaled.components_, 3 * base.components_, rtol=1e-8, atol=1e-9)
        np.testing.assert_allclose(scaled.noise_, 3 * base.noise_, rtol=1e-10)


def test_what_is_not_to_be_learnt_stays():
    W, X, _ = drawn(BinarySparseCoding)
    model = at_the_truth(BinarySparseCoding, W, learn=("sigma",), pi_init=0.3).fit(X)
    assert (model.components_ == W).all()
    assert model.prior_ == 0.3
    model = at_the_truth(GaussianSparseCoding, W, learn=("W",), sigma_init=2.0, random_state=0).fit(X)
    np.testing.assert_allclose(model.noise_, 2.0)
    assert not np.allclose(model.components_, W)


def test_every_knob_of_the_schedule_turns():
    W, X, _ = drawn(BinarySparseCoding)
    base = {"T": 1.0, "truncation": 0.5}
    for kind in (BinarySparseCoding, DiscreteSparseCoding, GaussianSparseCoding):
        plain = kind(8, schedule=AnnealingSchedule(3, **base), W_init=W, random_state=0).fit(X)
        for knob in (
            {"W_noise": 0.1},
            {"pi_noise": 0.05},
            {"sigma_noise": 0.3},
            {"partial": 0.5},
            {"T": 3.0},
        ):
            schedule = AnnealingSchedule(3, **(base | knob))
            model = kind(8, schedule=schedule, W_init=W, random_state=0).fit(X)
            assert not np.array_equal(model.components_, plain.components_)
            assert np.isfinite(model.bound_).all()
    hot = [AnnealingSchedule(3, T=3.0, truncation=0.0, anneal_prior=a) for a in (False, True)]
    a, b = (BinarySparseCoding(8, schedule=s, W_init=W, random_state=0).fit(X) for s in hot)
    assert not np.array_equal(a.components_, b.components_)


def test_extra_steps_end_when_the_bound_does_not_move():
    W, X, _ = drawn(BinarySparseCoding)
    model = at_the_truth(BinarySparseCoding, W, max_extra_iter=200, tol=1e-7, random_state=0).fit(X)
    assert 3 < model.n_iter_ < 203
    assert abs(model.bound_[-1] - model.bound_[-2]) <= 1e-7 * abs(model.bound_[-2])


def test_a_selection_of_ones_own():
    W, X, _ = drawn(BinarySparseCoding)
    own = at_the_truth(BinarySparseCoding, W, n_candidates=5, random_state=0)
    own.set_params(selection=lambda Y, params: -((Y[:, None] - params["W"]) ** 2).sum(axis=2)).fit(X)
    assert np.abs(own.components_ - W).max() < 1
    with pytest.raises(ValueError, match="shape"):
        own.set_params(selection=lambda Y, params: np.zeros((len(Y), 2))).fit(X)


@pytest.mark.parametrize("kind", ALL)
def test_the_smallest_problems_and_zero_rows(kind):
    rng = np.random.default_rng(0)
    for n, d, H in ((2, 1, 1), (30, 1, 1), (30, 3, 1), (5, 4, 6)):
        X = np.abs(rng.normal(size=(n, d)))
        X[0] = 0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = kind(H, max_active=1, schedule=SHORT, random_state=0).fit(X)
        assert np.isfinite(model.components_).all()
        assert np.isfinite(model.transform(X)).all()
        assert np.isfinite(model.score(X))


@pytest.mark.parametrize("kind", ALL)
def test_constant_data_end_at_the_floor_of_the_noise(kind):
    X = np.full((30, 4), 3.0)
    with pytest.warns(ConvergenceWarning, match="floor"):
        model = kind(2, schedule=SHORT, random_state=0).fit(X)
    assert np.isfinite(model.components_).all()


def test_bad_input_is_named():
    X = np.random.default_rng(0).normal(size=(20, 4))
    for options, words in (
        ({"n_components": 0}, "n_components"),
        ({"n_candidates": 9}, "n_candidates"),
        ({"n_candidates": 2, "max_active": 3}, "max_active"),
        ({"n_components": 40, "n_candidates": 40, "max_active": 12}, "states"),
        ({"learn": ("W", "mu")}, "learn"),
        ({"selection": "best"}, "selection"),
        ({"schedule": 100}, "schedule"),
        ({"W_init": np.ones((3, 4))}, "W_init"),
        ({"pi_init": 2}, "pi_init"),
        ({"sigma_init": 0}, "sigma_init"),
        ({"chunk_size": 0}, "chunk_size"),
    ):
        with pytest.raises(ValueError, match=words):
            BinarySparseCoding(**({"n_components": 4} | options)).fit(X)
    with pytest.raises(ValueError, match="NaN"):
        BinarySparseCoding(2).fit(np.where(X > 1, np.nan, X))
    with pytest.raises(ValueError, match="1 sample"):
        BinarySparseCoding(2).fit(X[:1])
    with pytest.raises(ValueError, match="negative"):
        MaximalCausesAnalysis(2, W_init=-np.ones((2, 4))).fit(np.abs(X))
    with pytest.warns(UserWarning, match="negative"):
        MaximalCausesAnalysis(2, schedule=SHORT, random_state=0).fit(X)
    for values in ((1, 2), (0, 1, 1), (0,)):
        with pytest.raises(ValueError, match="values"):
            DiscreteSparseCoding(2, values=values).fit(X)
    with pytest.raises(ValueError, match="pi_init"):
        DiscreteSparseCoding(2, pi_init=[0.5, 0.2, 0.1]).fit(X)
    with pytest.raises(ValueError, match="noise"):
        GaussianSparseCoding(2, noise="white").fit(X)
    model = BinarySparseCoding(3, schedule=SHORT, random_state=0).fit(X)
    with pytest.raises(ValueError, match="top_k"):
        model.posterior(X, top_k=0)
    with pytest.raises(ValueError, match="columns"):
        model.inverse_transform(np.ones((2, 4)))
    with pytest.warns(UserWarning, match="alike"):
        BinarySparseCoding(2, schedule=SHORT, W_init=np.ones((2, 4)), learn=()).fit(X)


def test_zero_may_be_asked_to_be_common():
    _, X, _ = drawn(DiscreteSparseCoding)
    model = DiscreteSparseCoding(8, min_zero_prob=0.9, schedule=SHORT, random_state=0).fit(X)
    np.testing.assert_allclose(model.prior_[0], 0.9)
    np.testing.assert_allclose(model.prior_.sum(), 1)
    shuffled = DiscreteSparseCoding(
        8, values=(2, 0, 1), pi_init=[0.1, 0.7, 0.2], learn=("W",), schedule=SHORT
    ).fit(X)
    np.testing.assert_allclose(shuffled.prior_, [0.1, 0.7, 0.2])


def test_bars_and_their_match():
    W = bars.bars_dictionary(6)
    assert W.shape == (6, 9)
    assert (W.sum(axis=0) == 2).all()
    assert (bars.bars_dictionary(6, negative=True).sum(axis=1) == [3, -3, 3, -3, 3, -3]).all()
    order = [3, 0, 5, 1, 2, 4]
    match = bars.match_dictionaries(-W[order] + 0.1, W, sign_invariant=True)
    assert [order[i] for i in match.order] == list(range(6))
    assert (match.signs == -1).all()
    np.testing.assert_allclose(match.mae, 0.1)
    X, S = bars.bars_data(W, 50, noise=0.0, combine="max", random_state=0)
    np.testing.assert_array_equal(X, (S @ W > 0).astype(float))
    for bad in (
        lambda: bars.bars_dictionary(5),
        lambda: bars.bars_data(W, 0),
        lambda: bars.bars_data(W, 3, combine="min"),
        lambda: bars.match_dictionaries(W[:3], W),
    ):
        with pytest.raises(ValueError):
            bad()
