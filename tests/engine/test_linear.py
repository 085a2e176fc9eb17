"""Prepared linear maps agree with the dequantised matrix, on every instruction set, for any number of threads."""

import numpy as np
import pytest

from gossamer._core.errors import ArgumentError
from gossamer._kernels import linear
from gossamer._kernels.dispatch import available_isas, force_isa
from gossamer._kernels.packing import pack_codes, pack_positions, pack_zeros
from gossamer.engine.prepare import prepare
from gossamer.linalg import GroupQuant, NMQuant

rng = np.random.default_rng(0)


@pytest.fixture(params=available_isas(), autouse=True)
def isa(request):
    force_isa(request.param)
    yield request.param
    force_isa("auto")


def quantised(rows, cols, bits, group, zero):
    """Random factors and the matrix that they stand for."""
    group = group or cols
    groups = -(-cols // group)
    codes = rng.integers(0, 2**bits, (rows, groups, group), dtype=np.uint8)
    scale = rng.uniform(0.01, 0.1, (rows, groups)).astype(np.float16)
    if zero == "int":
        z = rng.integers(0, 2**bits, (rows, groups), dtype=np.uint8)
        factor, shift = pack_zeros(z.ravel(), bits), z * scale.astype(np.float64)
    elif zero == "float":
        factor = rng.uniform(-0.5, 0.5, (rows, groups)).astype(np.float16)
        shift = factor.astype(np.float64)
    else:
        factor, shift = None, 2 ** (bits - 1) * scale.astype(np.float64)
    W = (codes * scale[..., None].astype(np.float64) - shift[..., None]).reshape(rows, -1)[:, :cols]
    return pack_codes(codes, bits), scale, factor, W


def group_sparse(rows, cols, bits, group, zero, density=0.5):
    mask = rng.random((rows, -(-cols // group))) < density
    if rows > 2:
        mask[1] = False
    kept = int(mask.sum())
    q, scale, factor, w = quantised(max(kept, 1), group, bits, group, zero)
    q, scale, w = q[:kept, 0], scale[:kept, 0], w[:kept]
    if factor is not None:
        factor = factor[: (-(-kept // 2) if zero == "int" and bits != 8 else kept)].reshape(-1)
    W = np.zeros((rows, mask.shape[1], group))
    W[mask] = w
    row_ptr = np.concatenate([[0], np.cumsum(mask.sum(1))]).astype(np.int32)
    col = np.nonzero(mask)[1].astype(np.uint16)
    return (row_ptr, col, q, scale, factor), W.reshape(rows, -1)[:, :cols]


def int8_activations(x):
    """What the kernels see of x (K, N): blocks of 32, scale max|x| / 127."""
    K, N = x.shape
    padded = np.zeros((-(-K // 32) * 32, N), np.float32)
    padded[:K] = x
    blocks = padded.reshape(-1, 32, N)
    step = (np.abs(blocks).max(1, keepdims=True) / np.float32(127)).astype(np.float32)
    inverse = np.divide(np.float32(1), step, out=np.zeros_like(step), where=step > 0)
    return (np.rint(blocks * inverse) * step.astype(np.float64)).reshape(-1, N)[:K]


def assert_product(A, W, tokens=(1, 3, 8, 13), *, int8=True):
    rows, cols = W.shape
    assert A.shape == W.shape
    out = np.empty(cols, np.float32)
    for row in (0, rows // 2, rows - 1):
        A.row(row, out)
        np.testing.assert_allclose(out, W[row], rtol=1e-5, atol=1e-6)
    for n in tokens:
        x = rng.standard_normal((cols, n)).astype(np.float32)
        size = np.abs(W) @ np.abs(x) + 1e-6
        y = linear.matmat(A, x, act="fp32", threads=1)
        assert (np.abs(y - W @ x.astype(np.float64)) <= 2e-6 * size).all()
        if int8:
            y = linear.matmat(A, x, act="int8", threads=1)
            assert (np.abs(y - W @ int8_activations(x)) <= 2e-6 * size).all()
            tiled = linear.matmat(A, x, act="int8", threads=2, tiled=True)
            assert (np.abs(tiled - W @ int8_activations(x)) <= 2e-6 * size).all()
        for threads in (2, 3):
            again = linear.matmat(A, x, act="int8" if int8 else "fp32", threads=threads)
            assert np.array_equal(y, again)


SHAPES = [(1, 16), (33, 64), (70, 100), (96, 576)]


@pytest.mark.parametrize("shape", SHAPES)
def test_dense_float32_and_bfloat16(shape):
    W = rng.standard_normal(shape).astype(np.float32)
    brain = (W.view(np.uint32) >> 16).astype(np.uint16)
    assert_product(linear.dense(W), W, int8=False)
    assert_product(linear.dense(brain), (brain.astype(np.uint32) << 16).view(np.float32), int8=False)


@pytest.mark.parametrize("zero", ["int", "float", None])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("group", [0, 16, 32, 48, 128])
def test_group_quantised(bits, group, zero):
    for rows, cols in SHAPES:
        if group > cols:
            continue
        q, scale, factor, W = quantised(rows, cols, bits, group, zero)
        A = linear.group_quant(q, scale, factor, cols=cols, bits=bits, group=group)
        assert_product(A, W, tokens=(1, 13))


@pytest.mark.parametrize("zero", ["int", "float", None])
@pytest.mark.parametrize(("bits", "group"), [(2, 16), (3, 32), (4, 16), (4, 32), (8, 16), (4, 48)])
def test_group_sparse(bits, group, zero):
    for rows, cols in [*SHAPES, (40, 1536), (5, 2080)]:
        factors, W = group_sparse(rows, cols, bits, group, zero)
        A = linear.group_sparse_quant(*factors, cols=cols, bits=bits, group=group)
        assert_product(A, W, tokens=(1, 13))


@pytest.mark.parametrize("density", [0, 0.1, 0.5, 1])
def test_bitmap(density):
    for shape in SHAPES:
        W = (rng.standard_normal(shape) * (rng.random(shape) < density)).astype(np.float32)
        assert_product(linear.bitmap(W), W, int8=False)


def n_of_m(rows, cols, n, m):
    groups = -(-cols // m)
    where = np.sort(np.argsort(rng.random((rows, groups, m)), axis=2)[..., :n], axis=2)
    values = rng.standard_normal((rows, groups, n)).astype(np.float32)
    inside = where + m * np.arange(groups)[:, None] < cols
    W = np.zeros((rows, groups, m), np.float32)
    np.put_along_axis(W, where, values * inside, axis=2)
    positions = pack_positions(where.reshape(rows, -1).astype(np.uint8), m)
    return (values * inside).reshape(rows, -1), positions, W.reshape(rows, -1)[:, :cols]


@pytest.mark.parametrize(("n", "m"), [(2, 4), (1, 4), (3, 4), (4, 4), (1, 3), (1, 2)])
def test_n_of_m(n, m):
    for rows, cols in [*SHAPES, (5, 7), (40, 1534)]:
        values, positions, W = n_of_m(rows, cols, n, m)
        A = linear.nm(values, positions, cols=cols, n=n, m=m)
        assert A.kernel == "nm-float32"
        assert_product(A, W, tokens=(1, 2, 13), int8=False)


def test_two_of_four_in_16_bits():
    values, positions, W = n_of_m(70, 100, 2, 4)
    brain = (values.view(np.uint32) >> 16).astype(np.uint16)
    for stored, exact in (
        (brain, (brain.astype(np.uint32) << 16).view(np.float32)),
        (values.astype(np.float16), values.astype(np.float16).astype(np.float32)),
    ):
        A = linear.nm(stored, positions, cols=100, n=2, m=4)
        rounded = W.copy()
        rounded[W != 0] = exact[values != 0]
        assert_product(A, rounded, int8=False)
    with pytest.raises(ArgumentError, match="ascend"):
        linear.nm(values, np.zeros_like(positions), cols=100, n=2, m=4)
    with pytest.raises(ArgumentError, match="4"):
        linear.nm(values, positions, cols=100, n=2, m=8)


def test_low_rank_is_added_to_any_matrix():
    q, scale, factor, W = quantised(70, 128, 4, 32, "int")
    base = linear.group_quant(q, scale, factor, cols=128, bits=4, group=32)
    left, right = rng.standard_normal((70, 5)), rng.standard_normal((5, 128))
    A = linear.low_rank(base, linear.dense(left), linear.dense(right))
    assert A.kernel == "packed-int4+low-rank"
    assert A.nbytes == base.nbytes + linear.dense(left).nbytes + linear.dense(right).nbytes
    x = rng.standard_normal((128, 9)).astype(np.float32)
    np.testing.assert_allclose(linear.matmat(A, x), (W + left @ right) @ x, rtol=1e-4, atol=1e-3)


def test_group_sparse_keeps_the_zero_of_a_group_with_scale_zero():
    (row_ptr, col, q, scale, zero), _ = group_sparse(5, 64, 4, 16, "float", density=1)
    scale[:] = 0
    A = linear.group_sparse_quant(row_ptr, col, q, scale, zero, cols=64, bits=4, group=16)
    W = np.zeros((5, 4, 16))
    W[np.repeat(np.arange(5), np.diff(row_ptr)), col] = -zero.astype(np.float64)[:, None]
    assert_product(A, W.reshape(5, 64))


def test_hostile_factors_are_refused():
    (row_ptr, col, q, scale, zero), _ = group_sparse(6, 64, 4, 16, "int", density=1)
    good = {"row_ptr": row_ptr, "col": col, "qweight": q, "scale": scale, "zero": zero}

    def build(**changes):
        return linear.group_sparse_quant(**{**good, **changes}, cols=64, bits=4, group=16)

    build()
    beyond, falling = col.copy(), row_ptr.copy()
    beyond[-1] = 4
    falling[1] = falling[-1] + 1
    for change in (
        {"col": beyond},
        {"col": col[:-1]},
        {"row_ptr": falling},
        {"row_ptr": row_ptr[:-1]},
        {"scale": scale[:-1]},
        {"qweight": q[:, :-1]},
        {"zero": zero[:-1]},
        {"scale": scale.astype(np.float32)},
    ):
        with pytest.raises(ArgumentError):
            build(**change)
    q, scale, zero, _ = quantised(4, 24, 4, 24, None)
    with pytest.raises(ArgumentError, match="multiple of 16"):
        linear.group_quant(q.reshape(2, 2, -1), scale.reshape(2, 2), None, cols=48, bits=4, group=24)


@pytest.mark.parametrize("bits", [3, 4, 8])
@pytest.mark.parametrize("act", ["fp32", "int8"])
def test_low_rank_factors_in_codes_are_fused_too(bits, act):
    rng = np.random.default_rng(bits)
    W = rng.standard_normal((96, 160)).astype(np.float32)
    base = GroupQuant(4, 32).project(W)
    left, right = rng.standard_normal((96, 32)), rng.standard_normal((32, 160))
    term = GroupQuant(bits, 32).project(left.astype(np.float32)) @ GroupQuant(bits, 32).project(
        right.astype(np.float32)
    )
    prepared = prepare(base + term)
    assert prepared.kernel == "packed-int4+low-rank"
    x = rng.standard_normal((160, 3)).astype(np.float32)
    expected = (base + term).to_dense() @ x
    tolerance = 1e-4 if act == "fp32" else 0.03
    y = linear.matmat(prepared, x, act=act)
    assert np.linalg.norm(y - expected) <= tolerance * np.linalg.norm(expected)


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize(
    ("shape", "n", "m", "group"), [((33, 96), 2, 4, 16), ((40, 72), 1, 4, 8), ((16, 64), 2, 4, 0)]
)
def test_pruned_codes_run_as_codes(shape, n, m, group, symmetric):
    matrix = NMQuant(n, m, 4, group, symmetric).project(rng.standard_normal(shape).astype(np.float32))
    prepared = prepare(matrix)
    assert prepared.kernel == "packed-int4"
    assert_product(prepared, matrix.to_dense().astype(np.float64))
