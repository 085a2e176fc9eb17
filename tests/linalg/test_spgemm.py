"""Sparse products agree with the dense product, with SciPy, and with themselves in every accumulator."""

import itertools

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from gossamer._core.errors import ArgumentError, ShapeError, UnsupportedError
from gossamer._kernels.spgemm import KINDS
from gossamer.linalg import CSRMatrix, SpGEMMPlan, spgemm, spgemm_calibrate, spgemm_symbolic

DTYPES = ("float32", "float64", "complex64", "complex128", "int32", "int64", "bool")
FORCED = ("auto", *KINDS[1:], "split-atomic")


def random_sparse(rng, m, n, density, dtype="float64", *, messy=False):
    """Random CSR; ``messy`` rows are unsorted and hold columns twice."""
    count = int(density * m * n)
    rows, cols = rng.integers(0, max(m, 1), count), rng.integers(0, max(n, 1), count)
    if m == 0 or n == 0:
        rows = cols = rows[:0]
    if np.dtype(dtype).kind == "c":
        data = rng.standard_normal(len(rows)) + 1j * rng.standard_normal(len(rows))
    elif np.dtype(dtype).kind in "ib":
        data = rng.integers(-9, 9, len(rows))
    else:
        data = rng.standard_normal(len(rows))
    data = data.astype(dtype)
    if not messy:
        X = sp.coo_array((data, (rows, cols)), shape=(m, n)).tocsr()
        X.sum_duplicates()
        return X
    order = np.argsort(rows, kind="stable")
    indptr = np.r_[0, np.cumsum(np.bincount(rows, minlength=m))].astype(np.int32)[: m + 1]
    return sp.csr_array((data[order], cols[order].astype(np.int32), indptr), shape=(m, n))


def dense_pattern(X):
    seen = np.zeros(X.shape, bool)
    seen[np.repeat(np.arange(X.shape[0]), np.diff(X.indptr)), X.indices] = True
    return seen


def magnitude(X):
    """Sums of ``|x|``: what bounds the rounding where a column is stored twice."""
    return sp.csr_array((np.abs(X.data), X.indices, X.indptr), shape=X.shape).toarray()


def check(C, A, B, allowed=None):
    """``C = A B`` entry by entry within rounding, and stored exactly where products meet."""
    a, b = A.toarray(), B.toarray()
    met = (dense_pattern(A).astype(int) @ dense_pattern(B).astype(int)) > 0
    if allowed is not None:
        met &= allowed
    np.testing.assert_array_equal(dense_pattern(C), met)
    assert C.nnz == met.sum()
    if a.dtype == bool:
        np.testing.assert_array_equal(C.toarray(), (a.astype(int) @ b.astype(int) > 0) & met)
        return
    expected = np.where(met, a @ b, 0)
    if a.dtype.kind == "i":
        np.testing.assert_array_equal(C.toarray(), expected)
        return
    eps = np.finfo(a.dtype).eps
    bound = magnitude(A) @ magnitude(B) * eps * (4 * a.shape[1] + 8)
    assert (np.abs(C.toarray() - expected) <= bound).all()


@pytest.mark.parametrize("accumulator", FORCED)
@pytest.mark.parametrize("dtype", DTYPES)
def test_product_is_the_dense_one_in_every_accumulator_and_type(dtype, accumulator):
    rng = np.random.default_rng(1)
    for (m, k, n, density), messy in itertools.product(
        [(30, 40, 50, 0.1), (7, 90, 200, 0.1), (3, 3, 3, 0.0)], [False, True]
    ):
        A = random_sparse(rng, m, k, density, dtype, messy=messy and dtype != "bool")
        B = random_sparse(rng, k, n, density, dtype, messy=messy and dtype != "bool")
        for method in ("two-phase",) if "split" in accumulator else ("two-phase", "one-phase"):
            C = spgemm(A, B, accumulator=accumulator, method=method, threads=2)
            assert C.dtype == dtype
            assert C.has_canonical_format or C.nnz == 0
            check(C, A, B)


@settings(deadline=None, max_examples=150)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(*[st.integers(0, 60)] * 3),
    density=st.sampled_from([0.0, 0.02, 0.1, 0.5, 1.0]),
    accumulator=st.sampled_from(FORCED),
    index=st.sampled_from(["int32", "int64"]),
    method=st.sampled_from(["auto", "one-phase", "two-phase"]),
    sort=st.booleans(),
    messy=st.booleans(),
)
def test_any_product(seed, shape, density, accumulator, index, method, sort, messy):
    rng = np.random.default_rng(seed)
    m, k, n = shape
    A, B = (random_sparse(rng, *s, density, messy=messy) for s in ((m, k), (k, n)))
    for X in (A, B):
        X.indptr, X.indices = X.indptr.astype(index), X.indices.astype(index)
    if "split" in accumulator:
        method = "auto"
    C = spgemm(A, B, accumulator=accumulator, method=method, sort_indices=sort, threads=2)
    assert C.shape == (m, n)
    check(C, A, B)


