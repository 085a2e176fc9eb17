"""Sketched least squares against NumPy's, identities of its analysis, and an instance that tells sketches apart."""

import warnings

import numpy as np
import pytest
import scipy.sparse

from gossamer._core.errors import ArgumentError, ShapeError, UnsupportedError
from gossamer.linalg import OSNAP, SRHT, CountSketch, GaussianSketch, TensorSRHT, kron
from gossamer.solve import (
    leverage_scores,
    linf_hard_instance,
    linf_sketch_size,
    oce_check,
    sketched_lstsq,
)

EVERY = ("srht", "dct", "gaussian", "rademacher", "countsketch", "osnap", "uniform", "leverage")
pytestmark = pytest.mark.filterwarnings("ignore:m=.* rows are fewer:RuntimeWarning")


def problem(n=600, d=8, k=None, seed=0, noise=1.0):
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(n, d)) * rng.uniform(0.5, 2, d)
    shape = (n,) if k is None else (n, k)
    return A, A @ np.ones((d, *shape[1:])) + noise * rng.normal(size=shape)


def exact(A, b):
    return np.linalg.lstsq(A, b, rcond=None)[0]


def normalised(A, b, x, best):
    """The error in the unit of the guarantee."""
    residual = np.linalg.norm(A @ best - b)
    smallest = np.linalg.svd(A, compute_uv=False)[-1]
    return abs(x - best).max() * np.sqrt(A.shape[1]) * smallest / residual


@pytest.mark.parametrize("sketch", EVERY)
def test_a_sketch_finds_what_has_no_residual(sketch):
    A, b = problem(noise=0)
    result = sketched_lstsq(A, b, sketch=sketch, m=200, random_state=1)
    np.testing.assert_allclose(result.x, np.ones(8), atol=1e-10)
    assert result.residual_norm < 1e-9
    assert result.m == 200


@pytest.mark.parametrize("sketch", EVERY)
def test_one_solve_is_that_of_the_dense_sketch(sketch):
    A, b = problem()
    kept = []

    def spy(n, m, rng):
        from gossamer.solve.sketch.draw import draw_sketch
        from gossamer.solve.sketch.tall import TallMatrix

        kept.append(draw_sketch(sketch, TallMatrix(A, b), m, rng))
        return kept[-1]

    result = sketched_lstsq(A, b, sketch=spy, m=200, random_state=1)
    S = kept[0].to_dense()
    np.testing.assert_allclose(result.x, exact(S @ A, S @ b), atol=1e-10)
    np.testing.assert_allclose(result.residual_norm, np.linalg.norm(A @ result.x - b))
    named = sketched_lstsq(A, b, sketch=sketch, m=200, random_state=1)
    np.testing.assert_allclose(named.x, result.x, atol=1e-12)
    assert named.method == f"sketch, {type(kept[0]).__name__}"


def test_all_rows_of_an_orthogonal_sketch_solve_exactly():
    A, b = problem(n=512)
    for sketch in (SRHT(512, 512, seed=0), "srht"):
        np.testing.assert_allclose(
            sketched_lstsq(A, b, sketch=sketch, m=512, random_state=0).x, exact(A, b), atol=1e-10
        )
    A, b = problem(n=600)
    np.testing.assert_allclose(
        sketched_lstsq(A, b, sketch="dct", m=600, random_state=0).x, exact(A, b), atol=1e-10
    )


def test_columns_and_scales_commute_with_it():
    A, b = problem()
    result = sketched_lstsq(A, b, random_state=3)
    order = np.random.default_rng(0).permutation(8)
    np.testing.assert_allclose(sketched_lstsq(A[:, order], b, random_state=3).x, result.x[order], atol=1e-11)
    scaled = sketched_lstsq(A, 5 * b, random_state=3)
    np.testing.assert_allclose(scaled.x, 5 * result.x, atol=1e-11)
    np.testing.assert_allclose(scaled.linf_error_estimate, 5 * result.linf_error_estimate, rtol=1e-9)
    two = sketched_lstsq(A, np.stack([b, -b], axis=1), random_state=3)
    np.testing.assert_allclose(two.x, np.stack([result.x, -result.x], axis=1), atol=1e-11)
    assert two.residual_norm.shape == (2,)
    assert two.linf_error_estimate.shape == (8, 2)


