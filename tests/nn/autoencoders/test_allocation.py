"""Allocations spend exactly their budget, on the best matches, and remember how to do it without a batch."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.nn import (
    DensityTracker,
    FeatureChoice,
    MutualChoice,
    SparseCodes,
    TokenChoice,
    ZipfSchedule,
    top_overall,
    top_per_feature,
    top_per_token,
)
from gossamer.nn.autoencoders.zipf import Rounding


def importance(z, codes):
    return float((z * codes.mask()).sum())


def draw(n, f, seed=0, ties=False):
    rng = np.random.default_rng(seed)
    z = rng.integers(-2, 4, (n, f)).astype(float) if ties else rng.standard_normal((n, f))
    return torch.from_numpy(z)


def best(z, allowed):
    """The largest sum over all 0/1 matrices that ``allowed`` accepts, by enumeration."""
    n, f = z.shape
    return max(
        float((z.numpy() * s).sum())
        for bits in itertools.product((0, 1), repeat=n * f)
        if allowed(s := np.reshape(bits, (n, f)))
    )


@pytest.mark.parametrize("ties", [False, True])
def test_no_allowed_matches_are_worth_more(ties):
    for seed in range(2):
        z = draw(3, 4, seed, ties)
        m = np.array([1, 2, 0, 1])
        for codes, allowed in (
            (top_per_token(z, 2), lambda s: (s.sum(axis=1) <= 2).all()),
            (top_overall(z, 5), lambda s: s.sum() <= 5),
            (top_per_feature(z, m), lambda s, m=m: (s.sum(axis=0) <= m).all()),
        ):
            assert allowed(codes.mask().numpy())
            assert importance(z, codes) == pytest.approx(best(z, allowed))
            assert (z[codes.mask()] > 0).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 12), st.integers(1, 20), st.data())
def test_mutual_choice_is_never_worth_less_than_the_others(n, f, data):
    z = draw(n, f, data.draw(st.integers(0, 99)), data.draw(st.booleans()))
    k = data.draw(st.integers(1, f))
    mutual = top_overall(z, k * n)
    m = Rounding(f).next(np.full(f, k * n / f), k * n).clip(max=n)
    assert mutual.nnz == min(k * n, int((z > 0).sum()))
    assert importance(z, mutual) >= importance(z, top_per_token(z, k)) - 1e-12
    assert importance(z, mutual) >= importance(z, top_per_feature(z, m)) - 1e-12


def test_limits_where_the_rules_coincide():
    z = draw(1, 30)
    assert torch.equal(top_overall(z, 4).indices, top_per_token(z, 4).indices)
    z = draw(7, 30)
    assert torch.equal(top_per_feature(z, np.full(30, 7)).to_dense(), z.clamp(min=0))


def test_of_equal_entries_the_first_stays():
    z = torch.ones(3, 4)
    assert top_per_token(z, 2).indices.tolist() == [[n, f] for n in range(3) for f in range(2)]
    assert top_overall(z, 5).indices.tolist() == [[0, 0], [0, 1], [0, 2], [0, 3], [1, 0]]
    assert top_per_feature(z, np.array([1, 0, 2, 0])).indices.tolist() == [[0, 0], [0, 2], [1, 2]]


def test_codes_convert_and_come_back():
    z = draw(6, 9)
    codes = top_per_token(z, 3)
    dense = codes.to_dense()
    assert np.array_equal(codes.to_csr().toarray(), dense.float().numpy())
    assert torch.equal(SparseCodes.from_dense(dense).indices, codes.indices)
    start, tokens, places = codes.by_feature()
    assert np.array_equal(np.diff(start), codes.per_feature)
    assert np.array_equal(codes.tokens[places], tokens)
    with pytest.raises(ArgumentError, match="column indices"):
        SparseCodes(np.array([0, 1]), np.array([9]), torch.ones(1), 9)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_values_keep_their_type(dtype):
    codes = top_overall(draw(5, 8).to(dtype), 6)
    assert codes.values.dtype == dtype
    assert codes.nnz == 6


def test_zipf_fit_finds_the_law_again():
    rng = np.random.default_rng(0)
    for a, b in ((1.0, 5.0), (0.7, 40.0), (1.6, 0.5)):
        law = ZipfSchedule.of(a, b, 2000, 20.0)
        p = np.minimum(1, law.density * np.exp(0.01 * rng.standard_normal(2000)))
        found = ZipfSchedule.fit(rng.permutation(p), 20.0)
        assert abs(found.a - a) < 0.05
        assert found.density.sum() == pytest.approx(20, abs=1e-9)
        assert found.r2 > 0.99
        assert found.score(p, 10, 1600) > 0.99


def test_law_whose_top_is_capped_still_adds_up():
    law = ZipfSchedule.of(2.0, 0.0, 50, 10.0)
    assert law.density[0] == 1
    assert law.density.sum() == pytest.approx(10)
    assert (np.diff(law.density) <= 0).all()
    assert ZipfSchedule.of(0.0, 0.0, 8, 8.0).density.tolist() == [1.0] * 8


def test_unused_features_do_not_enter_the_fit():
    p = np.concatenate([ZipfSchedule.of(1, 3, 100, 5).density, np.zeros(20)])
    assert ZipfSchedule.fit(p).a == pytest.approx(1, abs=0.02)
    with pytest.raises(ArgumentError, match="2 features in use"):
        ZipfSchedule.fit([0.1, 0.2, 0, 0])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_rounding_follows_its_rates_to_within_one(seed):
    rng = np.random.default_rng(seed)
    rate = rng.dirichlet(np.full(60, 0.3)) * 40
    rounding, given = Rounding(60), np.zeros(60)
    for t in range(1, 400):
        m = rounding.next(rate, 40)
        assert m.sum() == 40
        assert m.min() >= 0
        given += m
        assert np.abs(given / t - rate).max() <= 1 / t + 1e-9


def test_feature_choice_pays_small_shares_in_some_batches():
    law = ZipfSchedule.of(1.2, 2.0, 100, 4.0)
    choice = FeatureChoice(4, zipf=law)
    choice.bind(100)
    with pytest.warns(UserWarning, match="some batches"):
        first = choice.budget(50)
    total = first + sum(choice.budget(50) for _ in range(199))
    assert (total > 0).all()
    assert np.abs(total / 200 / 50 - law.density).max() <= 1 / (200 * 50) + 1e-12


def test_ranks_follow_densities_and_rotate_among_the_dead():
    law = ZipfSchedule.of(1.0, 1.0, 5, 1.0)
    wanted = law.targets([0.1, 0.5, 0, 0.2, 0])
    assert np.array_equal(np.argsort(-wanted), [1, 3, 0, 2, 4])
    assert np.array_equal(np.argsort(-law.targets([0.1, 0.5, 0, 0.2, 0], rotation=3)), [1, 3, 0, 4, 2])


def test_thresholds_reproduce_the_budget_without_a_batch():
    torch.manual_seed(0)
    z = torch.randn(2000, 50)
    for choice in (MutualChoice(4), FeatureChoice(4)):
        choice.bind(50)
        assert not choice.ready
        with pytest.raises(ArgumentError, match="thresholds"):
            choice.select_alone(z)
        for part in z.split(200):
            choice.observe(choice.select(part))
        alone = choice.select_alone(z)
        assert alone.nnz == pytest.approx(4 * 2000, rel=0.06)
        assert torch.equal(choice.select_alone(z[:7]).to_dense(), alone.to_dense()[:7])


def test_thresholds_of_rare_features_follow_what_is_kept_now():
    choice = FeatureChoice(1, m=np.array([1]))
    choice.bind(1)
    for value in np.linspace(10, 1, 40):
        choice.observe(choice.select(torch.tensor([[value]])))
    assert 1 < float(choice.bound) < 2.5  # an average of all would be 5.5, one that decays by .99 above 8


def test_density_is_an_average_and_silence_is_counted():
    tracker = DensityTracker(3, window=100)
    for _ in range(50):
        tracker.update_counts(np.array([10, 5, 0]), 10)
    assert tracker.density == pytest.approx([1, 0.5, 0])
    assert tracker.dead(500).tolist() == [False, False, True]
    tracker.update_counts(np.array([0, 0, 1]), 10)
    assert tracker.silent.tolist() == [10, 10, 0]


def test_bad_budgets_are_refused():
    z = draw(4, 6)
    with pytest.raises(ArgumentError, match="k=7"):
        top_per_token(z, 7)
    with pytest.raises(ArgumentError, match="budget=25"):
        top_overall(z, 25)
    with pytest.raises(ShapeError, match="6 integers"):
        top_per_feature(z, np.ones(5, int))
    with pytest.raises(ArgumentError, match=r"0\.\.4"):
        top_per_feature(z, np.full(6, 5))
    with pytest.raises(ArgumentError, match="N=0"):
        top_per_token(z[:0], 1)
    with pytest.raises(ArgumentError, match="number of features"):
        TokenChoice(9).bind(8)
    with pytest.raises(ArgumentError, match="m"):
        FeatureChoice(2, m=[-1, 3])
    with pytest.raises(ArgumentError, match="one of them"):
        FeatureChoice(2, m=[1], zipf=ZipfSchedule.of(1, 1, 1, 1))
    with pytest.raises(ShapeError, match="m has 3"):
        FeatureChoice(2, m=[1, 1, 1]).bind(4)
