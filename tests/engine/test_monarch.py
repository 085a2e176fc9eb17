"""Monarch matrices in the token loops: the product of the dense matrix, on every instruction set, for all threads."""

import numpy as np
import pytest

from gossamer._core.errors import ArgumentError
from gossamer._kernels import linear
from gossamer._kernels.dispatch import available_isas, force_isa
from gossamer.engine.prepare import prepare
from gossamer.linalg import LowRank, Monarch

rng = np.random.default_rng(0)


@pytest.fixture(params=available_isas(), autouse=True)
def isa(request):
    force_isa(request.param)
    yield request.param
    force_isa("auto")


CASES = {
    "square": (Monarch(4), (128, 128), 0),
    "wide": (Monarch(4), (64, 256), 0),
    "tall and padded": (Monarch(4, width=16), (250, 66), 0),
    "two blocks": (Monarch(2, width=16), (96, 66), 0),
    "eight blocks": (Monarch(8, width=16), (130, 128), 0),
    "unequal blocks": (Monarch((2, 16), width=32), (160, 64), 0),
    "one block": (Monarch(1, width=16), (70, 80), 0),
    "bfloat16": (Monarch(4, dtype="bfloat16"), (128, 128), 0),
    "low rank besides": (Monarch(4), (128, 128), 5),
    "low rank in bfloat16": (Monarch(4, dtype="bfloat16"), (128, 130), 20),
}


@pytest.mark.parametrize(("family", "shape", "rank"), CASES.values(), ids=CASES)
def test_a_chain_multiplies_as_the_dense_matrix(family, shape, rank):
    if rank:
        family = family + LowRank(rank, dtype="bfloat16" if family.dtype else None)
    matrix = family.project(rng.standard_normal(shape).astype(np.float32))
    A, W = prepare(matrix), np.asarray(matrix.to_dense(), np.float64)
    assert A.kernel == "monarch"
    assert A.shape == shape
    out = np.empty(shape[1], np.float32)
    for row in (0, shape[0] // 2, shape[0] - 1):
        A.row(row, out)
        np.testing.assert_allclose(out, W[row], rtol=1e-4, atol=1e-5)
    for tokens in (1, 2, 3, 8, 13, 100):
        x = rng.standard_normal((shape[1], tokens)).astype(np.float32)
        y = linear.matmat(A, x, threads=1)
        size = np.abs(W) @ np.abs(x) + np.abs(W).sum(1, keepdims=True)
        assert (np.abs(y - W @ x) <= 5e-6 * size).all()
        for threads in (2, 7):
            np.testing.assert_array_equal(linear.matmat(A, x, threads=threads), y)


def test_it_reads_fewer_bytes_than_the_dense_matrix():
    matrix = Monarch(4).project(rng.standard_normal((384, 384)).astype(np.float32))
    assert prepare(matrix).nbytes == matrix.nbytes == 384 * 384 * 4 // 2


@pytest.mark.parametrize("family", [Monarch(4, width=20), Monarch(3), Monarch(1)])
def test_sizes_that_do_not_fit_run_as_the_dense_matrix(family):
    matrix = family.project(rng.standard_normal((96, 96)).astype(np.float32))
    A = prepare(matrix)
    assert A.kernel == "dense-float32"
    x = rng.standard_normal((96, 3)).astype(np.float32)
    np.testing.assert_allclose(linear.matmat(A, x), matrix.to_dense() @ x, rtol=1e-4, atol=1e-4)


def test_blocks_that_do_not_fit_are_refused():
    good = {"rows": 16, "cols": 8, "period": 1, "tail": 0}
    weight = np.zeros(16 * 8, np.float32)
    linear.blocks(weight, [0], [8], **good)
    for start, depth, change, message in (
        ([1], [8], {}, "outside the matrix"),
        ([-1], [8], {}, "outside the matrix"),
        ([0], [5], {"period": 2}, "outside the matrix"),
        ([0], [8], {"tail": 1}, "outside the matrix"),
        ([0], [7], {}, "weight has 128 entries: expected 112"),
        ([0, 0], [4, 4], {}, "one a block"),
        ([0], [8], {"period": 3}, "period=3"),
        ([0], [8], {"tail": 9}, "tail=9"),
    ):
        with pytest.raises(ArgumentError, match=message):
            linear.blocks(weight, start, depth, **{**good, **change})
    A = linear.blocks(weight, [0], [8], **good)
    with pytest.raises(ArgumentError, match="do not fit"):
        linear.chain(A, A)
