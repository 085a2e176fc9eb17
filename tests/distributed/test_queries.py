"""Queries on a cluster of two workers give what f gives here."""

import numpy as np
import pytest

from gossamer._core.errors import ArgumentError
from gossamer.distributed import query_map
from gossamer.linalg import sparse_wht


def pairs(bits):
    return 2.0 - 4.0 * (bits[:, 1] ^ bits[:, 6])


@pytest.mark.parametrize("pieces", [None, 1, 5])
def test_answers_come_back_in_order(client, pieces):
    rows = np.random.default_rng(0).integers(0, 2, (101, 8))
    assert np.array_equal(query_map(pairs, client, pieces)(rows), pairs(rows))
    assert np.array_equal(query_map(pairs, pieces=pieces)(rows[:1]), pairs(rows[:1]))


def test_a_sparse_transform_asks_the_workers(client):
    result = sparse_wht(query_map(pairs, client), 20, 1, random_state=0)
    assert result.interactions() == [((1, 6), pytest.approx(2.0))]


def test_bad_input_is_named():
    with pytest.raises(ArgumentError, match="f is a int"):
        query_map(3)
    with pytest.raises(ArgumentError, match="pieces=0"):
        query_map(pairs, object(), 0)
