"""Relaxation on every instruction set: the star against the matrix, tails, threads, and what is refused."""

import numpy as np
import pytest
import scipy.sparse as sp

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._kernels import relax


def star(shape, diagonal, coupling):
    """The matrix of a grid (nz, ny, nx), with couplings along x, y, z."""
    n = int(np.prod(shape))
    where = np.arange(n).reshape(shape)
    A = sp.lil_array((n, n))
    A.setdiag(diagonal)
    for axis, weight in zip((2, 1, 0), coupling):
        low, high = (
            np.take(where, range(*part), axis).ravel() for part in ((0, shape[axis] - 1), (1, shape[axis]))
        )
        A[low, high] = A[high, low] = -weight
    csr = sp.csr_array(A)
    csr.sort_indices()
    return csr


SHAPES = [(1, 1, n) for n in (1, 2, 3, 7, 8, 9, 16, 17, 33)] + [(1, 5, 13), (3, 4, 10), (4, 1, 5), (2, 3, 1)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_lines_of_a_grid_are_rows_of_its_matrix(shape, index):
    rng = np.random.default_rng(0)
    coupling = (1.3, 0.7, 0.4)
    grid, A = relax.Grid(shape, 5.5, coupling), star(shape, 5.5, coupling)
    rows = relax.rows(A.indptr.astype(index), A.indices.astype(index), A.data)
    b, x = rng.normal(size=(2, grid.n))
    dense = A.toarray()
    np.testing.assert_allclose(relax.diagonal(grid), relax.diagonal(rows))
    for matrix in (grid, rows):
        r, norm = relax.residual(matrix, b, x)
        np.testing.assert_allclose(r, b - dense @ x, atol=1e-13)
        assert norm == pytest.approx(np.linalg.norm(b - dense @ x))
        for backward in (False, True):
            M = np.diag(np.diagonal(dense)) / 1.4 + (np.triu if backward else np.tril)(
                dense, 1 if backward else -1
            )
            swept = x.copy()
            relax.sweep(matrix, b, 1.4, swept, backward=backward)
            np.testing.assert_allclose(swept, x + np.linalg.solve(M, b - dense @ x), atol=1e-13)
        D, L = np.diag(np.diagonal(dense)), np.tril(dense, -1)
        M = (D + 1.4 * L) @ np.linalg.inv(D) @ (D + 1.4 * L).T / (1.4 * 0.6)
        np.testing.assert_allclose(relax.apply(matrix, 1.4, b), np.linalg.solve(M, b), atol=1e-13)
        assert relax.asymmetry(rows) < 1e-15
    for recurrence in (False, True):
        pair = []
        for matrix in (grid, rows):
            y = x.copy()
            norms, _ = relax.sor(matrix, b, 1.2, y, goal=0, steps=5, recurrence=recurrence)
            np.testing.assert_allclose(norms[-1], np.linalg.norm(b - dense @ y), rtol=1e-6, atol=1e-13)
            pair.append(y)
        np.testing.assert_allclose(*pair, atol=1e-13)


@pytest.mark.parametrize("form", relax.FORMS)
@pytest.mark.parametrize("checkerboard", [False, True])
def test_a_search_may_be_interrupted(form, checkerboard):
    grid = relax.Grid((2, 7, 11), 6.5, (1.0, 1.0, 1.0), checkerboard)
    b = np.random.default_rng(1).normal(size=grid.n)
    iterates, histories = [], []
    for steps in ([6], [1, 1, 3, 1]):
        x = np.zeros(grid.n)
        search = relax.Search(grid, form, 1.3, x, b)
        norms = [norm for count in steps for norm in search.run(0.0, count)[0]]
        iterates.append(x.tobytes())
        histories.append(norms)
    assert iterates[0] == iterates[1]
    assert histories[0] == histories[1]
    A = star(grid.shape, grid.diagonal, grid.coupling)
    assert histories[0][-1] == pytest.approx(np.linalg.norm(b - A @ np.frombuffer(iterates[0])), rel=1e-6)


def test_threads_do_not_change_a_bit():
    grid = relax.Grid((3, 90, 101), 6.5, (1.0, 1.0, 1.0), checkerboard=True)
    b = np.random.default_rng(2).normal(size=grid.n)
    results = set()
    for threads in (1, 2, 7):
        x = np.zeros(grid.n)
        norms, *_ = relax.Search(grid, "eisenstat", 1.3, x, b).run(0.0, 4, threads)
        results.add(x.tobytes() + norms.tobytes())
    assert len(results) == 1


def test_colours():
    A = star((1, 6, 5), 4.0, (1.0, 1.0, 0.0))
    colours = relax.colour(A.indptr, A.indices)
    assert set(colours) == {0, 1}
    rows, columns = A.nonzero()
    assert (colours[rows] != colours[columns])[rows != columns].all()
    full = sp.csr_array(np.ones((4, 4)))
    assert relax.colour(full.indptr, full.indices).tolist() == [0, 1, 2, 3]
    assert relax.colour(np.zeros(1, np.int32), np.zeros(0, np.int32)).shape == (0,)


def test_nothing():
    rows = relax.rows(np.zeros(1, np.int32), np.zeros(0, np.int32), np.zeros(0))
    assert relax.residual(rows, np.zeros(0), np.zeros(0))[1] == 0
    assert relax.asymmetry(rows) == 0
    assert relax.apply(rows, 1.0, np.zeros(0)).shape == (0,)


@pytest.mark.parametrize(
    ("indptr", "indices", "data", "words"),
    [
        ([0, 2, 3], [1, 0, 1], [1.0, 2, 3], "do not ascend within 0..1 in row 0"),
        ([0, 1, 3], [0, 1, 1], [1.0, 2, 3], "do not ascend within 0..1 in row 1"),
        ([0, 1, 3], [0, 1, 2], [1.0, 2, 3], "do not ascend within 0..1 in row 1"),
        ([0, 1, 3], [0, -1, 1], [1.0, 2, 3], "do not ascend within 0..1 in row 1"),
        ([0, 1, 2], [0, 0], [1.0, 2], "no diagonal entry in row 1"),
        ([0, 1, 2], [0, 1], [1.0, np.nan], "NaN or infinite entries in row 1"),
        ([0, 1, 2], [0, 1], [np.inf, 1.0], "NaN or infinite entries in row 0"),
        ([0, 3, 2], [0, 1], [1.0, 1.0], "indptr must rise"),
        ([1, 1, 2], [0, 1], [1.0, 1.0], "indptr must rise"),
    ],
)
def test_matrices_that_are_refused(indptr, indices, data, words):
    with pytest.raises(ArgumentError, match=words):
        relax.rows(np.array(indptr, np.int32), np.array(indices, np.int32), np.array(data))


def test_vectors_that_are_refused():
    grid = relax.Grid((1, 2, 2), 4.0, (1.0, 1.0, 0.0))
    good = np.zeros(4)
    with pytest.raises(ShapeError, match="b has shape"):
        relax.residual(grid, np.zeros(3), good)
    with pytest.raises(ShapeError, match="r has shape"):
        relax.apply(grid, 1.0, np.zeros((4, 1)))
    for x in (np.zeros(5), np.zeros(4, np.float32), np.zeros(8)[::2]):
        with pytest.raises(ArgumentError, match="expected writable contiguous float64"):
            relax.sweep(grid, good, 1.0, x)
    frozen = np.zeros(4)
    frozen.flags.writeable = False
    with pytest.raises(ArgumentError, match="writable"):
        relax.sor(grid, good, 1.0, frozen, goal=0, steps=1)
    with pytest.raises(ArgumentError, match="int32 or both int64"):
        relax.rows(np.zeros(1, np.int32), np.zeros(0, np.int64), np.zeros(0))
    with pytest.raises(ShapeError, match="expected the same"):
        relax.rows(np.zeros(1, np.int32), np.zeros(0, np.int32), np.zeros(1))
    with pytest.raises(ArgumentError, match="levels must rise"):
        relax.rows(np.array([0, 1]), np.array([0]), np.ones(1), np.array([0, 2]))
    with pytest.raises(ArgumentError, match="column indices span"):
        relax.colour(np.array([0, 1]), np.array([1]))
    with pytest.raises(ArgumentError, match="form="):
        relax.Search(grid, "jacobi", 1.0, good, good)
