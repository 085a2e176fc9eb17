"""Completion against matrices that are known in full, singular value decompositions and closed forms."""

import numpy as np
import pytest
import scipy.sparse as sp

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.solve import (
    alternating_minimization,
    incoherent_low_rank,
    matrix_completion,
    multi_response_regression,
    select_rank,
)


def complete(sample, rank=None, **options):
    options.setdefault("random_state", 0)
    return matrix_completion(
        sample.rows, sample.cols, sample.vals, sample.shape, rank or len(sample.S), **options
    )


@pytest.fixture(scope="module")
def large():
    return incoherent_low_rank(1000, 1000, 10, kappa=5, p=0.2, random_state=0)


@pytest.fixture(scope="module")
def small():
    return incoherent_low_rank(150, 120, 4, kappa=3, p=0.4, random_state=1)


@pytest.mark.parametrize("method", ["exact", "cg", "shared", "sketch"])
def test_exact_recovery_with_every_solver(large, method):
    result = complete(large, method=method, maxiter=60, tol=1e-13)
    assert large.relative_error(result.U, result.V) < 1e-10
    assert result.method == method


def test_fresh_entries_for_every_half_sweep_recover_geometrically():
    sample = incoherent_low_rank(1000, 1000, 10, kappa=5, p=1.0, random_state=0)
    errors = []
    result = complete(
        sample, sample_splitting=True, maxiter=10, callback=lambda it: errors.append(it.values["rmse"])
    )
    assert sample.relative_error(result.U, result.V) < 1e-3
    falls = np.array(errors[:-1]) / np.array(errors[1:])
    assert (falls[4:] > 2).all()
    assert result.nit == 10


def test_few_entries_suffice_with_a_ridge_that_falls():
    done = []
    for seed in range(4):
        s = incoherent_low_rank(500, 500, 2, p=0.024, random_state=seed)  # three times k (m + n)
        found = complete(s, maxiter=100, tol=1e-5)
        given = complete(
            s, maxiter=100, tol=1e-5, init=(found.U, None)
        )  # a start that is given is not warmed up
        assert s.relative_error(given.U, given.V) < 1e-3
        done.append(s.relative_error(found.U, found.V) < 1e-3)
    assert all(done)


def test_half_a_sweep_from_the_true_factor_gives_the_other(small):
    M = sp.csr_array((small.vals, (small.rows, small.cols)), shape=small.shape)
    for method in ("exact", "qr", "cg", "shared", "sketch"):
        V, _ = multi_response_regression(small.U, M, method=method, rtol=1e-13, random_state=0)
        np.testing.assert_allclose(V, small.V * small.S, atol=1e-9)


def test_with_every_entry_it_is_the_truncated_svd():
    M = np.random.default_rng(0).standard_normal((40, 30)) @ np.diag(np.linspace(5, 0.1, 30))
    left, S, right = np.linalg.svd(M)
    for method in ("exact", "cg"):
        result = alternating_minimization(M, np.eye(40, 5), method=method, maxiter=3000, tol=1e-15)
        np.testing.assert_allclose(result.to_dense(), (left[:, :5] * S[:5]) @ right[:5], atol=1e-5)
        np.testing.assert_allclose(result.S, S[:5], rtol=1e-6)


def test_rank_one_without_its_diagonal_has_a_closed_form():
    u, v = np.array([1.0, -2, 3, 0.5]), np.array([2.0, 1, -1, 4])
    M = np.outer(u, v)
    i, j = np.nonzero(~np.eye(4, dtype=bool))
    result = matrix_completion(i, j, M[i, j], (4, 4), 1, maxiter=500, tol=1e-14, random_state=0)
    closed = M[0, 1] * M[2, 0] / M[2, 1]
    assert result.predict(0, 0)[0] == pytest.approx(closed, rel=1e-8)
    np.testing.assert_allclose(np.diagonal(result.to_dense()), u * v, rtol=1e-7)


@pytest.mark.parametrize("method", ["exact", "qr", "cg", "shared", "sketch"])
@pytest.mark.parametrize("ridge", [0.0, 0.1])
def test_the_objective_never_rises(method, ridge):
    sample = incoherent_low_rank(120, 90, 5, p=0.5, noise=0.3, random_state=0)
    values = []

    def objective(iteration):
        values.append(iteration.values["rmse"])

    complete(sample, method=method, ridge=ridge, weighted_ridge=False, maxiter=25, tol=0, callback=objective)
    if ridge == 0:
        assert (np.diff(values) <= 1e-12 * np.array(values[:-1])).all()
    assert values[-1] < values[0]


def test_the_penalised_objective_never_rises():
    sample = incoherent_low_rank(80, 70, 3, p=0.5, noise=0.3, random_state=0)
    for method in ("exact", "cg"):
        last = np.inf
        for sweeps in range(1, 8):
            r = complete(sample, method=method, ridge=0.5, maxiter=sweeps, tol=0)
            rest = r.predict(sample.rows, sample.cols) - sample.vals
            value = rest @ rest + 0.5 * (np.sum(r.U**2) + np.sum(r.V**2))
            assert value <= last * (1 + 1e-12)
            last = value


