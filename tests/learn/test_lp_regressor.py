"""The estimator keeps scikit-learn's contract and is what the solver finds."""

import numpy as np
import pytest
import scipy.sparse
from sklearn.linear_model import LinearRegression
from sklearn.utils.estimator_checks import parametrize_with_checks

from gossamer._core.errors import ArgumentError
from gossamer.learn import LpRegressor
from gossamer.solve import lp_regression


@parametrize_with_checks([LpRegressor(), LpRegressor(p=3), LpRegressor(coreset=1000, random_state=0)])
def test_sklearn_contract(estimator, check):
    check(estimator)


def data(n=500):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 3))
    return X, X @ [1.0, -2, 3] + 4 + rng.standard_t(2, size=n)


def test_it_is_the_solution_with_a_column_of_ones():
    X, y = data()
    ones = np.c_[X, np.ones(500)]
    for p in (1, 1.5, 4):
        model = LpRegressor(p).fit(X, y)
        np.testing.assert_allclose([*model.coef_, model.intercept_], lp_regression(ones, y, p).x, rtol=1e-7)
        sparse = LpRegressor(p).fit(scipy.sparse.csr_array(X), y)
        np.testing.assert_allclose(sparse.predict(scipy.sparse.csr_array(X)), model.predict(X), rtol=1e-6)
    square = LpRegressor(2, fit_intercept=False).fit(X, y)
    np.testing.assert_allclose(square.coef_, LinearRegression(fit_intercept=False).fit(X, y).coef_)
    assert square.intercept_ == 0


def test_outliers_do_not_lead_it():
    X, _ = data()
    y = X @ [1.0, -2, 3]
    y[:50] += 1e4
    np.testing.assert_allclose(LpRegressor(1).fit(X, y).coef_, [1, -2, 3], atol=1e-6)


def test_a_coreset_is_drawn_with_y_and_weights():
    X, y = data(5000)
    model = LpRegressor(1.5, coreset=800, random_state=0).fit(X, y, sample_weight=np.ones(5000))
    assert 700 < len(model.coreset_) < 900
    np.testing.assert_allclose(model.coef_, LpRegressor(1.5).fit(X, y).coef_, atol=0.15)
    assert LpRegressor(1.5, coreset=9000).fit(X, y).coreset_ is None
    with pytest.raises(ArgumentError, match=r"p=0\.5"):
        LpRegressor(0.5).fit(X, y)
