"""Sparse products on every instruction set: each accumulator, value type and index type, against dense loops."""

import numpy as np
import pytest
import scipy.sparse

from gossamer._core.errors import ArgumentError
from gossamer._kernels.spgemm import KINDS, OPERATIONS, Product, Thresholds

FORCED = (None, *KINDS[1:], "split-atomic")


def pattern(rng, rows, cols, density, index, *, ascending=True):
    lengths = rng.binomial(cols, density, rows) * rng.integers(0, 2, rows)
    columns = [rng.permutation(cols)[:n] for n in lengths]
    if ascending:
        columns = [np.sort(c) for c in columns]
    return np.r_[0, np.cumsum(lengths)].astype(index), np.concatenate([*columns, np.empty(0, int)]).astype(
        index
    )


def dense(pointers, columns, values, cols, fill=0):
    out = np.full((len(pointers) - 1, cols), fill, values.dtype)
    out[np.repeat(np.arange(len(pointers) - 1), np.diff(pointers)), columns] = values
    return out


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("index", ["int32", "int64"])
def test_every_operation_in_every_accumulator(operation, index):
    rng = np.random.default_rng(0)
    ring, dtype = operation.rsplit("_", 1)
    for rows, inner, cols, density, ascending in [
        (20, 15, 70, 0.3, True),
        (9, 30, 200, 0.2, False),
        (0, 3, 0, 0, True),
    ]:
        a, b = (pattern(rng, *s, density, index, ascending=ascending) for s in ((rows, inner), (inner, cols)))
        x, y = (rng.integers(-4, 5, len(p[1])).astype(dtype) for p in (a, b))
        stored = dense(*a, np.ones(len(x)), inner) @ dense(*b, np.ones(len(y)), cols)
        X, Y = dense(*a, x, inner), dense(*b, y, cols)
        if ring == "plus_pair":
            expected = stored
        elif ring == "or_and":
            expected = X.astype(int) @ Y.astype(int) > 0
        elif ring == "plus_times":
            expected = X @ Y
        else:
            meet = (dense(*a, np.ones(len(x)), inner) > 0)[:, :, None] & (
                dense(*b, np.ones(len(y)), cols) > 0
            )[None]
            term = X[:, :, None] + Y[None] if ring == "min_plus" else X[:, :, None] * Y[None]
            worst = np.inf if ring == "min_plus" else -np.inf
            reduce = np.min if ring == "min_plus" else np.max
            expected = reduce(np.where(meet, term, worst), axis=1, initial=worst)
        for forced in FORCED:
            product = Product(a, b, cols, forced=forced, threads=2)
            pointers = product.symbolic()
            found = [(pointers, *product.numeric(operation, pointers, x, y, np.dtype(dtype), True))]
            if forced not in ("split", "split-atomic"):
                found.append(product.one_phase(operation, x, y, np.dtype(dtype), True))
            for indptr, columns, values in found:
                assert (np.diff(indptr) == (stored > 0).sum(axis=1)).all()
                got = dense(indptr, columns, values, cols)
                np.testing.assert_array_equal(got, np.where(stored > 0, expected, 0).astype(dtype))
                inside = np.ones(len(columns), bool)
                inside[indptr[:-1][np.diff(indptr) > 0]] = False
                assert (np.diff(columns)[inside[1:]] > 0).all()


@pytest.mark.parametrize("complement", [False, True])
def test_masks(complement):
    rng = np.random.default_rng(1)
    a, b, mask = (pattern(rng, *s, 0.3, "int32") for s in ((30, 20), (20, 90), (30, 90)))
    x, y = rng.standard_normal(len(a[1])), rng.standard_normal(len(b[1]))
    product = Product(a, b, 90, mask=mask, complement=complement, threads=2)
    pointers = product.symbolic()
    col, val = product.numeric("plus_times_float64", pointers, x, y, np.dtype(float), True)
    allowed = (dense(*mask, np.ones(len(mask[1])), 90) > 0) != complement
    expected = np.where(allowed, dense(*a, x, 20) @ dense(*b, y, 90), 0)
    np.testing.assert_allclose(dense(pointers, col, val, 90), expected, atol=1e-12)


def test_long_rows_and_wide_windows_take_all_ways_out():
    rng = np.random.default_rng(2)
    a, b = pattern(rng, 6, 400, 0.8, "int32"), pattern(rng, 400, 70000, 0.003, "int32")
    x, y = rng.standard_normal(len(a[1])), rng.standard_normal(len(b[1]))
    reference = None
    for forced in ("dense", "hash", "hash-vector", "small", "split", "split-atomic"):
        product = Product(a, b, 70000, forced=forced, threads=3)
        pointers = product.symbolic()
        col, val = product.numeric("plus_times_float64", pointers, x, y, np.dtype(float), True)
        reference = reference or (pointers, col, val)
        np.testing.assert_array_equal(pointers, reference[0])
        np.testing.assert_array_equal(col, reference[1])
        np.testing.assert_allclose(val, reference[2], atol=1e-10)


