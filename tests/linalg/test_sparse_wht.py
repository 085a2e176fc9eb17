"""sparse_wht against known spectra: exact without noise, as good as least squares with it, and honest when it fails."""

import numpy as np
import pytest
from tests.linalg.sparse_spectra import Spectrum, characters

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.linalg import SparseWHTResult, fwht, plan_sparse_wht, sparse_wht


def run(f, n, K=None, seed=0, **options):
    return sparse_wht(f, n, K, vectorised="index", random_state=seed, threads=1, **options)


@pytest.mark.parametrize("method", ["coded", "identity"])
@pytest.mark.parametrize("n", [10, 14, 20, 30, 40, 62])
@pytest.mark.parametrize("K", [1, 10, 64, 100])
def test_a_random_support_without_noise_is_exact(n, K, method):
    f = Spectrum(n, K, seed=n + K)
    result = run(f, n, K, method=method, seed=1)
    assert result.success
    assert np.array_equal(result.support, f.support)
    np.testing.assert_allclose(result.coef, f.coef, atol=1e-10)
    assert result.n_queries == len(np.unique(np.concatenate(f.asked))) <= result.n_samples


@pytest.mark.parametrize(
    ("method", "P", "snr_db"),
    [("coded", 40, 10), ("coded", 60, 5), ("coded", 80, 0), ("nso", 168, 5), ("nso", 336, 0)],
)
def test_noise_costs_a_constant_factor(method, P, snr_db):
    exact = 0
    for seed in range(10):
        f = Spectrum(20, 40, seed, snr_db)
        result = run(f, 20, 40, seed, method=method, P=P, b=6, sigma=f.sigma)
        same = np.array_equal(result.support, f.support)
        exact += same
        assert same or not result.success
        assert result.n_samples == 3 * 64 * P
    assert exact >= 9


def test_hard_votes_need_more_than_soft_ones_but_work():
    f = Spectrum(16, 10, 0, 8)
    result = run(f, 16, 10, method="nso", soft=False, P=17 * 12)
    assert np.array_equal(result.support, f.support)


@pytest.mark.parametrize("blind", [True, False])
def test_amplitudes_are_as_good_as_least_squares_on_all_samples(blind):
    errors = []
    for seed in range(8):
        f = Spectrum(20, 40, seed, 5)
        result = run(f, 20, 40, seed, sigma=None if blind else f.sigma)
        assert np.array_equal(result.support, f.support)
        assert result.sigma == pytest.approx(f.sigma, rel=0.05)
        expected = f.sigma / np.sqrt(result.n_queries)
        np.testing.assert_allclose(result.error, expected, rtol=0.1)
        errors.append((result.coef - f.coef) / expected)
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(1, rel=0.3)


def test_refinement_reduces_the_error():
    f = Spectrum(20, 60, 3, 5)
    error = {}
    for refine in (True, False):
        result = run(Spectrum(20, 60, 3, 5), 20, 60, 4, sigma=f.sigma, refine=refine)
        assert np.isin(f.support, result.support).all()
        found = result.coef[np.isin(result.support, f.support)]
        error[refine] = np.sqrt(np.mean((found - f.coef) ** 2))
    assert error[True] < 0.8 * error[False]


def test_all_coefficients_at_once_equal_the_dense_transform():
    f = Spectrum(12, 20, 0)
    x = f(np.arange(1 << 12, dtype=np.uint64))
    for norm in ("forward", "ortho", "none"):
        result = sparse_wht(x, 12, 20, norm=norm, random_state=0)
        np.testing.assert_allclose(result.to_dense(), fwht(x, norm=norm), atol=1e-9 * 2**12)


def test_column_i_is_bit_i():
    result = sparse_wht(lambda bits: 1.0 - 2.0 * (bits[:, 0] ^ bits[:, 5]), 9, 1, random_state=0)
    assert result.support.tolist() == [0b100001]
    assert result.interactions() == [((0, 5), pytest.approx(1.0))]
    bits = np.random.default_rng(0).integers(0, 2, (50, 9))
    np.testing.assert_allclose(result.predict(bits), 1 - 2 * (bits[:, 0] ^ bits[:, 5]), atol=1e-10)


def test_a_memory_mapped_array_is_read_where_it_is_asked(tmp_path):
    f = Spectrum(14, 10, 0)
    np.save(tmp_path / "x.npy", f(np.arange(1 << 14, dtype=np.uint64)))
    result = sparse_wht(np.load(tmp_path / "x.npy", mmap_mode="r"), 14, 10, random_state=0)
    assert np.array_equal(result.support, f.support)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_values_of_less_precision(dtype):
    f = Spectrum(20, 20, 0)
    result = run(lambda points: f(points).astype(dtype), 20, 20)
    assert result.success
    assert np.array_equal(result.support, f.support)


