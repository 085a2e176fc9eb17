"""Every instruction set computes the same encodings and similarities, and native code sees only what fits."""

from itertools import pairwise

import numpy as np
import pytest
from tests.retrieve import fde_by_definition as definition

from gossamer._core.arrays import to_bits, widen
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._kernels import maxsim

OFFSETS = np.array([0, 1, 6, 40, 190])


def rows(rng, n, dim, dtype):
    x = rng.standard_normal((n, dim)).astype(np.float32)
    return to_bits(x) if dtype == "bfloat16" else x.astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize(("bits", "width", "dim"), [(0, 3, 7), (3, 0, 33), (4, 16, 64), (6, 5, 19)])
@pytest.mark.parametrize("final", [0, 29])
def test_encodings_by_definition(dtype, bits, width, dim, final):
    rng = np.random.default_rng(bits)
    x = rows(rng, 190, dim, dtype)
    normals = rng.standard_normal((3, bits, dim), np.float32)
    inner = rng.standard_normal((3, dim, width), np.float32) if width else None
    full = 3 * 2**bits * (width or dim)
    places = rng.integers(-final, final, full).astype(np.int32) if final else None
    plan = maxsim.encoding(normals, np.zeros((3, bits), np.float32), inner, places, final)
    for document, fill in ((True, True), (True, False), (False, False)):
        found = [maxsim.encode(x, OFFSETS, plan, mean=document, fill=fill, threads=t) for t in (1, 2, 7)]
        exact = [
            definition.encode(widen(x[a:b]), normals, inner, places, final, document=document, fill=fill)
            for a, b in pairwise(OFFSETS)
        ]
        np.testing.assert_allclose(found[0], exact, rtol=2e-4, atol=2e-3)
        np.testing.assert_array_equal(found[0], found[1])
        np.testing.assert_array_equal(found[0], found[2])


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize(("m", "dim"), [(1, 1), (3, 7), (16, 48), (33, 20), (70, 9)])
def test_similarities_by_definition(dtype, m, dim):
    rng = np.random.default_rng(m)
    x = rows(rng, 190, dim, dtype)
    queries = rng.standard_normal((m + 2, dim)).astype(np.float32)
    starts, pairs = np.array([0, 3, 40]), rng.integers(0, 4, 40)
    exact = [
        definition.chamfer(queries[:m] if i < 3 else queries[m:], widen(x[OFFSETS[d] : OFFSETS[d + 1]]))
        for i, d in enumerate(pairs)
    ]
    for threads in (1, 2, 7):
        found = maxsim.chamfer(queries, np.array([0, m, m + 2]), x, OFFSETS, starts, pairs, threads)
        np.testing.assert_allclose(found, exact, rtol=1e-5, atol=1e-4)


def test_native_code_never_sees_what_does_not_fit():
    x, one = np.ones((4, 3), np.float32), np.array([0, 4])
    normals, bars = np.ones((2, 1, 3), np.float32), np.zeros((2, 1), np.float32)
    plan = maxsim.encoding(normals, bars)
    none = np.array([], np.int64)

    def encode(vectors=x, offsets=one):
        return maxsim.encode(vectors, offsets, plan, mean=True, fill=True)

    def score(queries=x, documents=x, offsets=one, starts=(0, 1), pairs=(0,)):
        return maxsim.chamfer(queries, one, documents, offsets, np.array(starts), np.array(pairs))

    for error, call in [
        (ShapeError, lambda: maxsim.encoding(normals.astype(float), bars)),
        (ShapeError, lambda: maxsim.encoding(np.ones((1, 21, 3), np.float32), np.zeros((1, 21), np.float32))),
        (ShapeError, lambda: maxsim.encoding(normals, bars[:1])),
        (ShapeError, lambda: maxsim.encoding(normals, bars, np.ones((2, 4, 2), np.float32))),
        (ShapeError, lambda: maxsim.encoding(normals, bars, None, np.zeros(11, np.int32), 5)),
        (ArgumentError, lambda: maxsim.encoding(normals, bars, None, np.full(12, 5, np.int32), 5)),
        (ArgumentError, lambda: maxsim.encoding(normals, bars, None, np.full(12, -6, np.int32), 5)),
        (ShapeError, lambda: encode(x.astype(float))),
        (ShapeError, lambda: encode(x[:, :2])),
        (ArgumentError, lambda: encode(offsets=np.array([0, 5]))),
        (ArgumentError, lambda: encode(offsets=np.array([0, 4, 4]))),
        (ShapeError, lambda: encode(offsets=none)),
        (ShapeError, lambda: score(queries=x.astype(np.float16))),
        (ShapeError, lambda: score(documents=x[:, :2])),
        (ArgumentError, lambda: score(pairs=(1,))),
        (ArgumentError, lambda: score(pairs=(-1,))),
        (ArgumentError, lambda: score(starts=(0, 2))),
        (ArgumentError, lambda: score(offsets=np.array([0, 3]))),
    ]:
        with pytest.raises(error):
            call()
    assert score(starts=(0, 0), pairs=()).shape == (0,)
