"""SOR and SSOR-PCG against dense triangular solves, PyAMG and SciPy."""

import itertools

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse as sp
import scipy.sparse.linalg as spla
from hypothesis import given, settings
from hypothesis import strategies as st

from gossamer._core.errors import ArgumentError, ShapeError, UnsupportedError
from gossamer.linalg import Unstructured
from gossamer.solve import SSOR, GridStencil, cg, solve, sor, sor_sweep, ssor_pcg
from gossamer.solve.linear.relaxation.colouring import colour_levels

GRIDS = [(7,), (5, 8), (1, 9), (9, 1), (1, 1), (3, 4, 5), (2, 1, 6)]


def random_spd(rng, n, density=0.3):
    B = sp.random_array((n, n), density=density, rng=rng, data_sampler=rng.standard_normal)
    A = sp.csr_array(B @ B.T + sp.diags_array(rng.uniform(0.5, 2, n)))
    A.sort_indices()
    return A


def dense_sor(A, b, x, omega, rtol, maxiter=10_000):
    M = np.diag(np.diagonal(A)) / omega + np.tril(A, -1)
    r = b - A @ x
    norms, iterates = [np.linalg.norm(r)], [x]
    while len(norms) <= maxiter and norms[-1] > rtol * norms[0]:
        x = x + scipy.linalg.solve_triangular(M, r, lower=True)
        r = b - A @ x
        norms.append(np.linalg.norm(r))
        iterates.append(x)
    return iterates, norms


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 2**32 - 1), st.integers(1, 14), st.floats(0.2, 1.9))
def test_sor_is_the_dense_iteration(seed, n, omega):
    rng = np.random.default_rng(seed)
    A, b, x0 = random_spd(rng, n), rng.normal(size=n), rng.normal(size=n)
    iterates, norms = dense_sor(A.toarray(), b, x0, omega, 1.7e-6, 300)
    seen = []
    result = sor(
        A, b, omega=omega, x0=x0, rtol=1.7e-6, maxiter=300, callback=lambda it: seen.append(it.x.copy())
    )
    assert result.nit == len(norms) - 1
    np.testing.assert_allclose(seen, iterates, rtol=0, atol=1e-12 * (1 + np.abs(iterates).max()))
    np.testing.assert_allclose(result.history["residual"], norms, rtol=1e-6, atol=1e-12)
    whole = sor(A, b, omega=omega, x0=x0, rtol=1.7e-6, maxiter=300)
    assert whole.x.tobytes() == result.x.tobytes()


def test_two_hundred_systems_take_as_many_sweeps_as_the_dense_iteration():
    rng = np.random.default_rng(0)
    for _ in range(200):
        n = int(rng.integers(2, 12))
        A, b, omega = random_spd(rng, n), rng.normal(size=n), rng.uniform(0.5, 1.6)
        iterates, _ = dense_sor(A.toarray(), b, np.zeros(n), omega, 1e-8, 500)
        result = sor(A, b, omega=omega, maxiter=500)
        assert result.nit == len(iterates) - 1
        np.testing.assert_allclose(result.x, iterates[-1], atol=1e-13 * (1 + np.abs(iterates[-1]).max()))


@pytest.mark.parametrize("ordering", ["natural", "multicolor"])
@pytest.mark.parametrize("omega", [0.7, 1.0, 1.6])
def test_the_recurrence_gives_the_residual_by_half_a_product(ordering, omega):
    A, b = GridStencil((9, 8), shift=0.1), np.random.default_rng(0).normal(size=72)
    for matrix in (A, A.to_scipy()):
        exact = sor(matrix, b, omega=omega, ordering=ordering)
        cheap = sor(matrix, b, omega=omega, ordering=ordering, residual="recurrence")
        assert exact.nit == cheap.nit
        np.testing.assert_allclose(
            cheap.history["residual"], exact.history["residual"], rtol=1e-5, atol=1e-12
        )
        assert np.linalg.norm(b - A @ cheap.x) <= cheap.goal * (1 + 1e-6)


