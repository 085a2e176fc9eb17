"""The closed form is the minimum over all matrices of its rank, whatever computes it."""

from itertools import pairwise

import numpy as np
import pytest
import scipy.linalg
import scipy.optimize
from hypothesis import given
from hypothesis import strategies as st

from gossamer.linalg import GroupQuant, LowRank, Moment, weighted_error, weighted_low_rank


def _problem(seed, rows=6, cols=9, samples=40):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((samples, cols)) * rng.gamma(0.5, size=cols)
    return rng.standard_normal((rows, cols)), X, X.T @ X / samples


def _product(fit):
    return np.asarray(fit.B) @ np.asarray(fit.A)


@pytest.mark.parametrize("shape", [(6, 9), (9, 6)])
@pytest.mark.parametrize("solver", ["exact", "gram", "randomized"])
@pytest.mark.parametrize("factor", ["eigen", "cholesky"])
def test_a_cholesky_factor_gives_the_same_product(shape, solver, factor):
    dW, _, C = _problem(1, *shape)
    L = np.linalg.cholesky(C)
    U, S, Vt = np.linalg.svd(dW @ L, full_matrices=False)
    expected = U[:, :3] * S[:3] @ Vt[:3] @ np.linalg.inv(L)
    fit = weighted_low_rank(dW, C, 3, solver=solver, factor=factor)
    np.testing.assert_allclose(_product(fit), expected, rtol=0, atol=1e-8 * np.abs(expected).max())
    np.testing.assert_allclose(fit.singular_values[:3], S[:3], rtol=1e-8)


def test_no_start_of_a_general_optimiser_finds_less():
    dW, _, C = _problem(2, 3, 4)
    bound = (weighted_low_rank(dW, C, 1).singular_values[1:] ** 2).sum()

    def loss(v):
        E = dW - np.outer(v[:3], v[3:])
        EC = E @ C
        return (EC * E).sum(), -2 * np.concatenate([EC @ v[3:], EC.T @ v[:3]])

    rng = np.random.default_rng(0)
    found = [
        scipy.optimize.minimize(loss, rng.standard_normal(7), jac=True, method="L-BFGS-B").fun
        for _ in range(200)
    ]
    assert min(found) >= bound - 1e-9
    assert min(found) == pytest.approx(bound, rel=1e-6)
    assert weighted_low_rank(dW, C, 1).residual ** 2 == pytest.approx(bound, rel=1e-9)


@given(st.integers(1, 7), st.integers(1, 7), st.integers(1, 12), st.integers(0, 500), st.data())
def test_the_residual_is_what_the_inputs_see(rows, cols, samples, seed, data):
    dW, X, C = _problem(seed, rows, cols, samples)
    rank = data.draw(st.integers(1, min(rows, cols)))
    fit = weighted_low_rank(dW, C, rank)
    seen = np.linalg.norm((dW - _product(fit)) @ X.T) / np.sqrt(samples)
    noise = 1e-7 * np.linalg.norm(dW) * np.sqrt(np.abs(C).max())
    assert fit.residual == pytest.approx(seen, rel=1e-6, abs=noise)
    assert fit.residual == pytest.approx(
        np.sqrt((fit.singular_values[rank:] ** 2).sum()), rel=1e-6, abs=noise
    )
    assert fit.total == pytest.approx(np.linalg.norm(dW @ X.T) / np.sqrt(samples), rel=1e-6, abs=noise)


@given(st.integers(2, 7), st.integers(2, 7), st.integers(1, 12), st.integers(0, 500), st.booleans())
def test_no_other_method_leaves_less(rows, cols, samples, seed, narrow):
    dW, X, C = _problem(seed, rows, cols, samples)
    if narrow:
        dW, C = dW.astype(np.float32), C.astype(np.float32)
    slack = 1e-5 * np.linalg.norm(dW) * np.sqrt(np.abs(C).max())
    best = weighted_low_rank(dW, C, 1).residual
    for method in ("svd", "act"):
        for scale in (None, np.abs(X).mean(0)):
            assert best <= weighted_low_rank(dW, C, 1, method=method, scale=scale).residual + slack


def test_learning_comes_near_the_closed_form_and_never_below():
    dW, X, C = _problem(3)
    best = weighted_low_rank(dW, C, 2)
    for inputs in (None, np.split(X, 4)):
        learned = weighted_low_rank(dW, C, 2, method="learn", steps=4000, inputs=inputs)
        assert best.residual <= learned.residual < 0.6 * best.residual + 0.4 * best.total


def test_special_moments_give_special_cases():
    dW, _, C = _problem(4)
    plain = weighted_low_rank(dW, None, 2)
    for same in (
        weighted_low_rank(dW, 3.0 * np.eye(9), 2),
        weighted_low_rank(dW, C, 2, method="svd"),
        weighted_low_rank(dW, C, 2, method="zeroquant-lorc"),
    ):
        np.testing.assert_allclose(_product(same), _product(plain), atol=1e-12)
    diagonal = np.diagonal(C).copy()
    full = weighted_low_rank(dW, np.diag(diagonal), 2)
    for same in (weighted_low_rank(dW, diagonal, 2), weighted_low_rank(dW, C, 2, method="act")):
        np.testing.assert_allclose(_product(same), _product(full), atol=1e-10)
    scaled = weighted_low_rank(dW, 100 * C, 2)
    np.testing.assert_allclose(_product(scaled), _product(weighted_low_rank(dW, C, 2)), atol=1e-10)