def test_what_is_tolerated_is_proportional_to_the_perturbation():
    sample = incoherent_low_rank(300, 300, 5, kappa=2, p=0.4, random_state=0)
    exact = complete(sample, method="exact", maxiter=40, tol=0).history["rmse"]
    deltas, errors = 10.0 ** -np.arange(2, 9, 2), []
    for delta in deltas:
        history = complete(sample, method="exact", maxiter=40, tol=0, perturb=delta).history["rmse"]
        errors.append(np.mean(history[-5:]))
        rounds = [int(np.argmax(np.array(h) < 10 * delta)) for h in (exact, history)]
        assert abs(rounds[0] - rounds[1]) <= 2
    slope = np.polyfit(np.log(deltas), np.log(errors), 1)[0]
    assert abs(slope - 1) < 0.15


def test_noise_is_averaged_as_well_as_an_oracle_would():
    sample = incoherent_low_rank(500, 400, 5, p=0.3, noise=0.1, random_state=0)
    result = complete(sample, tol=1e-7)
    rng = np.random.default_rng(0)
    i, j = rng.integers(500, size=20000), rng.integers(400, size=20000)
    rmse = np.sqrt(np.mean((result.predict(i, j) - sample.at(i, j)) ** 2))
    assert rmse < 1.15 * 0.1 * np.sqrt(5 * 900 / len(sample.vals))


def test_permutation_scale_and_transposition(small):
    base = complete(small, tol=1e-12)
    rng = np.random.default_rng(3)
    p, q = rng.permutation(small.shape[0]), rng.permutation(small.shape[1])
    moved = matrix_completion(
        p[small.rows], q[small.cols], 100 * small.vals, small.shape, 4, tol=1e-12, random_state=0
    )
    np.testing.assert_allclose(moved.to_dense()[np.ix_(p, q)], 100 * base.to_dense(), atol=1e-6)
    np.testing.assert_allclose(moved.S, 100 * base.S, rtol=1e-8)
    turned = matrix_completion(
        small.cols, small.rows, small.vals, small.shape[::-1], 4, tol=1e-12, random_state=0
    )
    np.testing.assert_allclose(turned.to_dense().T, base.to_dense(), atol=1e-8)


def test_factors_are_balanced_and_results_repeat(small):
    one, two = complete(small, threads=1, method="sketch"), complete(small, threads=3, method="sketch")
    assert (one.U == two.U).all()
    np.testing.assert_allclose(one.U.T @ one.U, np.diag(one.S), atol=1e-9 * one.S[0])
    np.testing.assert_allclose(one.V.T @ one.V, np.diag(one.S), atol=1e-9 * one.S[0])
    np.testing.assert_allclose(one.S, small.S, rtol=1e-5)
    assert len({len(column) for column in one.history.values()}) == 1
    assert {"rmse", "row_distance", "column_mu", "inner_steps", "column_seconds"} <= set(one.history)


def test_a_coherent_row_is_clipped_from_the_start_and_reported(large):
    vals = large.vals.copy()
    vals[large.rows == 7] *= 1000
    result = matrix_completion(
        large.rows, large.cols, vals, large.shape, 10, clip_incoherence=2.0, random_state=0, maxiter=60
    )
    assert result.clipped > 0
    assert np.isfinite(result.U).all()
    plain = matrix_completion(large.rows, large.cols, vals, large.shape, 10, random_state=0, maxiter=5)
    assert plain.clipped == 0
    assert plain.mu[0] > 5


def test_limits():
    wide = matrix_completion(np.zeros(3, int), np.arange(3), [1.0, 2, 3], (1, 3), 1, random_state=0)
    np.testing.assert_allclose(wide.to_dense(), [[1, 2, 3]], rtol=1e-7)
    i, j = np.array([0, 1, 1]), np.array([0, 0, 2])
    with pytest.warns(RuntimeWarning, match="fewer than"):
        holes = matrix_completion(i, j, [1.0, 2, 4], (4, 4), 1, random_state=0)
    assert holes.n_empty == (2, 2)
    assert not holes.U[2:].any()
    np.testing.assert_allclose(holes.predict(i, j), [1, 2, 4], rtol=1e-6)
    with pytest.warns(RuntimeWarning):
        nothing = matrix_completion([], [], [], (3, 2), 1)
    assert not nothing.to_dense().any()
    assert nothing.success
    zeros = matrix_completion([0, 0, 1, 1], [0, 1, 0, 1], np.zeros(4), (2, 2), 1, random_state=0)
    assert not zeros.to_dense().any()


def test_float32_stays_and_is_as_good_as_it_can_be(large):
    result = complete(large, dtype="float32", tol=1e-6, method="cg")
    assert result.U.dtype == np.float32
    assert large.relative_error(result.U.astype(float), result.V.astype(float)) < 1e-4


