"""The estimator keeps scikit-learn's contract and is what the solver finds."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

from gossamer._core.errors import ArgumentError
from gossamer.graph import dag_metrics, simulate_linear_sem
from gossamer.learn import CoLiDE
from gossamer.solve import colide_nv, is_dag, partial_cov

SHORT = {"warm_iter": 50, "max_iter": 100, "lr": 1e-3}
FAST = {"warm_iter": 1000, "max_iter": 2000, "lr": 3e-3, "checkpoint": 200}


@parametrize_with_checks(
    [CoLiDE(**SHORT), CoLiDE(noise="ev", solver="fista", **SHORT), CoLiDE(init="ev", **SHORT)]
)
def test_sklearn_contract(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def data():
    return simulate_linear_sem(8, 1500, k=1, random_state=3)


@pytest.fixture(scope="module")
def fitted(data):
    return CoLiDE(noise="ev", **FAST).fit(data.X + 10)


def test_it_finds_graph_and_noise(data, fitted):
    assert dag_metrics(data.W, fitted.adjacency_)["shd"] <= 1
    np.testing.assert_allclose(fitted.noise_std_, data.sigma, rtol=0.1)
    assert is_dag(fitted.adjacency_)
    np.testing.assert_allclose(fitted.location_, data.X.mean(axis=0) + 10)
    place = np.argsort(fitted.order_)
    i, j = np.nonzero(fitted.adjacency_)
    assert (place[i] < place[j]).all()
    residuals = fitted.residuals(data.X + 10)
    np.testing.assert_allclose(residuals.std(axis=0), fitted.noise_std_, rtol=0.3)


def test_effects_are_sums_over_paths_and_the_score_is_a_likelihood(data, fitted):
    I = np.eye(8)
    np.testing.assert_allclose(fitted.total_effects(), np.linalg.inv(I - fitted.adjacency_), atol=1e-12)
    spread = fitted.total_effects().T @ np.diag(fitted.noise_std_**2) @ fitted.total_effects()
    expected = multivariate_normal(fitted.location_, spread).logpdf(data.X).mean()
    assert fitted.score(data.X) == pytest.approx(expected, rel=1e-10)


def test_it_is_the_solver_by_any_way_in(data):
    options = {"warm_iter": 300, "max_iter": 500}
    expected = colide_nv(data.X, **options)
    model = CoLiDE(**options).fit(data.X)
    np.testing.assert_array_equal(model.weights_raw_, expected.W)
    np.testing.assert_array_equal(model.noise_std_, expected.sigma)
    assert model.n_iter_ == expected.nit
    given = CoLiDE(covariance="precomputed", **options).fit(partial_cov(data.X).covariance)
    np.testing.assert_allclose(given.weights_raw_, expected.W, atol=1e-9)
    assert not given.location_.any()
    single = CoLiDE(**options).fit(data.X.astype(np.float32))
    np.testing.assert_allclose(single.weights_raw_, expected.W, atol=1e-3)


def test_a_start_from_one_scale_and_a_warm_start(data):
    model = CoLiDE(init="ev", **FAST).fit(data.X)
    assert model.n_iter_ > CoLiDE(**FAST).fit(data.X).n_iter_
    assert len({len(entries) for entries in model.history_.values()}) == 1
    again = clone(model).set_params(warm_start=True, warm_iter=1, max_iter=1).fit(data.X)
    first = again.weights_raw_
    np.testing.assert_allclose(first, 0, atol=0.05)
    again.set_params(**FAST).fit(data.X)
    again.set_params(warm_iter=1, max_iter=1).fit(data.X)
    assert np.abs(again.weights_raw_).max() > 0.4


def test_bad_parameters_are_named(data):
    for options, message in (
        ({"noise": "mv"}, "noise='mv'"),
        ({"init": "nv"}, "init='nv'"),
        ({"covariance": True}, "covariance=True"),
        ({"threshold": -1}, "threshold=-1"),
        ({"lam": -1}, "lam=-1"),
    ):
        with pytest.raises(ArgumentError, match=message):
            CoLiDE(**{**SHORT, **options}).fit(data.X)
    flat = data.X.copy()
    flat[:, 2] = 3
    with pytest.raises(ValueError, match="column 2 of X is constant"):
        CoLiDE().fit(flat)
