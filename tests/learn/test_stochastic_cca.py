"""Stochastic CCA, PLS and multiview CCA against exact solutions, and whatever their data come from."""

import numpy as np
import pytest
import scipy.linalg
from sklearn.base import clone
from sklearn.cross_decomposition import CCA, PLSSVD
from sklearn.exceptions import FitFailedWarning
from sklearn.utils.estimator_checks import parametrize_with_checks

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.learn import MultiviewCCA, StochasticCCA, StochasticPLS, pcc, pvc, tcc
from gossamer.learn.cca.rotation import ScoreMoments, rotate
from gossamer.linalg import canonical_correlations

ESTIMATORS = (StochasticCCA, StochasticPLS)


@parametrize_with_checks([kind(n_components=1, random_state=0) for kind in ESTIMATORS])
def test_the_contract_of_scikit_learn_is_kept(estimator, check):
    check(estimator)


def views(n=1500, widths=(8, 7), shared=3, noise=0.5, seed=0, dtype=np.float64):
    """Each view is a random mixture of what all share and of noise of its own."""
    rng = np.random.default_rng(seed)
    common = rng.standard_normal((n, shared)) * np.linspace(2, 1, shared)
    out = []
    for p in widths:
        Q = np.linalg.qr(rng.standard_normal((p, p)))[0]
        own = noise * rng.standard_normal((n, p))
        own[:, :shared] += common
        out.append((own @ Q + rng.standard_normal(p)).astype(dtype))
    return out


def settled(kind, K, Xs, **options):
    """Enough averaged epochs to compare with an exact solution."""
    model = kind(K, max_epochs=60, batch_size=250, learning_rate=0.01, random_state=0, **options)
    return model.fit(Xs) if kind is MultiviewCCA else model.fit(*Xs)


@pytest.mark.parametrize("options", [{}, {"paired": True}, {"shift": True}, {"average": True}])
def test_cca_is_the_exact_one(options):
    X, Y = views()
    model = settled(StochasticCCA, 3, [X, Y], **options)
    exact = canonical_correlations(X, Y)
    np.testing.assert_allclose(model.correlations_, exact[:3], atol=0.01)
    np.testing.assert_allclose(model.eigenvalues_, model.correlations_, atol=1e-10)
    scores = model.transform(X, Y)
    assert pcc(scores, exact) > 0.995
    np.testing.assert_allclose([np.std(z, axis=0, ddof=1) for z in scores], 1, rtol=1e-6)
    np.testing.assert_allclose([z.mean(axis=0) for z in scores], 0, atol=1e-9)
    each = [np.corrcoef(scores[0][:, k], scores[1][:, k])[0, 1] for k in range(3)]
    np.testing.assert_allclose(model.correlations_, each, atol=1e-10)
    assert model.score(X, Y) == pytest.approx(np.mean(each), abs=1e-9)
    # within the subspaces found, nothing correlates more
    np.testing.assert_allclose(canonical_correlations(*scores), model.correlations_, atol=1e-9)
    theirs = CCA(3, scale=False, tol=1e-12, max_iter=5000).fit(X, Y).transform(X, Y)
    assert tcc(scores) == pytest.approx(tcc(theirs), rel=0.005)


def test_pls_is_the_svd_of_the_cross_covariance():
    X, Y = views()
    model = settled(StochasticPLS, 2, [X, Y])
    cross = (X - X.mean(0)).T @ (Y - Y.mean(0)) / (len(X) - 1)
    U, S, _ = np.linalg.svd(cross)
    np.testing.assert_allclose(model.covariances_, S[:2], rtol=0.01)
    assert pvc(model.x_weights_, model.y_weights_, X, Y) > 0.995
    assert scipy.linalg.subspace_angles(model.x_weights_, U[:, :2]).max() < 0.1
    np.testing.assert_allclose(np.linalg.norm(model.y_weights_, axis=0), 1, rtol=1e-9)
    theirs = PLSSVD(2, scale=False).fit(X, Y)
    np.testing.assert_allclose(np.abs(theirs.x_weights_.T @ model.x_weights_), np.eye(2), atol=0.1)
    same = clone(model).fit(X, Y)
    np.testing.assert_array_equal(same.x_weights_, model.x_weights_)
    as_cca = settled(StochasticCCA, 2, [X, Y], ridge=1.0)
    np.testing.assert_array_equal(as_cca.x_weights_, model.x_weights_)