@pytest.mark.parametrize("accumulator", [a for a in FORCED if "split" not in a])
def test_any_number_of_threads_gives_the_same_bits(accumulator):
    rng = np.random.default_rng(2)
    A = random_sparse(rng, 3000, 3000, 0.004)
    alone = spgemm(A, A, accumulator=accumulator, threads=1, method="two-phase")
    for threads, method in [(2, "two-phase"), (7, "two-phase"), (2, "one-phase")]:
        C = spgemm(A, A, accumulator=accumulator, threads=threads, method=method)
        np.testing.assert_array_equal(C.indptr, alone.indptr)
        np.testing.assert_array_equal(C.indices, alone.indices)
        np.testing.assert_array_equal(C.data, alone.data)


def test_a_large_product_is_scipys():
    rng = np.random.default_rng(3)
    A = random_sparse(rng, 20000, 30000, 0.0004)
    B = random_sparse(rng, 30000, 10000, 0.0006)
    C, stats = spgemm(A, B, return_stats=True)
    S = A @ B
    S.sort_indices()
    np.testing.assert_array_equal(C.indices, S.indices)
    np.testing.assert_allclose(C.data, S.data, rtol=1e-10, atol=1e-12)
    assert stats.nnz == C.nnz
    assert stats.flops == int(np.diff(B.indptr)[A.indices].sum())
    assert sum(stats.rows.values()) == 20000
    assert stats.compression == stats.flops / stats.nnz


def hub(rng, n=4000):
    """Row 0 meets every row of the right side and makes half of all products."""
    A = random_sparse(rng, n, n, 2 / n).tolil()
    A[0] = rng.standard_normal(n)
    return A.tocsr(), random_sparse(rng, n, n, 40 / n)


@pytest.mark.parametrize("accumulator", ["auto", "split", "split-atomic"])
@pytest.mark.parametrize("semiring", ["plus_times", "min_plus", "max_times", "plus_pair"])
def test_a_hub_row_is_shared_and_right(accumulator, semiring):
    # forced, every row is shared: fewer of them say as much
    A, B = hub(np.random.default_rng(4), n=4000 if accumulator == "auto" else 100)
    reference = spgemm(A, B, semiring=semiring, accumulator="hash", threads=1)
    C, stats = spgemm(A, B, semiring=semiring, accumulator=accumulator, threads=2, return_stats=True)
    assert stats.rows["split"] >= 1
    np.testing.assert_array_equal(C.indices, reference.indices)
    np.testing.assert_allclose(C.data, reference.data, rtol=1e-9, atol=1e-12)


def by_definition(A, B, semiring):
    """Loops over everything: values, and where there are any."""
    a, b, pa, pb = A.toarray(), B.toarray(), dense_pattern(A), dense_pattern(B)
    if a.dtype == bool and semiring != "or_and":
        a, b = a.astype(int), b.astype(int)
    out, met = np.zeros((a.shape[0], b.shape[1])), np.zeros((a.shape[0], b.shape[1]), bool)
    for i, j in np.ndindex(*out.shape):
        ks = np.flatnonzero(pa[i] & pb[:, j])
        met[i, j] = len(ks) > 0
        if len(ks):
            x, y = a[i, ks], b[ks, j]
            out[i, j] = {
                "plus_times": lambda x=x, y=y: (x * y).sum(),
                "min_plus": lambda x=x, y=y: (x + y).min(),
                "max_times": lambda x=x, y=y: (x * y).max(),
                "or_and": lambda x=x, y=y: ((x != 0) & (y != 0)).any(),
                "plus_pair": lambda ks=ks: len(ks),
            }[semiring]()
    return out, met


@pytest.mark.parametrize("semiring", ["plus_times", "min_plus", "max_times", "or_and", "plus_pair"])
@pytest.mark.parametrize("dtype", ["float64", "int32", "bool", "float32", "int64"])
@pytest.mark.parametrize("masked", ["no", "mask", "complement"])
def test_semirings_and_masks_by_definition(semiring, dtype, masked):
    rng = np.random.default_rng(5)
    A, B = random_sparse(rng, 20, 25, 0.2, dtype), random_sparse(rng, 25, 30, 0.2, dtype)
    M = random_sparse(rng, 20, 30, 0.3, messy=True)
    expected, met = by_definition(A, B, semiring)
    mask = None if masked == "no" else M
    if mask is not None:
        met &= dense_pattern(M) == (masked == "mask")
    C = spgemm(A, B, semiring=semiring, mask=mask, complement=masked == "complement")
    if dtype == "bool" and semiring == "plus_times":
        expected = expected > 0
    np.testing.assert_array_equal(dense_pattern(C), met)
    np.testing.assert_allclose(C.toarray(), np.where(met, expected, 0), rtol=1e-5, atol=1e-5)
    assert C.has_sorted_indices


