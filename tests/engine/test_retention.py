"""Retention compares embeddings by what a search would return."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.engine.retention import retention


def embeddings(n=40, d=8, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d))


def test_the_same_embeddings_lose_nothing():
    found = retention(embeddings(), embeddings())
    assert found.spearman == pytest.approx(1)
    assert found.overlap == 1
    assert found.cosine == pytest.approx(1)


@given(st.integers(0, 1000))
def test_rotation_and_scaling_of_rows_change_no_order(seed):
    rng = np.random.default_rng(seed)
    a = embeddings(seed=seed)
    rotation = np.linalg.qr(rng.standard_normal((8, 8)))[0]
    found = retention(a, (a @ rotation) * rng.uniform(0.5, 2, (40, 1)))
    assert found.spearman == pytest.approx(1, abs=1e-6)
    assert found.overlap == pytest.approx(1, abs=1e-9)


def test_agrees_with_a_plain_count():
    a, b = embeddings(20, 5, 1), embeddings(20, 7, 2)
    found = retention(a, b, neighbours=3)
    cos = [x @ x.T for x in (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (a, b))]
    pairs = [[c[i, j] for i in range(20) for j in range(i)] for c in cos]
    assert found.spearman == pytest.approx(spearmanr(*pairs).statistic)
    near = [
        [set(sorted((j for j in range(20) if j != i), key=lambda j: -c[i, j])[:3]) for i in range(20)]
        for c in cos
    ]
    assert found.overlap == pytest.approx(np.mean([len(x & y) / 3 for x, y in zip(*near)]))
    assert np.isnan(found.cosine), "embeddings of different widths have no common direction"


def test_inputs_are_not_changed_and_float32_is_taken():
    a = embeddings().astype(np.float32)
    before = a.copy()
    retention(a, a)
    np.testing.assert_array_equal(a, before)


def test_bad_input_names_the_argument():
    with pytest.raises(ShapeError, match="40 rows, embeddings 39"):
        retention(embeddings(), embeddings(39))
    with pytest.raises(ArgumentError, match=r"embeddings.*row 3 of zeros"):
        retention(embeddings(), np.where(np.arange(40)[:, None] == 3, 0, embeddings()))
    with pytest.raises(ArgumentError, match="neighbours"):
        retention(embeddings(), embeddings(), neighbours=40)