def test_three_views_solve_the_generalised_eigenproblem():
    Xs = views(widths=(6, 5, 7), noise=0.8)
    model = settled(MultiviewCCA, 2, Xs, ridge=[0.0, 0.2, 0.1])
    widths = [X.shape[1] for X in Xs]
    scaled = [(X - X.mean(0)) / s for X, s in zip(Xs, model.scales_)]
    A = np.cov(np.hstack(scaled).T)
    B = np.zeros_like(A)
    start = 0
    for p, a in zip(widths, (0.0, 0.2, 0.1)):
        cut = slice(start, start + p)
        B[cut, cut] = (1 - a) * A[cut, cut] + a * np.eye(p)
        A[cut, cut] = 0
        start += p
    exact = scipy.linalg.eigh(A, B, eigvals_only=True)[::-1][:2]
    np.testing.assert_allclose(model.eigenvalues_, exact, rtol=0.01)
    zs = model.transform(Xs)
    pairs = [np.corrcoef(zs[i][:, 0], zs[j][:, 0])[0, 1] for i in range(3) for j in range(i)]
    assert model.correlations_[0] == pytest.approx(np.mean(pairs), abs=1e-9)
    assert 0 < model.score(Xs) <= 1


def test_two_of_several_views_are_two_views():
    X, Y = views(n=400)
    both = MultiviewCCA(2, random_state=3).fit([X, Y])
    pair = StochasticCCA(2, random_state=3).fit(X, Y)
    np.testing.assert_array_equal(both.weights_[0], pair.x_weights_)
    np.testing.assert_array_equal(both.transform([X, Y])[1], pair.transform(X, Y)[1])
    np.testing.assert_array_equal(both.fit_transform([X, Y])[0], pair.fit_transform(X, Y))


def test_partial_fit_is_fit_batch_by_batch():
    X, Y = views(n=400)
    for options in ({}, {"paired": True}, {"optimizer": "sgd"}, {"average": True, "ridge": 0.3}):
        batches = [(X[i : i + 50], Y[i : i + 50]) for i in range(0, 400, 50)]
        whole = StochasticCCA(2, random_state=0, finalize=False, **options).fit(iter(batches))
        parts = StochasticCCA(2, random_state=0, **options)
        for x, y in batches:
            parts.partial_fit(x, y)
        np.testing.assert_array_equal(parts.x_weights_, whole.x_weights_)
        assert parts.loss_curve_ == whole.loss_curve_
        assert parts.n_steps_ == whole.n_steps_ == 8
        assert not hasattr(parts, "correlations_")
        listed = StochasticCCA(2, random_state=0, **options).fit(batches)
        parts.rotate(X, Y)
        np.testing.assert_allclose(parts.correlations_, listed.correlations_, atol=1e-9)
        np.testing.assert_allclose(parts.x_mean_, X.mean(axis=0), atol=1e-9)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "float16", "float32", "float64", "int32"])
def test_what_lies_on_a_disk_is_what_lies_in_memory(tmp_path, dtype):
    X, Y = (np.abs(np.round(4 * v)) for v in views(n=300))
    stored = np.memmap(tmp_path / "x", dtype=dtype, mode="w+", shape=X.shape)
    stored[:] = X.astype(dtype)
    stored.flush()
    X = np.memmap(tmp_path / "x", dtype=dtype, mode="r", shape=X.shape)
    disk = StochasticCCA(2, random_state=0, batch_size=64).fit(X, Y)
    # the same order of rows: that of blocks of neighbours
    memory = StochasticCCA(2, random_state=0, batch_size=64)
    again = memory.fit(np.memmap(tmp_path / "x", dtype=dtype, mode="c", shape=X.shape), Y)
    np.testing.assert_array_equal(again.x_weights_, disk.x_weights_)
    single = dtype not in ("float64", "int32")
    assert disk.x_weights_.dtype == (np.float32 if single else np.float64)
    np.testing.assert_array_equal(disk.transform(X), disk.transform(np.array(X)))
    whole = StochasticCCA(2, random_state=0, finalize=False, batch_size=300)
    wide = clone(whole).fit(np.array(X, np.float64), Y)
    np.testing.assert_allclose(whole.fit(np.array(X), Y).x_weights_, wide.x_weights_, atol=2e-6)