def test_graphblas_agrees_on_semirings_and_masks():
    gb = pytest.importorskip("graphblas", reason="python-graphblas is not installed")
    rng = np.random.default_rng(6)
    A, M = random_sparse(rng, 300, 300, 0.03), random_sparse(rng, 300, 300, 0.1)
    a, m = gb.io.from_scipy_sparse(A), gb.io.from_scipy_sparse(M)
    for ours, theirs in [
        ("plus_times", gb.semiring.plus_times), ("min_plus", gb.semiring.min_plus),
        ("max_times", gb.semiring.max_times), ("plus_pair", gb.semiring.plus_pair),
    ]:  # fmt: skip
        for complement in (False, True):
            limit = ~m.S if complement else m.S
            C = spgemm(A, A, semiring=ours, mask=M, complement=complement)
            G = gb.io.to_scipy_sparse(a.mxm(a, theirs).new(mask=limit), "csr")
            G.sort_indices()
            np.testing.assert_array_equal(C.indices, G.indices)
            np.testing.assert_allclose(C.data, G.data, rtol=1e-10)


def test_algebraic_identities():
    rng = np.random.default_rng(7)
    A, B = random_sparse(rng, 80, 70, 0.1), random_sparse(rng, 70, 90, 0.1)
    left, right = spgemm(A, B).T.tocsr(), spgemm(B.T, A.T)
    assert abs(left - right).max() < 1e-12
    eye = sp.eye_array(70, format="csr")
    assert abs(spgemm(A, eye) - A).max() == 0


def test_plus_pair_under_the_adjacency_counts_triangles():
    rng = np.random.default_rng(8)
    upper = sp.triu(random_sparse(rng, 60, 60, 0.2), 1)
    G = (upper + upper.T).tocsr()
    G.data[:] = 1
    triangles = round(np.trace(np.linalg.matrix_power(G.toarray(), 3)) / 6)
    assert spgemm(G, G, semiring="plus_pair", mask=G).sum() == 6 * triangles


def test_symbolic_counts_what_numeric_stores():
    rng = np.random.default_rng(9)
    A, B = random_sparse(rng, 200, 100, 0.05), random_sparse(rng, 100, 300, 0.05)
    indptr, none = spgemm_symbolic(A, B)
    assert none is None
    assert indptr.dtype == np.int64
    C = spgemm(A, B)
    np.testing.assert_array_equal(indptr, C.indptr)
    np.testing.assert_array_equal(spgemm_symbolic(A, B, with_indices=True)[1], C.indices)


@pytest.mark.parametrize("side", [46340, 46341])
def test_counts_beyond_two_to_the_31_do_not_wrap(side):
    column, row = sp.csr_array(np.ones((side, 1))), sp.csr_array(np.ones((1, side)))
    assert spgemm_symbolic(column, row)[0][-1] == side * side
    with pytest.raises(MemoryError, match=f"{side * side:,}"):
        spgemm(column, row, max_bytes=1 << 20)


def test_columns_beyond_two_to_the_31():
    n = 2**40
    B = sp.csr_array(
        (np.ones(4), np.array([5, n - 1, 2**33, 5], np.int64), np.array([0, 2, 4], np.int64)), shape=(2, n)
    )
    A = sp.csr_array(np.array([[1.0, 2.0], [0.0, 3.0]]))
    for accumulator in ("auto", "hash", "hash-vector", "small", "merge", "split-atomic"):
        C = spgemm(A, B, accumulator=accumulator)
        assert C.indices.dtype == np.int64
        np.testing.assert_array_equal(C.indices, [5, 2**33, n - 1, 5, 2**33])
        np.testing.assert_array_equal(C.data, [3, 2, 1, 3, 3])


@pytest.mark.parametrize("accumulator", ["hash", "hash-vector", "split-atomic"])
def test_keys_that_share_a_slot(accumulator):
    columns = (np.arange(300) * 4096).astype(np.int32)
    B = sp.csr_array((np.ones(600), np.tile(columns, 2), [0, 300, 600]), shape=(2, 4096 * 300))
    C = spgemm(sp.csr_array(np.ones((1, 2))), B, accumulator=accumulator)
    np.testing.assert_array_equal(C.indices, columns)
    assert (C.data == 2).all()