@pytest.mark.parametrize("direction", ["forward", "backward", "symmetric"])
def test_a_sweep_is_pyamgs(direction):
    relaxation = pytest.importorskip("pyamg.relaxation.relaxation")
    rng = np.random.default_rng(1)
    A, b, x = random_spd(rng, 40, 0.1), rng.normal(size=40), rng.normal(size=40)
    theirs = x.copy()
    for one in ("forward", "backward") if direction == "symmetric" else (direction,):
        relaxation.sor(sp.csr_matrix(A), theirs, b, 1.3, sweep=one)
    ours = sor_sweep(A, b, x, omega=1.3, direction=direction)
    np.testing.assert_allclose(ours, theirs, atol=1e-13)
    assert not np.shares_memory(ours, x)


@pytest.mark.parametrize("shape", GRIDS)
@pytest.mark.parametrize("ordering", ["natural", "multicolor"])
def test_the_star_without_a_matrix_is_the_star_with_one(shape, ordering):
    rng = np.random.default_rng(2)
    A = GridStencil(shape, scale=rng.uniform(0.5, 2, len(shape)), shift=0.3)
    B, n = A.to_scipy(), A.shape[0]
    b, x = rng.normal(size=n), rng.normal(size=n)
    np.testing.assert_allclose(A @ x, B @ x, atol=1e-13)
    np.testing.assert_allclose(A.diagonal(), B.diagonal())
    np.testing.assert_allclose(B.toarray(), B.toarray().T)
    for direction in ("forward", "backward"):
        sweeps = [sor_sweep(M, b, x, omega=1.4, direction=direction, ordering=ordering) for M in (A, B)]
        np.testing.assert_allclose(*sweeps, atol=1e-13)
    for options in ({}, {"eisenstat": False}):
        pair = [ssor_pcg(M, b, omega=1.3, x0=x, ordering=ordering, **options) for M in (A, B)]
        assert pair[0].nit == pair[1].nit
        np.testing.assert_allclose(pair[0].x, pair[1].x, atol=1e-9)


def dense_ssor(A, omega):
    d, L = np.diagonal(A), np.tril(A, -1)
    X = np.diag(d) + omega * L
    return X @ np.diag(1 / d) @ X.T / (omega * (2 - omega))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 20), st.floats(0.1, 1.95))
def test_the_preconditioner_is_its_formula(seed, n, omega):
    rng = np.random.default_rng(seed)
    A, r = random_spd(rng, n), rng.normal(size=n)
    M = dense_ssor(A.toarray(), omega)
    np.testing.assert_allclose(M @ SSOR(A, omega).matvec(r), r, atol=1e-9 * np.linalg.cond(M))


@pytest.mark.parametrize("omega", [0.5, 1.0, 1.5, 1.9])
@pytest.mark.parametrize("ordering", ["natural", "multicolor"])
def test_ssor_pcg_is_scipys_cg_with_that_preconditioner(omega, ordering):
    A = GridStencil((12, 11), shift=0.05).to_scipy()
    b = np.random.default_rng(3).normal(size=132)
    ours, theirs = ssor_pcg(A, b, omega=omega, ordering=ordering), []
    M = SSOR(A, omega, ordering=ordering)
    if ordering == "natural":
        P = spla.LinearOperator(A.shape, lambda r: np.linalg.solve(dense_ssor(A.toarray(), omega), r))
        np.testing.assert_allclose(M.matvec(b), P.matvec(b), atol=1e-12)
    x, _ = spla.cg(A, b, rtol=1e-8, M=M, callback=theirs.append)
    assert abs(ours.nit - len(theirs)) <= 1
    assert cg(A, b, rtol=1e-8, M=M).nit == ours.nit
    np.testing.assert_allclose(ours.x, x, atol=1e-7)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.floats(0.3, 1.9))
def test_eisenstats_form_is_the_plain_one(seed, n, omega):
    rng = np.random.default_rng(seed)
    A, b, x0 = random_spd(rng, n), rng.normal(size=n), rng.normal(size=n)

    def iterates(eisenstat):
        seen = []
        ssor_pcg(
            A,
            b,
            omega=omega,
            x0=x0,
            eisenstat=eisenstat,
            maxiter=8,
            callback=lambda it: seen.append(it.x.copy()),
        )
        return seen

    for one, other in zip(iterates(True), iterates(False)):
        np.testing.assert_allclose(one, other, atol=1e-10 * (1 + np.abs(other).max()))