def test_rotations_of_features_change_nothing_for_sgd():
    X, Y = views(n=500)
    Q = np.linalg.qr(np.random.default_rng(1).standard_normal((8, 8)))[0]
    # weights that are turned along: the start is Gaussian, so batches decide alone after many steps
    for kind in ESTIMATORS:
        options = {"optimizer": "sgd", "learning_rate": 0.01, "max_epochs": 60, "random_state": 0}
        plain, turned = kind(2, **options).fit(X, Y), kind(2, **options).fit(X @ Q, Y)
        np.testing.assert_allclose(plain.eigenvalues_, turned.eigenvalues_, atol=5e-3)
    scaled = StochasticCCA(2, random_state=0).fit(1000 * X, Y)
    np.testing.assert_allclose(
        scaled.correlations_, StochasticCCA(2, random_state=0).fit(X, Y).correlations_, atol=1e-7
    )


def test_more_components_than_there_is_correlation():
    rng = np.random.default_rng(0)
    shared = rng.standard_normal((2000, 1))
    X = np.hstack([shared, np.zeros((2000, 2)), shared])  # rank one, constants, a duplicate
    Y = np.hstack([shared, rng.standard_normal((2000, 3))])
    model = StochasticCCA(3, max_epochs=20, random_state=0).fit(X, Y)
    assert model.correlations_[0] > 0.999
    np.testing.assert_allclose(model.correlations_[1:], 0, atol=1e-8)
    assert np.isfinite(model.transform(X)).all()
    constant = StochasticPLS(1, random_state=0).fit(np.ones((10, 3)), np.ones((10, 2)))
    assert constant.correlations_[0] == 0
    assert StochasticCCA(1, random_state=0).fit(X[:2], Y[:2]).n_steps_ == 1


def test_the_rotation_is_exact_within_subspaces():
    X, Y = views(n=200)
    rng = np.random.default_rng(0)
    U, W = rng.standard_normal((8, 3)), rng.standard_normal((7, 3))
    moments = ScoreMoments()
    for i in range(0, 200, 30):
        moments.add([X[i : i + 30] @ U, Y[i : i + 30] @ W])
    np.testing.assert_allclose(moments.covariance, np.cov(np.hstack([X @ U, Y @ W]).T), rtol=1e-10)
    found = rotate(moments.covariance, [U.T @ U, W.T @ W], [0.0, 0.0])
    np.testing.assert_allclose(found.correlations, canonical_correlations(X @ U, Y @ W), atol=1e-10)
    found = rotate(moments.covariance, [U.T @ U, W.T @ W], [1.0, 1.0])
    Qx, Qy = np.linalg.qr(U)[0], np.linalg.qr(W)[0]
    cross = Qx.T @ np.cov(X.T, Y.T)[:8, 8:] @ Qy
    np.testing.assert_allclose(found.eigenvalues, np.linalg.svd(cross)[1], rtol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(U @ found.factors[0], axis=0), 1, rtol=1e-9)


def test_epochs_end_when_subspaces_stand_still():
    X, Y = views(n=400)
    model = StochasticCCA(2, max_epochs=200, tol=0.02, learning_rate=1e-3, random_state=0).fit(X, Y)
    assert 1 < model.n_iter_ < 200
    assert StochasticCCA(2, max_epochs=3, random_state=0).fit(X, Y).n_iter_ == 3


def test_threads_change_no_bit_and_progress_is_printed(capsys):
    X, Y = views(n=300, dtype=np.float32)
    one = StochasticCCA(2, random_state=0, n_jobs=1, verbose=1).fit(X, Y)
    assert "epoch 1 of 1" in capsys.readouterr().out
    np.testing.assert_array_equal(
        one.x_weights_, StochasticCCA(2, random_state=0, n_jobs=3).fit(X, Y).x_weights_
    )


