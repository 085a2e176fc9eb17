"""Random places: every one as likely as another, none twice, none that is taken."""

import numpy as np
import pytest
import scipy.stats

from gossamer._core.errors import ArgumentError
from gossamer.linalg import draw_positions, empty_positions, erdos_renyi_count


def test_the_count_is_linear_in_the_units_and_at_most_all():
    assert erdos_renyi_count(784, 1000, 13) == 23192
    assert erdos_renyi_count(10, 7, 0.5) == 8
    assert erdos_renyi_count(3, 4, 13) == 12
    with pytest.raises(ArgumentError, match="epsilon=0"):
        erdos_renyi_count(3, 4, 0)


def test_draws_are_distinct_ascending_and_uniform():
    rng = np.random.default_rng(0)
    for total, count in ((50, 50), (1000, 3), (10**12, 500), (7, 0)):
        places = draw_positions(total, count, rng)
        assert len(places) == count
        assert (np.diff(places) > 0).all()
        assert not count or (places[0] >= 0 and places[-1] < total)
    seen = np.bincount(np.concatenate([draw_positions(40, 5, rng) for _ in range(4000)]), minlength=40)
    assert scipy.stats.chisquare(seen).pvalue > 1e-3
    with pytest.raises(ArgumentError, match="count=8"):
        draw_positions(7, 8, rng)


@pytest.mark.parametrize("taken", [[], [0], [5, 6, 7], [0, 1, 2, 3, 4], [9], list(range(10))])
def test_ranks_lead_to_the_empty_places_in_order(taken):
    expected = np.setdiff1d(np.arange(10), taken)
    found = empty_positions(np.array(taken, np.int64), np.arange(len(expected)))
    np.testing.assert_array_equal(found, expected)