def test_cancellation_keeps_a_zero_unless_dropped():
    A, B = sp.csr_array([[1.0, -1.0]]), sp.csr_array([[1.0], [1.0]])
    assert spgemm(A, B).nnz == 1
    assert spgemm(A, B, drop_zeros=True).nnz == 0 == (A @ B).nnz


@pytest.mark.parametrize("accumulator", FORCED)
def test_nan_and_infinity_propagate(accumulator):
    A = sp.csr_array(np.array([[np.nan, 1.0], [np.inf, 2.0], [0.0, 3.0]]))
    B = sp.csr_array(np.array([[1.0, 2.0], [3.0, -np.inf]]))
    for semiring in ("plus_times", "min_plus", "max_times"):
        C = spgemm(A, B, accumulator=accumulator, semiring=semiring).toarray()
        assert np.isnan(C[0]).all()
    np.testing.assert_array_equal(spgemm(A, B, accumulator=accumulator).toarray()[2], [9, -np.inf])


def test_a_plan_recomputes_values():
    rng = np.random.default_rng(10)
    A, B = random_sparse(rng, 90, 80, 0.1), random_sparse(rng, 80, 70, 0.1)
    plan = SpGEMMPlan(A, B, threads=2)
    for factor in (1.0, 3.0):
        C = plan.numeric(A.data * factor, B.data)
        check(C, sp.csr_array((A.data * factor, A.indices, A.indptr), shape=A.shape), B)
        assert C.nnz == plan.nnz
    assert plan.flops == int(np.diff(B.indptr)[A.indices].sum())
    with pytest.raises(ShapeError, match="values of A"):
        plan.numeric(A.data[1:], B.data)


@pytest.mark.parametrize("max_bytes", [None, 2000])
def test_blocks_of_rows_make_up_the_product(max_bytes):
    rng = np.random.default_rng(11)
    A = random_sparse(rng, 120, 100, 0.05)
    M = random_sparse(rng, 120, 100, 0.3)
    B = random_sparse(rng, 100, 100, 0.05)
    for mask in (None, M):
        blocks = list(spgemm(A, B, mask=mask, out="blocks", max_bytes=max_bytes))
        assert len(blocks) > 2
        whole = spgemm(A, B, mask=mask)
        stacked = sp.vstack(blocks, format="csr")
        np.testing.assert_array_equal(stacked.indices, whole.indices)
        np.testing.assert_array_equal(stacked.data, whole.data)
        if max_bytes:
            assert all(b.data.nbytes + b.indices.nbytes + b.indptr.nbytes <= max_bytes for b in blocks)
    with pytest.raises(MemoryError, match="max_bytes=20"):
        list(spgemm(A, B, out="blocks", max_bytes=20))


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "lil", "dok", "bsr", "dia"])
def test_every_scipy_format_and_both_interfaces(form):
    rng = np.random.default_rng(12)
    A = random_sparse(rng, 12, 12, 0.3)
    C = spgemm(A.asformat(form), A.asformat(form))
    assert isinstance(C, sp.csr_array)
    np.testing.assert_allclose(C.toarray(), A.toarray() @ A.toarray(), atol=1e-12)
    assert sp.isspmatrix_csr(spgemm(sp.csr_matrix(A), A))


def test_csr_matrices_multiply_into_a_csr_matrix():
    rng = np.random.default_rng(13)
    A, B = random_sparse(rng, 30, 40, 0.1), random_sparse(rng, 40, 20, 0.1)
    C = CSRMatrix.from_scipy(A) @ CSRMatrix.from_scipy(B)
    assert isinstance(C, CSRMatrix)
    np.testing.assert_allclose(C.to_dense(), A.toarray() @ B.toarray(), atol=1e-12)
    counts = spgemm(CSRMatrix.from_scipy(A), B, semiring="plus_pair")
    assert counts.dtype == np.float64


def test_inputs_stay_as_they_were():
    rng = np.random.default_rng(14)
    A = random_sparse(rng, 20, 20, 0.2, messy=True)
    before = [x.copy() for x in (A.indptr, A.indices, A.data)]
    spgemm(A, A)
    for old, new in zip(before, (A.indptr, A.indices, A.data), strict=True):
        np.testing.assert_array_equal(old, new)


