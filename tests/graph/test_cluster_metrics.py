"""Clusters are scored after the matching with classes that no permutation betters."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score, f1_score, normalized_mutual_info_score

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.graph import cluster_metrics


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 5), st.integers(1, 40))
def test_scores_are_those_of_the_best_permutation(seed, classes, clusters, n):
    rng = np.random.default_rng(seed)
    y, found = rng.integers(classes, size=n), rng.integers(clusters, size=n)
    width = max(classes, clusters)
    renamed = [np.array(names)[found] for names in itertools.permutations(range(width))]
    best = max(float(np.mean(y == names)) for names in renamed)
    scores = cluster_metrics(y, found)
    assert scores["acc"] == pytest.approx(best)
    f1 = {
        round(f1_score(y, names, labels=np.unique(y), average="macro", zero_division=0), 9)
        for names in renamed
        if np.mean(y == names) == best
    }
    assert round(scores["f1"], 9) in f1
    assert scores["nmi"] == pytest.approx(normalized_mutual_info_score(y, found))
    assert scores["ari"] == pytest.approx(adjusted_rand_score(y, found))


def test_names_do_not_matter_and_numbers_may_differ():
    y = np.array(["a", "a", "b", "b", "c", "c"])
    assert set(cluster_metrics(y, [9, 9, -1, -1, 4, 4]).values()) == {1.0}
    merged = cluster_metrics(y, [0, 0, 1, 1, 1, 1])
    assert merged["acc"] == pytest.approx(4 / 6)
    assert merged["f1"] == pytest.approx((1 + 2 / 3 + 0) / 3)
    split = cluster_metrics(y, [0, 1, 2, 2, 3, 3])
    assert split["acc"] == pytest.approx(5 / 6)
    assert split["f1"] == pytest.approx((2 / 3 + 1 + 1) / 3)


def test_bad_input_is_named():
    for error, y, found in [
        (ShapeError, [0, 1], [0]),
        (ShapeError, [[0, 1]], [[0, 1]]),
        (ArgumentError, [], []),
    ]:
        with pytest.raises(error, match="y_true"):
            cluster_metrics(y, found)
