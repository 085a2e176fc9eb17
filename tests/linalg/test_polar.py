"""The polar factor by both ways: the SVD's, unitary, and a fallback that says so."""

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.linalg import polar_factor


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.sampled_from([1, 2, 5, 30, 80]),
    dtype=st.sampled_from(["float32", "float64", "complex64", "complex128"]),
    method=st.sampled_from(["auto", "svd", "newton-schulz"]),
)
def test_it_is_scipys(seed, n, dtype, method):
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.standard_normal((n, n)))[0]
    G = (Q * np.geomspace(1, 30, n)) @ np.linalg.qr(rng.standard_normal((n, n)))[0]
    if dtype.startswith("complex"):
        G = G * np.exp(1j * rng.uniform(0, 6, (n, 1)))
    G = (7 * G).astype(dtype)
    found = polar_factor(G, method=method)
    assert found.unitary.dtype == G.dtype
    slack = 2e-4 if dtype in ("float32", "complex64") else 1e-8
    np.testing.assert_allclose(found.unitary, scipy.linalg.polar(G)[0], atol=slack)
    np.testing.assert_allclose(found.unitary.conj().T @ found.unitary, np.eye(n), atol=slack)
    if method == "newton-schulz":
        assert found.method == method
    # a matrix nearby, from the vector
    again = polar_factor(G * 1.001, method=method, vector=found.vector)
    np.testing.assert_allclose(again.unitary, found.unitary, atol=slack)


def test_singular_matrices_fall_back_to_an_svd_that_completes_them():
    rng = np.random.default_rng(0)
    for rank in (0, 1, 60):
        G = rng.standard_normal((70, rank)) @ rng.standard_normal((rank, 70))
        found = polar_factor(G)
        assert found.method == "svd"
        np.testing.assert_allclose(found.unitary @ found.unitary.T, np.eye(70), atol=1e-12)
        np.testing.assert_array_equal(found.unitary, polar_factor(G).unitary)
        assert np.trace(found.unitary.T @ G) == pytest.approx(np.linalg.svd(G)[1].sum(), abs=1e-9)


def test_a_vector_that_misleads_does_no_harm():
    G = np.diag(np.r_[100.0, np.ones(69)])
    wrong = np.eye(70)[1]
    np.testing.assert_allclose(polar_factor(G, vector=wrong).unitary, np.eye(70), atol=1e-9)


def test_bad_input_is_named():
    with pytest.raises(ShapeError, match="square"):
        polar_factor(np.ones((2, 3)))
    with pytest.raises(ArgumentError, match="NaN"):
        polar_factor(np.full((2, 2), np.nan))
    with pytest.raises(ArgumentError, match="method"):
        polar_factor(np.eye(2), method="qr")
    with pytest.raises(ShapeError, match="vector"):
        polar_factor(np.eye(2), vector=np.ones(3))
