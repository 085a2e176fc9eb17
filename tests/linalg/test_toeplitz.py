"""Toeplitz and circulant matrices against SciPy's, and their projections against explicit least squares."""

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from gossamer._core.errors import FormatError, ShapeError
from gossamer.linalg import Circulant, CirculantMatrix, Toeplitz, ToeplitzMatrix, weighted_error

rng = np.random.default_rng(0)


def least_squares(W, H, basis):
    """Coefficients of the matrices of ``basis`` that minimise trace(E H E^T), by the definition."""
    root = scipy.linalg.sqrtm(H).real
    columns = np.stack([(B @ root).ravel() for B in basis], axis=1)
    found = np.linalg.lstsq(columns, (W @ root).ravel(), rcond=None)[0]
    return np.einsum("b,bij->ij", found, basis)


def toeplitz_basis(shape):
    return np.stack([np.eye(*shape, -d) for d in range(-shape[1] + 1, shape[0])])


def circulant_basis(n):
    return np.stack([np.roll(np.eye(n), d, axis=0) for d in range(n)])


def moment(kind, n):
    if kind == "none":
        return None
    if kind == "diagonal":
        return rng.gamma(1, size=n)
    X = rng.standard_normal((4 * n, n)) @ rng.standard_normal((n, n))
    return X.T @ X / len(X)


def full(metric, n):
    if metric is None:
        return np.eye(n)
    return np.diag(metric) if metric.ndim == 1 else metric


@pytest.mark.parametrize("shape", [(5, 8), (8, 5), (1, 4), (4, 1), (150, 200)])
def test_entries_and_products_are_those_of_scipy(shape):
    column, row = rng.standard_normal(shape[0]), rng.standard_normal(shape[1])
    A = ToeplitzMatrix.of(column, row)
    wanted = scipy.linalg.toeplitz(column, row)
    np.testing.assert_array_equal(A.to_dense(), wanted)
    x, y = rng.standard_normal((shape[1], 3)), rng.standard_normal(shape[0])
    np.testing.assert_allclose(A @ x, scipy.linalg.matmul_toeplitz((column, row), x), atol=1e-12)
    np.testing.assert_allclose(A.T @ y, wanted.T @ y, atol=1e-12)


def test_a_lone_column_makes_a_symmetric_matrix():
    column = rng.standard_normal(6)
    np.testing.assert_array_equal(ToeplitzMatrix.of(column).to_dense(), scipy.linalg.toeplitz(column))


@pytest.mark.parametrize("n", [1, 2, 7, 101])
def test_circulants_and_their_eigenvalues(n):
    A = CirculantMatrix.of(rng.standard_normal(n))
    wanted = scipy.linalg.circulant(A.factors["column"])
    np.testing.assert_array_equal(A.to_dense(), wanted)
    x = rng.standard_normal((n, 2))
    np.testing.assert_allclose(A @ x, wanted @ x, atol=1e-12)
    np.testing.assert_allclose(A.T @ x, wanted.T @ x, atol=1e-12)
    theirs = np.linalg.eigvals(wanted)
    for value in A.eigenvalues():
        assert np.abs(theirs - value).min() < 1e-8


@pytest.mark.parametrize("kind", ["none", "diagonal", "full"])
@pytest.mark.parametrize("shape", [(4, 6), (6, 4), (5, 5), (1, 3)])
def test_the_nearest_toeplitz_matrix_is_least_squares(kind, shape):
    W, metric = rng.standard_normal(shape), moment(kind, shape[1])
    found = Toeplitz().project(W, metric=metric).to_dense()
    np.testing.assert_allclose(
        found, least_squares(W, full(metric, shape[1]), toeplitz_basis(shape)), atol=1e-9
    )


@pytest.mark.parametrize("kind", ["none", "diagonal", "full"])
@pytest.mark.parametrize("n", [1, 5, 6])
def test_the_nearest_circulant_matrix_is_least_squares(kind, n):
    W, metric = rng.standard_normal((n, n)), moment(kind, n)
    found = Circulant().project(W, metric=metric).to_dense()
    np.testing.assert_allclose(found, least_squares(W, full(metric, n), circulant_basis(n)), atol=1e-9)


@pytest.mark.parametrize("structure", [Toeplitz(), Circulant()])
def test_inputs_that_never_come_leave_the_means(structure):
    W = rng.standard_normal((6, 6))
    np.testing.assert_allclose(
        structure.project(W, metric=np.zeros((6, 6))).to_dense(), structure.project(W).to_dense(), atol=1e-12
    )
    direction = rng.standard_normal(6)
    H = np.outer(direction, direction)
    A = structure.project(W, metric=H)
    assert weighted_error(W, A.to_dense(), H) <= weighted_error(W, structure.project(W).to_dense(), H) + 1e-12


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 99))
def test_members_are_found_again_in_any_metric(rows, columns, seed):
    own = np.random.default_rng(seed)
    W = scipy.linalg.toeplitz(own.standard_normal(rows), own.standard_normal(columns))
    X = own.standard_normal((3 * columns, columns))
    for metric in (None, own.gamma(1, size=columns), X.T @ X):
        np.testing.assert_allclose(Toeplitz().project(W, metric=metric).to_dense(), W, atol=1e-9)


@pytest.mark.parametrize("structure", [Toeplitz(), Circulant()])
def test_plans_say_when_transforms_pay(structure):
    small, large = (structure.project(np.eye(n)) for n in (8, 512))
    assert small.plan().kernel == "blas"
    assert large.plan().kernel == "fft"
    assert large.flops() < large.shape[0] ** 2
    assert large.nbytes == 8 * len(next(iter(large.factors.values())))


@pytest.mark.parametrize("n", [16, 200])
def test_gradients_flow_through_transforms(n):
    torch = pytest.importorskip("torch")
    for structure in (Toeplitz(), Circulant()):
        A = structure.project(torch.randn(n, n, dtype=torch.float64))
        (factor,) = A.factors.values()
        factor.requires_grad_()
        x = torch.randn(n, 2, dtype=torch.float64, requires_grad=True)
        weight = torch.randn(n, 2, dtype=torch.float64)
        grads = torch.autograd.grad(((A @ x) * weight).sum(), (factor, x))
        wanted = torch.autograd.grad(((A.to_dense() @ x) * weight).sum(), (factor, x))
        for own, other in zip(grads, wanted, strict=True):
            torch.testing.assert_close(own, other)


def test_bad_input():
    with pytest.raises(ShapeError, match="square"):
        Circulant().project(np.ones((2, 3)))
    with pytest.raises(FormatError, match=r"expected \(4,\)"):
        ToeplitzMatrix(Toeplitz(), (2, 3), {"diagonals": np.ones(3)})
    with pytest.raises(FormatError, match="float32 or float64"):
        CirculantMatrix.of(np.arange(3))
