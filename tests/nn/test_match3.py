"""Match3: labels by definition, and a closed construction that is right on every input tried."""

import itertools

import numpy as np
import pytest

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.nn import match3_construction, match3_dataset, tensor_attention
from gossamer.nn.attention.match3 import match3_labels


def solved(tokens, M):
    Q, K1, K2, V1, V2, pair_mask = match3_construction(tokens, M)
    out = tensor_attention(Q, (K1, K2), (V1, V2), scale=1.0, mode="exact", pair_mask=pair_mask)
    return out[..., 0] > 0.5


def test_labels_are_their_definition():
    tokens, labels = match3_dataset(30, N=5, M=17, seed=1)
    for x, y in zip(tokens.tolist(), labels.tolist(), strict=True):
        for i in range(5):
            assert y[i] == any(
                (x[i] + x[j] + x[k]) % 17 == 0 for j, k in itertools.product(range(5), repeat=2)
            )


def test_about_half_of_the_labels_are_positive_and_seeds_repeat():
    tokens, labels = match3_dataset(4000)
    assert tokens.dtype == np.int64
    assert labels.dtype == bool
    assert labels.mean() == pytest.approx(0.536, abs=0.01)
    np.testing.assert_array_equal(match3_dataset(4000)[0], tokens)


def test_the_construction_solves_random_sequences():
    tokens, labels = match3_dataset(1000)
    np.testing.assert_array_equal(solved(tokens, 101), labels)


@pytest.mark.parametrize("M", [2, 3, 7, 12, 99, 1000])
def test_the_construction_solves_adversarial_sequences(M):
    near = [1, 0, 0], [M - 1, 0, 0], [1, M - 1, 1], [M // 2, M // 2, 1]
    equal = ([value] * 3 for value in {0, M // 3, M // 2, M - 1})
    for x in (*near, *equal):
        tokens = np.array(x, np.int64)
        np.testing.assert_array_equal(solved(tokens, M), match3_labels(tokens, M), err_msg=str(x))


def test_bad_input_is_refused():
    for call, message in (
        (lambda: match3_dataset(-1), "n_samples"),
        (lambda: match3_dataset(1, M=1), "M="),
        (lambda: match3_construction([0.5], 7), "integers"),
        (lambda: match3_construction([1], 7, gamma=0), "gamma"),
    ):
        with pytest.raises(ArgumentError, match=message):
            call()
    with pytest.raises(ShapeError, match="tokens"):
        match3_construction(np.int64(3), 7)
