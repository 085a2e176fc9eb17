"""Conjugate gradients against SciPy's, and the front door of linear solvers."""

import numpy as np
import pytest
import scipy.sparse as sp
import scipy.sparse.linalg as spla
from hypothesis import given
from hypothesis import strategies as st

from gossamer._core.errors import ArgumentError
from gossamer.solve import cg, solve


def poisson(n):
    T = sp.diags_array([-np.ones(n - 1), 2 * np.ones(n), -np.ones(n - 1)], offsets=[-1, 0, 1])
    return sp.csr_array(sp.kron(T, sp.eye_array(n)) + sp.kron(sp.eye_array(n), T))


@pytest.mark.parametrize("preconditioned", [False, True])
def test_iterates_are_scipys(preconditioned):
    A, b = poisson(12), np.random.default_rng(0).normal(size=144)
    A = sp.csr_array(A + sp.diags_array(np.linspace(0, 5, 144)))
    diagonal = A.diagonal()
    ours, theirs = [], []
    result = cg(
        A, b, rtol=1e-10, M="jacobi" if preconditioned else None, callback=lambda it: ours.append(it.x.copy())
    )
    M = spla.LinearOperator(A.shape, lambda r: r / diagonal) if preconditioned else None
    spla.cg(A, b, rtol=1e-10, M=M, callback=lambda x: theirs.append(x.copy()))
    assert result.success
    assert result.nit == len(theirs)
    np.testing.assert_allclose(ours[1:], theirs, atol=1e-10)


@given(st.integers(1, 12), st.integers(0, 1000))
def test_ends_within_the_dimension(n, seed):
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.normal(size=(n, n)))[0]
    A, b = (Q * rng.uniform(1, 3, n)) @ Q.T, rng.normal(size=n)
    A = (A + A.T) / 2
    result = cg(A, b, rtol=1e-9)
    assert result.success
    assert result.nit <= n + 1
    np.testing.assert_allclose(A @ result.x, b, atol=1e-7)


def test_limits():
    A = poisson(5)
    zero = cg(A, np.zeros(25))
    assert zero.success
    assert zero.nit == 0
    assert not zero.x.any()
    b = np.arange(25.0)
    exact = spla.spsolve(sp.csc_array(A), b)
    assert cg(A, b, x0=exact, rtol=1e-8).nit == 0
    short = cg(A, b, maxiter=2, rtol=1e-12)
    assert not short.success
    assert short.status == 1
    assert short.nit == 2
    empty = cg(np.zeros((0, 0)), np.zeros(0))
    assert empty.success
    assert empty.x.shape == (0,)


@pytest.mark.parametrize("A", [-np.eye(3), np.diag([1.0, -1.0, 2.0]), np.zeros((3, 3))])
def test_indefinite_ends_with_a_word(A):
    result = cg(A, np.ones(3))
    assert not result.success
    assert "not positive definite" in result.message


def test_bad_preconditioner_ends_with_a_word():
    result = cg(np.eye(3), np.ones(3), M=-np.eye(3))
    assert not result.success
    assert result.message.startswith("M is not")


def test_float32_matrix_is_solved_in_double():
    A = poisson(6).astype(np.float32)
    assert cg(A, np.ones(36), rtol=1e-9).x.dtype == np.float64


def test_multigrid_in_one_argument():
    pyamg = pytest.importorskip("pyamg")
    A, b = poisson(40), np.ones(1600)
    plain = solve(A, b, rtol=1e-8)
    fast = solve(A, b, rtol=1e-8, M=pyamg.ruge_stuben_solver(sp.csr_matrix(A)))
    assert plain.success
    assert fast.success
    assert fast.nit < plain.nit / 4
    np.testing.assert_allclose(fast.x, plain.x, rtol=1e-5)
    assert plain.method == "cg"


def test_unknown_method():
    with pytest.raises(ArgumentError, match="expected one of"):
        solve(np.eye(2), np.ones(2), method="gc")