@pytest.mark.parametrize("mode", ["refine", "iterative"])
@pytest.mark.parametrize("k", [None, 3])
def test_full_precision_on_an_ill_conditioned_problem(mode, k):
    rng = np.random.default_rng(0)
    U = np.linalg.qr(rng.normal(size=(4000, 20)))[0]
    V = np.linalg.qr(rng.normal(size=(20, 20)))[0]
    A = (U * np.geomspace(1, 1e-6, 20)) @ V.T
    b = A @ rng.normal(size=(20, k or 1)) + 1e-6 * rng.normal(size=(4000, k or 1))
    b = b if k else b[:, 0]
    result = sketched_lstsq(A, b, mode=mode, random_state=0, rtol=1e-15, maxiter=60)
    best = exact(A, b)  # itself right to eps cond^2 ||r|| / (||A|| ||x||), 4e-9 here
    assert np.linalg.norm(result.x - best) <= 1e-8 * np.linalg.norm(best)
    tame = np.linalg.qr(A)[0] + 0.1 * V[:1]
    fine = sketched_lstsq(tame, b, mode=mode, random_state=0, maxiter=40)
    assert fine.success
    assert fine.nit <= 40
    best = exact(tame, b)
    assert np.linalg.norm(fine.x - best) <= 1e-10 * max(np.linalg.norm(best), 1e-3)
    assert fine.history["gradient"][-1] <= 1e-12


def test_refinement_with_condition_1e6_reaches_ten_digits():
    rng = np.random.default_rng(1)
    U, V = np.linalg.qr(rng.normal(size=(3000, 30)))[0], np.linalg.qr(rng.normal(size=(30, 30)))[0]
    A = (U * np.geomspace(1, 1e-6, 30)) @ V.T
    truth = rng.normal(size=30)
    out = rng.normal(size=3000)
    b = A @ truth + 1e-9 * (
        out - U @ (U.T @ out)
    )  # a larger residual, times cond^2 eps, would hide ten digits
    result = sketched_lstsq(A, b, mode="refine", random_state=0, rtol=1e-15, maxiter=40)
    assert np.linalg.norm(result.x - truth) <= 1e-10 * np.linalg.norm(truth)
    assert (abs(result.x - truth) <= result.linf_error_estimate).all()


def test_the_mean_of_sketches_is_their_mean():
    A, b = problem()
    rng = np.random.default_rng(5)
    single = [sketched_lstsq(A, b, sketch=lambda n, m, _: SRHT(n, m, seed=rng), m=100).x for _ in range(3)]
    result = sketched_lstsq(A, b, m=100, mode="average", n_repeats=3, random_state=np.random.default_rng(5))
    np.testing.assert_allclose(result.x, np.mean(single, axis=0), atol=1e-12)


def test_ridge_and_weights_are_more_rows_and_scaled_rows():
    A, b = problem()
    best = np.linalg.solve(A.T @ A + 50 * np.eye(8), A.T @ b)
    for mode in ("refine", "iterative"):
        np.testing.assert_allclose(
            sketched_lstsq(A, b, mode=mode, ridge=50.0, random_state=0).x, best, atol=1e-9
        )
    S = SRHT(600, 200, seed=0)
    SA, Sb = S @ A, S @ b
    one = sketched_lstsq(A, b, sketch=S, ridge=50.0).x
    np.testing.assert_allclose(one, np.linalg.solve(SA.T @ SA + 50 * np.eye(8), SA.T @ Sb), atol=1e-10)
    w = np.random.default_rng(0).uniform(0, 3, 600)
    root = np.sqrt(w)
    weighted = sketched_lstsq(A, b, weights=w, mode="refine", random_state=0).x
    np.testing.assert_allclose(weighted, exact(A * root[:, None], b * root), atol=1e-9)
    sparse = sketched_lstsq(scipy.sparse.csr_array(A), b, weights=w, mode="refine", random_state=0).x
    np.testing.assert_allclose(sparse, weighted, atol=1e-9)


def test_sparse_matrices_integers_and_single_precision():
    A, b = problem()
    dense = sketched_lstsq(A, b, random_state=0)
    np.testing.assert_allclose(
        sketched_lstsq(scipy.sparse.csc_matrix(A), b, random_state=0).x, dense.x, atol=1e-11
    )
    whole = np.round(10 * A).astype(int)
    np.testing.assert_allclose(
        sketched_lstsq(whole, b, random_state=0).x, sketched_lstsq(whole * 1.0, b, random_state=0).x
    )
    single = sketched_lstsq(A.astype(np.float32), b, random_state=0)
    assert single.x.dtype == np.float32
    np.testing.assert_allclose(single.x, dense.x, atol=1e-4)
    fine = sketched_lstsq(A.astype(np.float32), b, mode="refine", random_state=0)
    assert fine.x.dtype == np.float32
    np.testing.assert_allclose(fine.x, exact(A, b), atol=1e-4)


