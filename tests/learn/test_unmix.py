"""Unmixing: steps by their formulas, a falling objective, exact abundances, corners, and scenes with known answers."""

import warnings

import numpy as np
import pytest
from scipy.optimize import nnls
from sklearn.decomposition import NMF
from sklearn.utils.estimator_checks import parametrize_with_checks

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._kernels import unmix
from gossamer.learn import (
    RRLbS,
    SparseNMF,
    abundance_rmse,
    fcls,
    hoyer_sparseness,
    match_endmembers,
    sad,
    simulate_scene,
    sparsity_estimate,
    trusted_channels,
    vca,
)
from gossamer.learn.unmix.blocks import FLOOR, Blocks
from gossamer.learn.unmix.factors import Factors, Penalty, update_endmembers
from gossamer.learn.unmix.guidance import gini_index, guidance_map, largest_share, purity, smoothed

warnings.filterwarnings("ignore", message="objective still fell")
WAVES = np.linspace(0.4, 2.5, 50)
CENTRES = np.array([[0.6, 1.1], [1.4, 2.1], [0.9, 1.9], [1.7, 2.3]])
SPECTRA = np.stack(
    [
        0.7 - 0.5 * np.exp(-(((WAVES[:, None] - c) / 0.15) ** 2)).sum(axis=1) + 0.1 * i * WAVES
        for i, c in enumerate(CENTRES)
    ]
)


def scene(**options):
    return simulate_scene(SPECTRA, **{"shape": (20, 20), "block": 5, "random_state": 0, **options})


def fitted(X, K=4, **options):
    return RRLbS(K, **{"max_iter": 60, "random_state": 0, **options}).fit(X)


@parametrize_with_checks([RRLbS(2, max_iter=20), SparseNMF(2, max_iter=10)])
def test_it_keeps_the_contract_of_scikit_learn(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(estimator)


def random_problem(seed=0, N=30, L=12, K=3):
    rng = np.random.default_rng(seed)
    X, M, A = rng.random((N, L)), rng.random((K, L)), rng.random((N, K))
    return X / X.max(), M, A / A.sum(axis=1, keepdims=True), rng.random(N) * 0.9


def factors_of(X, M, A, h, penalty):
    blocks = Blocks.of(X, X.dtype)
    blocks.scatter("set_shares", A)
    blocks.scatter("set_map", h)
    return Factors(blocks, M, np.ones(X.shape[1], bool), penalty, len(X))


def test_steps_are_the_formulas_and_weights_cancel_for_endmembers():
    X, M, A, h = random_problem()
    u = np.random.default_rng(1).random(12)
    np.testing.assert_allclose(
        update_endmembers(M, X.T @ A, A.T @ A, 1), M * (A.T @ (X * u)) / (A.T @ (A @ M * u)), rtol=1e-12
    )
    lam, xi, delta = 0.3, 1e-3, 15.0
    U, one = np.diag(u), np.ones((3, 3))
    columns = A.T
    above = M @ U @ X.T + delta**2
    below = M @ U @ M.T @ columns + delta**2 * one @ columns + lam * (1 - h) * (columns + xi) ** (-h)
    expected = np.maximum(columns * above / below, FLOOR)
    found = A.copy()
    unmix.sweep(X, found, h, M, u, steps=1, lam=lam, xi=xi, delta=delta, floor=FLOOR)
    np.testing.assert_allclose(found.T, expected, rtol=1e-12)


def test_the_objective_is_its_definition():
    X, M, A, h = random_problem()
    for eps in (0.05, None):
        factors = factors_of(X, M, A, h, Penalty(0.3, 1e-3, 2.0, eps))
        norms = ((X - A @ M) ** 2).sum(axis=0)
        first = 0.5 * norms.sum() if eps is None else factors.c * np.sqrt(norms + eps**2).sum()
        rest = 0.3 * ((A + 1e-3) ** (1 - h[:, None])).sum() + 2 * ((1 - A.sum(axis=1)) ** 2).sum()
        assert factors.objective() == pytest.approx(first + rest, rel=1e-12)
        if eps:
            np.testing.assert_allclose(factors.weights().mean(), 1, rtol=1e-12)
            np.testing.assert_allclose(factors.weights(), factors.c / np.sqrt(norms + eps**2), rtol=1e-9)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("eps", "lam", "h"), [(0.03, 0.2, None), (0.03, 0.0, 0.0), (None, 0.2, 0.5), (None, 0.0, 0.0)]
)
def test_no_iteration_raises_the_objective(seed, eps, lam, h):
    X, M, A, learned = random_problem(seed)
    guide = learned if h is None else np.full(30, h)
    factors = factors_of(X, M, A, guide, Penalty(lam, 1e-3, 15.0, eps))
    values = [factors.objective()]
    for _ in range(500):
        factors.step(3)
        values.append(factors.objective())
    values = np.array(values)
    assert (np.diff(values) <= 1e-10 * np.abs(values[:-1])).all()


