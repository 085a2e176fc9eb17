"""The search scores what fastrp_embedding gives, repeats itself, and reads no label that it may not."""

import networkx as nx
import numpy as np
import pytest
import scipy.sparse

from gossamer._core.errors import ArgumentError, UnsupportedError
from gossamer.graph import holdout_score, tune_fastrp
from gossamer.graph.embed.panels import compute
from gossamer.graph.embed.settings import Settings


def communities(n=240, seed=0):
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 3, n)
    S = np.triu(rng.random((n, n)) < np.where(label[:, None] == label, 0.12, 0.02), 1)
    return scipy.sparse.csr_array((S + S.T) * 1.0), label


@pytest.mark.filterwarnings("ignore:.*have no edges")
@pytest.mark.parametrize("q", [1, 4, (3, 9)])
def test_what_is_scored_is_the_embedding_with_those_parameters(q):
    A, _ = communities()
    seen = []
    found = tune_fastrp(
        A, lambda X: seen.append(X) or len(seen) % 5, d=32, n_trials=7, q=q, trials_per_beta=3, random_state=3
    )
    assert len(seen) == len(found.history["score"]) == 7
    assert found.score == max(found.history["score"]) == 4
    assert found.params == {"weights": found.history["weights"][3], "beta": found.history["beta"][3]}
    seed = int(np.random.default_rng(3).integers(1 << 63))
    for X, weights, beta in zip(seen, found.history["weights"], found.history["beta"], strict=True):
        expected = np.empty((240, 32), np.float32)
        compute(Settings(32, weights, beta).plan(A, seed), expected)
        expected = (expected - expected.mean(0)) / expected.std(0)
        np.testing.assert_allclose(X, expected, atol=2e-3)


def test_draws_fill_their_ranges_evenly_and_follow_from_the_seed():
    G = nx.karate_club_graph()
    options = {"d": 8, "n_trials": 20, "beta_range": (-0.8, 0.2), "weight_range": (2, 32), "random_state": 1}
    found = tune_fastrp(G, lambda X: float(X[0, 0]), **options)
    again = tune_fastrp(G, lambda X: float(X[0, 0]), **options)
    assert found.history == again.history
    assert tune_fastrp(G, np.sum, **{**options, "random_state": 2}).history["beta"] != found.history["beta"]
    parts = sorted({int((b + 0.8) / 0.2) for b in found.history["beta"]})
    assert parts == list(range(5))
    weights = np.array(found.history["weights"])
    np.testing.assert_array_equal(weights[:, :3], np.tile([0, 0, 1], (20, 1)))
    assert sorted((np.log2(weights[:, 3]) - 1) // 0.2) == list(range(20))
    wide = tune_fastrp(G, np.sum, d=8, n_trials=40, q=(4, 24), random_state=0).history["weights"]
    lengths = {len(w) for w in wide}
    assert min(lengths) == 4
    assert max(lengths) == 24
    for w in wide:
        grown = np.trim_zeros(w)
        np.testing.assert_allclose(np.diff(np.log(grown)), np.log(grown[-1] / grown[0]) / (len(grown) - 1))


@pytest.mark.filterwarnings("ignore:.*have no edges")
def test_communities_are_found_and_hidden_labels_do_not_matter():
    A, label = communities()
    rng = np.random.default_rng(0)
    nodes, steps = rng.permutation(240)[:90], []
    found = tune_fastrp(
        A, holdout_score(label, nodes, random_state=0), d=32, n_trials=8, random_state=0,
        progress=lambda *step: steps.append(step),
    )  # fmt: skip
    assert steps == [(i, 8) for i in range(1, 9)]
    assert found.score > 0.6
    scrambled = rng.integers(0, 9, 240)
    scrambled[nodes] = label[nodes]
    mask = np.zeros(240, bool)
    mask[nodes] = True
    again = tune_fastrp(A, holdout_score(scrambled, mask, random_state=0), d=32, n_trials=8, random_state=0)
    assert again.history == found.history


def test_nodes_that_judge_are_not_learnt_from():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(400, 60)), rng.integers(0, 2, 400)
    by_heart = holdout_score(y, np.arange(400), C=1e6, validation=0.5, repeats=8, random_state=0)
    assert abs(by_heart(X) - 0.5) < 0.1
    assert by_heart(np.column_stack([X, y])) > 0.99


def test_several_labels_are_scored_by_micro_f1_with_their_number_given():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 4))
    labels = X + np.array([0.3, 0, -0.3, 0]) > 0
    labels[:, 3] = False
    score = holdout_score(labels, np.arange(200), C=10, random_state=0)
    assert score(X) > 0.95
    assert score(rng.normal(size=(300, 4))) < 0.75


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"score_fn": 3}, UnsupportedError, "score_fn is a int"),
        ({"score_fn": lambda X: np.nan}, ArgumentError, "score_fn gives nan"),
        ({"n_trials": 0}, ArgumentError, "n_trials=0"),
        ({"beta_range": (0, -1)}, ArgumentError, "beta_range"),
        ({"beta_range": (-2, 0)}, ArgumentError, "beta_range"),
        ({"weight_range": (0, 1)}, ArgumentError, "weight_range"),
        ({"weight_range": 4}, ArgumentError, "weight_range=4"),
        ({"q": 0}, ArgumentError, "q=0"),
        ({"q": (5, 4)}, ArgumentError, "lower one first"),
        ({"trials_per_beta": 0}, ArgumentError, "trials_per_beta=0"),
        ({"d": 0}, ArgumentError, "d=0"),
    ],
)
def test_bad_input_is_refused_by_name(options, error, match):
    with pytest.raises(error, match=match):
        tune_fastrp(nx.karate_club_graph(), **{"score_fn": np.sum, "d": 4, "n_trials": 2, **options})


@pytest.mark.parametrize(
    ("labels", "nodes", "match"),
    [
        (np.zeros((2, 2, 2)), [0], r"labels=.*\(2, 2, 2\)"),
        (np.arange(9), [9], "from 0 to 8"),
        (np.arange(9), [-1], "from 0 to 8"),
        (np.arange(9), [0.5], "float64"),
        (np.arange(9), [4], "enough to hold back"),
        (np.zeros(9), np.arange(9), "two classes"),
    ],
)
def test_labels_that_cannot_be_split_are_refused(labels, nodes, match):
    with pytest.raises(ArgumentError, match=match):
        holdout_score(labels, nodes)
