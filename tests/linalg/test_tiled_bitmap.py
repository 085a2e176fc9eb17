"""Bitmap tiles hold a matrix exactly and multiply as it does; spmm takes the fastest format."""

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gossamer._core.arrays import to_bits, widen
from gossamer._kernels import lscd
from gossamer._kernels.dispatch import force_isa, variants
from gossamer.linalg import Machine, StructuredMatrix, TiledBitmap, lscd_model, spmm

rng = np.random.default_rng(0)
DTYPES = ("bfloat16", "float16", "float32")


def rounded(A, dtype):
    if dtype == "bfloat16":
        return torch.from_numpy(A).bfloat16().float().numpy()
    return A.astype(dtype).astype(np.float32)


def sparse(shape, density):
    return (rng.standard_normal(shape) * (rng.random(shape) < density)).astype(np.float32)


MACHINE = Machine(1e10, (1e-9,) * 7, (2e-11,) * 3 + (1e-10,) * 4, (1e-9,) * 7)


@pytest.fixture(params=variants())
def isa(request):
    force_isa(request.param)
    yield request.param
    force_isa("auto")


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 300), st.integers(1, 517), st.sampled_from([0, 0.1, 0.5, 1]), st.sampled_from(DTYPES))
def test_to_dense_is_the_rounded_matrix(rows, cols, density, dtype):
    A = np.random.default_rng(rows + cols).standard_normal((rows, cols)).astype(np.float32)
    A *= np.random.default_rng(cols).random(A.shape) < density
    tiles = TiledBitmap.from_dense(A, dtype=dtype)
    np.testing.assert_array_equal(tiles.to_dense(), rounded(A, dtype))
    assert tiles.nnz == np.count_nonzero(rounded(A, dtype))
    size = 4 if dtype == "float32" else 2
    count = -(-rows // 16) * -(-cols // 64)
    assert tiles.nbytes == size * (tiles.nnz + 32) + 128 * count + 8 * (count + 1)


def test_a_full_row_a_full_column_and_nan_are_kept():
    A = np.zeros((40, 130), np.float32)
    A[17], A[:, 129], A[3, 5] = 1, 2, np.nan
    np.testing.assert_array_equal(TiledBitmap.from_dense(A).to_dense(), A)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 3, 8, 17, 64])
def test_products_agree_with_float64_of_the_rounded_matrix(isa, dtype, n):
    for shape, density in [((300, 517), 0.3), ((33, 1000), 1.0), ((16, 2048), 0.2), ((20, 65), 0.0)]:
        A, x = sparse(shape, density), rng.standard_normal((shape[1], n)).astype(np.float32)
        exact = rounded(A, dtype).astype(np.float64) @ x
        y = TiledBitmap.from_dense(A, dtype=dtype) @ x
        assert y.dtype == np.float32
        assert np.linalg.norm(y - exact) <= 1e-6 * np.sqrt(shape[1]) * np.linalg.norm(exact)


def test_bfloat16_activations(isa):
    A, x = sparse((200, 777), 0.3), torch.from_numpy(rng.standard_normal((777, 19)).astype(np.float32))
    exact = rounded(A, "bfloat16").astype(np.float64) @ x.numpy()
    y = spmm(TiledBitmap.from_dense(A), x.bfloat16(), format="lscd").numpy()
    assert np.linalg.norm(y - exact) <= 4e-3 * np.linalg.norm(exact)
    exact = rounded(A, "bfloat16").astype(np.float64) @ x.bfloat16().double().numpy()
    assert np.linalg.norm(y - exact) <= 2e-6 * np.sqrt(777) * np.linalg.norm(exact)


@pytest.mark.parametrize("format", ["lscd", "csr", "dense", "auto"])
def test_every_format_of_spmm_gives_the_product(format, monkeypatch):
    monkeypatch.setattr("gossamer.linalg.products.spmm.calibrate_machine", lambda *_: MACHINE)
    A, x = sparse((120, 200), 0.3), rng.standard_normal((200, 5)).astype(np.float32)
    for given_as in (A, scipy.sparse.csr_array(A), TiledBitmap.from_dense(A, dtype="float32")):
        np.testing.assert_allclose(spmm(given_as, x, format=format), A @ x, atol=1e-4)
    y = spmm(torch.from_numpy(A), torch.from_numpy(x[:, 0]), format=format)
    assert y.dtype == torch.float32
    np.testing.assert_allclose(y.numpy(), A @ x[:, 0], atol=1e-4)


def test_threads_and_split_k_are_reproducible():
    A, x = TiledBitmap.from_dense(sparse((48, 5000), 0.3)), rng.standard_normal((5000, 6)).astype(np.float32)
    for split in ("auto", 1, 2, 7):
        first = spmm(A, x, format="lscd", threads=1, split_k=split)
        for threads in (2, 3):
            np.testing.assert_array_equal(spmm(A, x, format="lscd", threads=threads, split_k=split), first)