def test_zero_has_no_coefficients():
    result = run(lambda points: np.zeros(len(points)), 20, 10)
    assert result.success
    assert len(result.support) == 0
    assert result.predict(np.zeros((2, 20))).tolist() == [0, 0]
    assert result.interactions() == []


def test_a_constant_in_noise():
    rng = np.random.default_rng(0)
    result = run(lambda points: 2 + 0.5 * rng.standard_normal(len(points)), 20, 1, sigma=0.5)
    assert result.support.tolist() == [0]
    assert result.coef[0] == pytest.approx(2, abs=0.1)


def test_noise_alone_has_no_coefficients():
    rng = np.random.default_rng(0)
    for options in ({"sigma": 1.0}, {}):
        result = run(lambda points: rng.standard_normal(len(points)), 20, 20, **options)
        assert len(result.support) == 0


def test_amplitudes_over_three_decades():
    coef = np.logspace(-3, 0, 30)
    f = Spectrum(24, 30, 0, coef=coef)
    result = run(f, 24, 30)
    assert np.array_equal(result.support, f.support)
    np.testing.assert_allclose(result.coef, coef, atol=1e-10)


def test_small_coefficients_under_the_noise_are_announced():
    f = Spectrum(20, 20, 0, coef=np.r_[np.ones(19), 1e-3], snr_db=10)
    result = run(f, 20, 20, sigma=f.sigma)
    assert 1e-3 < result.detection_floor < 1
    assert len(result.support) == 19


def test_a_support_that_is_a_subspace():
    # all of its members agree on 14 coordinates: selecting among those tells none of them apart
    support = np.arange(32, dtype=np.uint64)
    f = Spectrum(20, 32, 0, support=support)
    assert np.array_equal(run(f, 20, 32).support, support)
    outcomes = [
        run(Spectrum(20, 32, s, support=support), 20, 32, s, design="partition", C=2) for s in range(5)
    ]
    for outcome in outcomes:
        assert outcome.success == np.array_equal(outcome.support, support)
    assert not all(outcome.success for outcome in outcomes)


@pytest.mark.parametrize(("design", "C"), [("partition", 3), ("cyclic", 4)])
def test_coordinate_designs_recover_random_supports(design, C):
    for seed in range(3):
        f = Spectrum(20, 20, seed, 10)
        result = run(f, 20, 20, seed, design=design, C=C, b=6, sigma=f.sigma)
        assert np.array_equal(result.support, f.support)


@pytest.mark.parametrize("known", ["sigma", "nothing", "exact"])
@pytest.mark.parametrize("K", [3, 50])
def test_an_unknown_number_of_coefficients_is_found_by_doubling(known, K):
    f = Spectrum(22, K, K, None if known == "exact" else 10)
    result = run(f, 22, sigma=f.sigma if known == "sigma" else None, P=44)
    assert result.success
    assert np.array_equal(result.support, f.support)
    # the sketches are nested: what the last one asks holds what the others asked
    assert result.n_queries == len(np.concatenate(f.asked)) <= result.n_samples


def test_a_dense_spectrum_in_few_bins_is_not_called_noise():
    f = Spectrum(20, 3000, 0)
    result = run(f, 20, max_queries=20_000)
    assert not result.success


@pytest.mark.parametrize("method", ["identity", "nso", "coded", "mle"])
def test_low_degrees(method):
    rng = np.random.default_rng(0)
    n = 18 if method == "mle" else 31
    support = np.unique(sum(np.uint64(1) << rng.integers(0, n, 12).astype(np.uint64) for _ in range(2)))
    support = support[np.bitwise_count(support) <= 2]
    f = Spectrum(n, len(support), 0, None if method == "identity" else 10, support=support)
    result = run(f, n, len(support), method=method, max_degree=2, sigma=f.sigma)
    assert np.array_equal(result.support, support)
    if method == "identity":
        assert result.offsets == 11  # 2 x 5 rows of the check, against 31


def test_a_budget_gives_what_fits_and_says_so():
    f = Spectrum(20, 40, 0)
    result = run(f, 20, 40, max_queries=4000)
    assert not result.success
    assert "max_queries" in result.message
    assert result.n_queries <= 4000
    fixed = run(Spectrum(20, 5, 0), 20, max_queries=700)
    assert fixed.n_queries <= 700


