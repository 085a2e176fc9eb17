"""MM*: members are recovered, other matrices fitted no worse than by Monarch."""

import numpy as np
import pytest
import scipy.linalg
import torch

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.linalg import (
    Monarch,
    MonarchMatrix,
    MonarchStar,
    MonarchStarMatrix,
    recover_mmstar,
    weighted_error,
)


def member(m, rng, dtype=None):
    parts = dict(zip(("left", "middle", "right"), rng.standard_normal((3, m, m, m))))
    return MonarchStarMatrix(MonarchStar(dtype), (m * m, m * m), parts)


def by_formula(left, middle, right):
    m = len(left)
    P = np.eye(m * m)[np.arange(m * m).reshape(m, m).T.ravel()]
    diag = scipy.linalg.block_diag
    return P @ diag(*left) @ P @ diag(*middle) @ P @ diag(*right) @ P


@pytest.mark.parametrize("m", [1, 2, 4])
def test_products_are_those_of_the_formula(m):
    rng = np.random.default_rng(0)
    A = member(m, rng)
    dense, x = by_formula(*A.factors.values()), rng.standard_normal((m * m, 3))
    np.testing.assert_allclose(A.to_dense(), dense, atol=1e-13)
    np.testing.assert_allclose(A @ x, dense @ x, atol=1e-12)
    np.testing.assert_allclose(A.T @ x, dense.T @ x, atol=1e-12)


def test_the_product_of_a_monarch_matrix_and_the_transpose_of_another_is_a_member():
    rng = np.random.default_rng(1)
    M1, M2 = (MonarchMatrix.of(*rng.standard_normal((2, 4, 4, 4))) for _ in range(2))
    product = (M1 @ M2.H).to_dense()
    assert recover_mmstar(product).residual < 1e-10
    assert weighted_error(product, MonarchStar().project(product).to_dense()) < 1e-18 * (product**2).sum()


@pytest.mark.parametrize("m", [2, 4, 6])
@pytest.mark.parametrize("complex_", [False, True])
def test_members_are_recovered(m, complex_):
    rng = np.random.default_rng(2)
    parts = rng.standard_normal((3, m, m, m)) + (1j * rng.standard_normal((3, m, m, m)) if complex_ else 0)
    A = by_formula(*parts)
    left, middle, right, residual = recover_mmstar(A, m)
    assert residual < 1e-9
    np.testing.assert_allclose(by_formula(left, middle, right), A, atol=1e-9 * np.linalg.norm(A))


def test_convolutions_are_members():
    C = scipy.linalg.circulant(np.random.default_rng(3).standard_normal(64))
    assert recover_mmstar(C).residual <= 1e-9
    A = MonarchStar(dtype="complex128").project(C)
    x = np.random.default_rng(4).standard_normal(64)
    np.testing.assert_allclose(A @ x, C @ x, atol=1e-9)
    np.testing.assert_allclose(A.H @ x, C.T @ x, atol=1e-9)
    np.testing.assert_allclose(A.torch() @ torch.from_numpy(x), C @ x, atol=1e-9)
    assert A.nbytes == 3 * 8**3 * 16


def test_other_matrices_are_fitted_no_worse_than_by_monarch_and_better_with_sweeps():
    W = np.random.default_rng(5).standard_normal((36, 36))
    monarch = weighted_error(W, Monarch(6).project(W).to_dense())
    errors = [weighted_error(W, MonarchStar(sweeps=n).project(W).to_dense()) for n in (0, 3, 20)]
    assert monarch * (1 + 1e-9) >= errors[0] > errors[1] > errors[2]


def test_refinement_brings_a_disturbed_member_back():
    rng = np.random.default_rng(6)
    A = member(4, rng).to_dense() + 1e-3 * rng.standard_normal((16, 16))
    start, refined = recover_mmstar(A), recover_mmstar(A, sweeps=50)
    assert refined.residual < start.residual
    assert refined.residual < 1e-3


def test_bad_input_is_refused():
    with pytest.raises(ShapeError, match=r"nearest valid: \(9, 9\)"):
        recover_mmstar(np.ones((10, 10)))
    with pytest.raises(ShapeError, match="m=2"):
        recover_mmstar(np.ones((9, 9)), 2)
    with pytest.raises(ArgumentError, match="NaN"):
        recover_mmstar(np.full((4, 4), np.nan))
    with pytest.raises(np.linalg.LinAlgError, match="singular"):
        recover_mmstar(np.ones((9, 9)))
    with pytest.raises(ShapeError, match="square side"):
        MonarchStar().project(np.ones((6, 6)))
