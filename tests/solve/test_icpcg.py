"""Incomplete Cholesky as a preconditioner."""

import numpy as np
import pytest
import scipy.sparse as sp
import scipy.sparse.linalg

from gossamer._core.errors import ArgumentError, UnsupportedError
from gossamer.solve import GridStencil, IncompleteCholesky, cg, icpcg


def test_iterates_are_those_of_scipy_with_the_same_factor():
    A, b = GridStencil((24, 24)).to_scipy(), np.random.default_rng(0).standard_normal(576)
    factor = IncompleteCholesky(A)
    L = factor.lower.toarray()
    M = scipy.sparse.linalg.LinearOperator(A.shape, lambda r: np.linalg.solve(L @ L.T, r))
    theirs, ours = [np.zeros(576)], []
    scipy.sparse.linalg.cg(A, b, M=M, rtol=0, maxiter=15, callback=lambda x: theirs.append(x.copy()))
    icpcg(A, b, rtol=0, maxiter=15, callback=lambda step: ours.append(step.x.copy()))
    assert np.abs(np.array(ours) - theirs).max() < 1e-9


def test_on_its_places_the_product_of_the_factors_is_the_matrix():
    A = GridStencil((9, 7, 5)).to_scipy()
    L = IncompleteCholesky(A).lower
    product = (L @ L.T).toarray()
    kept = A.toarray() != 0
    assert np.abs(product - A.toarray())[kept].max() < 1e-13
    modified = IncompleteCholesky(A, modified=1.0).lower
    sums = (modified @ (modified.T @ np.ones(A.shape[0]))) - A @ np.ones(A.shape[0])
    assert np.abs(sums).max() < 1e-12  # fully modified factors keep row sums


def test_modified_factors_need_fewer_iterations_and_plain_ones_fewer_than_cg():
    A, b = GridStencil((64, 64)).to_scipy(), np.ones(4096)
    plain, modified = icpcg(A, b, rtol=1e-8), icpcg(A, b, rtol=1e-8, modified=0.97)
    assert modified.nit < 0.7 * plain.nit < 0.7 * 0.6 * cg(A, b, rtol=1e-8).nit
    for result in (plain, modified):
        assert result.success
        assert result.method == "icpcg"
        assert np.linalg.norm(b - A @ result.x) <= 1.1e-8 * np.linalg.norm(b)


def test_empty_rows_are_left_alone():
    A = sp.block_diag([GridStencil((6, 6)).to_scipy(), sp.csr_array((3, 3))]).tocsr()
    b = np.r_[np.ones(36), np.zeros(3)]
    result = icpcg(A, b, rtol=1e-10)
    assert result.success
    assert not result.x[36:].any()


def test_a_matrix_without_a_factor_gets_a_shift():
    # Kershaw's matrix is positive definite, its incomplete factor does not exist
    A = np.array([[3.0, -2, 0, 2], [-2, 3, -2, 0], [0, -2, 3, -2], [2, 0, -2, 3]])
    factor = IncompleteCholesky(A)
    assert factor.shift > 0
    assert icpcg(A, np.ones(4), rtol=1e-10).success
    assert IncompleteCholesky(np.eye(3)).shift == 0


def test_what_does_not_fit_is_refused():
    with pytest.raises(ArgumentError, match=r"A\[1, 1\]=-1: expected a positive diagonal"):
        IncompleteCholesky(np.diag([1.0, -1.0]))
    with pytest.raises(ArgumentError, match=r"modified=1\.5"):
        icpcg(np.eye(2), np.ones(2), modified=1.5)
    with pytest.raises(UnsupportedError, match="A is an operator"):
        icpcg(scipy.sparse.linalg.aslinearoperator(np.eye(2)), np.ones(2))
    zero = icpcg(np.eye(3), np.zeros(3))
    assert zero.success
    assert zero.nit == 0