def test_threads_and_seeds_give_the_same_bits():
    runs = [
        sparse_wht(Spectrum(20, 300, 0), 20, 300, vectorised="index", random_state=1, threads=threads)
        for threads in (1, 2, 7, 1)
    ]
    assert all(
        np.array_equal(r.coef, runs[0].coef) and np.array_equal(r.support, runs[0].support) for r in runs
    )


def test_many_coefficients_use_the_sparse_normal_equations():
    f = Spectrum(30, 1500, 0)
    result = run(f, 30, 1500, method="identity")
    assert np.array_equal(result.support, f.support)
    np.testing.assert_allclose(result.coef, f.coef, atol=1e-9)


def test_prediction_is_the_sum_over_the_support():
    f = Spectrum(40, 30, 0)
    result = run(f, 40, 30)
    points = np.random.default_rng(5).integers(0, 1 << 40, 100, dtype=np.uint64)
    np.testing.assert_allclose(result.predict(points), characters(points, f.support) @ f.coef, atol=1e-9)


def test_the_result_explains_itself():
    result = run(Spectrum(20, 5, 0), 20, 5)
    assert isinstance(result, SparseWHTResult)
    assert result.to_dict()["support"] == result.support.tolist()
    assert "success=True" in repr(result)


def test_a_plan_holds_its_promise():
    plan = plan_sparse_wht(24, 60, snr_db=5, failure=0.05)
    assert plan.n_samples == plan.C * plan.P << plan.b < 1 << 24
    exact = 0
    for seed in range(20):
        f = Spectrum(24, 60, seed, 5)
        exact += np.array_equal(run(f, 24, seed=seed, **plan.options()).support, f.support)
    assert exact >= 18


def test_plans_grow_with_noise_with_bits_and_with_certainty():
    assert (
        plan_sparse_wht(30, 100).n_samples
        < plan_sparse_wht(30, 100, 5).n_samples
        < plan_sparse_wht(30, 100, 0).n_samples
    )
    assert plan_sparse_wht(30, 100, 5).n_samples < plan_sparse_wht(50, 100, 5).n_samples
    assert plan_sparse_wht(30, 100, 5, 0.1).n_samples <= plan_sparse_wht(30, 100, 5, 0.001).n_samples


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: run(Spectrum(5, 2), 63, 2), ArgumentError, "n=63: expected at most 62"),
        (lambda: run(np.zeros(1000), 10, 2), ShapeError, "zero-pad"),
        (lambda: run(np.zeros(512), 10, 2), ShapeError, "1024 for n=10"),
        (lambda: run(Spectrum(10, 2), 10, 900), ArgumentError, "fwht"),
        (lambda: run(lambda p: np.zeros(3), 10, 2), ShapeError, "f returned shape"),
        (lambda: run(lambda p: np.where(p == p[7], np.nan, 0.0), 10, 2), ArgumentError, "nan for the query"),
        (lambda: run(lambda p: np.zeros(len(p), complex), 10, 2), ArgumentError, "real numbers"),
        (lambda: run("file.npy", 10, 2), ArgumentError, "memmap"),
        (lambda: run(Spectrum(10, 2), 10, 2, sigma=1, snr_db=3), ArgumentError, "at most one"),
        (lambda: run(Spectrum(10, 2), 10, 2, sigma=-1), ArgumentError, "sigma"),
        (lambda: run(Spectrum(10, 2), 10, 2, method="lasso"), ArgumentError, "method='lasso'"),
        (lambda: run(Spectrum(10, 2), 10, 2, P=3), ArgumentError, "n - b \\+ 1"),
        (lambda: run(Spectrum(10, 2), 10, 2, P=12, method="nso"), ArgumentError, "multiple of 11"),
        (lambda: run(Spectrum(10, 2), 10, 2, b=11), ArgumentError, "b=11"),
        (lambda: run(Spectrum(40, 2), 40, 2, method="mle"), ArgumentError, "n - b <= 26"),
        (lambda: run(Spectrum(10, 2), 10, 2, max_queries=3), ArgumentError, "max_queries=3"),
        (lambda: run(Spectrum(4, 2), 4, 2, design="cyclic", C=5), ArgumentError, "C=5"),
        (lambda: plan_sparse_wht(12, 500, 0), ArgumentError, "fwht"),
        (lambda: run(Spectrum(40, 2), 40, 2).to_dense(), ArgumentError, "at most 30"),
        (lambda: run(Spectrum(9, 2), 9, 2).predict(np.full((1, 9), 2)), ArgumentError, "zeros and ones"),
        (lambda: run(Spectrum(9, 2), 9, 2).predict(np.zeros((1, 8))), ShapeError, r"expected \(q, 9\)"),
    ],
)  # fmt: skip
def test_bad_input_is_named(call, error, words):
    with pytest.raises(error, match=words):
        call()