def test_error_halves_when_the_sketch_is_four_times_as_large():
    """Gaussian A, 4096 x 64; the figures are those of the analysis."""
    rng = np.random.default_rng(0)
    A = rng.normal(size=(4096, 64))
    b = rng.normal(size=4096)
    best = exact(A, b)
    errors, ratios = {}, []
    for m in (512, 2048):
        found = []
        for seed in range(20):
            x = sketched_lstsq(
                A, b, sketch=lambda n, m, g: SRHT(n, m, replace=True, seed=g), m=m, random_state=seed
            ).x
            found.append(normalised(A, b, x, best))
            ratios.append(abs(x - best).max() * 8 / np.linalg.norm(x - best))
        errors[m] = np.median(found)
    assert 0.7 < errors[512] < 1.05
    slope = np.log(errors[2048] / errors[512]) / np.log(4)
    assert -0.6 < slope < -0.4
    assert 2.2 < np.median(ratios) < 3.2


def test_dense_sketches_spread_what_sparse_ones_put_into_one_coefficient():
    n, d = 4096, 64
    A, b = linf_hard_instance(n, d)
    np.testing.assert_array_equal(A.T @ b, 0)
    assert np.linalg.norm(b) == pytest.approx(1)
    table = {}
    for name, draw in {
        "srht": lambda n, m, g: SRHT(n, m, seed=g),
        "count": lambda n, m, g: CountSketch(n, m, seed=g),
        "osnap": lambda n, m, g: OSNAP(n, m, 4, seed=g),
    }.items():
        for m in (512, 2048):
            errors = []
            for seed in range(30):
                S = draw(n, m, np.random.default_rng(seed))
                x = exact(S @ A, S @ b)  # by pseudo-inverse: two rows of the identity may share a bucket
                errors.append(np.sqrt(d) * abs(x).max())
            table[name, m] = np.median(errors)
    assert table["srht", 2048] < 0.6 * table["srht", 512]
    assert table["count", 2048] >= 0.9
    assert table["count", 2048] > 2 * table["srht", 2048]
    assert table["osnap", 2048] == pytest.approx(0.5, abs=0.2)


def test_one_heavy_row_and_uniform_sampling():
    A, b = linf_hard_instance(4097, 8, "heavy")
    x = sketched_lstsq(A, b, m=512, random_state=0).x
    assert np.sqrt(8) * abs(x).max() < 1
    with pytest.raises(np.linalg.LinAlgError, match="increase m=512"):
        sketched_lstsq(A, b, sketch="uniform", m=512, random_state=0)
    A, b = linf_hard_instance(4096, 8, "single")
    assert b[8] == 1
    assert abs(sketched_lstsq(A, b, sketch="leverage", m=64, random_state=0).x).max() < 1e-12


def test_the_error_estimate_covers_nine_times_in_ten():
    A, b = problem(n=2048, d=16)
    best = exact(A, b)
    for sketch in ("srht", "gaussian"):
        runs = [sketched_lstsq(A, b, sketch=sketch, m=200, delta=0.1, random_state=s) for s in range(60)]
        covered = [(abs(r.x - best) <= r.linf_error_estimate).all() for r in runs]
        assert np.mean(covered) >= 0.9
        size = np.median([np.max(r.linf_error_estimate / abs(r.x - best).max()) for r in runs])
        assert size < 4
    fine = sketched_lstsq(A, b, mode="refine", random_state=0, maxiter=8)
    assert not fine.success
    assert (abs(fine.x - best) <= fine.linf_error_estimate).all()
    mean = sketched_lstsq(A, b, m=200, mode="average", n_repeats=16, random_state=0)
    assert (abs(mean.x - best) <= mean.linf_error_estimate).all()
    assert mean.linf_error_estimate.max() < runs[0].linf_error_estimate.max() / 2


def test_kronecker_products_are_never_formed():
    rng = np.random.default_rng(0)
    A1, A2 = rng.normal(size=(40, 3)), rng.normal(size=(30, 2))
    terms = [(rng.normal(size=40), rng.normal(size=30)) for _ in range(3)]
    b = sum(np.kron(*term) for term in terms)
    A, dense = kron(A1, A2), np.kron(A1, A2)
    S = TensorSRHT((40, 30), 200, seed=4)
    expected = exact(S @ dense, S @ b)
    for side in (b, terms, scipy.sparse.coo_array(b[:, None])):
        np.testing.assert_allclose(sketched_lstsq(A, side, sketch=S).x.ravel(), expected, atol=1e-11)
    result = sketched_lstsq(A, terms, random_state=0)
    assert result.method == "sketch, TensorSRHT"
    np.testing.assert_allclose(result.residual_norm, np.linalg.norm(dense @ result.x - b))
    fine = sketched_lstsq(A, terms, mode="refine", random_state=0)
    np.testing.assert_allclose(fine.x, exact(dense, b), atol=1e-9)