def test_the_rank_of_the_error_repairs_it_and_more_rank_never_hurts():
    dW, X, C = _problem(5)
    thin = dW[:, :2] @ np.random.default_rng(0).standard_normal((2, 9))
    fit = weighted_low_rank(thin, C, 2)
    np.testing.assert_allclose(_product(fit) @ X.T, thin @ X.T, atol=1e-6)
    residuals = [weighted_low_rank(dW, C, rank).residual for rank in range(1, 7)]
    assert all(b <= a for a, b in pairwise(residuals))
    assert residuals[-1] < 1e-7 * weighted_low_rank(dW, C, 1).total


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_inputs_that_do_not_span_the_space_leave_finite_optimal_factors(dtype):
    rng = np.random.default_rng(6)
    X = rng.standard_normal((5, 9))  # fewer tokens than features
    X[:, 3] = X[:, 2]  # a duplicate
    X[:, 7] = 0  # a feature that never fires
    dW, C = rng.standard_normal((6, 9)).astype(dtype), (X.T @ X / 5).astype(dtype)
    fit = weighted_low_rank(dW, C, 3)
    assert np.isfinite(fit.A).all()
    assert np.isfinite(fit.B).all()
    best = scipy.linalg.svdvals(dW @ X.T / np.sqrt(5))[3:]
    assert fit.residual == pytest.approx(np.linalg.norm(best), rel=1e-4)
    null = scipy.linalg.null_space(X.astype(np.float64), rcond=1e-6)
    assert np.abs(fit.A @ null).max() < (1e-4 if dtype == np.float32 else 1e-10)
    kept = weighted_low_rank(dW, C, 3, unseen="keep")
    assert kept.residual == pytest.approx(fit.residual, rel=1e-4)
    assert np.linalg.norm((dW - _product(kept)) @ null) <= np.linalg.norm(dW @ null) * (1 + 1e-6)


def test_factors_are_balanced_or_orthonormal_and_keep_their_kind():
    torch = pytest.importorskip("torch")
    dW, _, C = _problem(7)
    fit = weighted_low_rank(dW, C, 3)
    np.testing.assert_allclose(np.linalg.norm(fit.B, axis=0), np.linalg.norm(fit.A, axis=1))
    loose = weighted_low_rank(dW, C, 3, balanced=False)
    np.testing.assert_allclose(loose.B.T @ loose.B, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(_product(loose), _product(fit), atol=1e-12)
    tensors = weighted_low_rank(torch.from_numpy(dW.astype(np.float32)), torch.from_numpy(C), 3)
    assert tensors.B.dtype == torch.float32
    assert isinstance(tensors.A, torch.Tensor)
    np.testing.assert_allclose(_product(tensors), _product(fit), atol=1e-5)


def test_a_moment_is_decomposed_once_for_all_layers_that_share_it():
    dW, _, C = _problem(8)
    shared = Moment(C)
    first, second = weighted_low_rank(dW, shared, 2), weighted_low_rank(2 * dW, shared, 2)
    np.testing.assert_allclose(2 * _product(first), _product(second), atol=1e-12)
    np.testing.assert_array_equal(_product(first), _product(weighted_low_rank(dW, C, 2)))


def test_the_projection_of_the_family_is_the_same_matrix():
    dW, _, C = _problem(9)
    np.testing.assert_allclose(
        LowRank(3).project(dW, C).to_dense(), _product(weighted_low_rank(dW, C, 3)), atol=1e-10
    )


def test_a_compressed_matrix_plus_its_compensation_is_nearer():
    W, X, C = _problem(10, 32, 64, 200)
    W = W.astype(np.float32)
    compressed = GroupQuant(bits=2, group=32).project(W)
    fit = weighted_low_rank(W - compressed.to_dense(), C, 8)
    whole = compressed + fit.matrix
    assert weighted_error(W, whole.to_dense(), C) == pytest.approx(fit.residual**2, rel=1e-4)
    x = X.T.astype(np.float32)
    np.testing.assert_allclose(whole @ x, compressed @ x + _product(fit) @ x, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rank": 0}, "rank=0"),
        ({"rank": 7}, "nearest valid: 6"),
        ({"C": np.eye(8)}, r"C has shape \(8, 8\)"),
        ({"C": np.eye(9) + np.triu(np.full((9, 9), 1e-3), 1)}, "C is not symmetric"),
        ({"C": np.full((9, 9), np.nan)}, "C has 81 NaN"),
        ({"C": -np.ones(9)}, "negative"),
        ({"method": "eorra"}, "did you mean 'eora'"),
        ({"solver": "exakt"}, "did you mean 'exact'"),
        ({"scale": np.ones(8), "method": "act"}, "scale has shape"),
    ],
)
def test_bad_arguments_are_refused(change, words):
    dW, _, C = _problem(0)
    arguments = {"dW": dW, "C": C, "rank": 2, **change}
    with pytest.raises(ValueError, match=words):
        weighted_low_rank(**arguments)
