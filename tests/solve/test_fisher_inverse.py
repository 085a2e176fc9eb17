"""The inverse Fisher, held by a factor or by a sliding window, equals the dense inverse."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._kernels import dispatch, fisher
from gossamer.solve import (
    DiagonalFisherInverse,
    ExplicitFisherInverse,
    FisherInverse,
    SlidingFisherInverse,
    recurrence_factor,
    shard_slice,
    window_coefficients,
)


def dense_inverse(G, damp, block=None):
    G = np.asarray(G, np.float64)
    F = damp * np.eye(G.shape[1]) + G.T @ G / len(G)
    number = np.arange(G.shape[1]) // (block or G.shape[1])
    return np.linalg.inv(np.where(number[:, None] == number, F, 0))


def close(ours, reference, tolerance=1e-9):
    assert np.linalg.norm(ours - reference) <= tolerance * np.linalg.norm(reference)


@pytest.fixture(params=dispatch.available_isas())
def isa(request):
    before = dispatch.active_isa()
    dispatch.force_isa(request.param)
    yield
    dispatch.force_isa(before)


VARIANTS = {
    "gemm": {},
    "recurrence": {"method": "recurrence"},
    "one page": {"pages": 1},
    "pages": {"pages": 3},
    "blocks that divide d": {"block": 10},
    "last block short": {"block": 7},
    "blocks by recurrence": {"block": 7, "method": "recurrence"},
    "block beyond d": {"block": 1000},
}


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize("m", [3, 60, 100])
def test_it_is_the_dense_inverse(options, m, isa):
    rng = np.random.default_rng(m)
    G = rng.normal(size=(m, 60))
    G[1], G[2] = G[0], 0
    F = FisherInverse(G, 1e-3, **options)
    reference = dense_inverse(G, 1e-3, options.get("block"))
    X = rng.normal(size=(60, 3))
    close(F.mul(X), reference @ X)
    close(F @ X[:, 0], reference @ X[:, 0])
    close(F.T @ X, reference @ X)
    close(F.diag(), np.diagonal(reference))
    close(F.column(17), reference[:, 17])
    close(F.to_dense(), reference)
    idx = np.array([[5, 59, 0], [13, 14, 15]])
    close(F.submatrix(idx), np.stack([reference[np.ix_(i, i)] for i in idx]))
    assert F.element(13, 12) == pytest.approx(reference[13, 12], rel=1e-8, abs=1e-9)
    assert F.element(-1, 59) == pytest.approx(reference[59, 59], rel=1e-9)


def test_one_gradient_has_its_closed_form():
    g = np.random.default_rng(0).normal(size=9)
    close(FisherInverse(g[None], 0.1).mul(g), g / (0.1 + g @ g))


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 30), st.sampled_from([1e-4, 1.0, 1e8]))
def test_products_are_positive_and_shrink_towards_damping(seed, m, d, damp):
    rng = np.random.default_rng(seed)
    G, x = rng.normal(size=(m, d)), rng.normal(size=d)
    y = FisherInverse(G, damp).mul(x)
    assert x @ y > 0
    assert np.linalg.norm(y) <= np.linalg.norm(x) / damp * (1 + 1e-9)
    if damp == 1e8:
        close(y, x / damp, 1e-5)
    close(FisherInverse(G * 0, damp).mul(x), x / damp)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_torch_in_torch_out_and_tiny_gradients_stay_finite(dtype):
    torch = pytest.importorskip("torch")
    G = (np.random.default_rng(0).normal(size=(8, 50)) * 1e-8).astype(dtype)
    F = FisherInverse(torch.from_numpy(G))
    y = F.mul(torch.ones(50, dtype=torch.float32))
    assert y.dtype == torch.float32
    np.testing.assert_allclose(y.numpy(), 1e5, rtol=1e-5)
    assert F.dtype == dtype
    assert FisherInverse(torch.from_numpy(G).bfloat16()).dtype == np.float32


def test_a_stream_gives_the_same():
    G = np.random.default_rng(0).normal(size=(5, 20))
    close(FisherInverse.from_stream(iter(G), 5, 1e-2).to_dense(), dense_inverse(G, 1e-2))
    with pytest.raises(ArgumentError, match="expected m=6"):
        recurrence_factor(iter(G), 6, 1e-2)


def test_baselines_write_the_same_matrices_out():
    G = np.random.default_rng(0).normal(size=(5, 20))
    close(ExplicitFisherInverse(G, 1e-2, 7).to_dense(), dense_inverse(G, 1e-2, 7))
    close(ExplicitFisherInverse(G, 1e-2, 7).mul(G.T), dense_inverse(G, 1e-2, 7) @ G.T)
    diagonal = DiagonalFisherInverse(G, 1e-2)
    close(diagonal.to_dense(), np.diag(1 / (1e-2 + (G**2).mean(axis=0))))
    close(diagonal.mul(G.T), diagonal.to_dense() @ G.T)


@pytest.mark.parametrize(
    "options", [{}, {"update": "refactor"}, {"method": "paper"}, {"store_dtype": "float32"}]
)
@pytest.mark.parametrize("m", [1, 2, 9])
def test_the_window_equals_the_static_inverse_after_every_push(options, m, isa):
    rng = np.random.default_rng(m)
    sliding = SlidingFisherInverse(m, 14, 1e-2, **{"store_dtype": "float64", **options})
    for step in range(3 * m + 2):
        g = rng.normal(size=14) * (step != 1)
        x = rng.normal(size=14)
        ours = sliding.push_mul(g)
        reference = dense_inverse(sliding.window(), 1e-2)
        close(ours, reference @ sliding.window()[step % m])
        close(sliding.mul(x), reference @ x)
    close(sliding.to_dense(), reference)
    close(sliding.diag(), np.diagonal(reference))


def test_coefficients_satisfy_their_definitions():
    G = np.random.default_rng(0).normal(size=(6, 10))
    D, B = window_coefficients(G @ G.T, 0.1)
    for i in range(6):
        before = np.linalg.inv(0.1 * np.eye(10) + G[:i].T @ G[:i] / 6)
        np.testing.assert_allclose(D[i, i:], G[i] @ before @ G[i:].T, rtol=1e-10)
        np.testing.assert_allclose(B[i, : i + 1] @ G[: i + 1], before @ G[i], rtol=1e-10)
    assert not np.tril(D, -1).any()
    assert not np.triu(B, 1).any()


def test_ten_thousand_exchanged_rows_do_not_drift():
    rng = np.random.default_rng(0)
    sliding = SlidingFisherInverse(16, 40, 1e-3, store_dtype="float64")
    for g in rng.normal(size=(10_000, 40)):
        sliding.push(g)
    assert sliding.drift() <= 1e-9


def test_exchanging_a_row_gives_the_factor_of_the_new_matrix(isa):
    rng = np.random.default_rng(0)
    for m in (1, 2, 5, 33):
        A = rng.normal(size=(m, m + 3))
        K = A @ A.T
        for r in {0, m // 2, m - 1}:
            upper = np.ascontiguousarray(np.linalg.cholesky(K).T)
            A[r] = rng.normal(size=m + 3)
            K = A @ A.T
            assert fisher.replace(upper, r, K[r])
            close(upper.T @ upper, K)


def test_passes_give_the_same_bits_for_any_number_of_threads(isa):
    rng = np.random.default_rng(0)
    G, x = rng.normal(size=(37, 20_011)).astype(np.float32), rng.normal(size=20_011)
    raw = (G.view(np.uint32) >> 16).astype(np.uint16)
    wide = (raw.astype(np.uint32) << 16).view(np.float32)
    W = fisher.blocks_factor(G, 64, 1e-3, threads=1)
    for rows, exact in ((G, G), (raw, wide), (G.astype(np.float64), G)):
        t = fisher.project(rows, x, threads=1)
        y = fisher.combine(rows, t, x, 3.0, threads=1)
        close(t, exact.astype(np.float64) @ x, 1e-12)
        close(y, 3 * x - exact.T.astype(np.float64) @ t, 1e-12)
        for threads in (2, 7):
            np.testing.assert_array_equal(fisher.project(rows, x, threads), t)
            np.testing.assert_array_equal(fisher.combine(rows, t, x, 3.0, threads), y)
            np.testing.assert_array_equal(fisher.blocks_factor(G, 64, 1e-3, threads), W)
            np.testing.assert_array_equal(
                fisher.blocks_multiply(W, 64, 1e-3, x, threads), fisher.blocks_multiply(W, 64, 1e-3, x, 1)
            )


def test_half_precision_windows_are_the_inverse_of_what_they_store():
    rng = np.random.default_rng(0)
    sliding = SlidingFisherInverse(4, 30, 1e-2, store_dtype="bfloat16")
    for g in rng.normal(size=(9, 30)):
        sliding.push(g)
    close(sliding.mul(np.ones(30)), dense_inverse(sliding.window(), 1e-2) @ np.ones(30))


def test_bad_input_is_named(monkeypatch):
    G = np.ones((2, 3))
    for damp in (0, -1, np.nan):
        with pytest.raises(ArgumentError, match="damp"):
            FisherInverse(G, damp)
        with pytest.raises(ArgumentError, match="damp"):
            SlidingFisherInverse(2, 3, damp)
    with pytest.raises(ArgumentError, match="at least one gradient"):
        FisherInverse(np.ones((0, 3)))
    with pytest.raises(ArgumentError, match="gradient 1 of 2"):
        FisherInverse(np.array([[1.0, 2], [np.inf, 1]]))
    with pytest.raises(ShapeError):
        FisherInverse(G).mul(np.ones(4))
    with pytest.raises(ArgumentError, match="pages"):
        FisherInverse(G, block=1, pages=2)
    sliding = SlidingFisherInverse(2, 3)
    sliding.push(np.ones(3))
    with pytest.raises(ArgumentError, match="step 2"):
        sliding.push(np.array([1, np.nan, 2]))
    monkeypatch.setattr("gossamer.solve.curvature.fisher_inverse._available", lambda: 10)
    with pytest.raises(MemoryError, match="pages="):
        FisherInverse(G)
    with pytest.raises(MemoryError):
        SlidingFisherInverse(2, 3)


WORKER = """
import sys, numpy as np, torch.distributed as dist
from gossamer.solve import FisherInverse, SlidingFisherInverse, all_reduce_sum, shard_slice
rank, out = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method="file://" + out + "/meet", rank=rank, world_size=2)
G = np.random.default_rng(0).normal(size=(12, 31))
own, reduce = shard_slice(31, rank, 2), all_reduce_sum()
static = FisherInverse(G[:, own], 1e-2, reduce=reduce).mul(np.ones(31)[own])
sliding = SlidingFisherInverse(5, own.stop - own.start, 1e-2, store_dtype="float64", reduce=reduce)
for g in G: y = sliding.push_mul(g[own])
np.save(out + f"/{rank}.npy", np.stack([static, y]))
dist.destroy_process_group()
"""


def test_two_processes_give_what_one_gives(tmp_path):
    pytest.importorskip("torch")
    workers = [subprocess.Popen([sys.executable, "-c", WORKER, str(r), str(tmp_path)]) for r in (0, 1)]
    assert [worker.wait(timeout=120) for worker in workers] == [0, 0]
    both = np.concatenate([np.load(tmp_path / f"{r}.npy") for r in (0, 1)], axis=1)
    G = np.random.default_rng(0).normal(size=(12, 31))
    close(both[0], dense_inverse(G, 1e-2) @ np.ones(31))
    close(both[1], dense_inverse(G[-5:], 1e-2) @ G[-1])
    assert [shard_slice(7, r, 3) for r in range(3)] == [slice(0, 2), slice(2, 4), slice(4, 7)]


def test_the_room_loads_no_torch():
    code = "import sys, gossamer.solve as s; s.FisherInverse; import gossamer.sparsify; print('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
    )