def test_biases_take_what_is_additive():
    rng = np.random.default_rng(0)
    i, j = np.nonzero(rng.random((200, 100)) < 0.3)
    rows, columns = rng.standard_normal(200), rng.standard_normal(100)
    vals = 3 + rows[i] + columns[j]
    result = matrix_completion(i, j, vals, (200, 100), 1, biases=True, ridge=1e-6, tol=1e-9, random_state=0)
    np.testing.assert_allclose(result.to_dense(), 3 + rows[:, None] + columns, atol=1e-2)
    np.testing.assert_allclose(result.predict(i, j), vals, atol=1e-2)


def test_held_out_entries_end_the_sweeps_and_choose_the_rank():
    sample = incoherent_low_rank(200, 200, 3, p=0.2, noise=0.5, random_state=0)
    rng = np.random.default_rng(0)
    i, j = rng.integers(200, size=4000), rng.integers(200, size=4000)
    keys = np.unique(i * 200 + j)
    i, j = keys // 200, keys % 200
    held = (i, j, sample.at(i, j))
    result = complete(sample, rank=15, validation=held, maxiter=100, tol=0)
    errors = np.array(result.history["validation_rmse"][1:])
    assert result.nit < 100
    final = np.sqrt(np.mean((result.predict(i, j) - held[2]) ** 2))
    assert final == pytest.approx(errors.min(), rel=1e-6)
    choice = select_rank(
        sample.rows, sample.cols, sample.vals, sample.shape, [1, 2, 3, 6, 12], random_state=0
    )
    assert choice.rank == 3
    assert choice.ranks == (1, 2, 3, 6, 12)


def test_a_callback_ends_it_and_maxiter_is_no_error(small):
    assert complete(small, callback=lambda it: it.nit == 2).nit == 2
    short = complete(small, maxiter=1, tol=1e-14)
    assert not short.success
    assert "maxiter" in short.message
    more = complete(small, init=(short.U, short.V), maxiter=1, tol=1e-14)
    assert more.rmse < short.rmse


def test_duplicates():
    i, j = np.array([0, 0, 1, 1, 0]), np.array([0, 1, 0, 1, 0])
    same = matrix_completion(i, j, [1.0, 2, 2, 4, 1], (2, 2), 1, random_state=0)
    np.testing.assert_allclose(same.to_dense(), [[1, 2], [2, 4]], rtol=1e-6)
    with pytest.raises(ArgumentError, match="duplicates='mean'"):
        matrix_completion(i, j, [1.0, 2, 2, 4, 3], (2, 2), 1)
    mean = matrix_completion(i, j, [0.0, 2, 2, 4, 2], (2, 2), 1, duplicates="mean", random_state=0)
    np.testing.assert_allclose(mean.to_dense(), [[1, 2], [2, 4]], rtol=1e-6)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_bad_input_is_named():
    i, j, v = np.arange(4), np.arange(4), np.ones(4)
    for change, error, words in (
        ({"rows": i - 1}, ArgumentError, "rows span"),
        ({"cols": j + 1}, ArgumentError, "cols span"),
        ({"rows": i.astype(float)}, ArgumentError, "integers"),
        ({"vals": v[:3]}, ShapeError, "lengths"),
        ({"vals": np.array([1, np.nan, 1, 1])}, ArgumentError, "NaN"),
        ({"vals": np.full(4, 1e300), "dtype": "float32"}, ArgumentError, "float32"),
        ({"rank": 5}, ArgumentError, "rank"),
        ({"shape": (4,)}, ShapeError, "shape"),
        ({"dtype": "int32"}, ArgumentError, "dtype"),
        ({"init": "zeros"}, ArgumentError, "init"),
        ({"init": (np.ones((3, 1)), None)}, ShapeError, "init"),
        ({"inner_rtol": "exact"}, ArgumentError, "inner_rtol"),
        ({"clip_incoherence": "yes"}, ArgumentError, "clip_incoherence"),
        ({"validation": (i, j)}, ArgumentError, "validation"),
        ({"perturb": -1}, ArgumentError, "perturb"),
    ):
        arguments = {"rows": i, "cols": j, "vals": v, "shape": (4, 4), "rank": 1, **change}
        with pytest.raises(error, match=words):
            matrix_completion(**arguments)
    sample = incoherent_low_rank(20, 20, 2, p=1.0, random_state=0)
    with pytest.raises(ArgumentError, match=r"at least \d+"):
        complete(sample, sample_splitting=True)
    with pytest.raises(ArgumentError, match="sample_splitting"):
        complete(sample, sample_splitting=True, biases=True)
    with pytest.raises(ArgumentError, match="kappa"):
        incoherent_low_rank(5, 5, 1, kappa=0.5)
    with pytest.raises(ArgumentError, match="ranks"):
        select_rank(i, j, v, (4, 4), [])
    with pytest.raises(ShapeError, match="U has shape"):
        alternating_minimization(np.ones((3, 3)), np.ones((2, 1)))