def test_small_types_are_widened_and_dtype_decides():
    A = sp.csr_array(np.array([[100, 100], [0, 3]], np.int8))
    assert spgemm(A, A).dtype == np.int32
    assert spgemm(A, A).toarray()[0, 0] == 10000
    assert spgemm(A, A, dtype="float64").dtype == np.float64
    assert spgemm(A, A, semiring="plus_pair", dtype="float32").dtype == np.float32


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda A: spgemm(A, A[:3]), ShapeError, "as many rows of B"),
        (lambda A: spgemm(A, A, semiring="plus_time"), ArgumentError, "did you mean 'plus_times'"),
        (lambda A: spgemm(A, A, mask=A[:3]), ShapeError, "mask has shape"),
        (lambda A: spgemm(A, A, complement=True), ArgumentError, "mask"),
        (lambda A: spgemm(A, A, method="three-phase"), ArgumentError, "method"),
        (lambda A: spgemm(A, A, accumulator="heap"), ArgumentError, "accumulator"),
        (lambda A: spgemm(A, A, mask=A, accumulator="dense"), ArgumentError, "masked"),
        (lambda A: spgemm(A, A, out="rows"), ArgumentError, "out"),
        (lambda A: spgemm(A, A, threads=0), ArgumentError, "threads"),
        (lambda A: spgemm(A, A, max_bytes=-1), ArgumentError, "max_bytes"),
        (lambda A: spgemm(A, A, max_bytes=9, method="one-phase"), ArgumentError, "exact size"),
        (lambda A: spgemm(A, A, accumulator="split", method="one-phase"), ArgumentError, "size of a row"),
        (lambda A: spgemm(A, A.toarray()), UnsupportedError, "B is a ndarray"),
        (lambda A: spgemm(A.astype(complex), A, semiring="min_plus"), ArgumentError, "order"),
        (lambda A: spgemm(A.astype(np.uint64), A), UnsupportedError, "uint64"),
        (lambda A: spgemm(A, A, dtype=object), TypeError, "object"),
        (lambda A: spgemm(A, A, max_bytes=10), MemoryError, "bytes"),
    ],
)
def test_bad_input_is_refused_by_name(call, error, message):
    with pytest.raises(error, match=message):
        call(random_sparse(np.random.default_rng(0), 5, 5, 0.5))


def test_damaged_indices_never_reach_native_code():
    A = random_sparse(np.random.default_rng(0), 5, 5, 0.5)
    A.indices[0] = 77
    with pytest.raises(ArgumentError, match="columns of A"):
        spgemm(A, A)


def test_calibration_is_kept_and_a_damaged_file_is_named(tmp_path, monkeypatch):
    from gossamer._core.errors import FormatError
    from gossamer.linalg.sparse_product.thresholds import cache_file, load_thresholds

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = spgemm_calibrate(fma=(4, 8), windows=(8, 12), work=1 << 12)
    assert load_thresholds() == found
    A = random_sparse(np.random.default_rng(0), 50, 50, 0.2)
    check(spgemm(A, A), A, A)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    cache_file().parent.mkdir(parents=True)
    cache_file().write_text('{"version": 1, "thresholds": {"small_limit": -3}}')
    with pytest.raises(FormatError, match="delete"):
        spgemm(A, A)


def test_torch_tensors_and_their_gradients():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    rng = np.random.default_rng(15)
    A, B = random_sparse(rng, 8, 10, 0.3), random_sparse(rng, 10, 9, 0.3)

    def tensor(X, values):
        return torch.sparse_csr_tensor(
            torch.tensor(X.indptr), torch.tensor(X.indices), values, size=X.shape, dtype=values.dtype
        )

    a, b = (torch.tensor(X.data, requires_grad=True) for X in (A, B))
    C = spgemm(tensor(A, a), tensor(B, b))
    assert C.layout == torch.sparse_csr
    np.testing.assert_allclose(C.detach().to_dense().numpy(), A.toarray() @ B.toarray(), atol=1e-12)
    weight = torch.tensor(rng.standard_normal(C.values().shape))
    (C.values() * weight).sum().backward()

    def dense(X, values):
        rows = np.repeat(np.arange(X.shape[0]), np.diff(X.indptr))
        return torch.zeros(X.shape, dtype=values.dtype).index_put(
            (torch.tensor(rows), torch.tensor(X.indices).long()), values
        )

    a2, b2 = (torch.tensor(X.data, requires_grad=True) for X in (A, B))
    D = dense(A, a2) @ dense(B, b2)
    at = torch.tensor(np.repeat(np.arange(8), np.diff(C.detach().crow_indices().numpy())))
    (D[at, C.detach().col_indices()] * weight).sum().backward()
    torch.testing.assert_close(a.grad, a2.grad)
    torch.testing.assert_close(b.grad, b2.grad)
