"""Features of the exponential function: certified bounds hold, sets are as small as they say, gradients flow."""

import itertools
import math

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gossamer._core.errors import ArgumentError, BoundError, ShapeError
from gossamer.linalg import AnisotropicMonomials, exp_features, exp_series, smallest_exp_series


@pytest.mark.parametrize("basis", ["taylor", "chebyshev"])
@pytest.mark.parametrize("R", [0.01, 0.3, 1.0, 2.5, 5.0])
@pytest.mark.parametrize("degree", [0, 1, 2, 5, 9, 14])
def test_the_bound_of_a_series_holds_and_is_not_loose(basis, R, degree):
    series = exp_series(R, degree, basis)
    x = np.linspace(-R, R, 4001)
    error = np.abs(series(x) * np.exp(-x) - 1).max()
    assert error <= series.bound * (1 + 1e-9) + 1e-14 * math.exp(2 * R)
    assert degree < R or series.bound <= 3 * error + 1e-14 * math.exp(2 * R)


@pytest.mark.parametrize("R", [0.5, 3.0, 20.0])
@pytest.mark.parametrize("degree", [2, 8, 30])
def test_taylors_bound_is_the_error_at_the_left_end(R, degree):
    with mpmath.workdps(60):
        value = sum(mpmath.mpf(-R) ** t / mpmath.factorial(t) for t in range(degree + 1))
        expected = float(abs(value * mpmath.exp(R) - 1))
    assert exp_series(R, degree, "taylor").bound == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("basis", ["auto", "taylor", "chebyshev"])
def test_the_smallest_degree_is_the_smallest(basis):
    for R, eps in itertools.product((0.1, 1.0, 4.0), (1e-1, 1e-4, 1e-8)):
        series = smallest_exp_series(R, eps, basis)
        assert series.bound <= eps
        assert series.degree == 0 or exp_series(R, series.degree - 1, basis).bound > eps


def test_a_tangent_series_keeps_the_slope_where_most_arguments_lie():
    best = exp_series(0.3, 2)  # a Chebyshev polynomial: less error at the ends, more in the slope
    tangent = exp_series(0.3, 2, tangent=True)
    assert (best.basis, tangent.basis) == ("chebyshev", "taylor")
    assert best.bound < tangent.bound
    assert tangent.slope_error == 0
    assert best.slope_error == pytest.approx(abs(best.coefficients[1] / best.coefficients[0] - 1))
    for R, eps in itertools.product((0.1, 1.0, 4.0), (1e-1, 1e-4, 1e-8)):
        series = smallest_exp_series(R, eps, tangent=True)
        assert max(series.bound, series.slope_error) <= eps
        x = np.array([-1e-6, 1e-6])
        assert np.diff(np.log(series(x)))[0] / 2e-6 == pytest.approx(1, abs=1.01 * eps + 1e-9)


def brute_force(M, degree):
    """Every exponent up to the degree, and its term."""
    for m in itertools.product(range(degree + 1), repeat=len(M)):
        if sum(m) <= degree:
            yield m, math.prod(s**k / math.factorial(k) for s, k in zip(M, m, strict=True))


@settings(deadline=None, max_examples=60)
@given(
    M=st.lists(st.floats(0.001, 3.0), min_size=1, max_size=4),
    degree=st.integers(0, 6),
    budget=st.sampled_from([0.0, 1e-9, 1e-3, 0.1, 2.0]),
)
def test_a_set_is_closed_and_drops_no_more_than_it_says(M, degree, budget):
    monomials = AnisotropicMonomials(np.array(M), degree, budget=budget)
    kept = {tuple(m) for m in monomials.exponents.tolist()}
    assert len(kept) == len(monomials)
    left = sum(term for m, term in brute_force(M, degree) if m not in kept)
    assert left <= monomials.dropped + 1e-15
    assert monomials.dropped <= max(budget, 0)
    for m in kept:
        for l in range(len(m)):
            assert m[l] == 0 or (*m[:l], m[l] - 1, *m[l + 1 :]) in kept
    if budget == 0:
        assert len(kept) == math.comb(len(M) + degree, degree)


