"""Products on grids, by tables and about directions: every instruction set, tails of lanes, threads, and refusals."""

import numpy as np
import pytest

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._kernels.gaunt import BilinearProgram, Operand, SparseMap
from gossamer.linalg import gaunt_coefficients, spherical_harmonics
from gossamer.linalg.products.gaunt.aligned import aligned_filter, aligned_product
from gossamer.linalg.products.gaunt.engines import ENGINES, multiply
from gossamer.linalg.products.gaunt.factors import Degrees
from gossamer.linalg.products.gaunt.grids import grid_program

TOLERANCE = {"float32": 2e-5, "float64": 1e-12}


def by_table(x, y, L1, L2, L3):
    indices, values = gaunt_coefficients(L1, L2, L3)
    dense = np.zeros([(L + 1) ** 2 for L in (L1, L2, L3)])
    dense[tuple(indices.T)] = values
    return np.einsum("...i,...j,ijk->...k", x.astype(float), y.astype(float), dense, optimize=True)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "degrees",
    [
        (0, 0, 0),
        (1, 1, 1),
        (1, 1, 2),
        (2, 2, 2),
        (3, 1, 2),
        (4, 4, 4),
        (3, 4, 7),
        (6, 6, 6),
        (0, 5, 3),
        (7, 7, 0),
    ],
)
def test_every_engine_multiplies_functions(engine, degrees, dtype):
    L1, L2, L3 = degrees
    rng = np.random.default_rng(sum(degrees))
    x, y = (rng.normal(size=(37, (L + 1) ** 2)).astype(dtype) for L in (L1, L2))
    z = multiply([x, y], Degrees((L1, L2), (1, 1), L3), engine)
    expected = by_table(x, y, L1, L2, L3)
    assert z.dtype == dtype
    assert np.abs(z - expected).max() < TOLERANCE[dtype] * max(1, np.abs(expected).max())


@pytest.mark.parametrize("rows", [0, 1, 15, 16, 17, 64, 65, 130])
def test_any_number_of_rows(rows):
    x, y = np.random.default_rng(rows).normal(size=(2, rows, 9)).astype(np.float32)
    z = multiply([x, y], Degrees((2, 2), (1, 1), 3), "sphere-grid")
    assert z.shape == (rows, 16)
    assert np.allclose(z, by_table(x, y, 2, 2, 3), atol=1e-5)


@pytest.mark.parametrize(
    "shapes", [((4, 6), (6,)), ((4, 6), (4, 1)), ((4, 1), (1, 6)), ((2, 1, 3), (2, 5, 3)), ((), (7,))]
)
@pytest.mark.parametrize("engine", ENGINES)
def test_leading_axes_broadcast(shapes, engine):
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=(*shape, 9)) for shape in shapes)
    assert np.allclose(
        multiply([x, y], Degrees((2, 2), (1, 1), 2), engine), by_table(x, y, 2, 2, 2), atol=1e-13
    )


@pytest.mark.parametrize("engine", ENGINES)
def test_powers_are_whole_products_cut_at_the_end(engine):
    x = np.random.default_rng(0).normal(size=(21, 9))
    whole, L = x, 2
    for power in (1, 2, 3, 4):
        if power > 1:
            whole, L = by_table(whole, x, L, 2, L + 2), L + 2
        ours = multiply([x], Degrees((2,), (power,), 2), engine)
        assert np.abs(ours - whole[:, :9]).max() < 1e-12 * np.abs(whole).max()


def test_threads_and_neighbours_do_not_change_a_bit():
    x, y = np.random.default_rng(0).normal(size=(2, 3000, 25)).astype(np.float32)
    degrees = Degrees((4, 4), (1, 1), 4)
    for engine in ("sphere-grid", "torus-grid", "dense"):
        runs = [multiply([x, y], degrees, engine, threads=threads) for threads in (1, 2, 7)]
        assert len({run.tobytes() for run in runs}) == 1
        assert np.array_equal(multiply([x[7:9], y[7:9]], degrees, engine), runs[0][7:9])


def test_nan_stays_in_its_row():
    clean, y = np.random.default_rng(5).normal(size=(2, 40, 16))
    x = clean.copy()
    x[11, 3] = np.nan
    for engine in ENGINES:
        z, expected = (multiply([a, y], Degrees((3, 3), (1, 1), 3), engine) for a in (x, clean))
        assert np.isnan(z[11]).any()
        np.testing.assert_array_equal(np.delete(z, 11, 0), np.delete(expected, 11, 0))