def test_eisenstats_form_agrees_on_a_large_grid():
    A, b = GridStencil((120, 120), scale=5.0, shift=1.0), np.random.default_rng(0).normal(size=14400)
    one, other = (ssor_pcg(A, b, omega=1.7, rtol=1e-12, eisenstat=form) for form in (True, False))
    assert one.nit == other.nit
    np.testing.assert_allclose(one.x, other.x, atol=1e-10)
    plain = ssor_pcg(A, b, omega=None, rtol=1e-12)
    assert plain.method == "cg"
    assert plain.nit == cg(A, b, rtol=1e-12).nit
    np.testing.assert_allclose(plain.x, one.x, atol=1e-10)


@pytest.mark.parametrize("kind", ["rows", "grid"])
def test_threads_do_not_change_a_bit(kind):
    A, b = GridStencil((150, 160), scale=3.0, shift=1.0), np.random.default_rng(0).normal(size=24000)
    A = A.to_scipy() if kind == "rows" else A
    for run in (
        lambda threads: sor(A, b, omega=1.5, ordering="multicolor", maxiter=5, threads=threads),
        lambda threads: ssor_pcg(A, b, omega=1.2, ordering="multicolor", maxiter=5, threads=threads),
        lambda threads: ssor_pcg(A, b, omega=1.2, eisenstat=False, maxiter=5, threads=threads),
    ):
        assert len({run(threads).x.tobytes() for threads in (1, 2, 7)}) == 1


def test_multicolor_is_the_natural_order_of_the_permuted_matrix():
    rng = np.random.default_rng(5)
    A = random_spd(rng, 60, 0.03)
    order, levels = colour_levels(A)
    B = A[order][:, order]
    for first, last in itertools.pairwise(levels):
        block = B[first:last, first:last]
        assert (block - sp.diags_array(block.diagonal())).count_nonzero() == 0
    assert sorted(order) == list(range(60))
    b = rng.normal(size=60)
    np.testing.assert_allclose(
        sor(A, b, omega=1.3, ordering="multicolor", maxiter=7).x[order],
        sor(B, b[order], omega=1.3, maxiter=7).x,
        atol=1e-13,
    )
    assert len(colour_levels(GridStencil((6, 7)).to_scipy())[1]) == 3


def test_long_indices_and_matrices_of_any_kind():
    A, b = GridStencil((6, 6), shift=1.0).to_scipy(), np.arange(36.0)
    wide = sp.csr_array((A.data, A.indices.astype(np.int64), A.indptr.astype(np.int64)), shape=A.shape)
    want = ssor_pcg(A, b, omega=1.2).x
    shuffled = A.copy()
    for i in range(36):
        part = slice(*A.indptr[i : i + 2])
        shuffled.indices[part], shuffled.data[part] = A.indices[part][::-1], A.data[part][::-1]
    shuffled.has_sorted_indices = False
    for matrix in (wide, A.tocsc(), A.toarray(), Unstructured(density=1.0).project(A.toarray()), shuffled):
        np.testing.assert_allclose(ssor_pcg(matrix, b, omega=1.2).x, want, rtol=1e-12)
        np.testing.assert_allclose(sor(matrix, b, omega=1.2, rtol=1e-13).x, want, rtol=1e-6)


def test_limits():
    one = sor([[4.0]], [2.0], omega=1.0)
    assert (one.x.tolist(), one.nit, one.success) == ([0.5], 1, True)
    diagonal = np.diag([1.0, 2.0, 5.0])
    assert sor(diagonal, np.ones(3), omega=1.0).nit == 1
    assert ssor_pcg(diagonal, np.ones(3), omega=1.0).nit == 1
    for solver in (sor, ssor_pcg):
        nothing = solver(diagonal, np.zeros(3), omega=1.5)
        assert (nothing.nit, nothing.success, nothing.x.any()) == (0, True, False)
        exact = solver(diagonal, np.array([1.0, 2, 5]), omega=1.5, x0=np.ones(3))
        assert (exact.nit, exact.success) == (0, True)
        short = solver(GridStencil((9, 9)), np.ones(81), omega=1.5, maxiter=2)
        assert (short.nit, short.success, short.status) == (2, False, 1)
        assert "maxiter=2" in short.message
        assert solver(np.zeros((0, 0)), np.zeros(0), omega=1.5).success
        stopped = solver(GridStencil((9, 9)), np.ones(81), omega=1.5, callback=lambda it: it.nit == 3)
        assert (stopped.nit, stopped.status) == (3, 2)
    assert not ssor_pcg(diagonal, np.zeros(3), omega=1.5, x0=np.ones(3)).x.any()


