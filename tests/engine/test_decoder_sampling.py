"""The native sampler draws from the distribution that the reference describes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossamer._kernels import _native
from gossamer.engine.sampling import Sampling, distribution


def draw(logits, seen, sampling, uniform):
    return _native.decoder.draw(
        logits,
        seen,
        sampling.temperature,
        sampling.top_k,
        sampling.top_p,
        sampling.repetition_penalty,
        uniform,
    )


@given(
    st.integers(1, 80),
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.0, 0.5, 1.0, 2.0]),
    st.sampled_from([0, 1, 5, 200]),
    st.sampled_from([0.05, 0.6, 0.95, 1.0]),
    st.sampled_from([1.0, 1.3]),
)
@settings(max_examples=100, deadline=None)
def test_frequencies_over_a_grid_of_numbers_are_the_probabilities(size, seed, temperature, k, p, penalty):
    rng = np.random.default_rng(seed)
    logits = (3 * rng.standard_normal(size)).astype(np.float32)
    seen = rng.integers(0, size, 5).tolist()
    sampling = Sampling(temperature, k, p, penalty)
    wanted = distribution(logits, seen, sampling)
    grid = 400
    drawn = [draw(logits, seen, sampling, (i + 0.5) / grid) for i in range(grid)]
    frequency = np.bincount(drawn, minlength=size) / grid
    # every id takes one interval of [0, 1), so counts on an even grid are off by one at most
    assert np.abs(frequency - wanted).max() <= 1.5 / grid


def test_equal_logits_prefer_small_ids():
    logits = np.zeros(50, np.float32)
    assert draw(logits, [], Sampling(0.0), 0.0) == 0
    assert {draw(logits, [], Sampling(1.0, top_k=3), u) for u in np.linspace(0, 0.999, 50)} == {0, 1, 2}


def test_ids_outside_the_vocabulary_are_refused():
    with pytest.raises(ValueError, match="vocabulary"):
        draw(np.zeros(4, np.float32), [4], Sampling(), 0.0)
