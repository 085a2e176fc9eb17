"""What native code could not walk safely is refused before it gets there, by name."""

import re

import numpy as np
import pytest
from tests.kernels.kernel_cases import random_groups

from gossamer._core.errors import ArgumentError, GossamerError, ShapeError
from gossamer._kernels import block, csr, gqs, lowrank, lscd, nm, quant

RNG = np.random.default_rng(0)
PACKED, SCALE, ZERO = random_groups(RNG, (3, 2), 4, 16, "int")
X = np.ones((32, 1), np.float32)


def bad_scale(value):
    scale = SCALE.copy()
    scale[1, 1] = value
    return scale


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bits": 5}, "bits=5"),
        ({"group": -1}, "group=-1"),
        ({"group": 8}, "qweight is uint8 of shape (3, 2, 8): expected uint8 of shape (3, 4, 4)"),
        ({"shape": (3, 48)}, "expected uint8 of shape (3, 3, 8)"),
        ({"qweight": PACKED.astype(np.int8)}, "qweight is int8"),
        ({"scale": SCALE.astype(np.float32)}, "scale is float32"),
        ({"scale": bad_scale(np.inf)}, "scale has 1 NaN or infinite"),
        ({"zero": ZERO[:-1]}, "zero is uint8 of shape (2,): expected uint8 of shape (3,)"),
        ({"zero": ZERO.astype(np.int64)}, "zero is int64"),
        ({"zero": bad_scale(np.nan)}, "zero has 1 NaN or infinite"),
    ],
)
def test_quant_factors(change, message):
    good = {"qweight": PACKED, "scale": SCALE, "zero": ZERO, "shape": (3, 32), "bits": 4, "group": 16}
    quant.check(**good)
    with pytest.raises(GossamerError, match=re.escape(message)):
        quant.check(**{**good, **change})


def test_quant_operands():
    with pytest.raises(ArgumentError, match="act='fp16'"):
        quant.matmat(PACKED, SCALE, ZERO, X, bits=4, group=16, act="fp16")
    with pytest.raises(ShapeError, match="x has 48 rows: expected 2 groups of 16"):
        quant.matmat(PACKED, SCALE, ZERO, np.ones((48, 1), np.float32), bits=4, group=16)
    with pytest.raises(ShapeError, match=r"x has shape \(32,\)"):
        quant.matmat(PACKED, SCALE, ZERO, X[:, 0], bits=4, group=16)
    with pytest.raises(ArgumentError, match="threads=0"):
        quant.matmat(PACKED, SCALE, ZERO, X, bits=4, group=16, threads=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"row_ptr": np.array([0, 1, 2], np.int32)},
            "row_ptr must rise from 0 to the number of stored items, 3",
        ),
        ({"row_ptr": np.array([0, 4, 3], np.int32)}, "row_ptr must rise"),
        ({"row_ptr": np.array([-1, 2, 3], np.int32)}, "row_ptr must rise"),
        ({"row_ptr": np.array([0, 2, 3])}, "row_ptr is int64"),
        ({"col": np.array([0, 5, 1], np.uint16)}, "col spans 0..5: expected 0..3"),
        ({"col": np.array([1, 1, 0], np.uint16)}, "col does not ascend within a row, first at stored item 1"),
        ({"col": np.array([0, 1, 2], np.int32)}, "col is int32"),
        ({"shape": (2, 16 * 70_000)}, "has 70000 groups of 16: expected at most 65536"),
    ],
)
def test_gqs_factors(change, message):
    packed, scale, zero = random_groups(RNG, (3,), 4, 16, "int")
    good = {
        "row_ptr": np.array([0, 2, 3], np.int32), "col": np.array([1, 3, 0], np.uint16), "qweight": packed,
        "scale": scale, "zero": zero, "shape": (2, 64), "bits": 4, "group": 16,
    }  # fmt: skip
    gqs.check(**good)
    with pytest.raises(GossamerError, match=re.escape(message)):
        gqs.check(**{**good, **change})
    with pytest.raises(ArgumentError, match="schedule='rows'"):
        gqs.matmat(*list(good.values())[:5], np.ones((64, 1)), bits=4, group=16, schedule="rows")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": 5}, "n=5"),
        ({"m": 300}, "m=300"),
        ({"values": np.zeros((1, 3))}, "values is float64 of shape (1, 3): expected float64 of shape (1, 4)"),
        ({"values": np.zeros((1, 4), np.float16)}, "values are float16"),
        ({"positions": np.array([[0b00_01_10_01]], np.uint8)}, "positions do not ascend"),
        ({"positions": np.zeros((1, 2), np.uint8)}, "positions is uint8 of shape (1, 2)"),
        ({"m": 3, "shape": (1, 5), "positions": np.array([[0b11_00_10_01]], np.uint8)}, "positions reach 3"),
    ],
)
def test_nm_factors(change, message):
    good = {
        "values": np.zeros((1, 4)), "positions": np.array([[0b11_00_10_01]], np.uint8), "shape": (1, 7), "n": 2,
        "m": 4,
    }  # fmt: skip
    nm.check(**good)
    with pytest.raises(GossamerError, match=re.escape(message)):
        nm.check(**{**good, **change})
    with pytest.raises(ShapeError, match=r"x has 9 rows: expected 5\.\.8"):
        nm.matmat(good["values"], good["positions"], np.ones((9, 1)), 2, 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"blocks": np.zeros((2, 3))}, "blocks has shape (2, 3)"),
        ({"blocks": np.zeros((2, 2, 0))}, "blocks has shape (2, 2, 0)"),
        ({"blocks": np.zeros((2, 2, 3), int)}, "blocks are int64"),
        ({"indices": np.array([0, 2], np.int32)}, "indices spans 0..2: expected 0..1"),
        ({"indices": np.array([-1, 0], np.int32)}, "indices spans -1..0"),
        ({"indices": np.array([1, 0], np.int32)}, "indices does not ascend"),
        (
            {"indptr": np.array([0, 2], np.int32)},
            "indptr is int32 of shape (2,): expected int32 of shape (3,)",
        ),
    ],
)
def test_block_factors(change, message):
    good = {
        "indptr": np.array([0, 2, 2], np.int32), "indices": np.array([0, 1], np.int32),
        "blocks": np.zeros((2, 2, 3)), "shape": (4, 6),
    }  # fmt: skip
    block.check(**good)
    with pytest.raises(GossamerError, match=re.escape(message)):
        block.check(**{**good, **change})
    with pytest.raises(ShapeError, match="x has 5 rows: expected a multiple of the block width 3"):
        block.matmat(good["indptr"], good["indices"], good["blocks"], np.ones((5, 1)))


