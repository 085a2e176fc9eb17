"""Regressions and products at places: by NumPy, alike on every instruction set, with any threads."""

import numpy as np
import pytest

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._kernels.completion import Observed, dots


def problem(m, n, k, density, dtype="float64", index="int32", seed=0):
    rng = np.random.default_rng(seed)
    seen = rng.random((n, m)) < density
    seen[0] = False
    start = np.concatenate([[0], seen.sum(axis=1).cumsum()]).astype(index)
    where = np.nonzero(seen)[1].astype(index)
    value = rng.standard_normal(len(where)).astype(dtype)
    return Observed(start, where, value, m), rng.standard_normal((m, k)).astype(dtype)


def reference(lines, U, ridge):
    out = np.zeros((lines.count, U.shape[1]))
    for j in range(lines.count):
        e = slice(lines.start[j], lines.start[j + 1])
        A, b = U[lines.index[e]].astype(float), lines.value[e].astype(float)
        A = np.vstack([A, np.sqrt(ridge[j]) * np.eye(U.shape[1])])
        out[j] = np.linalg.lstsq(A, np.concatenate([b, np.zeros(U.shape[1])]), rcond=None)[0]
    return out


@pytest.mark.parametrize("method", ["exact", "qr", "cg", "sketch"])
@pytest.mark.parametrize(("dtype", "tol"), [("float64", 1e-9), ("float32", 2e-3)])
@pytest.mark.parametrize(
    ("m", "n", "k", "density"), [(40, 9, 1, 0.5), (150, 12, 7, 0.6), (300, 6, 16, 0.9), (260, 5, 37, 1.0)]
)
def test_every_solver_minimises(method, dtype, tol, m, n, k, density, isa):
    for index in ("int32", "int64") if k == 7 else ("int32",):
        lines, U = problem(m, n, k, density, dtype, index)
        for ridge in (np.full(n, 0.3), np.linspace(1e-3, 2, n)):
            x = np.zeros((n, k), dtype)
            taken, loss = lines.regress(
                U, ridge, x, method=method, rtol=1e-13 if dtype == "float64" else 1e-6, steps=300, loss=True
            )
            expected = reference(lines, U, ridge)
            np.testing.assert_allclose(x, expected, atol=tol)
            assert (taken >= 0).all()
            if dtype == "float64":
                residual = [
                    lines.value[e] - U[lines.index[e]] @ v
                    for v, e in zip(expected, map(slice, lines.start[:-1], lines.start[1:]))
                ]
                np.testing.assert_allclose(loss, [r @ r for r in residual], atol=1e-9)


@pytest.mark.parametrize("method", ["exact", "qr", "sketch"])
def test_a_deficient_line_is_reported_and_left_alone(method, isa):
    lines, U = problem(60, 8, 12, 0.1)
    x = np.full((8, 12), 7.0)
    taken, _ = lines.regress(U, np.zeros(8), x, method=method)
    assert (taken == -1).all()
    assert (x == 7).all()


def test_a_preconditioner_saves_steps_and_changes_nothing_else(isa):
    lines, U = problem(400, 6, 20, 0.8)
    U = U * np.logspace(0, 4, 20)
    R = np.linalg.cholesky(U.T @ U).T
    found, steps = [], []
    for triangle in (None, R):
        x = np.zeros((6, 20))
        taken, _ = lines.regress(
            U, np.zeros(6), x, method="cg", rtol=1e-12, steps=2000, preconditioner=triangle
        )
        found.append(x)
        steps.append(taken.max())
    assert 2 * steps[1] < steps[0]
    np.testing.assert_allclose(found[1], reference(lines, U, np.zeros(6)), atol=1e-9)


def test_a_warm_start_at_the_solution_takes_no_step(isa):
    lines, U = problem(200, 5, 9, 0.7)
    x = reference(lines, U, np.ones(5))
    kept = x.copy()
    taken, _ = lines.regress(U, np.ones(5), x, method="cg", rtol=1e-10)
    assert not taken.any()
    assert (x == kept).all()


@pytest.mark.parametrize("method", ["exact", "qr", "cg", "sketch"])
def test_any_number_of_threads_gives_the_same_bits(method, isa):
    lines, U = problem(300, 150, 11, 0.5)
    found = []
    for threads in (1, 2, 7):
        x = np.zeros((150, 11))
        lines.regress(U, np.full(150, 0.1), x, method=method, rtol=1e-10, seed=3, threads=threads)
        found.append(x)
    assert (found[0] == found[1]).all()
    assert (found[0] == found[2]).all()


def test_some_lines_alone(isa):
    lines, U = problem(100, 10, 4, 0.5)
    x = np.zeros((10, 4))
    lines.regress(U, np.ones(10), x, method="exact", ids=np.array([7, 2]))
    expected = reference(lines, U, np.ones(10))
    np.testing.assert_allclose(x[[2, 7]], expected[[2, 7]], atol=1e-12)
    assert not x[[0, 1, 3, 4, 5, 6, 8, 9]].any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("k", [1, 5, 33])
def test_dots_are_products_at_places(dtype, k, isa):
    rng = np.random.default_rng(0)
    u, v = rng.standard_normal((50, k)).astype(dtype), rng.standard_normal((70, k)).astype(dtype)
    i, j = rng.integers(50, size=3000), rng.integers(70, size=3000)
    for kind in ("int32", "int64"):
        out = dots(u, v, i.astype(kind), j.astype(kind))
        np.testing.assert_allclose(
            out, (u.astype(float) @ v.T)[i, j], atol=1e-4 if dtype == "float32" else 1e-12
        )
    assert len(dots(u, v, i[:0], j[:0])) == 0


def test_what_native_code_could_not_walk_is_refused(isa):
    lines, U = problem(30, 4, 3, 0.5)
    good = {"factor": U, "ridge": np.ones(4), "x": np.zeros((4, 3)), "method": "cg"}
    for name, bad, error in (
        ("factor", U[:29], ShapeError),
        ("ridge", np.ones(5), ArgumentError),
        ("ridge", -np.ones(4), ArgumentError),
        ("x", np.zeros((4, 2)), ShapeError),
        ("x", np.zeros((4, 3), "float32"), ShapeError),
        ("x", np.zeros((3, 4)).T, ShapeError),
        ("preconditioner", np.eye(2), ShapeError),
        ("preconditioner", np.zeros((3, 3)), ShapeError),
        ("ids", np.array([4]), ArgumentError),
        ("method", "lu", ArgumentError),
    ):
        with pytest.raises(error):
            lines.regress(**{**good, name: bad})
    with pytest.raises(ArgumentError):
        Observed(np.array([0, 1]), np.array([5]), np.ones(1), 5)
    with pytest.raises(ArgumentError):
        dots(U, U, np.array([30]), np.array([0]))
    with pytest.raises(ShapeError):
        lines.with_values(np.ones(3))
