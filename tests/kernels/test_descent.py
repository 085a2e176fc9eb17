"""Columns, forests and small quadratics: by definition, alike on every instruction set, with any threads."""

import numpy as np
import pytest
import scipy.sparse as sp

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._kernels import descent
from gossamer._kernels.descent import Graph, Lines, coordinates, largest


def matrix(m, n, density, dtype, index, seed=0):
    A = sp.random_array((m, n), density=density, rng=seed, format="csc", dtype=np.float64)
    A = A.astype(dtype)
    A.indices, A.indptr = A.indices.astype(index), A.indptr.astype(index)
    return A


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("index", ["int32", "int64"])
@pytest.mark.parametrize(
    ("m", "n", "density"), [(0, 3, 0), (40, 1, 0.5), (37, 29, 0.2), (500, 60, 0.1), (9, 70, 0.9)]
)
def test_products_are_their_definitions(dtype, index, m, n, density, isa):
    A = matrix(m, n, density, dtype, index)
    dense = A.toarray().astype(np.float64)
    columns, rows = Lines(A), Lines(A.tocsr())
    rng = np.random.default_rng(1)
    w, d = rng.normal(size=m), rng.normal(size=n)
    b = rng.permutation(n)[: max(n // 2, 1)]
    np.testing.assert_allclose(columns.dots(w), dense.T @ w, atol=1e-12)
    np.testing.assert_allclose(columns.dots(w, b), dense[:, b].T @ w, atol=1e-12)
    z, g = rng.normal(size=m), rng.normal(size=n)
    moved, turned = z.copy(), g.copy()
    columns.scatter(d[b], moved, b)
    rows.scatter(w, turned)
    np.testing.assert_allclose(moved, z + dense[:, b] @ d[b], atol=1e-12)
    np.testing.assert_allclose(turned, g + dense.T @ w, atol=1e-12)
    weight = rng.uniform(size=m)
    for some in (b, b[:2]):
        part = dense[:, some]
        np.testing.assert_allclose(columns.gram(some), part.T @ part, atol=1e-12)
        np.testing.assert_allclose(columns.gram(some, weight), part.T @ (part * weight[:, None]), atol=1e-12)
    np.testing.assert_allclose(columns.row_sums(rows, b), np.abs(dense.T @ dense)[b].sum(axis=1), atol=1e-10)


def test_any_number_of_threads_gives_the_same_bits(isa):
    A = matrix(3000, 700, 0.05, "float64", "int32")
    columns, rows = Lines(A), Lines(A.tocsr())
    w, b = np.random.default_rng(0).normal(size=3000), np.arange(0, 700, 3)
    calls = (
        lambda threads: columns.dots(w, threads=threads),
        lambda threads: columns.gram(b, w, threads=threads),
        lambda threads: columns.row_sums(rows, b, threads=threads),
    )
    for call in calls:
        alone = call(1)
        for threads in (2, 7):
            np.testing.assert_array_equal(call(threads), alone)


@pytest.mark.parametrize("count", [0, 1, 5, 63, 64, 200, 999, 1000])
@pytest.mark.parametrize("ties", [False, True])
def test_largest_scores_are_those_of_a_stable_sort(count, ties, isa):
    score = np.random.default_rng(count).normal(size=1000)
    score = np.round(score) if ties else score
    score[7] = -np.inf
    np.testing.assert_array_equal(largest(score, count), np.sort(np.argsort(-score, kind="stable")[:count]))


def test_coordinate_descent_is_its_definition(isa):
    rng = np.random.default_rng(3)
    R = rng.normal(size=(20, 9))
    H, c = R.T @ R, rng.normal(size=9) * 5
    lam, low, high = np.full(9, 2.0), np.full(9, -0.1), np.full(9, np.inf)
    x, z = np.zeros(9), np.zeros(9)
    gradient = c.copy()
    coordinates(H, lam, low, high, x, gradient, 3, 0.0)
    for _ in range(3):
        for i in range(9):
            v = z[i] - (H[i] @ z + c[i]) / H[i, i]
            z[i] = np.clip(np.sign(v) * max(abs(v) - lam[i] / H[i, i], 0), low[i], high[i])
    np.testing.assert_allclose(x, z, atol=1e-12)
    np.testing.assert_allclose(gradient, H @ x + c, atol=1e-11)


def test_what_native_code_could_not_walk_is_refused(isa):
    lines = Lines(matrix(6, 4, 0.5, "float64", "int32"))
    with pytest.raises(ShapeError, match="w has shape"):
        lines.dots(np.zeros(5))
    for wrong in ([-1], [4]):
        with pytest.raises(ArgumentError, match="ids span"):
            lines.gram(np.array(wrong))
    with pytest.raises(ShapeError, match="z is"):
        lines.scatter(np.zeros(4), np.zeros(6, np.float32))
    with pytest.raises(ArgumentError, match="canonical"):
        Lines(sp.csc_array((np.ones(2), np.array([1, 1]), np.array([0, 2])), shape=(3, 1)))
    with pytest.raises(ShapeError, match="rows are"):
        lines.row_sums(lines, np.array([0]))
    graph = Graph(sp.csr_array(np.eye(3)))
    with pytest.raises(ShapeError, match="score"):
        graph.greedy_forest(np.zeros(2))
    with pytest.raises(ArgumentError, match="NaN"):
        graph.greedy_forest(np.array([0, np.nan, 1]))
    for order in ([0, 1], [0, 1, 1]):
        with pytest.raises(ArgumentError, match="order has"):
            graph.forests(np.array(order))
    with pytest.raises(ArgumentError, match="count=4"):
        largest(np.zeros(3), 4)
    with pytest.raises(ShapeError, match="hessian"):
        coordinates(np.eye(3), *np.zeros((3, 2)), np.zeros(2), np.zeros(2), 1, 0.0)
    with pytest.raises(ShapeError, match="square"):
        Graph(sp.csr_array(np.ones((2, 3))))
    outcome, where, _ = graph.eliminate(np.array([0, 2]), np.ones(2))
    assert (outcome, where) == (descent.SOLVED, -1)