def test_rows_of_neighbours_and_of_few_terms():
    indptr = np.arange(0, 301 * 3, 3, dtype=np.int32)
    columns = (np.arange(300)[:, None] + np.arange(3)).ravel().astype(np.int32)
    data = np.arange(900.0)
    a = (np.array([0, 1, 3, 6], np.int32), np.array([7, 1, 2, 297, 298, 299], np.int32))
    ones = np.ones(6)
    expected = dense(*a, ones, 300) @ dense(indptr, columns, data, 302)
    for forced in FORCED:
        product = Product(a, (indptr, columns), 302, forced=forced, threads=1)
        pointers = product.symbolic()
        got = product.numeric("plus_times_float64", pointers, ones, data, np.dtype(float), True)
        np.testing.assert_array_equal(dense(pointers, *got, 302), expected)


def test_the_choice_follows_the_thresholds():
    rng = np.random.default_rng(3)
    a, b = pattern(rng, 50, 60, 0.5, "int32"), pattern(rng, 60, 500, 0.2, "int32")
    wide = Product(a, b, 500, thresholds=Thresholds(small_limit=1, dense_window=1, dense_ratio=1), threads=1)
    assert KINDS.index("dense") not in wide.kind
    shared = Product(a, b, 500, thresholds=Thresholds(split_floor=1, split_share=1000), threads=2)
    assert KINDS.index("split") in shared.kind
    alone = Product(
        a, b, 500, thresholds=Thresholds(split_floor=1, split_share=1000).without_split(), threads=2
    )
    assert KINDS.index("split") not in alone.kind


@pytest.mark.parametrize(
    ("indptr", "columns"),
    [([0, 2, 1], [0, 0]), ([1, 2, 2], [0, 0]), ([0, 1, 2], [0, 9]), ([0, 1, 2], [-1, 0])],
)
def test_patterns_that_could_not_be_walked_are_refused(indptr, columns):
    bad = np.array(indptr, np.int32), np.array(columns, np.int32)
    good = np.array([0, 1, 2], np.int32), np.array([0, 1], np.int32)
    for a, b in ((bad, good), (good, bad)):
        with pytest.raises(ArgumentError, match=r"of [AB]"):
            Product(a, b, 2)
    with pytest.raises(ArgumentError, match="of mask"):
        Product(good, good, 2, mask=bad)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128", "int64"])
@pytest.mark.parametrize("index", ["int32", "int64"])
@pytest.mark.parametrize("shuffled", [False, True])
def test_rows_that_repeat_the_one_before_them_moved(dtype, index, shuffled):
    rng = np.random.default_rng(3)
    n = 3000
    steps = np.sort(rng.choice(np.arange(1, 60), 7, replace=False))
    broken = rng.choice(n, 40, replace=False)  # rows that do not fit in
    rows = [i + (rng.permutation(steps) if shuffled else steps) for i in range(n)]
    for i in broken:
        rows[i] = np.sort(rng.choice(n, len(steps), replace=False))
    col = np.concatenate([r[r < n] for r in rows]).astype(index)
    ptr = np.r_[0, np.cumsum([(r < n).sum() for r in rows])].astype(index)
    x = rng.integers(-9, 10, len(col)).astype(dtype)
    expected = scipy.sparse.csr_array((x, col, ptr), shape=(n, n))
    expected = (expected @ expected).toarray()
    bits = []
    for threads in (1, 2, 5):
        product = Product((ptr, col), (ptr, col), n, threads=threads)
        assert (product.kind == KINDS.index("repeat")).sum() > n // 2
        found = product.one_phase(f"plus_times_{dtype}", x, x, np.dtype(dtype), True)
        pointers = product.symbolic()
        two = (pointers, *product.numeric(f"plus_times_{dtype}", pointers, x, x, np.dtype(dtype), True))
        for got, again in zip(found, two, strict=True):
            np.testing.assert_array_equal(got, again)
        np.testing.assert_array_equal(scipy.sparse.csr_array(found[::-1], shape=(n, n)).toarray(), expected)
        bits.append([part.tobytes() for part in found])
    assert bits[0] == bits[1] == bits[2]


@pytest.mark.parametrize("threads", [2, 3, 8])
def test_one_pass_with_more_threads_than_cores_puts_tokens_in_order(threads):
    rng = np.random.default_rng(4)
    A = scipy.sparse.random_array((4000, 4000), density=0.004, rng=rng, format="csr")
    heavy = scipy.sparse.random_array((1, 4000), density=0.9, rng=rng, format="csr")
    A = scipy.sparse.vstack([A[:1000], heavy, A[1000:], heavy, A[:0]]).tocsr()
    B = A[:4000]
    product = Product(
        (A.indptr, A.indices),
        (B.indptr, B.indices),
        4000,
        threads=threads,
        thresholds=Thresholds().without_split(),
    )
    pointers, col, val = product.one_phase("plus_times_float64", A.data, B.data, np.dtype(float), True)
    difference = scipy.sparse.csr_array((val, col, pointers), shape=(4002, 4000)) - A @ B
    assert abs(difference).max() < 1e-12 * abs(val).max()
