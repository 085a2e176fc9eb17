"""Pruned models in bitmap tiles run in the native decoder, one answer or many at once."""

import numpy as np
import pytest
from tests.engine.tiny_models import LLAMA, dense, random_artifact

from gossamer._core.errors import ArgumentError
from gossamer._kernels import linear, lscd
from gossamer._kernels.dispatch import force_isa, variants
from gossamer.engine.decoder import Decoder
from gossamer.engine.prepare import prepare
from gossamer.linalg import TiledBitmap

rng = np.random.default_rng(0)


@pytest.fixture(params=variants())
def isa(request):
    force_isa(request.param)
    yield request.param
    force_isa("auto")


def pruned(dtype):
    """A model with pruned tiles, and the same model dense."""
    tiled = random_artifact("llama", LLAMA, structure=TiledBitmap(density=0.3, dtype=dtype))
    masked = random_artifact("llama", LLAMA)
    for path, matrix in tiled.matrices.items():
        masked.matrices[path] = dense(matrix.to_dense())
    return tiled, masked


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_logits_are_those_of_the_masked_dense_model(isa, dtype):
    tiled, masked = (Decoder.from_artifact(a, act="fp32", kv="float32", threads=2) for a in pruned(dtype))
    ids = rng.integers(0, 288, 40)
    a, b = (d.new_session().logits(list(map(int, ids))) for d in (tiled, masked))
    assert np.abs(a - b).max() <= 1e-3
    kernels = {row["kernel"] for row in tiled.describe() if row["structure"] == "tiled-bitmap"}
    assert kernels == {f"lscd-{dtype}"}
    assert not any(row["note"] for row in tiled.describe())


@pytest.mark.parametrize("batch", [1, 3, 8, 32])
def test_a_batch_decodes_as_its_members_alone(batch):
    decoder = Decoder.from_artifact(pruned("bfloat16")[0], act="int8", threads=2)
    prompts = [list(map(int, rng.integers(0, 288, 5 + i % 3))) for i in range(batch)]
    together, alone = ([decoder.new_session() for _ in prompts] for _ in range(2))
    for sessions in (together, alone):
        for session, prompt in zip(sessions, prompts, strict=True):
            session.prefill(prompt)
    logits = decoder.decode_batch(together, [7] * batch)
    for row, session in zip(logits, alone, strict=True):
        np.testing.assert_allclose(row, session.decode(7), atol=1e-4)


@pytest.mark.parametrize("shape", [(1, 1), (33, 64), (70, 100), (96, 576)])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_prepared_tiles_multiply_as_the_matrix(isa, dtype, shape):
    matrix = TiledBitmap(density=0.4, dtype=dtype).project(rng.standard_normal(shape))
    W, A = matrix.to_dense().astype(np.float64), prepare(matrix)
    out = np.empty(shape[1], np.float32)
    A.row(shape[0] - 1, out)
    np.testing.assert_array_equal(out, W[-1])
    for tokens in (1, 2, 5, 13, 40):
        x = rng.standard_normal((shape[1], tokens)).astype(np.float32)
        bound = np.abs(W) @ np.abs(x) + 1e-6
        y = linear.matmat(A, x, act="fp32", threads=1)
        assert (np.abs(y - W @ x) <= 2e-6 * bound).all()
        assert (np.abs(linear.matmat(A, x, act="int8", threads=1) - W @ x) <= 8e-3 * bound).all()
        for threads in (2, 3):
            np.testing.assert_array_equal(linear.matmat(A, x, act="fp32", threads=threads), y)


def test_factors_of_another_size_are_refused():
    masks, values, tile_ptr = lscd.pack(np.ones((8, 8), np.float32), np.ones((8, 8), bool), "float32")
    with pytest.raises(ArgumentError):
        lscd.prepare(masks, values, tile_ptr, (100, 100))
