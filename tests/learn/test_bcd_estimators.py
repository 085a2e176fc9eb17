"""Estimators by block coordinate descent: scikit-learn's contract, and its own estimators' solutions."""

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.datasets import load_iris, make_moons
from sklearn.linear_model import Lasso, LogisticRegression
from sklearn.utils.estimator_checks import parametrize_with_checks

from gossamer._core.errors import ArgumentError
from gossamer.learn import BCDLabelPropagation, BCDLasso, BCDLogisticRegression

UNKNOWN = {"check_classifiers_classes": "takes -1, no label, for a class; skips LabelPropagation by its name"}


@parametrize_with_checks(
    [
        BCDLasso(alpha=0.01),
        BCDLogisticRegression(),
        BCDLogisticRegression(penalty="l1", multi_class="ovr"),
        BCDLabelPropagation(),
    ],
    expected_failed_checks=lambda estimator: UNKNOWN if isinstance(estimator, BCDLabelPropagation) else {},
)
def test_they_keep_the_contract_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.parametrize("kind", ["dense", "csr", "csc"])
@pytest.mark.parametrize("intercept", [True, False])
def test_the_lasso_is_scikit_learns(kind, intercept):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 30)) * (rng.random((80, 30)) < 0.5) + (kind == "dense")
    y = X[:, :3] @ [2.0, -1.0, 3.0] + 4 + 0.1 * rng.normal(size=80)
    X = X if kind == "dense" else sp.csr_array(X).asformat(kind)
    ours = BCDLasso(alpha=0.1, fit_intercept=intercept, tol=1e-11).fit(X, y)
    theirs = Lasso(alpha=0.1, fit_intercept=intercept, tol=1e-13, max_iter=100000).fit(X, y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-7)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, atol=1e-6)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), atol=1e-6)
    assert ours.result_.success


def test_float32_stays_float32():
    X = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    assert BCDLasso(alpha=0.01).fit(X, X[:, 0]).coef_.dtype == np.float32
    assert BCDLogisticRegression().fit(X, X[:, 0] > 0).coef_.dtype == np.float32


@pytest.mark.parametrize("penalty", ["l2", "l1", None])
@pytest.mark.parametrize("sparse", [False, True])
def test_two_classes_are_scikit_learns(penalty, sparse):
    X, y = make_moons(150, noise=0.4, random_state=0)
    y = np.array(["left", "right"])[y]
    ours = BCDLogisticRegression(penalty, C=0.5, tol=1e-9).fit(sp.csr_array(X) if sparse else X, y)
    if penalty == "l1":
        theirs = LogisticRegression(l1_ratio=1, C=0.5, solver="saga", tol=1e-10, max_iter=100000)
    else:
        theirs = LogisticRegression(C=0.5 if penalty else np.inf, tol=1e-10, max_iter=10000)
    theirs.fit(X, y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-4)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, atol=1e-4)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-4)
    assert set(ours.predict(X)) == {"left", "right"}


def test_several_classes_are_scikit_learns():
    X, y = load_iris(return_X_y=True)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    ours = BCDLogisticRegression(tol=1e-8).fit(X, y)
    theirs = LogisticRegression(tol=1e-10, max_iter=10000).fit(X, y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-4)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-4)
    single = BCDLogisticRegression(multi_class="ovr", tol=1e-8).fit(X, y)
    for c in range(3):
        one = LogisticRegression(tol=1e-10, max_iter=10000).fit(X, y == c)
        np.testing.assert_allclose(single.coef_[c], one.coef_[0], atol=1e-4)
    sparse = BCDLogisticRegression("l1", C=0.1).fit(X, y)
    assert sparse.score(X, y) > 0.8
    assert (sparse.coef_ == 0).any()
    two = BCDLogisticRegression(multi_class="multinomial", tol=1e-8).fit(X[:100], y[:100])
    np.testing.assert_allclose(
        two.predict_proba(X[:100])[:, 1], 1 / (1 + np.exp(-two.decision_function(X[:100]))), atol=1e-12
    )


def test_a_tenth_of_the_labels_tell_the_moons_apart():
    X, y = make_moons(400, noise=0.1, random_state=0)
    known = np.random.default_rng(0).random(400) < 0.1
    model = BCDLabelPropagation(n_neighbors=6).fit(X, np.where(known, y, -1))
    assert np.mean(model.transduction_ == y) > 0.95
    assert model.score(X + 0.01, y) > 0.95
    np.testing.assert_array_equal(model.transduction_[known], y[known])
    np.testing.assert_allclose(model.label_distributions_.sum(axis=1), 1)
    assert model.results_[0].success
    assert model.label_distributions_.min() >= 0


def test_shares_of_several_classes_are_harmonic():
    X = np.random.default_rng(1).normal(size=(90, 2))
    y = np.full(90, -1)
    y[:12] = np.arange(12) % 3
    model = BCDLabelPropagation(n_neighbors=4, tol=1e-11).fit(X, y)
    np.testing.assert_allclose(model.label_distributions_.sum(axis=1), 1, atol=1e-8)
    near = model._index.kneighbors_graph()
    W = near.maximum(near.T)
    mean = (W @ model.label_distributions_) / W.sum(axis=1).reshape(-1, 1)
    np.testing.assert_allclose(model.label_distributions_[12:], np.asarray(mean)[12:], atol=1e-8)


def test_a_part_without_labels_gets_the_shares_of_the_classes():
    X = np.r_[np.arange(10.0), 100 + np.arange(10.0)][:, None]
    y = np.r_[0, 1, 1, 1, np.full(16, -1)]
    with pytest.warns(RuntimeWarning, match="10 samples are joined with no label"):
        model = BCDLabelPropagation(n_neighbors=2).fit(X, y)
    np.testing.assert_allclose(model.label_distributions_[10:], [[0.25, 0.75]] * 10)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda X, y: BCDLasso(alpha=-1).fit(X, y), "alpha=-1"),
        (lambda X, y: BCDLasso(select="cyclic").fit(X, y), "select='cyclic'"),
        (lambda X, y: BCDLasso(update="matrix").fit(X, y), "update='matrix'"),
        (lambda X, y: BCDLogisticRegression("l3").fit(X, y > 0), "penalty='l3'"),
        (lambda X, y: BCDLogisticRegression(C=0).fit(X, y > 0), "C=0"),
        (lambda X, y: BCDLogisticRegression().fit(X, y * 0), "1 class"),
        (lambda X, y: BCDLogisticRegression(multi_class="all").fit(X, y > 0), "multi_class='all'"),
        (lambda X, y: BCDLabelPropagation().fit(X, np.full(20, -1)), "no labels"),
        (lambda X, y: BCDLabelPropagation(n_neighbors=0).fit(X, y > 0), "n_neighbors=0"),
    ],
)
def test_bad_input_is_named(call, words):
    X = np.random.default_rng(0).normal(size=(20, 3))
    with pytest.raises(ArgumentError, match=words):
        call(X, X[:, 0])