def test_metrics_are_one_for_exact_solutions():
    X, Y = views(n=300)
    exact = canonical_correlations(X, Y)
    assert pcc([X, Y[:, :7]], np.ones(8)) == pytest.approx(exact.sum() / 8)
    U, S, Vt = np.linalg.svd((X - X.mean(0)).T @ (Y - Y.mean(0)) / 299)
    assert pvc(U[:, :2], Vt[:2].T, X, Y) == pytest.approx(1)
    assert pvc(U[:, :2] @ [[1, 2], [3, 4]], Vt[:2].T, X, Y, S) == pytest.approx(1)
    assert tcc([X, X, X]) == pytest.approx(8)
    for call in (
        lambda: tcc([X]),
        lambda: pcc([X, Y], exact[:3]),
        lambda: pcc([X, Y], np.zeros(8)),
        lambda: pvc(U[:, :2], Vt[:2].T, X, Y[:5]),
    ):
        with pytest.raises((ArgumentError, ShapeError)):
            call()


def test_bad_input_is_named():
    X, Y = views(n=60)
    for options, word in (
        ({"n_components": 8}, "n_components=8"),
        ({"ridge": 1.5}, "ridge=1.5"),
        ({"ridge": [0.1]}, "ridge has 1"),
        ({"batch_size": 1}, "batch_size=1"),
        ({"batch_size": 3, "paired": True}, "batch_size=3"),
        ({"learning_rate": 0}, "learning_rate"),
        ({"optimizer": "lbfgs"}, "optimizer"),
        ({"max_epochs": 0}, "max_epochs"),
        ({"tol": -1.0}, "tol"),
    ):
        with pytest.raises(ValueError, match=word):
            StochasticCCA(**{"n_components": 2, **options}).fit(X, Y)
    with pytest.raises(ShapeError, match="rows"):
        StochasticCCA().fit(X, Y[:-1])
    with pytest.raises(ValueError, match="NaN"):
        StochasticCCA().fit(np.where(X > 2, np.nan, X), Y)
    with pytest.raises(ShapeError, match="1 views"):
        MultiviewCCA().fit([X])
    with pytest.raises(ArgumentError, match="Xs"):
        MultiviewCCA().fit(X)
    with pytest.raises(ArgumentError, match="passes once"):
        StochasticCCA().fit(iter([(X, Y)]))
    with pytest.raises(ArgumentError, match="empty"):
        StochasticCCA().fit([])
    with pytest.raises(ArgumentError, match="a batch"):
        StochasticCCA().fit([X[0]])
    model = StochasticCCA(random_state=0).fit(X, Y)
    with pytest.raises(ArgumentError, match="features"):
        model.transform(X, Y[:, :3])
    with pytest.raises(ShapeError, match="features"):
        MultiviewCCA(random_state=0).fit([X, Y]).transform([Y, X])
    with pytest.raises(ValueError, match="minimum of 4"):
        StochasticCCA(paired=True).partial_fit(X[:3], Y[:3])


def test_nan_on_a_disk_and_divergence_are_told_apart(tmp_path):
    X, Y = views(n=80)
    stored = np.memmap(tmp_path / "x", dtype="float32", mode="w+", shape=X.shape)
    stored[:] = X
    stored[40, 2] = np.nan
    with pytest.raises(ArgumentError, match="a batch has 1 NaN"):
        StochasticCCA(random_state=0).fit(stored, Y)
    with pytest.warns(FitFailedWarning), pytest.raises(ArgumentError, match="lower learning_rate"):
        StochasticCCA(
            2, optimizer="sgd", learning_rate=1e6, max_epochs=50, batch_size=10, random_state=0
        ).fit(X, Y)


def test_the_start_is_white_where_one_direction_outweighs_all_others():
    """Brightness of pictures: one direction with thousands of times the variance of the rest."""
    rng = np.random.default_rng(0)
    common = rng.standard_normal((1000, 3)) @ rng.standard_normal((3, 20))
    X, Y = (
        common + 0.3 * rng.standard_normal((1000, 20)) + 10 * rng.standard_normal((1000, 1)) for _ in "xy"
    )
    for seed in range(4):
        model = StochasticCCA(4, batch_size=200, random_state=seed, finalize=False, learning_rate=1e-9)
        model.fit(X.astype(np.float32), Y.astype(np.float32))
        variances = [np.linalg.eigvalsh(np.cov(z.T)) for z in model.transform(X, Y)]
        assert max(v[-1] for v in variances) < 3
        assert min(v[0] for v in variances) > 1e-3  # none is lost
