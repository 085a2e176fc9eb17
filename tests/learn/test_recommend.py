"""Completion as scikit-learn estimators."""

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.learn import LowRankCompleter, RatingsFactorizer
from gossamer.solve import incoherent_low_rank


@parametrize_with_checks([LowRankCompleter(), LowRankCompleter(rank=2, ridge=0.1, method="cg")])
def test_the_completer_keeps_the_contract_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def sample():
    return incoherent_low_rank(120, 80, 3, kappa=2, p=0.4, random_state=0)


def masked(sample):
    X = np.full(sample.shape, np.nan)
    X[sample.rows, sample.cols] = sample.vals
    return X


def test_dense_and_sparse_tables_are_filled_alike(sample):
    X, full = masked(sample), sample.to_dense()
    model = LowRankCompleter(rank=3, tol=1e-12, random_state=0)
    np.testing.assert_allclose(model.fit_transform(X), full, atol=1e-7)
    sparse = sp.csr_array((sample.vals, (sample.rows, sample.cols)), shape=sample.shape)
    np.testing.assert_allclose(clone(model).fit_transform(sparse), full, atol=1e-7)
    np.testing.assert_allclose(model.predict_entries([0, 5], [7, 2]), full[[0, 5], [7, 2]], atol=1e-7)
    np.testing.assert_allclose(model.inverse_transform(model.encode(X)), full, atol=1e-7)
    assert model.n_iter_ == model.result_.nit
    assert model.transform(X.astype("float32")).dtype == np.float32


def test_new_rows_are_filled_from_what_is_seen_of_them(sample):
    X = masked(sample)
    model = LowRankCompleter(rank=3, tol=1e-12, random_state=0).fit(X[:100])
    np.testing.assert_allclose(model.transform(X[100:]), sample.to_dense()[100:], atol=1e-6)
    nothing = np.full((2, 80), np.nan)
    assert not model.transform(nothing).any()


def test_a_warm_start_goes_on(sample):
    X = masked(sample)
    model = LowRankCompleter(rank=3, max_iter=2, tol=1e-14, warm_start=True, random_state=0).fit(X)
    before = model.result_.rmse
    assert model.fit(X).result_.rmse < before / 2
    with pytest.raises(ShapeError, match="codes"):
        model.inverse_transform(np.ones((2, 4)))
    with pytest.raises(ArgumentError, match="rank"):
        LowRankCompleter(rank=0).fit(X)


@pytest.fixture(scope="module")
def ratings():
    rng = np.random.default_rng(0)
    s = incoherent_low_rank(150, 100, 2, p=0.3, random_state=1)
    user, item = rng.standard_normal(150), rng.standard_normal(100)
    y = 10 + user[s.rows] + item[s.cols] + s.vals + 0.1 * rng.standard_normal(len(s.vals))
    pairs = np.column_stack([s.rows + 1000, s.cols + 5000])
    order = rng.permutation(len(y))
    return pairs[order], y[order]


def test_ratings_are_predicted(ratings):
    X, y = ratings
    model = RatingsFactorizer(rank=2, ridge=1e-3, random_state=0).fit(X[:4000], y[:4000])
    assert model.score(X[4000:], y[4000:]) > 0.97
    assert np.isclose(model.result_.mean, y[:4000].mean())
    scores = cross_val_score(RatingsFactorizer(rank=2, ridge=1e-3, random_state=0), X, y, cv=3)
    assert scores.min() > 0.9
    search = GridSearchCV(RatingsFactorizer(random_state=0), {"rank": [1, 2], "ridge": [1e-3, 1.0]}, cv=2)
    assert search.fit(X, y).best_params_ == {"rank": 2, "ridge": 1e-3}


def test_who_is_new_gets_the_mean_and_the_others_bias(ratings):
    X, y = ratings
    model = RatingsFactorizer(rank=2, random_state=0).fit(X, y)
    r = model.result_
    got = model.predict(np.array([[1, 5000], [1000, 1], [1, 1]]))
    np.testing.assert_allclose(
        got, np.clip([r.mean + r.column_bias[0], r.mean + r.row_bias[0], r.mean], y.min(), y.max())
    )
    names = [("ann", 1), ("bob", 2), ("ann", 2)]
    named = RatingsFactorizer(rank=1, random_state=0).fit(names, [1.0, 2, 3])
    assert ((named.predict(names) >= 1) & (named.predict(names) <= 3)).all()
    plain = RatingsFactorizer(rank=2, biases=False, clip=False, random_state=0).fit(X, y)
    assert plain.predict(np.array([[1, 1]]))[0] == 0


def test_new_entries_join_by_partial_fit(ratings):
    X, y = ratings
    half = len(y) // 2
    options = {"rank": 2, "ridge": 1e-3, "random_state": 0}
    whole = RatingsFactorizer(**options).fit(X, y)
    parts = RatingsFactorizer(**options).partial_fit(X[:half], y[:half]).partial_fit(X[half:], y[half:])
    assert len(parts.users_) == len(whole.users_)
    assert abs(parts.score(X, y) - whole.score(X, y)) < 0.01
    again = parts.partial_fit(X[:1], y[:1] + 1)  # a rating that changes replaces
    assert len(again._ratings_seen[2]) == len(y)
    warm = RatingsFactorizer(**options, max_iter=1, warm_start=True).fit(X, y)
    first = warm.result_.rmse
    assert warm.fit(X, y).result_.rmse < first


def test_bad_input_is_named(ratings):
    X, y = ratings
    with pytest.raises(ShapeError, match="pairs"):
        RatingsFactorizer().fit(np.ones((3, 3)), np.ones(3))
    with pytest.raises(ShapeError, match="ratings"):
        RatingsFactorizer().fit(X, y[:-1])
    with pytest.raises(ArgumentError, match="NaN"):
        RatingsFactorizer().fit(X[:1], [np.nan])
    with pytest.raises(ArgumentError, match="rank"):
        RatingsFactorizer(rank=0).fit(X, y)