def test_csr_factors():
    indptr, indices, data = np.array([0, 1, 2]), np.array([0, 3]), np.ones(2)
    csr.check(indptr, indices, data, (2, 4))
    with pytest.raises(ArgumentError, match=r"column indices span 0\.\.3: expected 0\.\.2"):
        csr.check(indptr, indices, data, (2, 3))
    with pytest.raises(ArgumentError, match="int64 and int32"):
        csr.check(indptr, indices.astype(np.int32), data, (2, 4))
    with pytest.raises(ArgumentError, match="indptr must rise"):
        csr.check(np.array([0, 2, 1]), indices, data, (2, 4))


def test_low_rank_factors():
    with pytest.raises(ShapeError, match=r"left \(3, 2\) and right \(1, 4\) do not fit"):
        lowrank.check(np.ones((3, 2)), np.ones((1, 4)), (3, 4))
    with pytest.raises(ShapeError, match="make 3x4: expected 3x5"):
        lowrank.check(np.ones((3, 2)), np.ones((2, 4)), (3, 5))
    with pytest.raises(ArgumentError, match="left is float32, right is float64"):
        lowrank.check(np.ones((3, 2), np.float32), np.ones((2, 4)), (3, 4))


LSCD = lscd.pack(np.ones((17, 70), np.float32), RNG.random((17, 70)) < 0.5, "float32")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({0: LSCD[0][:-1]}, "masks is uint16 of shape (3, 64): expected uint16 of shape (4, 64)"),
        ({0: np.full((4, 64), 0xFFFF, np.uint16)}, "tile_ptr does not count the bits"),
        ({1: LSCD[1][:-1]}, "tile_ptr must rise from 0 to the number of stored items"),
        ({1: LSCD[1].astype(np.float64)}, "values is float64"),
        ({2: LSCD[2][::-1].copy()}, "tile_ptr must rise"),
        ({2: LSCD[2].astype(np.int32)}, "tile_ptr is int32"),
    ],
)
def test_lscd_factors(change, message):
    lscd.check(*LSCD, (17, 70), "float32")
    with pytest.raises(GossamerError, match=re.escape(message)):
        lscd.check(*(change.get(i, part) for i, part in enumerate(LSCD)), (17, 70), "float32")


def test_lscd_bits_beyond_the_matrix_and_operands():
    full = lscd.pack(np.ones((32, 128), np.float32), np.ones((32, 128), bool), "float32")
    with pytest.raises(ArgumentError, match=re.escape("outside of the matrix of shape (17, 70)")):
        lscd.check(*full, (17, 70), "float32")
    with pytest.raises(ShapeError, match="has another width"):
        lscd.matmat(*LSCD, np.ones((300, 1), np.float32), 17)
    with pytest.raises(ArgumentError, match="raw bfloat16"):
        lscd.matmat(*LSCD, np.ones((70, 1), np.uint16), 17)
    with pytest.raises(ArgumentError, match="split=-1"):
        lscd.matmat(*LSCD, np.ones((70, 1), np.float32), 17, split=-1)
