"""The selector keeps scikit-learn's contract, and columns that belong together."""

import numpy as np
import pytest
import scipy.sparse
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from gossamer._core.errors import ArgumentError
from gossamer.learn import (
    QuickSelection,
    clustering_accuracy,
    neuron_strength,
    selection_scores,
)
from gossamer.learn.select.column_scale import ColumnScale


@parametrize_with_checks(
    [QuickSelection(0.5, n_hidden=6, epochs=2), QuickSelection(1, n_hidden=6, epochs=1, n_runs=1)]
)
def test_it_keeps_the_contract_of_scikit_learn(estimator, check):
    check(estimator)


def planted(seed, factors=5, informative=40, noise=160, rows=1000):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((rows, factors)) @ rng.standard_normal((factors, informative))
    X = np.c_[X / X.std(axis=0), rng.standard_normal((rows, noise))]
    order = rng.permutation(informative + noise)
    return X[:, order], order < informative


def small(K=10, **options):
    return QuickSelection(K, **{"n_hidden": 60, "epochs": 3, "random_state": 0, **options})


@pytest.mark.parametrize("seed", [0, 1])
def test_columns_with_a_common_cause_are_found_among_noise(seed):
    X, informative = planted(seed)
    selector = QuickSelection(40, n_hidden=200, epochs=30, random_state=seed).fit(X)
    assert informative[selector.support_].mean() >= 0.9
    assert selector.history_["loss"][-1] < selector.history_["loss"][0]


def test_a_copy_of_a_column_ranks_near_it():
    X, informative = planted(3)
    chosen = np.flatnonzero(informative)[:5]
    selector = QuickSelection(40, n_hidden=200, epochs=30, random_state=0).fit(np.c_[X, X[:, chosen]])
    share = selector.ranking_ / len(selector.ranking_)
    random_pairs = 1 / 3  # what two columns drawn at random differ by
    assert np.abs(share[chosen] - share[-5:]).mean() < random_pairs / 2


def test_digits_are_classified_better_than_from_random_pixels():
    X, y = load_digits(return_X_y=True)
    support = QuickSelection(16, n_hidden=200, epochs=20, random_state=0).fit(X).support_
    ours = selection_scores(X, y, support, random_state=0)
    rng = np.random.default_rng(0)
    others = [
        selection_scores(X, y, rng.permutation(64)[:16], n_init=1, random_state=0).accuracy for _ in range(5)
    ]
    assert ours.accuracy > np.mean(others) + 0.03
    assert 0.3 < ours.nmi < 1
    assert 0.3 < ours.clustering_accuracy <= 1


def test_what_it_learns_and_keeps():
    X, _ = planted(0, noise=20)
    selector = small(epochs=4).fit(X)
    model = selector.autoencoder_
    assert selector.n_iter_ == len(selector.history_["loss"]) == len(selector.history_["seconds"]) == 4
    assert selector.history_["strength"].shape == (4, 60)
    first, last = (w.toarray() for w in model.weights)
    np.testing.assert_allclose(selector.scores_, np.abs(first).sum(axis=1), rtol=1e-5)
    np.testing.assert_allclose(neuron_strength(model.weights, "output"), np.abs(last).sum(axis=0), rtol=1e-5)
    np.testing.assert_array_equal(neuron_strength(model.weights, "degree"), (first != 0).sum(axis=1))
    both = [neuron_strength(model.weights, name) for name in ("input", "output")]
    np.testing.assert_allclose(
        neuron_strength(model.weights, "combined"), sum(s / s.mean() for s in both), rtol=1e-6
    )
    assert sorted(selector.ranking_) == list(range(1, 61))
    assert (np.argsort(-selector.scores_, kind="stable") == np.argsort(selector.ranking_)).all()
    assert selector.support_.sum() == 10
    kept = selector.transform(X)
    np.testing.assert_array_equal(kept, X[:, selector.support_])
    back = selector.inverse_transform(kept)
    np.testing.assert_array_equal(back[:, selector.support_], kept)
    assert not back[:, ~selector.support_].any()
    assert selector.stability_ == 1


