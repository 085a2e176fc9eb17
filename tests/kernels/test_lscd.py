"""Bitmap tiles and Tiled-CSL on every path, AVX-512 without its later extensions among them, at odd sizes."""

import numpy as np
import pytest
from tests.kernels.kernel_cases import lscd_case

from gossamer._core.arrays import to_bits, widen
from gossamer._core.errors import ShapeError
from gossamer._kernels import dispatch, lscd

rng = np.random.default_rng(0)


@pytest.fixture(params=dispatch.variants())
def variant(request):
    before = dispatch.active_isa()
    dispatch.force_isa(request.param)
    yield request.param
    dispatch.force_isa(before)


@pytest.mark.parametrize("entry", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("shape", [(1, 1), (16, 64), (33, 65), (48, 900)])
@pytest.mark.parametrize("density", [0, 0.2, 1])
def test_products_of_every_width(variant, entry, shape, density):
    case = lscd_case(rng, *shape, entry, density)
    for n in (*range(1, 10), 16, 17, 33):
        x = rng.standard_normal((shape[1], n)).astype(np.float32)
        y = case.product(x)
        assert (np.abs(y - case.dense @ x) <= 4e-6 * (np.abs(case.dense) @ np.abs(x)) + 1e-30).all(), n
        for threads in (2, 3):
            np.testing.assert_array_equal(case.product(x, threads), y)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8, 9, 40])
def test_both_in_bfloat16(variant, n):
    weight, mask = rng.standard_normal((50, 333)).astype(np.float32), rng.random((50, 333)) < 0.3
    x = to_bits(rng.standard_normal((333, n)).astype(np.float32))
    y = lscd.matmat(*lscd.pack(to_bits(weight), mask, "bfloat16"), x, 50)
    dense = np.where(mask, widen(to_bits(weight)), 0).astype(np.float64)
    assert (np.abs(y - dense @ widen(x)) <= 1e-5 * (np.abs(dense) @ np.abs(widen(x))) + 1e-30).all()


@pytest.mark.parametrize("reorder", [True, False])
@pytest.mark.parametrize("shape", [(1, 1), (128, 64), (129, 65), (300, 200)])
def test_tiled_csl(variant, shape, reorder):
    for density in (0, 0.3, 1):
        half = (rng.standard_normal(shape) * (rng.random(shape) < density)).astype(np.float16)
        words, offsets = lscd.csl_pack(half, reorder, threads=2)
        for n in (0, 1, 7, 20):
            x = rng.standard_normal((shape[1], n)).astype(np.float32)
            y = lscd.csl_matmat(words, offsets, x, shape[0], threads=2)
            wide = half.astype(np.float64)
            assert (np.abs(y - wide @ x) <= 4e-6 * (np.abs(wide) @ np.abs(x)) + 1e-30).all()


def test_csl_operands_are_checked():
    words, offsets = lscd.csl_pack(np.ones((128, 64), np.float16), True)
    with pytest.raises(ShapeError, match="x has 65 rows"):
        lscd.csl_matmat(words, offsets, np.ones((65, 1), np.float32), 128)