def test_small_terms_are_the_ones_that_go():
    M = np.array([1.0, 0.5, 0.1, 0.01])
    monomials = AnisotropicMonomials(M, 5, budget=1e-3)
    kept = {tuple(m) for m in monomials.exponents.tolist()}
    terms = dict(brute_force(M, 5))
    assert min(terms[m] for m in kept) >= max(term for m, term in terms.items() if m not in kept)
    assert len(kept) < 0.6 * math.comb(9, 5)


@pytest.mark.parametrize("index_set", ["simplex", "anisotropic"])
@pytest.mark.parametrize("basis", ["auto", "taylor", "chebyshev"])
@pytest.mark.parametrize("sets", [2, 3, 4])
def test_every_exponential_is_within_the_bound(index_set, basis, sets):
    for seed, (d, size, eps) in enumerate(
        itertools.product((1, 4, 6), (0.3, 1.0), (1e-1, 1e-3) if sets > 2 else (1e-1, 1e-5))
    ):
        rng = np.random.default_rng(seed)
        scale = np.geomspace(1, 0.05, d) * size / d ** (1 / sets)
        points = [rng.uniform(-1, 1, (1000, d)) * scale ** (1 / sets) for _ in range(sets)]
        *features, info = exp_features(*points, eps=eps, basis=basis, index_set=index_set)
        assert features[0].shape == (1000, info.features)
        if sets == 2:  # a million pairs
            x = points[0] @ points[1].T
            error = np.abs(features[0] @ features[1].T * np.exp(-x) - 1).max()
        else:
            x = np.prod(points, axis=0).sum(-1)
            error = np.abs(np.prod(features, axis=0).sum(-1) * np.exp(-x) - 1).max()
        assert error <= info.bound + 1e-14
        assert info.bound <= eps
        assert np.abs(x).max() <= info.R * (1 + 1e-12)


def test_the_simplex_has_all_monomials_and_the_polynomial_is_the_series():
    U, V = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 40, 3))
    FU, FV, info = exp_features(U, V, degree=4, index_set="simplex")
    assert info.features == math.comb(7, 4)
    series = exp_series(info.R, 4)
    np.testing.assert_allclose(FU @ FV.T, series(U @ V.T), rtol=1e-12)


def test_uneven_coordinates_need_fewer_features():
    rng = np.random.default_rng(0)
    U, V = rng.uniform(-1, 1, (2, 50, 10)) * 2.0 ** -np.arange(10)
    *_, small = exp_features(U, V, eps=1e-3)
    *_, full = exp_features(U, V, eps=1e-3, index_set="simplex")
    assert small.features * 10 <= full.features


def test_columns_of_very_different_size_are_balanced():
    rng = np.random.default_rng(0)
    U = (rng.uniform(-1, 1, (60, 3)) * [1e4, 1e-4, 1]).astype(np.float32)
    V = (rng.uniform(-1, 1, (60, 3)) * [1e-4, 1e4, 1]).astype(np.float32)
    FU, FV, info = exp_features(U, V, eps=1e-3)
    assert FU.dtype == np.float32
    exact = np.exp(U.astype(np.float64) @ V.T.astype(np.float64))
    assert np.abs(FU @ FV.T / exact - 1).max() <= info.bound + 1e-4


def test_a_coordinate_that_is_zero_somewhere_takes_no_part():
    rng = np.random.default_rng(0)
    U, V = rng.uniform(-1, 1, (2, 20, 4))
    V[:, 2] = 0
    FU, FV, info = exp_features(U, V, eps=1e-3)
    assert info.d_eff == 3
    assert np.abs(FU @ FV.T / np.exp(U @ V.T) - 1).max() <= info.bound


def test_all_zero_points_need_one_feature():
    FU, FV, info = exp_features(np.zeros((3, 2)), np.zeros((4, 2)))
    assert (info.features, info.R, info.bound) == (1, 0.0, 0.0)
    np.testing.assert_array_equal(FU @ FV.T, 1)