def test_strengths_can_be_those_of_the_last_removal():
    X, _ = planted(0, noise=20)
    final, pruned = small().fit(X), small(strength="pruned").fit(X)
    np.testing.assert_array_equal(
        final.autoencoder_.weights[0].toarray(), pruned.autoencoder_.weights[0].toarray()
    )
    # two epochs of training and the removal after them
    model = small(epochs=2).fit(X).autoencoder_
    np.testing.assert_allclose(pruned.scores_, neuron_strength(model.evolve()), rtol=1e-6)
    once = small(strength="pruned", epochs=1).fit(X)
    np.testing.assert_allclose(once.scores_, small(epochs=1).fit(X).scores_)


@pytest.mark.parametrize("standardize", [True, False, "minmax"])
def test_sparse_memory_mapped_and_integer_tables_give_the_same_bits(standardize, tmp_path):
    rng = np.random.default_rng(0)
    counts = (rng.poisson(0.3, (250, 90)) * (1 + np.arange(90) % 3)).astype(np.int8)
    reference = small(standardize=standardize).fit(counts).scores_
    stored = scipy.sparse.csr_array(counts)
    mapped = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.int8, counts.shape)
    mapped[:] = counts
    for other in (
        scipy.sparse.coo_array(counts),
        stored,
        np.asfortranarray(counts),
        mapped,
        counts.astype(float),
    ):
        np.testing.assert_array_equal(small(standardize=standardize).fit(other).scores_, reference)
    for options in ({"n_threads": 3}, {"n_jobs": 2}):
        np.testing.assert_array_equal(
            small(standardize=standardize, **options).fit(counts).scores_, reference
        )
    assert scipy.sparse.issparse(small().fit(stored).transform(stored))