def test_what_is_not_positive_definite_ends_with_a_word():
    A = np.array([[1.0, 2.0], [2.0, 1.0]])
    result = ssor_pcg(A, [1.0, -1.0], omega=1.0)
    assert not result.success
    assert "not positive definite" in result.message
    diverged = sor(A, [1.0, -1.0], omega=1.5)
    assert not diverged.success
    assert diverged.status in (1, 3)
    capped = sor(A, [1.0, 0.0], omega=1.0, maxiter=20)
    assert (capped.success, capped.nit) == (False, 20)


def test_by_name():
    A, b = GridStencil((8, 8)).to_scipy(), np.ones(64)
    for name, method in (("sor", "sor"), ("ssor-pcg", "ssor-pcg")):
        result = solve(A, b, method=name, omega=1.5, rtol=1e-8)
        assert (result.success, result.method, result.omega) == (True, method, 1.5)
        np.testing.assert_allclose(A @ result.x, b, atol=1e-6)


@pytest.mark.parametrize("solver", [sor, ssor_pcg, sor_sweep])
@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"omega": 0.0}, ArgumentError, "omega=0.0"),
        ({"omega": 2}, ArgumentError, r"omega=2: expected a number in \(0, 2\)"),
        ({"omega": np.nan}, ArgumentError, "omega=nan"),
        ({"A": np.ones((2, 3))}, ShapeError, "square"),
        ({"A": np.diag([1.0, 0.0, 1.0])}, ArgumentError, "row 1"),
        ({"A": np.diag([1.0, 1.0, -2.0])}, ArgumentError, r"A\[2, 2\]=-2"),
        ({"A": np.diag([1.0, np.nan, 1.0])}, ArgumentError, "NaN"),
        ({"A": spla.aslinearoperator(np.eye(3))}, UnsupportedError, "operator"),
        ({"b": np.ones(4)}, ShapeError, "b has shape"),
        ({"b": [1.0, np.inf, 0.0]}, ArgumentError, "b"),
        ({"ordering": "red-black"}, ArgumentError, "ordering="),
    ],
)
def test_bad_input(solver, change, error, words):
    good = {"A": np.eye(3) + 0.1, "b": np.ones(3), "omega": 1.2, **change}
    with pytest.raises(error, match=words):
        solver(*(good.pop("A"), good.pop("b")), *([np.zeros(3)] if solver is sor_sweep else []), **good)


def test_bad_options():
    A, b = np.eye(2), np.ones(2)
    with pytest.raises(ArgumentError, match="not symmetric"):
        ssor_pcg([[2.0, 1.0], [0.5, 2.0]], b, omega=1.0)
    with pytest.raises(ArgumentError, match="residual="):
        sor(A, b, omega=1.0, residual="cheap")
    with pytest.raises(ArgumentError, match="direction="):
        sor_sweep(A, b, b, direction="sideways")
    with pytest.raises(ArgumentError, match="rtol"):
        sor(A, b, omega=1.0, rtol=-1)
    for shape, options, words in (
        ((2, 2, 2, 2), {}, "three axes"),
        ((0, 2), {}, "shape=0"),
        ((2, 2), {"scale": (1.0, 2.0, 3.0)}, "scale has 3"),
        ((2, 2), {"scale": -1.0}, "scale=-1.0"),
        ((2, 2), {"shift": -5.0}, "diagonal is -1"),
    ):
        with pytest.raises(ArgumentError, match=words):
            GridStencil(shape, **options)