def test_squared_residuals_alone_are_nmf():
    X, M, A, _ = random_problem(N=40, L=15)
    factors = factors_of(X, M, A, np.zeros(40), Penalty(0.0, 1e-3, 0.0, None))
    for _ in range(2000):
        factors.step(1)
    nmf = NMF(3, solver="mu", init="custom", max_iter=2000, tol=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        W = nmf.fit_transform(X, W=A.copy(), H=M.copy())
    ours = ((X - factors.blocks.blocks[0].A @ factors.M) ** 2).sum()
    assert ours == pytest.approx(((X - W @ nmf.components_) ** 2).sum(), rel=1e-3)


def test_one_sparsity_for_all_pixels_is_its_own_estimator():
    s = scene(kind="half_pure")
    half = SparseNMF(4, max_iter=30, random_state=0).fit(s.X)
    twin = fitted(s.X, robust=False, sparsity=0.5, max_iter=30)
    np.testing.assert_array_equal(half.components_, twin.endmembers_)
    np.testing.assert_array_equal(half.transform(s.X), twin.transform(s.X))
    np.testing.assert_allclose(half.inverse_transform(half.abundances_), half.abundances_ @ half.components_)
    assert list(half.get_feature_names_out()) == [f"sparsenmf{i}" for i in range(4)]
    X, M, A, _ = random_problem(N=40, L=15)
    plain = SparseNMF(3, lam=0, sum_to_one=0, init=(M, A), inner=1, max_iter=2000, tol=0).fit(X)
    nmf = NMF(3, solver="mu", init="custom", max_iter=2000, tol=0)
    W = nmf.fit_transform(X, W=A.copy(), H=M.copy())
    ours = ((X - plain.abundances_ @ plain.components_) ** 2).sum()
    assert ours == pytest.approx(((X - W @ nmf.components_) ** 2).sum(), rel=1e-3)
    flat = SparseNMF(3, p=1.0, lam=0.3, init=(M, A), max_iter=50).fit(X)
    none = SparseNMF(3, lam=0, init=(M, A), max_iter=50).fit(X)
    np.testing.assert_allclose(flat.abundances_, none.abundances_, atol=5e-3)


def test_evidence_is_the_odds_of_the_information_criterion():
    X, M, A, _ = random_problem(N=20)
    variance = 0.01 * (1 + np.random.default_rng(3).random(12))
    sides, gram = X @ (M / variance).T, (M / variance) @ M.T
    mixed = (((X - A @ M) ** 2) / variance).sum(axis=1)
    single = (((X[:, None] - M) ** 2) / variance).sum(axis=2).min(axis=1)
    # BIC: chi-squared plus parameters times log L; the odds are exp of half the difference
    odds = np.exp(((mixed + 2 * np.log(12)) - single) / 2)
    np.testing.assert_allclose(purity(A, sides, gram, 12), odds / (1 + odds), rtol=1e-9, atol=1e-20)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("delta", [0.0, 15.0])
def test_abundances_are_those_of_nnls_pixel_by_pixel(delta, weighted):
    rng = np.random.default_rng(0)
    M = rng.random((6, 20))
    X = np.maximum(rng.dirichlet(np.full(6, 0.4), 150) @ M + 0.1 * rng.standard_normal((150, 20)), 0)
    u = rng.random(20) if weighted else np.ones(20)
    found = fcls(X, M, sum_to_one=delta, weights=u if weighted else None)
    row = np.full((1, 6), delta * X.max())
    system = np.vstack([M.T * np.sqrt(u)[:, None], row])
    expected = np.array([nnls(system, np.r_[x * np.sqrt(u), row[0, 0]])[0] for x in X])
    np.testing.assert_allclose(found, expected, atol=1e-6)
    if delta:
        assert np.abs(found.sum(axis=1) - 1).max() < 1e-2
    assert fcls(X.astype("float32"), M.astype("float32")).dtype == np.float32


def test_corners_are_the_pure_pixels():
    rng = np.random.default_rng(0)
    A = np.vstack([rng.dirichlet(np.ones(4), 300), np.eye(4)])
    for seed in range(3):
        indices, endmembers = vca(A @ SPECTRA, 4, random_state=seed)
        assert sorted(indices) == [300, 301, 302, 303]
        np.testing.assert_allclose(endmembers, SPECTRA[indices - 300], atol=1e-8)
    bright = A * rng.uniform(0.5, 1.5, (304, 1))  # light that varies: projective scaling
    assert sorted(vca(bright @ SPECTRA, 4, random_state=0)[0]) == [300, 301, 302, 303]


def test_channels_of_noise_are_not_trusted():
    s = scene(n_outlier=6, shape=(30, 30))
    np.testing.assert_array_equal(np.flatnonzero(~trusted_channels(s.X).trusted), s.outlier_channels)
    assert trusted_channels(scene(snr_db=30).X).trusted.all()
    blank = scene().X
    blank[:, 7] = 0
    assert not trusted_channels(blank).trusted[7]


def test_outlier_channels_do_not_lead_the_robust_fit():
    s = scene(shape=(24, 24))
    X = s.X.copy()
    X[:, 20] = np.abs(100 * np.random.default_rng(0).standard_normal(len(X)))
    moved = {}
    for robust in (True, False):
        options = {"robust": robust, "init": (SPECTRA, s.A), "sparsity": "none"}
        clean, model = fitted(s.X, **options), fitted(X, **options)
        moved[robust] = np.sqrt(((model.abundances_ - clean.abundances_) ** 2).mean())
        weights = model.channel_weights_
        assert (weights[20] < 0.1 * np.median(weights)) == robust
    assert moved[True] < 0.02
    assert moved[False] > 0.1


def test_the_guidance_finds_pure_pixels():
    s = scene(kind="half_pure", snr_db=20, shape=(32, 32))
    for measure in ("hoyer", "gini", "max"):
        model = fitted(s.X, guidance=measure)
        assert np.corrcoef(model.guidance_, s.sparseness)[0, 1] > 0.9
    s = scene(kind="half_pure", snr_db=15, shape=(32, 32))
    model = fitted(s.X, max_iter=1000)
    assert np.corrcoef(model.guidance_, s.sparseness)[0, 1] > 0.9
    h = model.guidance_.reshape(32, 32)
    assert h[:, 16:].mean() < 0.1 < 0.6 < h[:, :16].mean()
    again = fitted(s.X, guidance="hoyer", max_iter=1000)
    errors = [abundance_rmse(s.A, m.abundances_).mean() for m in (model, again)]
    assert errors[0] < 0.8 * errors[1], "what evidence leaves alone is not pushed"
    assert fitted(s.X, sparsity="none").lam_ == 0


def test_a_huge_eps_is_no_robustness():
    s = scene()
    options = {"map_iter": 0, "sparsity": "none", "tol": 0.0}
    a, b = fitted(s.X, eps=1e6, **options), fitted(s.X, robust=False, **options)
    np.testing.assert_allclose(a.abundances_, b.abundances_, atol=1e-6)
    np.testing.assert_allclose(a.channel_weights_, 1, rtol=1e-6)


def test_order_scale_and_blocks_do_not_matter(monkeypatch):
    s = scene()
    start = (SPECTRA * 0.9, np.full((400, 4), 0.25) + 0.1 * np.random.default_rng(0).random((400, 4)))
    reference = fitted(s.X, init=start, lam=0.1)
    pixels, channels = np.random.default_rng(1).permutation(400), np.random.default_rng(2).permutation(50)
    moved = fitted(s.X[pixels][:, channels], init=(start[0][:, channels], start[1][pixels]), lam=0.1)
    np.testing.assert_allclose(moved.abundances_, reference.abundances_[pixels], atol=1e-7)
    np.testing.assert_allclose(moved.endmembers_, reference.endmembers_[:, channels], atol=1e-7)
    scaled = fitted(7 * s.X, init=(7 * start[0], start[1]), lam=0.1)
    np.testing.assert_allclose(scaled.abundances_, reference.abundances_, atol=1e-7)
    np.testing.assert_allclose(scaled.endmembers_, 7 * reference.endmembers_, rtol=1e-6)
    monkeypatch.setattr("gossamer.learn.unmix.blocks.BLOCK", 37)
    np.testing.assert_allclose(fitted(s.X, init=start, lam=0.1).abundances_, reference.abundances_, atol=1e-8)
    single = fitted(s.X.astype("float32"), init=start, lam=0.1)
    assert single.abundances_.dtype == np.float32
    np.testing.assert_allclose(single.abundances_, reference.abundances_, atol=1e-3)


def test_cubes_memory_maps_and_new_pixels(tmp_path):
    s = scene(kind="half_pure", snr_db=25)
    flat = fitted(s.X, smooth_map=False)
    cube = fitted(s.X.reshape(20, 20, 50))
    np.testing.assert_array_equal(cube.abundances_, flat.abundances_)
    smooth = fitted(s.X, smooth_map=False).set_params(smooth_map=True).fit(s.X, shape=(20, 20))
    assert np.abs(smooth.guidance_ - flat.guidance_).max() > 0
    mapped = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", float, s.X.shape)
    mapped[:] = s.X
    np.testing.assert_array_equal(fitted(mapped).abundances_, flat.abundances_)
    assert np.abs(flat.transform(s.X) - flat.abundances_).mean() < 0.02
    assert list(flat.get_feature_names_out()) == [f"rrlbs{i}" for i in range(4)]
    many = fitted(s.X, n_init=2, init="random")
    assert many.objective_ > 0


def test_pixels_and_channels_without_light():
    s = scene()
    X = s.X.copy()
    X[5], X[:, 9] = 0, 0
    with pytest.warns(UserWarning, match="1 pixels are zero"):
        model = fitted(X)
    np.testing.assert_array_equal(model.abundances_[5], 0.25)
    np.testing.assert_array_equal(model.endmembers_[:, 9], 0)
    assert model.channel_weights_[9] == 0
    np.testing.assert_array_equal(model.transform(X)[5], 0.25)


def test_measures_of_sparseness_and_distances():
    A = np.array([[1, 0, 0, 0], [0.25] * 4, [0, 0.5, 0.5, 0]])
    for measure in (hoyer_sparseness, gini_index, largest_share):
        values = measure(A)
        np.testing.assert_allclose(values[:2], [1, 0], atol=1e-12)
        assert 0 < values[2] < 1
    image = np.zeros((3, 3, 2)) + 0.5
    image[1, 1] = [1, 0]
    assert guidance_map(image.reshape(9, 2), "hoyer", 0.9)[4] == pytest.approx(0.9)
    assert smoothed(guidance_map(image.reshape(9, 2), "hoyer", 0.9), (3, 3))[4] == pytest.approx(0)
    order = [2, 0, 3, 1]
    np.testing.assert_allclose(sad(SPECTRA, 3 * SPECTRA[order]), 0, atol=1e-7)
    np.testing.assert_array_equal(match_endmembers(SPECTRA, SPECTRA[order]), np.argsort(order))
    np.testing.assert_allclose(sad([[1, 0], [0, 1]], [[1, 1], [0, 1]]), [np.pi / 4, 0], atol=1e-7)
    true = np.random.default_rng(0).random((30, 3))
    np.testing.assert_allclose(
        abundance_rmse(true, true[:, [1, 2, 0]] + [0.1, 0, 0]), [0, 0.1, 0], atol=1e-12
    )
    one = np.ones((16, 2))
    one[0] = 1
    assert sparsity_estimate(one) == pytest.approx(0)


def test_scenes_are_what_they_say():
    s = scene(snr_db=20, n_outlier=3, max_abundance=0.8, outlier_std=5.0)
    np.testing.assert_allclose(s.A.sum(axis=1), 1)
    assert s.A.max() <= 0.8 + 1e-12
    assert len(s.outlier_channels) == 3
    assert s.X[:, s.outlier_channels].max() > 5
    clean = scene(snr_db=20).X - scene(snr_db=300).X
    assert (scene(snr_db=300).X ** 2).mean() / (clean**2).mean() == pytest.approx(100, rel=0.1)
    half = scene(kind="half_pure").A.reshape(20, 20, 4)
    assert (half[:, :10].max(axis=2) == 1).all()
    assert (half[:, 10:].max(axis=2) < 1).all()


def test_the_end_is_a_stationary_point():
    X, M, A, h = random_problem(2, N=20, L=10)
    penalty = Penalty(0.05, 1e-3, 3.0, 0.05)
    factors = factors_of(X, M, A, h, penalty)
    for _ in range(20_000):
        factors.step(3)
    A, M, u = factors.blocks.blocks[0].A, factors.M, factors.weights()
    sides, gram = X @ (M * u).T + 9, (M * u) @ M.T + 9
    slope = A @ gram - sides + 0.05 * (1 - h)[:, None] * (A + 1e-3) ** -h[:, None]
    assert np.abs(np.minimum(A, slope / np.abs(sides).max())).max() < 1e-4
    slope = (A.T @ (A @ M - X)) * u
    assert np.abs(np.minimum(M, slope / np.abs(A.T @ X).max())).max() < 1e-4


def test_pixels_twice_and_cubes_in_any_order_give_the_same():
    s = scene(kind="half_pure")
    start = (SPECTRA * 0.9, np.full((400, 4), 0.25) + 0.1 * np.random.default_rng(0).random((400, 4)))
    once = fitted(s.X, init=start, lam=0.1)
    twice = fitted(np.vstack([s.X] * 2), init=(start[0], np.vstack([start[1]] * 2)), lam=0.1)
    np.testing.assert_allclose(twice.abundances_, np.vstack([once.abundances_] * 2), atol=1e-7)
    cube = np.round(1000 * s.X).astype(np.int16).reshape(20, 20, 50)
    ways = [
        np.ascontiguousarray(cube.transpose(axes)).transpose(np.argsort(axes))
        for axes in ((2, 0, 1), (0, 2, 1))
    ]
    reference = fitted(cube)
    for way in ways:
        np.testing.assert_array_equal(way, cube)
        np.testing.assert_allclose(fitted(way).abundances_, reference.abundances_, atol=1e-7)
        np.testing.assert_allclose(reference.transform(way), reference.transform(cube), atol=1e-7)


X6 = np.random.default_rng(0).random((8, 6))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: RRLbS(1).fit(X6), "n_endmembers=1"),
        (lambda: RRLbS(7).fit(X6), "n_endmembers=7: expected at most"),
        (lambda: RRLbS(2).fit(X6 - 0.5), "Negative values in data: X is"),
        (lambda: RRLbS(2).fit(np.where(np.arange(48).reshape(8, 6) == 20, np.nan, X6)), r"first at \(3, 2\)"),
        (lambda: RRLbS(2).fit(np.zeros((8, 6))), "zero everywhere"),
        (lambda: RRLbS(2, sparsity="learnt").fit(X6), "did you mean 'learned'"),
        (lambda: RRLbS(2, sparsity=1.0).fit(X6), "sparsity=1.0"),
        (lambda: RRLbS(2, sparsity=np.zeros(3)).fit(X6), r"sparsity has shape \(3,\)"),
        (lambda: RRLbS(2, init="nfindr").fit(X6), "init='nfindr'"),
        (lambda: RRLbS(2, init=(X6, X6)).fit(X6), "init has shapes"),
        (lambda: RRLbS(2, smooth_map=True).fit(X6), "smooth_map"),
        (lambda: RRLbS(2).fit(X6, shape=(3, 3)), r"shape=\(3, 3\): X has 8 pixels"),
        (lambda: RRLbS(2, lam=-1).fit(X6), "lam=-1"),
        (lambda: SparseNMF(0).fit(X6), "n_components=0"),
        (lambda: SparseNMF(2, p=0).fit(X6), "p=0"),
        (lambda: SparseNMF(2, sum_to_one=0).fit(X6), "sum_to_one=0"),
        (lambda: RRLbS(2, max_iter=2).fit(X6).inverse_transform(X6), r"X has shape \(8, 6\)"),
        (lambda: RRLbS(2).fit(np.ones((2, 0, 3))), r"X has shape \(2, 0, 3\)"),
        (lambda: RRLbS(2).fit(np.ones((2, 2, 3)) > 0), "X is bool"),
        (lambda: vca(X6, 7), "k=7"),
        (lambda: fcls(X6, np.ones((2, 5))), "5: expected as many"),
        (lambda: fcls(X6, X6[:2], weights=np.ones(5)), r"weights has shape \(5,\)"),
        (lambda: sad(X6, X6[:2]), "expected equal ones"),
        (lambda: trusted_channels(X6[:, :1]), "at least two channels"),
        (lambda: simulate_scene(SPECTRA, (4, 4), kind="sharp"), "kind='sharp'"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises((ArgumentError, ShapeError, ValueError), match=words):
        call()


def test_negative_values_can_be_cut_and_endmembers_be_too_many():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert RRLbS(2, clip_negative=True, max_iter=5).fit(X6 - 0.1).abundances_.shape == (8, 2)
        constant = RRLbS(2, max_iter=5).fit(np.ones((9, 6)))
    assert np.isfinite(constant.abundances_).all()
