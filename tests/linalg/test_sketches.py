"""Sketches against their dense matrices, and their statistics against what they promise."""

import pickle

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse
import scipy.sparse.linalg
from hypothesis import given
from hypothesis import strategies as st

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.linalg import (
    OSNAP,
    SRHT,
    CountSketch,
    Dense,
    GaussianSketch,
    LeverageSampling,
    RademacherSketch,
    TensorSRHT,
    UniformSampling,
    fwht,
    khatri_rao,
    kron,
    sketch_stream,
)

N, M = 100, 24
MAKERS = {
    "srht": lambda seed: SRHT(N, M, seed=seed),
    "srht with replacement": lambda seed: SRHT(N, M, replace=True, seed=seed),
    "dct": lambda seed: SRHT(N, M, transform="dct", seed=seed),
    "gaussian": lambda seed: GaussianSketch(N, M, seed=seed),
    "rademacher": lambda seed: RademacherSketch(N, M, seed=seed),
    "countsketch": lambda seed: CountSketch(N, M, seed=seed),
    "osnap": lambda seed: OSNAP(N, M, 5, seed=seed),
    "uniform": lambda seed: UniformSampling(N, M, seed=seed),
    "leverage": lambda seed: LeverageSampling(np.arange(1.0, N + 1), M, seed=seed),
    "tensor": lambda seed: TensorSRHT((10, 10), M, seed=seed),
    "tensor of three": lambda seed: TensorSRHT((5, 4, 5), M, seed=seed),
}
every_sketch = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


def by_definition(S):
    """An SRHT from SciPy's Hadamard matrix or cosine transform."""
    m, n = S.shape
    if S.transform == "hadamard":
        H = scipy.linalg.hadamard(S.order)[S.rows] / np.sqrt(m)
    else:
        H = scipy.fft.dct(np.eye(n), axis=0, norm="ortho")[S.rows] * np.sqrt(n / m)
    return H[:, :n] * S.signs


def blocks_of(A, sizes):
    start = 0
    for size in sizes:
        yield A[start : start + size]
        start += size


@pytest.mark.parametrize("transform", ["hadamard", "dct"])
@pytest.mark.parametrize(("n", "m"), [(1, 1), (64, 64), (100, 30), (1025, 8)])
def test_srht_is_its_definition(transform, n, m):
    S = SRHT(n, m, transform=transform, seed=1)
    A = np.random.default_rng(0).normal(size=(n, 5))
    np.testing.assert_allclose(S @ A, by_definition(S) @ A, atol=1e-11)
    if transform == "hadamard":
        np.testing.assert_allclose(abs(S.to_dense()), 1 / np.sqrt(m), rtol=1e-12)


def test_long_columns_are_cut_into_pieces():
    rng = np.random.default_rng(0)
    S, A = SRHT(9000, 40, seed=2), rng.normal(size=(9000, 3))
    padded = np.zeros((16384, 3))
    padded[:9000] = A * S.signs[:, None]
    np.testing.assert_allclose(S @ A, fwht(padded, axis=0)[S.rows] / np.sqrt(40), atol=1e-11)


@every_sketch
def test_products_agree_with_the_dense_matrix(make):
    S, rng = make(3), np.random.default_rng(0)
    dense = S.to_dense()
    assert dense.shape == S.shape == (M, N)
    A, y = rng.normal(size=(N, 7)), rng.normal(size=(M, 2))
    np.testing.assert_allclose(S @ A, dense @ A, atol=1e-12)
    np.testing.assert_allclose(S @ A[:, 0], dense @ A[:, 0], atol=1e-12)
    np.testing.assert_allclose(S @ np.asfortranarray(A)[:, ::2], dense @ A[:, ::2], atol=1e-12)
    np.testing.assert_allclose(S.T @ y, dense.T @ y, atol=1e-12)
    np.testing.assert_allclose(y.T @ S, y.T @ dense, atol=1e-12)
    np.testing.assert_allclose(S.T.to_dense(), dense.T, atol=1e-12)
    sparse = scipy.sparse.random_array((N, 7), density=0.05, rng=rng, format="csr")
    np.testing.assert_allclose(S @ sparse, dense @ sparse.toarray(), atol=1e-12)
    np.testing.assert_allclose(S @ np.arange(N), dense @ np.arange(N), atol=1e-10)
    single = S @ A.astype(np.float32)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, dense @ A, atol=2e-5)
    structured = Dense().project(A)
    np.testing.assert_allclose(S @ structured, dense @ A, atol=2e-5)
    operator = scipy.sparse.linalg.aslinearoperator(S)
    np.testing.assert_allclose(operator.matvec(A[:, 0]), dense @ A[:, 0], atol=1e-12)
    np.testing.assert_allclose(operator.rmatvec(y[:, 0]), dense.T @ y[:, 0], atol=1e-12)


@every_sketch
def test_a_seed_fixes_the_sketch(make):
    first = make(5).to_dense()
    assert np.array_equal(first, make(5).to_dense())
    assert not np.array_equal(first, make(6).to_dense())
    S = make(5)
    S @ np.ones(N)
    assert np.array_equal(pickle.loads(pickle.dumps(S)).to_dense(), first)


