"""Regressions of incomplete matrices against ``numpy.linalg.lstsq``, column by column."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from gossamer._core.errors import ArgumentError, ShapeError, UnsupportedError
from gossamer.solve import multi_response_regression

METHODS = ["auto", "exact", "qr", "cg", "shared", "sketch"]


def oracle(U, M, ridge=0.0, weighted=False):
    out = np.zeros((M.shape[1], U.shape[1]))
    for j in range(M.shape[1]):
        seen = ~np.isnan(M[:, j])
        lam = ridge * seen.sum() if weighted else ridge
        A = np.vstack([U[seen], np.sqrt(lam) * np.eye(U.shape[1])])
        out[j] = np.linalg.lstsq(A, np.concatenate([M[seen, j], np.zeros(U.shape[1])]), rcond=1e-12)[0]
    return out


def incomplete(m, n, density, seed=0):
    rng = np.random.default_rng(seed)
    M = rng.standard_normal((m, n))
    M[rng.random((m, n)) > density] = np.nan
    return M


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("ridge", "weighted"), [(0.0, False), (0.5, False), (0.1, True)])
def test_columns_are_least_squares_solutions(method, ridge, weighted):
    U = np.random.default_rng(1).standard_normal((120, 9))
    M = incomplete(120, 30, 0.6)
    V, info = multi_response_regression(
        U, M, method=method, ridge=ridge, weighted_ridge=weighted, rtol=1e-12, random_state=0
    )
    np.testing.assert_allclose(V, oracle(U, M, ridge, weighted), atol=1e-9)
    assert info.n_deficient == 0
    rest = np.where(np.isnan(M), 0, M - U @ V.T)
    np.testing.assert_allclose(info.loss, (rest**2).sum(axis=0), rtol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_columns_with_few_repeated_or_no_rows_have_the_least_norm(method):
    U = np.random.default_rng(1).standard_normal((60, 8))
    U[31] = U[30]
    M = np.full((60, 5), np.nan)
    M[:3, 0] = [1, 2, 3]
    M[30:32, 1] = [1, 2]  # the same row twice
    M[:40, 2] = np.arange(40)
    M[5, 4] = 0.0
    V, info = multi_response_regression(U, M, method=method, rtol=1e-13, random_state=0)
    np.testing.assert_allclose(V, oracle(U, M), atol=1e-9)
    assert not V[3].any()
    assert info.n_empty == 1
    assert info.n_deficient == (0 if method in ("cg", "shared") else 3)
    V, info = multi_response_regression(U, M, method=method, ridge=0.01, rtol=1e-13, random_state=0)
    np.testing.assert_allclose(V, oracle(U, M, 0.01), atol=1e-9)
    assert info.n_deficient == 0


@given(st.integers(1, 30), st.integers(1, 8), st.integers(1, 12), st.floats(0, 1), st.sampled_from(METHODS))
def test_any_shape(m, n, k, density, method):
    rng = np.random.default_rng(m * 100 + n)
    U, M = rng.standard_normal((m, k)), incomplete(m, n, density, seed=k)
    V, _ = multi_response_regression(U, M, method=method, ridge=0.2, rtol=1e-12, random_state=0)
    np.testing.assert_allclose(V, oracle(U, M, 0.2), atol=1e-8)


def test_the_steps_of_cg_do_not_depend_on_the_rank():
    steps = []
    for k in (8, 16, 32, 64):
        U = np.linalg.qr(np.random.default_rng(k).standard_normal((1600, k)))[0]
        M = incomplete(1600, 12, 20 * k / 1600, seed=k)  # twenty rows for each unknown
        _, info = multi_response_regression(U, M, method="cg", rtol=1e-6)
        steps.append(info.steps.mean())
    assert max(steps) - min(steps) < 2
    assert max(steps) < 14


def test_one_preconditioner_for_all_columns_takes_the_conditioning_away():
    U = np.random.default_rng(0).standard_normal((500, 20)) @ np.diag(np.logspace(0, 3, 20))
    M = incomplete(500, 20, 0.8)
    steps = {
        method: multi_response_regression(U, M, method=method, rtol=1e-9, maxiter=3000, random_state=0)[
            1
        ].steps
        for method in ("cg", "shared", "sketch")
    }
    assert steps["shared"].max() < 25
    assert steps["sketch"].max() < 60
    assert np.median(steps["cg"]) > 3 * steps["shared"].max()


def test_auto_sketches_long_columns_that_cg_does_not_solve():
    rng = np.random.default_rng(0)
    U = rng.standard_normal((1500, 32)) * np.logspace(0, 4, 32)
    V, info = multi_response_regression(U, rng.standard_normal((1500, 3)), rtol=1e-10, random_state=0)
    assert info.method == "cg+sketch"
    assert info.n_sketched == 3
    even = np.linalg.qr(rng.standard_normal((1500, 32)))[0]
    assert multi_response_regression(even, rng.standard_normal((1500, 3)))[1].method == "cg"
    assert multi_response_regression(even[:, :8], rng.standard_normal((1500, 3)))[1].method == "exact"
    assert V.shape == (3, 32)


def test_stored_zeros_are_observations_and_float32_stays():
    M = sp.csc_array((np.array([0.0, 2.0]), np.array([0, 1]), np.array([0, 2, 2])), shape=(2, 2))
    V, info = multi_response_regression(np.ones((2, 1)), M)
    np.testing.assert_allclose(V, [[1.0], [0.0]])
    assert info.n_empty == 1
    V, _ = multi_response_regression(np.ones((2, 1), "float32"), M.astype("float32"), method="cg")
    assert V.dtype == np.float32


def test_bad_input_is_named():
    U, M = np.ones((4, 2)), np.ones((4, 3))
    with pytest.raises(ShapeError, match="U has shape"):
        multi_response_regression(U[:3], M)
    with pytest.raises(ShapeError, match="x0 has shape"):
        multi_response_regression(U, M, x0=np.ones((2, 2)))
    with pytest.raises(ArgumentError, match="method"):
        multi_response_regression(U, M, method="lu")
    with pytest.raises(ArgumentError, match="ridge"):
        multi_response_regression(U, M, ridge=-1)
    with pytest.raises(ArgumentError, match="infinite"):
        multi_response_regression(U, np.full((4, 3), np.inf))
    with pytest.raises(UnsupportedError):
        multi_response_regression(U, np.array([["a"]]))
    with pytest.raises(ArgumentError, match="NaN"):
        multi_response_regression(np.full((4, 2), np.nan), M)
