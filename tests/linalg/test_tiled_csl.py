"""Tiled-CSL is the reference's layout, byte for byte."""

import numpy as np
import pytest
import scipy.sparse
import torch
from tests.linalg.csl_reference import pack_tile

from gossamer._kernels.dispatch import force_isa, variants
from gossamer.linalg import StructuredMatrix, TiledCSL

rng = np.random.default_rng(0)


@pytest.fixture(params=variants())
def isa(request):
    force_isa(request.param)
    yield request.param
    force_isa("auto")


def sparse(shape, density):
    return (rng.standard_normal(shape) * (rng.random(shape) < density)).astype(np.float32)


def tile_words(A, tile):
    return A.words[4 * A.tile_offsets[tile] : 4 * A.tile_offsets[tile + 1]]


def test_a_matrix_made_by_hand():
    W = np.zeros((256, 64), np.float32)
    W[9, 3], W[0, 0], W[127, 63], W[128, 1], W[200, 40] = 1.0, 2.0, -0.5, 3.0, 0.25
    A = TiledCSL.from_dense(W, reorder=False)
    half = {value: int(np.float16(value).view(np.uint16)) for value in (1.0, 2.0, -0.5, 3.0, 0.25)}
    np.testing.assert_array_equal(A.tile_offsets, [0, 1, 2, 2])
    assert list(tile_words(A, 0)[:3]) == [
        half[2.0],
        half[1.0] | 587 << 16,
        half[-0.5] | (127 * 64 + (63 ^ 56)) << 16,
    ]
    assert list(tile_words(A, 1)[:2]) == [half[3.0] | 1 << 16, half[0.25] | (72 * 64 + 40) << 16]
    assert A.words.dtype == np.uint32
    assert A.tile_offsets.dtype == np.int32


@pytest.mark.parametrize("reorder", [True, False])
@pytest.mark.parametrize("shape", [(1, 1), (128, 64), (300, 517)])
@pytest.mark.parametrize("density", [0, 0.2, 0.9, 1])
def test_to_dense_is_the_matrix_in_float16(shape, density, reorder):
    W = sparse(shape, density)
    A = TiledCSL.from_dense(W, reorder=reorder)
    np.testing.assert_array_equal(A.to_dense(), W.astype(np.float16))
    tiles = [W[i : i + 128, j : j + 64] for i in range(0, shape[0], 128) for j in range(0, shape[1], 64)]
    assert len(A.words) == sum(-(-np.count_nonzero(tile.astype(np.float16)) // 4) * 4 for tile in tiles)
    assert A.tile_offsets[-1] == A.tile_offsets[-2] == len(A.words) // 4
    x = rng.standard_normal((shape[1], 3)).astype(np.float32)
    np.testing.assert_allclose(A @ x, W.astype(np.float16).astype(np.float64) @ x, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("density", [0.1, 0.2, 0.3, 0.5])
def test_reordering_permutes_the_words_and_avoids_bank_conflicts(density):
    W = sparse((256, 128), density)
    raw, ordered = TiledCSL.from_dense(W, reorder=False), TiledCSL.from_dense(W)
    for tile in range(4):
        a, b = tile_words(raw, tile), tile_words(ordered, tile)
        assert sorted(a[a & 0xFFFF != 0]) == sorted(b[b & 0xFFFF != 0])
        places = b >> 16
        padding = places[b & 0xFFFF == 0]
        assert not set(padding) & set(places[b & 0xFFFF != 0])
    assert ordered.bank_conflicts() <= raw.bank_conflicts()
    if density == 0.2:
        assert ordered.bank_conflicts() <= 0.02 * len(ordered.words)


@pytest.mark.parametrize("reorder", [True, False])
@pytest.mark.parametrize("density", [0, 0.002, 0.3, 0.97, 0.9999, 1])
def test_words_are_those_of_the_method_step_by_step(density, reorder):
    W = sparse((256, 128), density)
    W[3, 5] = np.nan
    A, half = TiledCSL.from_dense(W, reorder=reorder), W.astype(np.float16)
    for tile in range(4):
        part = half[tile // 2 * 128 :, tile % 2 * 64 :][:128, :64]
        np.testing.assert_array_equal(tile_words(A, tile), pack_tile(part, reorder))


@pytest.mark.parametrize("n", [1, 3, 8, 20])
def test_scattering_multiplies_on_every_path_with_any_threads(isa, n):
    W, x = sparse((300, 517), 0.3), rng.standard_normal((517, n)).astype(np.float32)
    A = TiledCSL.from_dense(W)
    y = A.scatter_multiply(x, threads=1)
    np.testing.assert_allclose(y, W.astype(np.float16).astype(np.float64) @ x, rtol=1e-4, atol=1e-4)
    for threads in (2, 3):
        np.testing.assert_array_equal(A.scatter_multiply(x, threads=threads), y)
    tensor = A.scatter_multiply(torch.from_numpy(x[:, 0]))
    assert tensor.shape == (300,)
    np.testing.assert_allclose(tensor, y[:, 0], rtol=1e-4, atol=1e-4)
    assert A.scatter_multiply(x[:, :0]).shape == (300, 0)


def test_conflicts_are_counted_by_definition():
    W = np.zeros((128, 64), np.float32)
    W[:32, 0] = 1  # locations 64 r + (r mod 8) * 8: eight columns, so banks 0, 4, ... four times each
    A = TiledCSL.from_dense(W, reorder=False)
    bank = (A.words >> 16) % 64 // 2
    expected = sum(np.bincount(bank[v::4]).max() - 1 for v in range(4))
    assert A.bank_conflicts() == expected > 0
    for shape in ((256, 128), (300, 100)):
        A = TiledCSL.from_dense(sparse(shape, 0.3), reorder=False)
        rounds = [
            tile_words(A, t)[first : first + 128] >> 16
            for t in range(len(A.tile_offsets) - 2)
            for first in range(0, len(tile_words(A, t)), 128)
        ]
        loads = [np.bincount(part[v::4] % 64 // 2).max() - 1 for part in rounds for v in range(4)]
        assert A.bank_conflicts() == sum(loads)
    assert TiledCSL.from_dense(np.zeros((3, 3))).bank_conflicts() == 0


def test_files_and_scipy(tmp_path):
    W = sparse((130, 70), 0.3)
    A = TiledCSL.from_scipy(scipy.sparse.csr_array(W))
    A.save(tmp_path / "a.safetensors")
    B = StructuredMatrix.load(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(B.words, A.words)
    np.testing.assert_array_equal(B.to_dense(), W.astype(np.float16))


def test_bad_input():
    A = TiledCSL.from_dense(sparse((100, 60), 0.3))
    words, offsets = A.words, A.tile_offsets
    outside = words.copy()
    outside[0] = 1 | (127 * 64) << 16
    for change, message in [
        ((words[:-1], offsets), "number of vectors"),
        ((words, offsets[:-1]), "tile_offsets"),
        ((outside, offsets), "outside of the matrix"),
        ((words | 0x80000000, offsets), "a location is"),
        ((np.r_[words[:1], words[:1], words[2:]], offsets), "twice"),
    ]:
        with pytest.raises(ValueError, match=message):
            type(A)(A.structure, A.shape, dict(zip(A.factor_names, change)))
    with pytest.raises(ValueError, match="1 entries beyond the range of float16"):
        TiledCSL.from_dense(np.array([[1e5, 1.0]]))
    with pytest.raises(ValueError, match="2-D"):
        TiledCSL.from_dense(np.ones(4))
    with pytest.raises(ValueError, match=r"\(100, 60\).*\(61, 2\)"):
        A.scatter_multiply(np.ones((61, 2)))
