"""The elliptic kernels against dense NumPy."""

import numpy as np
import pytest
import scipy.sparse as sp

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._kernels.elliptic import IncompleteFactor, star


def lower(A):
    """The lower triangle by columns."""
    csc = sp.csc_array(sp.tril(A))
    csc.sort_indices()
    return csc


def factor_by_hand(A, modified=0.0, shift=0.0):
    """Incomplete Cholesky as it is defined, entry by entry on dense arrays."""
    kept, L = A != 0, np.tril(A).astype(float)
    n = len(A)
    L[np.diag_indices(n)] *= 1 + shift
    for k in range(n):
        L[k, k] = np.sqrt(L[k, k])
        L[k + 1 :, k] /= L[k, k]
        for j in range(k + 1, n):
            for i in range(j, n):
                update = L[i, k] * L[j, k]
                if kept[i, j]:
                    L[i, j] -= update
                elif update:
                    L[i, i] -= modified * update
                    L[j, j] -= modified * update
    return np.tril(L)


def random_spd(n, seed, density=0.2):
    half = np.tril(sp.random_array((n, n), density=density, rng=seed).toarray(), -1)
    A = -(half + half.T)
    return A + np.diag(1.1 - A.sum(axis=1))


@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("modified", [0.0, 0.97])
def test_the_factor_is_that_of_the_definition(index, modified):
    for seed, n in enumerate((1, 2, 7, 30)):
        A = random_spd(n, seed)
        part = lower(A)
        factor = IncompleteFactor(part.indptr.astype(index), part.indices.astype(index), part.data)
        for shift in (0.5, 0.0):
            assert factor.factor(modified, shift) == -1
            L = factor_by_hand(A, modified, shift)
            ours = sp.csc_array(factor.lower(), shape=(n, n)).toarray()
            assert np.abs(ours - L).max() < 1e-13
        r = np.random.default_rng(seed).standard_normal(n)
        assert np.abs(factor.solve(r) - np.linalg.solve(L @ L.T, r)).max() < 1e-12


def test_a_full_pattern_gives_the_cholesky_factor():
    root = np.random.default_rng(0).standard_normal((12, 12))
    A = root @ root.T + 12 * np.eye(12)
    part = lower(A)
    factor = IncompleteFactor(part.indptr, part.indices, part.data)
    assert factor.factor() == -1
    assert np.abs(sp.csc_array(factor.lower()).toarray() - np.linalg.cholesky(A)).max() < 1e-13


def test_a_pivot_that_fails_is_named():
    A = np.array([[1.0, 2, 0], [2, 1, 1], [0, 1, 9]])
    part = lower(A)
    factor = IncompleteFactor(part.indptr, part.indices, part.data)
    assert factor.factor() == 1
    assert factor.factor(0.0, 3.0) == -1


def test_factors_that_are_not_lower_triangles_are_refused():
    good = lower(random_spd(5, 3, 0.8))
    with pytest.raises(ArgumentError, match="both int32 or both int64"):
        IncompleteFactor(good.indptr.astype(np.int64), good.indices.astype(np.int32), good.data)
    with pytest.raises(ShapeError, match="data"):
        IncompleteFactor(good.indptr, good.indices, good.data[1:])
    upper = sp.csc_array(good.T)
    upper.sort_indices()
    with pytest.raises(ArgumentError, match="begin with their diagonal"):
        IncompleteFactor(upper.indptr, upper.indices, upper.data)
    factor = IncompleteFactor(good.indptr, good.indices, good.data)
    with pytest.raises(ShapeError, match="r is"):
        factor.solve(np.ones(4))


def star_by_hand(diagonal, weights, x):
    y = diagonal * x
    for axis, w in enumerate(weights):
        low = tuple(slice(None, -1) if a == axis else slice(None) for a in range(x.ndim))
        high = tuple(slice(1, None) if a == axis else slice(None) for a in range(x.ndim))
        y[low] -= w[low] * x[high]
        y[high] -= w[low] * x[low]
    return y


@pytest.mark.parametrize(
    "grid", [(1,), (9,), (1, 1), (5, 1), (1, 8), (33, 17), (3, 4, 5), (1, 6, 2), (40, 31, 29)]
)
def test_the_star_is_that_of_slices_with_the_same_bits_for_any_threads(grid):
    rng = np.random.default_rng(0)
    diagonal, weights = rng.standard_normal(grid), rng.standard_normal((len(grid), *grid))
    for axis in range(len(grid)):
        weights[axis][tuple(-1 if a == axis else slice(None) for a in range(len(grid)))] = 0
    x = rng.standard_normal((3, diagonal.size))
    y = star(diagonal, weights, x, threads=1)
    expected = [star_by_hand(diagonal, weights, field.reshape(grid)).reshape(-1) for field in x]
    assert np.abs(y - expected).max() < 1e-14
    for threads in (2, 7):
        assert (star(diagonal, weights, x, threads=threads) == y).all()


def test_stars_that_do_not_fit_are_refused():
    with pytest.raises(ShapeError, match="weights"):
        star(np.ones((3, 3)), np.zeros((3, 3, 3)), np.ones((1, 9)))
    with pytest.raises(ShapeError, match="x has shape"):
        star(np.ones((3, 3)), np.zeros((2, 3, 3)), np.ones((1, 8)))
    with pytest.raises(ShapeError, match="one to three axes"):
        star(np.ones(()), np.zeros((0,)), np.ones((1, 1)))