def test_coordinates_are_embedded():
    g, h = np.eye(512)[:2]
    dense = oce_check(lambda rng: SRHT(512, 128, seed=rng), g, h, 800, random_state=0)
    normal = oce_check(lambda rng: GaussianSketch(512, 128, seed=rng), g, g, 400, random_state=0)
    sparse = oce_check(lambda rng: CountSketch(512, 128, seed=rng), g, h, 800, random_state=0)
    for report in (dense, normal, sparse):
        assert report.success
        assert report.alpha < 3.2
    assert normal.exact == 1
    assert dense.tail[-1] < 5
    assert sparse.tail[-1] == pytest.approx(np.sqrt(128), rel=1e-6)  # one collision is the whole product
    assert not oce_check(lambda rng: _twice(SRHT(512, 128, seed=rng)), g, g, 50, random_state=0).success
    with pytest.raises(ShapeError, match="zero vector"):
        oce_check(lambda rng: SRHT(512, 128, seed=rng), g, 0 * h)


def _twice(S):
    S.signs = 2 * S.signs
    return S


def test_leverage_scores():
    rng = np.random.default_rng(0)
    A = rng.normal(size=(3000, 6)) * rng.exponential(size=(3000, 1)) ** 2
    Q = np.linalg.qr(A)[0]
    scores = leverage_scores(A)
    np.testing.assert_allclose(scores, (Q**2).sum(axis=1), atol=1e-12)
    np.testing.assert_allclose(leverage_scores(scipy.sparse.csr_array(A)), scores, atol=1e-12)
    near = leverage_scores(A, method="sketch", random_state=0)
    inside = (near > 0.3 * scores) & (near < 3 * scores)
    assert inside.mean() > 0.99
    twice = np.hstack([A, A[:, :1]])
    with pytest.warns(RuntimeWarning, match="rank 6"):
        np.testing.assert_allclose(leverage_scores(twice), scores, atol=1e-10)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert not leverage_scores(np.zeros((5, 2))).any()


def test_sketch_sizes():
    assert linf_sketch_size(10_000, 64, 1.0, 0.5) == max(256, int(np.ceil(64 * np.log(128))))
    assert linf_sketch_size(10_000, 1, 1.0, 0.9) == 4
    assert linf_sketch_size(1000, 10, 0.5, 0.1, theory=True) == int(np.ceil(40 * np.log(10_000) ** 3))


def test_a_short_sketch_says_so():
    A, b = problem()
    with pytest.warns(RuntimeWarning, match="fewer than the"):
        sketched_lstsq(A, b, m=20)


def test_one_column_and_short_problems():
    b = np.arange(5.0)
    np.testing.assert_allclose(sketched_lstsq(np.ones((5, 1)), b, sketch="dct", m=5).x, [2.0])
    constant = sketched_lstsq(np.ones((4097, 1)), np.ones(4097), random_state=0)
    np.testing.assert_allclose(constant.x, [1.0])
    zero = sketched_lstsq(*problem(noise=0)[:1], np.zeros(600), mode="refine", random_state=0)
    assert not zero.x.any()
    assert zero.success


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"A": np.ones((3, 4)), "b": np.ones(3)}, ShapeError, "as many rows as columns"),
        ({"m": 7}, ArgumentError, "m=7"),
        ({"m": 601}, ArgumentError, "without replacement"),
        ({"b": np.ones(5)}, ShapeError, "600 rows"),
        ({"b": np.full(600, np.nan)}, ArgumentError, "NaN"),
        ({"A": np.where(np.eye(600, 8) > 0, np.inf, 1.0)}, ArgumentError, "A has 8 NaN"),
        ({"sketch": "srth"}, ArgumentError, "did you mean 'srht'"),
        ({"sketch": 3}, UnsupportedError, "expected a name"),
        ({"mode": "fast"}, ArgumentError, "one of sketch"),
        ({"sketch": SRHT(600, 50), "mode": "iterative"}, ArgumentError, "draws several"),
        ({"sketch": SRHT(500, 50)}, ShapeError, "to fit A"),
        ({"weights": -np.ones(600)}, ArgumentError, "weights"),
        ({"ridge": -1.0}, ArgumentError, "ridge=-1.0"),
        ({"eps": 0.0}, ArgumentError, "eps=0.0"),
        ({"A": np.zeros((600, 8))}, np.linalg.LinAlgError, "rank deficient"),
        ({"A": np.ones((600, 8))}, np.linalg.LinAlgError, "rank deficient"),
        ({"b": [(np.ones(3), np.ones(200))]}, ArgumentError, "Kronecker product"),
    ],
)
def test_bad_input_is_named(change, error, words):
    A, b = problem()
    call = {"A": A, "b": b, "random_state": 0, **change}
    with pytest.raises(error, match=words):
        sketched_lstsq(call.pop("A"), call.pop("b"), **call)
