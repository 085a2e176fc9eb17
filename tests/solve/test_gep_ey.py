"""The Eckart-Young loss finds what a dense eigensolver finds, from any start."""

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.solve import gep_ey


def problem(seed, p, positive):
    """A with so many positive eigenvalues in the metric B."""
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((p, p + 2)) / np.sqrt(p)
    B = root @ root.T + 0.3 * np.eye(p)
    values = np.concatenate([np.linspace(1, 2, positive), -rng.uniform(0.1, 2, p - positive)])
    W = scipy.linalg.solve_triangular(
        scipy.linalg.cholesky(B), np.linalg.qr(rng.standard_normal((p, p)))[0], lower=False
    )
    inverse = np.linalg.inv(W)
    return inverse.T @ np.diag(values) @ inverse, B


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 2**32 - 1), p=st.sampled_from([3, 8, 20]), K=st.integers(1, 3))
def test_it_is_the_top_of_the_dense_spectrum(seed, p, K):
    A, B = problem(seed, p, min(p, 5))
    values, vectors = scipy.linalg.eigh(A, B)
    top, W = values[::-1][:K], vectors[:, ::-1][:, :K]
    result = gep_ey(A, B, p, K, tol=1e-9, maxiter=5000, random_state=seed)
    assert result.success, result.message
    np.testing.assert_allclose(result.eigenvalues, top, rtol=1e-6)
    assert result.loss == pytest.approx(-np.sum(top**2), rel=1e-6)
    np.testing.assert_allclose(result.vectors.T @ B @ result.vectors, np.eye(K), atol=1e-6)
    assert scipy.linalg.subspace_angles(result.vectors, W).max() < 1e-3
    # what U^T B U has for eigenvalues are those of the problem
    np.testing.assert_allclose(np.linalg.eigvalsh(result.x.T @ B @ result.x)[::-1], top, rtol=1e-5)
    assert (np.diff(result.history["loss"]) <= 1e-9 * abs(result.loss)).all()


def test_ten_starts_reach_one_minimum():
    A, B = problem(0, 15, 6)
    losses = [gep_ey(A, B, 15, 4, maxiter=5000, random_state=s).loss for s in range(10)]
    expected = -np.sum(scipy.linalg.eigh(A, B, eigvals_only=True)[::-1][:4] ** 2)
    np.testing.assert_allclose(losses, expected, rtol=1e-6)


def test_directions_beyond_the_positive_eigenvalues_shrink_to_nothing():
    A, B = problem(1, 10, 2)
    result = gep_ey(A, B, 10, 4, maxiter=3000, tol=1e-10, random_state=0)
    np.testing.assert_allclose(
        result.eigenvalues[:2], scipy.linalg.eigh(A, B, eigvals_only=True)[::-1][:2], rtol=1e-6
    )
    assert (result.eigenvalues[2:] < 1e-4).all()


def test_products_are_enough_and_a_start_can_be_given():
    laplacian = sp.diags_array([-np.ones(29), 2 * np.ones(30), -np.ones(29)], offsets=[-1, 0, 1])
    weights = np.linspace(1, 2, 30)
    first = gep_ey(laplacian, lambda U: weights[:, None] * U, 30, 2, maxiter=3000, random_state=0)
    expected = scipy.linalg.eigh(laplacian.toarray(), np.diag(weights), eigvals_only=True)[::-1][:2]
    np.testing.assert_allclose(first.eigenvalues, expected, rtol=1e-6)
    again = gep_ey(laplacian, lambda U: weights[:, None] * U, 30, 2, U0=first.x, tol=1e-7)
    assert again.nit == 0


def test_bad_input_is_named():
    A = np.eye(3)
    with pytest.raises(ArgumentError, match="K=4"):
        gep_ey(A, A, 3, 4)
    with pytest.raises(ShapeError, match="A has shape"):
        gep_ey(A, A, 4, 2)
    with pytest.raises(ShapeError, match="U0"):
        gep_ey(A, A, 3, 2, U0=np.ones((3, 1)))
    with pytest.raises(ShapeError, match=r"A\(U\)"):
        gep_ey(lambda U: U[:1], A, 3, 2)
    with pytest.raises(ArgumentError, match="NaN"):
        gep_ey(lambda U: U * np.nan, A, 3, 2)
    with pytest.raises(ArgumentError, match="not positive definite"):
        gep_ey(A, -A, 3, 2, random_state=0)