def test_no_columns_give_an_empty_product():
    assert (TiledBitmap.from_dense(sparse((30, 40), 0.5)) @ np.zeros((40, 0), np.float32)).shape == (30, 0)


def test_gradient_of_x_uses_the_transpose_and_sees_changed_values():
    A = TiledBitmap.from_dense(torch.from_numpy(sparse((30, 70), 0.4)), dtype="float32")
    x = torch.ones(70, 3, requires_grad=True)
    (A @ x).sum().backward()
    np.testing.assert_allclose(x.grad, A.to_dense().sum(0)[:, None].expand(-1, 3), atol=1e-5)
    A.factors["values"].mul_(2)
    x.grad = None
    (A @ x).sum().backward()
    np.testing.assert_allclose(x.grad, A.to_dense().sum(0)[:, None].expand(-1, 3), atol=1e-5)


def test_gradient_of_values_is_the_dense_one_on_the_mask():
    A = TiledBitmap.from_dense(torch.from_numpy(sparse((20, 70), 0.3)), dtype="float32")
    A.factors["values"].requires_grad_()
    x = torch.from_numpy(rng.standard_normal((70, 4)).astype(np.float32))
    (A @ x).square().sum().backward()
    dense = A.to_dense().detach().requires_grad_()
    (dense @ x).square().sum().backward()
    rows, columns = lscd.places(A.factors["masks"].numpy(), A.shape)
    gradient = A.factors["values"].grad
    np.testing.assert_allclose(gradient[:-32], dense.grad[rows, columns], rtol=1e-4, atol=1e-4)
    assert not gradient[-32:].any()


def test_files_keep_every_byte(tmp_path):
    for dtype in DTYPES:
        A = TiledBitmap.from_dense(sparse((50, 90), 0.4), dtype=dtype)
        A.save(tmp_path / "a.safetensors")
        B = StructuredMatrix.load(tmp_path / "a.safetensors")
        assert B.structure == A.structure
        for name, factor in A.factors.items():
            np.testing.assert_array_equal(B.factors[name], factor)


def test_wanda_keeps_a_number_a_row_by_weight_and_input():
    W, h = rng.standard_normal((20, 64)).astype(np.float32), rng.random(64).astype(np.float32)
    kept = TiledBitmap(density=0.25, scope="row").project(W, h).to_dense() != 0
    assert (kept.sum(1) == 16).all()
    score = W**2 * h
    np.testing.assert_array_equal(kept, score >= np.sort(score, axis=1)[:, -16:-15])


def test_bad_input():
    A = TiledBitmap.from_dense(sparse((8, 8), 0.5))
    with pytest.raises(ValueError, match=r"\(8, 8\).*\(9, 2\)"):
        spmm(A, np.ones((9, 2)))
    with pytest.raises(TypeError, match="int64"):
        spmm(A, np.ones((8, 2), np.int64))
    with pytest.raises(ValueError, match="format='coo'"):
        spmm(A, np.ones((8, 2)), format="coo")
    with pytest.raises(ValueError, match="split_k=0"):
        spmm(A, np.ones((8, 2)), split_k=0)
    with pytest.raises(ValueError, match="2-D"):
        TiledBitmap.from_dense(np.ones(3))
    with pytest.raises(ValueError, match=r"tile=\(8, 8\)"):
        TiledBitmap.from_dense(np.ones((3, 3)), tile=(8, 8))
    with pytest.raises(ValueError, match="2 entries beyond the range of float16"):
        TiledBitmap.from_dense(np.array([[1e6, -1e6, 1.0]]), dtype="float16")
    with pytest.raises(ValueError, match="density=0"):
        TiledBitmap(density=0)


def test_the_model_is_a_roofline():
    times = lscd_model(1000, 1000, 1, 0.25, MACHINE)
    assert times["dense"] == pytest.approx(1e-3)
    assert times["lscd"] == pytest.approx((5e5 + 1.25e5 + 4e3 + 4e3) / 1e10)
    assert times["csr"] == pytest.approx(2.5e-4)
    assert times["bound"] == "memory"
    assert lscd_model(1000, 1000, 64, 0.01, MACHINE)["bound"] == "compute"
    assert lscd_model(1000, 1000, 128, 0.25, MACHINE)["csr"] == pytest.approx(2 * 2.5e-4)
    with pytest.raises(ValueError, match="density=2"):
        lscd_model(4, 4, 1, 2, MACHINE)


def test_widening_is_exact():
    values = rng.standard_normal(100).astype(np.float32)
    np.testing.assert_array_equal(widen(to_bits(values)), torch.from_numpy(values).bfloat16().float().numpy())
