"""The reference sampler agrees with transformers' logits processors and with hand-made cases."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossamer._core.errors import ArgumentError
from gossamer.engine.sampling import Sampling, distribution, penalise, sample


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    temperature=st.floats(0.1, 5),
    top_k=st.integers(0, 40),
    top_p=st.floats(0.05, 1),
    penalty=st.floats(0.5, 2),
)
def test_distribution_agrees_with_transformers(seed, temperature, top_k, top_p, penalty):
    torch = pytest.importorskip("torch")
    hf = pytest.importorskip("transformers.generation.logits_process")
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, 30)
    seen = rng.integers(0, 30, 7)
    chain = [hf.RepetitionPenaltyLogitsProcessor(penalty), hf.TemperatureLogitsWarper(temperature)]
    chain += [hf.TopKLogitsWarper(top_k)] if top_k else []
    chain += [hf.TopPLogitsWarper(top_p)]
    scores = torch.from_numpy(logits)[None]
    for processor in chain:
        scores = processor(torch.from_numpy(seen)[None], scores)
    ours = distribution(logits, seen, Sampling(temperature, top_k, top_p, penalty))
    np.testing.assert_allclose(ours, torch.softmax(scores, -1)[0].numpy(), atol=1e-9)


def test_temperature_zero_is_the_argmax_after_the_penalty():
    logits = np.array([3.0, 2.9, -1.0])
    assert distribution(logits, [], Sampling()).tolist() == [1, 0, 0]
    assert distribution(logits, [0], Sampling(repetition_penalty=1.5)).tolist() == [0, 1, 0]


def test_penalty_pushes_both_signs_down_once():
    np.testing.assert_allclose(penalise(np.array([2.0, -2.0, 1.0]), [0, 1, 1], 2.0), [1.0, -4.0, 1.0])


def test_equal_logits_keep_the_smaller_ids():
    probabilities = distribution(np.zeros(6), [], Sampling(temperature=1, top_k=2))
    assert probabilities.tolist() == [0.5, 0.5, 0, 0, 0, 0]


def test_frequencies_follow_the_distribution():
    logits, settings_ = np.array([1.0, 0.5, -1.0, 2.0]), Sampling(temperature=0.8, top_k=3)
    rng = np.random.default_rng(0)
    counts = np.bincount([sample(logits, [], settings_, rng) for _ in range(4000)], minlength=4)
    np.testing.assert_allclose(counts / 4000, distribution(logits, [], settings_), atol=0.03)


def test_huge_logits_do_not_overflow():
    probabilities = distribution(np.array([1e30, -1e30, 1e30]), [], Sampling(temperature=0.01))
    np.testing.assert_allclose(probabilities, [0.5, 0, 0.5])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -1),
        ("temperature", float("nan")),
        ("temperature", "hot"),
        ("top_k", -1),
        ("top_k", 2.5),
        ("top_p", 0),
        ("top_p", 1.1),
        ("repetition_penalty", 0),
        ("seed", -1),
        ("seed", 1.0),
    ],
)
def test_settings_out_of_range_are_named(name, value):
    with pytest.raises(ArgumentError, match=name):
        Sampling(**{name: value})


def test_a_missing_seed_is_drawn():
    first, second = Sampling().seeded(), Sampling().seeded()
    assert first.seed is not None
    assert first.seed != second.seed
    assert Sampling(seed=5).seeded().seed == 5
