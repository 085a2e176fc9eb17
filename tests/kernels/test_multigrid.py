"""Sweeps and coarsening on every instruction set against dense triangular solves; what is refused."""

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse as sp

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._kernels import multigrid, relax


def matrix(n, density, index, seed=0):
    rng = np.random.default_rng(seed)
    B = sp.random_array((n, n), density=density, rng=rng, data_sampler=rng.standard_normal)
    A = sp.csr_array(B + B.T + sp.diags_array(np.full(n, 3.0 * max(n * density, 1))))
    A.sort_indices()
    return A, relax.rows(A.indptr.astype(index), A.indices.astype(index), A.data)


@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize(("n", "density"), [(1, 0), (7, 0.5), (60, 0.1), (33, 1.0)])
def test_sweeps_are_triangular_solves(n, density, index):
    A, rows = matrix(n, density, index)
    rng = np.random.default_rng(1)
    b, x0, D = rng.standard_normal(n), rng.standard_normal(n), A.toarray()
    for start, zero in ((x0, False), (np.full(n, np.nan), True)):
        x = start.copy()
        r = multigrid.descend(rows, b, x, zero=zero)
        from_x = np.zeros(n) if zero else x0
        expected = from_x + scipy.linalg.solve_triangular(np.tril(D), b - D @ from_x, lower=True)
        np.testing.assert_allclose(x, expected, rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(r, b - D @ x, atol=1e-12)
    x = x0.copy()
    multigrid.ascend(rows, b, x)
    expected = x0 + scipy.linalg.solve_triangular(np.triu(D), b - D @ x0)
    np.testing.assert_allclose(x, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_products_with_rows_left_out_and_groups_of_any_size(index):
    A, rows = matrix(50, 0.2, index)
    rng = np.random.default_rng(2)
    group, p = rng.integers(-1, 9, 50).astype(index), rng.standard_normal(50)
    group[:9] = np.arange(9)
    indptr, indices, data = multigrid.galerkin(rows, group, p, 9)
    assert indices.dtype == indptr.dtype == index
    P = np.zeros((50, 9))
    P[group >= 0, group[group >= 0]] = p[group >= 0]
    found = sp.csr_array((data, indices, indptr), shape=(9, 9))
    assert found.has_canonical_format
    np.testing.assert_allclose(found.toarray(), P.T @ A @ P, rtol=1e-12, atol=1e-12)


def test_what_native_code_could_not_walk_is_refused():
    _, rows = matrix(20, 0.2, np.int32)
    with pytest.raises(ArgumentError, match=r"group spans -1\.\.3: expected -1\.\.2"):
        multigrid.galerkin(rows, np.arange(-1, 19, dtype=np.int32) % 5 - 1, np.ones(20), 3)
    with pytest.raises(ShapeError, match="group is int64"):
        multigrid.galerkin(rows, np.zeros(20, np.int64), np.ones(20), 1)
    with pytest.raises(ShapeError, match="w is"):
        multigrid.compatibility(rows, np.ones(19))
    with pytest.raises(ShapeError, match="weight is"):
        multigrid.match(rows, np.ones(3))
    with pytest.raises(ShapeError, match="b is float64 of shape"):
        multigrid.descend(rows, np.ones(19), np.ones(20))
    with pytest.raises(ArgumentError, match="x is written to"):
        multigrid.ascend(rows, np.ones(20), np.ones(40)[::2])
    lone = sp.csr_array(np.array([[1.0, 1, 0], [0, 1, 0], [0, 0, 1]]))
    with pytest.raises(ArgumentError, match="row 0 without a counterpart"):
        multigrid.compatibility(relax.rows(lone.indptr, lone.indices, lone.data), np.ones(3))
