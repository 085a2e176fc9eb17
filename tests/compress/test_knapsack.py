"""The allocation's choices against all choices."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossamer._core.errors import ArgumentError
from gossamer.compress.allocate import cheapest_within, choose


def _brute(cost, loss, limit):
    best = np.inf
    for pick in itertools.product(*[range(cost.shape[1])] * len(cost)):
        rows = np.arange(len(cost))
        if loss[rows, pick].sum() <= limit:
            best = min(best, cost[rows, pick].sum())
    return best


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 4), st.floats(0, 1))
def test_the_choice_keeps_the_limit_and_is_within_one_layer_of_the_optimum(seed, layers, options, share):
    generator = np.random.default_rng(seed)
    cost, loss = generator.random((2, layers, options))
    least, most = loss.min(axis=1).sum(), loss.max(axis=1).sum()
    limit = least + share * (most - least) + 1e-12
    picked = cheapest_within(cost, loss, limit)
    rows = np.arange(layers)
    assert loss[rows, picked].sum() <= limit + 1e-9
    assert cost[rows, picked].sum() <= _brute(cost, loss, limit) + np.ptp(cost, axis=1).max() + 1e-9


def test_a_limit_below_the_least_loss_is_refused():
    cost, loss = np.ones((2, 2)), np.array([[1.0, 2.0], [3.0, 4.0]])
    with pytest.raises(ArgumentError, match="at least 4"):
        cheapest_within(cost, loss, 3.9)


def test_the_multiplier_prices_loss():
    cost, loss = np.array([[1.0, 3.0]]), np.array([[1.0, 0.0]])
    assert choose(cost, loss, 1.0)[0] == 0
    assert choose(cost, loss, 3.0)[0] == 1
    assert choose(cost, loss, np.inf)[0] == 1