def test_columns_are_scaled_in_one_pass_over_batches():
    rng = np.random.default_rng(0)
    X = np.c_[rng.normal(1e4, 1e-2, 700), rng.exponential(size=700), np.full(700, 0.1)]
    scale = ColumnScale(3, "standard")
    scale.update(X, 64)
    np.testing.assert_allclose(scale.mean, X.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(scale.squares[:2] / 700, X[:, :2].var(axis=0), rtol=1e-7)
    assert scale.constant.tolist() == [False, False, True]
    scaled = scale.apply(X, np.dtype(np.float64))
    np.testing.assert_allclose(scaled[:, :2].std(axis=0), 1, rtol=1e-7)
    assert not scaled[:, 2].any()
    scale = ColumnScale(3, "minmax")
    scale.update(X, 1000)
    scaled = scale.apply(X, np.dtype(np.float32))
    np.testing.assert_allclose([scaled[:, :2].min(), scaled[:, :2].max()], [0, 1], atol=1e-6)
    assert scaled.dtype == np.float32


def test_columns_of_one_value_come_last():
    X, _ = planted(0, noise=20)
    X[:, [2, 7]] = [[3.3, 0]]
    selector = small(59).fit(X)
    assert selector.scores_[[2, 7]].tolist() == [0, 0]
    assert selector.ranking_[[2, 7]].tolist() == [59, 60]
    everything = small(60).fit(np.ones((30, 60)))
    assert everything.support_.all()
    assert everything.ranking_.tolist() == list(range(1, 61))
    assert small(1).fit(X[:, :1]).support_.tolist() == [True]
    assert small(0.25).fit(X).support_.sum() == 15


def test_epochs_follow_from_the_rows():
    X, _ = planted(0, noise=0, rows=250)
    assert small(2, epochs="auto", batch_size=2, n_hidden=5).fit(X).n_iter_ == 10
    assert small(2, epochs="auto", n_hidden=5, epsilon=1).fit(X[:, :5]).n_iter_ == 500
    fresh = small(noise_draws="per_epoch").fit(X).scores_
    assert np.abs(fresh - small().fit(X).scores_).max() > 0


def test_runs_on_shares_of_the_rows_agree():
    X, informative = planted(1, noise=60)
    selector = QuickSelection(40, n_hidden=60, epochs=40, n_runs=2, n_jobs=2, random_state=0).fit(X)
    assert informative[selector.support_].mean() >= 0.8
    assert 0.5 < selector.stability_ < 1
    short = clone(selector).set_params(epochs=2)
    np.testing.assert_array_equal(
        short.set_params(n_jobs=1).fit(X).scores_, short.set_params(n_jobs=2).fit(X).scores_
    )


def test_a_stream_selects_as_the_whole_does():
    X, informative = planted(2, rows=4000)
    selector = QuickSelection(40, n_hidden=200, random_state=0)
    for _ in range(6):
        for part in np.array_split(X, 4):
            selector.partial_fit(part)
    assert selector.n_iter_ == 24
    assert informative[selector.support_].mean() >= 0.85
    for one in range(3):  # single rows, and after a fit
        selector.partial_fit(X[one : one + 1])
    again = small(40).fit(X[:500])
    before = again.scores_
    again.partial_fit(X[500:])
    assert again.n_iter_ == 4
    assert np.abs(again.scores_ - before).max() > 0
    with pytest.raises(ValueError, match="features"):
        selector.partial_fit(X[:, :5])


def test_it_stands_in_a_pipeline_with_names():
    import pandas as pd

    X, y = load_digits(return_X_y=True, as_frame=True)
    pipeline = make_pipeline(
        small(20, standardize="minmax"), ExtraTreesClassifier(20, random_state=0)
    ).set_output(transform="pandas")
    pipeline.fit(X[:1200], y[:1200])
    assert pipeline.score(X[1200:], y[1200:]) > 0.7
    names = pipeline[0].get_feature_names_out()
    assert list(pipeline[0].transform(X).columns) == list(names) == list(X.columns[pipeline[0].support_])
    assert isinstance(pipeline[0].transform(X), pd.DataFrame)


def test_clusters_are_matched_with_classes():
    y = np.array([0, 0, 1, 1, 2, 2])
    assert clustering_accuracy(y, [2, 2, 0, 0, 1, 1]) == 1
    assert clustering_accuracy(y, [0, 0, 0, 0, 1, 1]) == pytest.approx(4 / 6)
    assert clustering_accuracy(["a", "b"], [7, 7]) == 0.5


def test_progress_is_printed(capsys):
    small(2, verbose=1, epochs=2).fit(planted(0, noise=0)[0])
    assert capsys.readouterr().out.count("of 2: loss") == 2


X4 = np.random.default_rng(0).standard_normal((20, 4))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: small(5).fit(X4), "n_features_to_select=5: expected at least 1 and at most the 4 columns"),
        (lambda: small(0).fit(X4), "n_features_to_select=0"),
        (lambda: small(1.5).fit(X4), r"n_features_to_select=1\.5"),
        (lambda: small(2, epsilon=0).fit(X4), "epsilon=0"),
        (lambda: small(2, zeta=1.0).fit(X4), r"zeta=1\.0"),
        (lambda: small(2, epochs=0).fit(X4), "epochs=0"),
        (lambda: small(2, strength="last").fit(X4), "strength='last'"),
        (lambda: small(2, criterion="inputs").fit(X4), "did you mean 'input'"),
        (lambda: small(2, standardize="max").fit(X4), "standardize='max'"),
        (lambda: small(2, noise_draws="never").fit(X4), "noise_draws='never'"),
        (lambda: small(2, n_runs=11).fit(X4), "n_runs=11: expected at most 10"),
        (lambda: small(2, n_runs=2).partial_fit(X4), "n_runs=2"),
        (lambda: small(2).fit(np.full((20, 4), np.inf)), "infinity"),
        (lambda: small(2).fit(X4[:1]), "1 sample"),
        (lambda: selection_scores(X4, np.arange(20) % 2, []), "at least one index"),
        (lambda: selection_scores(X4, np.arange(20) % 2, [4]), "span 4..4"),
        (lambda: selection_scores(X4, np.arange(20) % 2, [True]), "mask of shape"),
        (lambda: selection_scores(X4, np.zeros(20), [0]), "one class"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises((ArgumentError, ValueError), match=words):
        call()
