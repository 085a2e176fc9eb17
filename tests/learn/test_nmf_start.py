"""Starting from the shapes of a factorisation: sizes, maxima of many causes, bad input."""

import numpy as np
import pytest

from gossamer._core.errors import ArgumentError
from gossamer.learn import AnnealingSchedule, MaximalCausesAnalysis, bars, nmf_start


def test_parts_that_do_not_overlap_are_found_with_their_sizes():
    rng = np.random.default_rng(0)
    W = np.kron(np.eye(3), [1.0, 2.0, 0.5]) * np.array([[3.0], [5.0], [8.0]])
    S = rng.random((400, 3)) < 0.4
    start = nmf_start(S @ W, 3, random_state=0)
    order = start.argmax(axis=1).argsort()
    assert np.allclose(start[order], W, atol=0.05)


def test_maxima_of_many_causes_are_learnt_from_it():
    W = bars.bars_dictionary(8) * 10
    X, S = bars.bars_data(W, 600, prob=0.5, noise=1.0, combine="max", random_state=3)
    start = nmf_start(X, 8, random_state=0)

    def fitted(W_init, n_steps, learn):
        schedule = AnnealingSchedule(n_steps, T=1.0)
        options = {"n_candidates": 8, "max_active": 8, "schedule": schedule, "learn": learn}
        with pytest.warns(UserWarning, match="negative"):
            return MaximalCausesAnalysis(8, W_init=W_init, **options).fit(X)

    def wrong(model, order):
        return ((model.posterior(X, top_k=1).marginal[:, order] > 0.5) != (S > 0)).mean()

    model, truth = fitted(start, 25, ("W", "pi", "sigma")), fitted(W, 5, ("pi", "sigma"))
    match = bars.match_dictionaries(model.components_, W)
    assert match.errors.max() < 0.5
    assert abs(model.noise_ - 1) < 0.1
    # where all rows are there, nothing tells of columns: the true parts are wrong there, too
    assert wrong(model, match.order) < wrong(truth, np.arange(8)) + 0.005


def test_the_same_seed_draws_the_same_start_and_few_rows_do():
    X = np.abs(np.random.default_rng(1).standard_normal((300, 12)))
    assert np.array_equal(nmf_start(X, 4, rows=50, random_state=2), nmf_start(X, 4, rows=50, random_state=2))
    assert (nmf_start(X - 0.5, 4, random_state=2) >= 0).all()


@pytest.mark.parametrize(
    ("X", "n", "message"),
    [
        (np.ones((3, 4)), 5, "at most as many parts as samples"),
        (-np.ones((9, 4)), 2, "no positive entry"),
        (np.ones(4), 2, "X"),
        (np.ones((9, 4)), 0, "n_components"),
        (np.full((9, 4), np.nan), 2, "X"),
    ],
)
def test_bad_input(X, n, message):
    with pytest.raises((ArgumentError, ValueError), match=message):
        nmf_start(X, n)