@every_sketch
@given(cuts=st.lists(st.integers(1, 40), max_size=8))
def test_blocks_of_rows_sum_to_the_whole(make, cuts):
    S = make(7)
    A = np.random.default_rng(1).normal(size=(N, 2))
    sizes = [size for i, size in enumerate(cuts) if sum(cuts[: i + 1]) < N]
    sizes.append(N - sum(sizes))
    np.testing.assert_allclose(sketch_stream(S, blocks_of(A, sizes)), S @ A, atol=1e-12)
    np.testing.assert_allclose(sketch_stream(S, blocks_of(A[:, 0], sizes)), S @ A[:, 0], atol=1e-12)
    sparse = scipy.sparse.csr_array(A * (A > 1))
    np.testing.assert_allclose(sketch_stream(S, blocks_of(sparse, sizes)), S @ sparse, atol=1e-12)


@every_sketch
def test_the_expected_gram_matrix_is_the_identity(make):
    seeds, few = 2000, 12
    rng = np.random.default_rng(0)
    columns = np.sort(rng.choice(N, few, replace=False))
    picks = np.zeros((N, few))
    picks[columns, np.arange(few)] = 1
    grams = np.empty((seeds, few, few))
    for seed in range(seeds):
        part = make(seed) @ picks
        grams[seed] = part.T @ part
    error = grams.std(axis=0, ddof=1) / np.sqrt(seeds)
    assert (abs(grams.mean(axis=0) - np.eye(few)) <= 5 * error + 1e-9).all()


def test_all_rows_without_replacement_are_orthogonal():
    dense = SRHT(64, 64, seed=0).to_dense()
    np.testing.assert_allclose(dense @ dense.T, np.eye(64), atol=1e-13)
    dense = SRHT(60, 60, transform="dct", seed=0).to_dense()
    np.testing.assert_allclose(dense.T @ dense, np.eye(60), atol=1e-13)
    assert len(set(SRHT(64, 40, seed=0).rows)) == 40
    repeated = SRHT(64, 64, replace=True, seed=0).to_dense()
    assert abs(repeated.T @ repeated - np.eye(64)).max() > 0.1


def test_sparse_sketches_have_s_entries_a_column():
    assert ((CountSketch(N, M, seed=0).to_dense() != 0).sum(axis=0) == 1).all()
    dense = OSNAP(N, M, 5, seed=0).to_dense()
    assert ((dense != 0).sum(axis=0) == 5).all()
    np.testing.assert_allclose(np.linalg.norm(dense, axis=0), 1)


def test_tensor_products_are_never_formed():
    rng = np.random.default_rng(0)
    S = TensorSRHT((8, 16), 32, seed=0)
    dense = S.to_dense()
    np.testing.assert_allclose(abs(dense), 1 / np.sqrt(32))
    A1, A2 = rng.normal(size=(8, 3)), rng.normal(size=(16, 2))
    np.testing.assert_allclose(S @ kron(A1, A2), dense @ np.kron(A1, A2), atol=1e-12)
    x, y = rng.normal(size=(8, 4)), rng.normal(size=(16, 4))
    np.testing.assert_allclose(S @ khatri_rao(x, y), dense @ scipy.linalg.khatri_rao(x, y), atol=1e-12)
    three = TensorSRHT((4, 6, 5), 20, seed=1)
    B = [rng.normal(size=(n, 2)) for n in (4, 6, 5)]
    whole = kron(Dense().project(B[0]), kron(B[1], B[2]))
    expected = three.to_dense() @ np.kron(B[0], np.kron(B[1], B[2]))
    np.testing.assert_allclose(three @ whole, expected, atol=2e-5)
    np.testing.assert_allclose(
        three @ khatri_rao(*B), three.to_dense() @ khatri_rao(*B).to_dense(), atol=1e-12
    )
    other = kron(rng.normal(size=(16, 2)), rng.normal(size=(8, 2)))  # factors of other lengths: formed
    np.testing.assert_allclose(S @ other, dense @ other.to_dense(), atol=1e-12)


@every_sketch
def test_gradients_flow_through_tensors(make):
    torch = pytest.importorskip("torch")
    S = make(0)
    x = torch.randn(N, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: S @ x, x)
    vector = torch.ones(N, requires_grad=True)
    (S @ vector).sum().backward()
    np.testing.assert_allclose(vector.grad.numpy(), S.to_dense().sum(axis=0), atol=1e-5)
    half = torch.ones(N, dtype=torch.bfloat16)
    assert (S @ half).dtype == torch.bfloat16
    assert (S.T @ torch.ones(M)).shape == (N,)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: SRHT(10, 11), "m=11: expected at most n=10"),
        (lambda: UniformSampling(10, 11), "without replacement"),
        (lambda: SRHT(10, 0), "m=0"),
        (lambda: SRHT(10, 5, transform="dft"), "one of hadamard, dct"),
        (lambda: OSNAP(10, 4, 5), "s=5"),
        (lambda: LeverageSampling([-1.0, 2.0], 1), "scores"),
        (lambda: TensorSRHT((4,), 2), "two or more"),
        (lambda: SRHT(10, 5) @ np.ones(9), "10 rows"),
        (lambda: SRHT(10, 5).T @ np.ones(9), "5 rows"),
        (lambda: SRHT(10, 5) @ (1j * np.ones(10)), "complex"),
        (lambda: SRHT(10, 5).partial(np.ones(6), 5), "expected at most 10 rows"),
        (lambda: sketch_stream(SRHT(10, 5), [np.ones(4)]), "4 rows in all"),
        (lambda: SRHT(10, 5, seed=-1), "random_state=-1"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises((ArgumentError, ShapeError), match=words):
        call()
