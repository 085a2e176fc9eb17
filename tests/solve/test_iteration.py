"""The vocabulary that all solvers share: stopping, callbacks, operators and preconditioners."""

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import aslinearoperator

from gossamer._core.errors import ArgumentError, ShapeError, UnsupportedError
from gossamer.linalg import Diagonal, Unstructured
from gossamer.solve import ConvergenceWarning, SolverResult, Watch
from gossamer.solve.operators import (
    check_csr,
    check_operator,
    check_preconditioner,
    check_system,
    diagonal_of,
)


def run(values, **options):
    watch = Watch("gap", **({"tol": 1e-3, "maxiter": 5} | options))
    for value in values:
        if watch(np.zeros(1), value):
            break
    return watch


@pytest.mark.parametrize(
    ("values", "status", "nit"),
    [
        ([0.0], 0, 0),
        ([1, 0.5, 1e-3], 0, 2),
        ([1] * 9, 1, 5),
        ([1, np.nan], 3, 1),
        ([1, 2, np.inf], 3, 2),
    ],
)
def test_stops_and_says_why(values, status, nit):
    watch = run(values)
    assert (watch.status, watch.nit) == (status, nit)
    assert "gap" in watch.message
    result = watch.result(np.ones(1), kind=SolverResult, method="m")
    assert result.success is (status == 0)
    assert result.nit == nit
    assert len(result.history["gap"]) == nit + 1


def test_a_compiled_loop_is_recorded_as_a_loop_in_python_is():
    values = [1, 0.5, 1e-4]
    replayed = Watch("gap", tol=1e-3, maxiter=5)
    assert replayed.replay(values)
    assert replayed.history["gap"] == run(values).history["gap"]
    assert replayed.message == run(values).message


def test_callback_sees_everything_and_stops():
    seen = []

    def raises(iteration):
        seen.append((iteration.nit, iteration.value, dict(iteration.values)["extra"]))
        if iteration.nit == 2:
            raise StopIteration

    watch = Watch("gap", tol=0, maxiter=9, callback=raises)
    for k in range(9):
        if watch(np.zeros(1), 1 / (k + 1), extra=k):
            break
    assert watch.status == 2
    assert [s[0] for s in seen] == [0, 1, 2]
    assert [s[2] for s in seen] == [0, 1, 2]
    assert run([1] * 5, callback=lambda it: it.nit == 1).nit == 1
    assert run([1] * 5, callback=lambda it: np.float64(it.nit) >= 1).nit == 1
    assert run([1] * 5, callback=lambda it: None).nit == 4


def test_a_miss_warns_if_asked():
    with pytest.warns(ConvergenceWarning, match="maxiter=5"):
        run([1] * 9).result(np.zeros(1), kind=SolverResult, warn=True)


@pytest.mark.parametrize("options", [{"tol": -1}, {"maxiter": -1}, {"maxiter": 2.5}, {"tol": np.nan}])
def test_limits_are_checked(options):
    with pytest.raises(ArgumentError, match=next(iter(options))):
        run([1], **options)


def matrices():
    dense = np.diag([2.0, 3.0, 4.0]) + 0.1
    return [
        dense,
        dense.tolist(),
        sp.csr_array(dense),
        sp.coo_matrix(dense),
        sp.lil_array(dense),
        aslinearoperator(dense),
        Unstructured(density=1.0).project(dense),
    ]


@pytest.mark.parametrize("A", matrices(), ids=lambda A: type(A).__name__)
def test_matrices_of_any_kind(A):
    x = np.arange(3.0)
    want = (np.diag([2.0, 3.0, 4.0]) + 0.1) @ x
    np.testing.assert_allclose(check_operator("A", A).matvec(x), want, rtol=1e-12)
    if "Operator" in type(A).__name__:
        with pytest.raises(UnsupportedError, match="operator"):
            check_csr("A", A)
        return
    np.testing.assert_allclose(check_csr("A", A) @ x, want, rtol=1e-12)
    np.testing.assert_allclose(check_preconditioner("jacobi", check_csr("A", A))(x), x / [2.1, 3.1, 4.1])


def test_duplicates_are_summed_and_the_argument_is_left_alone():
    A = sp.csr_array((np.ones(3), np.array([1, 1, 0]), np.array([0, 2, 3])), shape=(2, 2))
    assert check_csr("A", A).nnz == 2
    assert A.nnz == 3


@pytest.mark.parametrize(
    ("A", "error", "words"),
    [
        (np.ones((2, 3)), ShapeError, "square"),
        (np.array([[1, np.nan], [0, 1]]), ArgumentError, "NaN"),
        (sp.csr_array([[np.inf]]), ArgumentError, "infinite"),
        (np.eye(2) * 1j, ArgumentError, "complex"),
        (sp.csr_array(np.eye(2) * 1j), ArgumentError, "complex"),
        ("A", ArgumentError, "A"),
        (np.ones(3), ShapeError, "2-D"),
    ],
)
def test_bad_matrices(A, error, words):
    with pytest.raises(error, match=words):
        check_operator("A", A)
    with pytest.raises(error, match=words):
        check_csr("A", A)


@pytest.mark.parametrize("side", [np.ones(2), np.ones((3, 1)), np.array([1, np.inf, 0])])
def test_bad_sides(side):
    for b, x0 in ((side, None), (np.ones(3), side)):
        with pytest.raises(ArgumentError, match=r"b|x0"):
            check_system(np.eye(3), b, x0)


def test_start_is_copied():
    x0 = np.ones(3)
    _, _, x = check_system(np.eye(3), np.ones(3), x0)
    x += 1
    assert x0.tolist() == [1, 1, 1]


def test_preconditioners():
    pyamg = pytest.importorskip("pyamg")
    A, r = sp.csr_array(np.diag([2.0, 4.0])), np.array([1.0, 1.0])
    for M in (np.diag([0.5, 0.25]), lambda r: r / [2, 4], aslinearoperator(np.diag([0.5, 0.25])), "jacobi"):
        np.testing.assert_allclose(check_preconditioner(M, A)(r), [0.5, 0.25])
    D = Diagonal().project(np.diag([0.5, 0.25]))
    np.testing.assert_allclose(check_preconditioner(D, A)(r), [0.5, 0.25])
    multigrid = pyamg.ruge_stuben_solver(sp.csr_matrix(pyamg.gallery.poisson((8, 8))))
    assert check_preconditioner(multigrid, np.eye(64))(np.ones(64)).shape == (64,)
    assert check_preconditioner(None, A) is None
    with pytest.raises(ArgumentError, match="jacobi"):
        check_preconditioner("jakobi", A)
    with pytest.raises(ArgumentError, match=r"A\[1, 1\]"):
        check_preconditioner("jacobi", np.diag([1.0, 0.0]))
    with pytest.raises(ShapeError, match="M has shape"):
        check_preconditioner(np.eye(3), A)
    with pytest.raises(UnsupportedError, match="operator"):
        diagonal_of(aslinearoperator(np.eye(2)))