@pytest.mark.parametrize("n", [0, 1])
def test_few_points_are_fine(n):
    FU, _FV, info = exp_features(np.full((n, 2), 0.5), np.full((3, 2), 0.5))
    assert FU.shape == (n, info.features)


def test_tensors_give_tensors_with_the_gradients_of_the_features():
    generator = torch.Generator().manual_seed(0)
    U, V = (torch.rand(2, 6, 3, dtype=torch.float64, generator=generator) - 0.5 for _ in range(2))
    FU, FV, _ = exp_features(U, V, eps=1e-9)
    assert FU.shape[:2] == (2, 6)
    U.requires_grad_()
    FU, FV, _info = exp_features(U, V, eps=1e-9)
    (slope,) = torch.autograd.grad((FU @ FV.mT).sum(), U)
    (expected,) = torch.autograd.grad((U @ V.mT).exp().sum(), U)
    torch.testing.assert_close(slope, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("batch", [(), (2,), (2, 3)])
def test_products_with_monomials_pass_gradcheck(batch):
    generator = torch.Generator().manual_seed(0)
    monomials = AnisotropicMonomials(np.array([1.0, 0.5]), 3, budget=0.01)
    X = torch.rand(*batch, 7, 2, dtype=torch.float64, generator=generator, requires_grad=True)
    V = torch.rand(*batch, 7, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    W = torch.rand(*batch, len(monomials), 3, dtype=torch.float64, generator=generator, requires_grad=True)
    assert torch.autograd.gradcheck(monomials.accumulate, (X, V))
    assert torch.autograd.gradcheck(monomials.apply, (X, W))
    assert torch.autograd.gradcheck(monomials.features, (X,))
    F = monomials.features(X)
    torch.testing.assert_close(monomials.accumulate(X, V), F.mT @ V)
    torch.testing.assert_close(monomials.apply(X, W), F @ W)
    np.testing.assert_allclose(
        monomials.accumulate(X.detach().numpy(), V.detach().numpy()), (F.mT @ V).detach()
    )


def test_too_large_exponents_are_refused_with_what_they_need():
    X = np.ones((3, 20))
    with pytest.raises(BoundError, match="max_features") as caught:
        exp_features(X, X, eps=1e-3)
    assert caught.value.R == 20
    assert caught.value.needed > 20_000
    with pytest.raises(BoundError, match="max_features"):
        AnisotropicMonomials(np.full(3, 1e4), 200, budget=1.0)
    with pytest.raises(BoundError, match="no polynomial"):
        exp_features(X * 10, X * 10)


def test_bad_input_is_refused():
    X = np.zeros((4, 3))
    for call, message in (
        (lambda: exp_features(X, np.zeros((4, 2))), "V has 2 coordinates"),
        (lambda: exp_features(X, torch.zeros(4, 3)), "kind"),
        (lambda: exp_features(X[0], X), "U has shape"),
    ):
        with pytest.raises(ShapeError, match=message):
            call()
    for call, message in (
        (lambda: exp_features(X, X, eps=0), "eps"),
        (lambda: exp_features(X, X, degree=-1), "degree"),
        (lambda: exp_features(X, X, basis="legendre"), "basis"),
        (lambda: exp_features(X, X, index_set="box"), "index_set"),
        (lambda: exp_features(X, X, max_features=0), "max_features"),
        (lambda: exp_features(X * np.nan, X), "U has 12 NaN"),
        (lambda: exp_features(X * 1j, X), "complex"),
        (lambda: exp_features(X + 3, X + 3, degree=3, basis="chebyshev"), "R <= 5"),
        (lambda: AnisotropicMonomials(np.zeros((2, 2)), 1), "bounds"),
        (lambda: AnisotropicMonomials(np.ones(2), 1, budget=-1), "budget"),
    ):
        with pytest.raises(ArgumentError, match=message):
            call()