@pytest.mark.parametrize(
    "degrees", [(3, 3, 3), (2, 4, 5), (0, 2, 2), (6, 6, 6), (4, 1, 2), (3, 0, 3), (3, 2, 0), (1, 1, 6)]
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_product_about_a_direction_is_the_general_product(degrees, dtype):
    L, L_f, _ = degrees
    rng = np.random.default_rng(0)
    poles = [[0, 1, 0], [0, -3, 0], [1e-9, 1, 0], [0, -1, 1e-9], [1, 0, 0], [0, 0, -1]]
    v = np.concatenate([rng.normal(size=(11, 3)), poles])
    x, h = rng.normal(size=(17, 5, (L + 1) ** 2)), rng.normal(size=(17, 5, L_f + 1))
    y = np.repeat(h, 2 * np.arange(L_f + 1) + 1, -1) * spherical_harmonics(v, L_f)[:, None]
    ours = aligned_product(x.astype(dtype), h.astype(dtype), v.astype(dtype), degrees)
    assert np.abs(ours - by_table(x, y, *degrees)).max() < TOLERANCE[dtype]


@pytest.mark.parametrize(
    "degrees", [(3, 3, 3), (2, 4, 5), (0, 2, 2), (6, 3, 4), (3, 0, 3), (3, 2, 0), (1, 1, 6)]
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_slope_in_a_filter_is_the_transpose(degrees, dtype):
    L, L_f, out = degrees
    rng = np.random.default_rng(0)
    v = np.concatenate([rng.normal(size=(11, 3)), [[0, 1, 0], [0, -3, 0]]]).astype(dtype)
    x, g = (rng.normal(size=(13, 5, (l + 1) ** 2)).astype(dtype) for l in (L, out))
    slope = aligned_filter(x, g, v, degrees)
    units = np.eye(L_f + 1, dtype=dtype)[:, None, None] * np.ones((13, 5, 1), dtype)
    expected = np.stack([(aligned_product(x, unit, v, degrees) * g).sum(-1) for unit in units], -1)
    assert slope.dtype == dtype
    assert np.abs(slope - expected).max() < 20 * TOLERANCE[dtype]


def test_maps_before_and_after_a_bilinear_form():
    rng = np.random.default_rng(0)
    A, C = (
        rng.normal(size=(4, 3)) * (rng.random((4, 3)) < 0.6),
        rng.normal(size=(2, 5)) * (rng.random((2, 5)) < 0.6),
    )
    T = rng.normal(size=(4, 6, 5)) * (rng.random((4, 6, 5)) < 0.2)

    def sparse(M):
        row, column = np.nonzero(M)
        pointers = np.cumsum([0, *np.bincount(row, minlength=len(M))]).astype(np.int64)
        return SparseMap(pointers, column.astype(np.int32), M[row, column])

    indices = np.argwhere(T).astype(np.int32)[::-1]
    program = BilinearProgram(3, 6, 5, indices, T[tuple(indices.T)], before_x=sparse(A), after=sparse(C))
    x, y = rng.normal(size=(19, 3)), rng.normal(size=(19, 6))
    expected = np.einsum("ri,ai,rb,abk,ok->ro", x, A, y, T, C)
    assert np.allclose(program.run(Operand(x), Operand(y), 19), expected, atol=1e-13)


def test_refusals():
    program = grid_program("sphere", Degrees((2, 2), (1, 1), 2), "float64")
    good = Operand(np.zeros((6, 9)))
    with pytest.raises(ShapeError, match=r"expected float64 \(rows, 9\)"):
        program.run([good, Operand(np.zeros((6, 8)))], (1, 1), 6)
    with pytest.raises(ShapeError, match="do not fill 7 rows"):
        program.run([good, good], (1, 1), 7)
    with pytest.raises(ShapeError, match="do not fill"):
        program.run([good, Operand(np.zeros((0, 9)))], (1, 1), 6)
    with pytest.raises(ArgumentError, match="powers"):
        program.run([good, good], (1, 0), 6)
    with pytest.raises(ArgumentError, match=r"indices\[:, 2\] spans 5..5"):
        BilinearProgram(2, 2, 5, np.array([[0, 0, 5]], np.int32), np.ones(1))
    with pytest.raises(ArgumentError, match=r"before_x\.columns spans"):
        BilinearProgram(2, 2, 5, np.array([[0, 0, 4]], np.int32), np.ones(1),
                        SparseMap(np.array([0, 1]), np.array([2], np.int32), np.ones(1)))  # fmt: skip
    with pytest.raises(ArgumentError, match="float16"):
        BilinearProgram(2, 2, 5, np.array([[0, 0, 4]], np.int32), np.ones(1, np.float16))
