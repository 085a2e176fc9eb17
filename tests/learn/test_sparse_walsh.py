"""The regressor: actively exact on sparse functions, passively a scikit-learn estimator."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from gossamer._core.errors import ArgumentError
from gossamer.learn import SparseWalshRegressor

OMP = {"check_regressors_train": "one cut at the median explains less than half of a Gaussian feature"}


@parametrize_with_checks(
    [SparseWalshRegressor(), SparseWalshRegressor(solver="omp")],
    expected_failed_checks=lambda estimator: OMP if estimator.solver == "omp" else {},
)
def test_it_keeps_the_contract_of_scikit_learn(estimator, check):
    check(estimator)


def third_order(bits):
    s = 1.0 - 2.0 * bits.astype(float)
    return 0.5 + 2 * s[:, 3] - 1.5 * s[:, 0] * s[:, 7] + s[:, 2] * s[:, 5] * s[:, 11]


TERMS = [((3,), 2.0), ((0, 7), -1.5), ((2, 5, 11), 1.0), ((), 0.5)]


def test_queries_find_every_order():
    model = SparseWalshRegressor(K=4, n_features=25, random_state=0).fit(third_order)
    assert [term for term, _ in model.interactions()] == [term for term, _ in TERMS]
    np.testing.assert_allclose([value for _, value in model.interactions()], [v for _, v in TERMS], atol=1e-9)
    assert model.interactions(1) == [((3,), pytest.approx(2.0)), ((), pytest.approx(0.5))]
    bits = np.random.default_rng(0).integers(0, 2, (40, 25))
    np.testing.assert_allclose(model.predict(bits), third_order(bits), atol=1e-9)
    assert model.result_.success
    assert model.n_features_in_ == 25


def test_queries_survive_noise_without_knowing_how_many_terms():
    rng = np.random.default_rng(0)
    model = SparseWalshRegressor(n_features=25, random_state=0)
    model.fit(lambda bits: third_order(bits) + 0.5 * rng.standard_normal(len(bits)))
    assert [term for term, _ in model.interactions()] == [term for term, _ in TERMS]
    bits = rng.integers(0, 2, (500, 25))
    assert model.score(bits, third_order(bits)) > 0.999


@pytest.mark.parametrize("solver", ["lasso", "omp"])
@pytest.mark.parametrize("K", [None, 3])
def test_data_give_the_terms_up_to_the_order(solver, K):
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2, (400, 12))
    y = third_order(bits) + 0.1 * rng.standard_normal(400)
    model = SparseWalshRegressor(K=K, max_order=3, solver=solver).fit(bits, y)
    found = model.interactions()[:4]
    assert [term for term, _ in found] == [term for term, _ in TERMS]
    np.testing.assert_allclose([v for _, v in found], [v for _, v in TERMS], atol=0.05)
    assert model.result_ is None


def test_columns_are_cut_at_their_median():
    rng = np.random.default_rng(0)
    X = np.column_stack(
        [rng.standard_normal(300) * 7 + 3, rng.integers(0, 2, 300), rng.exponential(size=300)]
    )
    high = X[:, 0] > np.median(X[:, 0])
    model = SparseWalshRegressor().fit(X, np.where(high ^ (X[:, 1] > 0), 1.0, -1.0))
    assert model.interactions()[0] == ((0, 1), pytest.approx(-1.0))
    assert model.cuts_[1] == 0.5


def test_it_works_in_cross_validation_and_copies():
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2, (200, 8))
    y = 1.0 * (bits[:, 0] ^ bits[:, 3])
    model = SparseWalshRegressor(solver="omp")
    assert cross_val_score(clone(model), bits, y, cv=4).min() > 0.99


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: SparseWalshRegressor().fit(third_order), "n_features=None"),
        (lambda: SparseWalshRegressor(n_features=12).fit(third_order, [1.0]), "y is given"),
        (lambda: SparseWalshRegressor(solver="ols").fit([[0, 1], [1, 0]], [1, 2]), "solver='ols'"),
        (lambda: SparseWalshRegressor(threshold=None).fit([[0, 1], [0.5, 0]], [1, 2]), "column 0"),
        (
            lambda: SparseWalshRegressor(max_order=4).fit(np.zeros((3, 40)), [1, 2, 3]),
            "at most 20000 parities",
        ),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(ArgumentError, match=words):
        call()
