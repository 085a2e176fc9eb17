"""Packed integers lie exactly where the format says, and come back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._kernels.packing import (
    BITS,
    group_bytes,
    pack_codes,
    pack_positions,
    pack_zeros,
    unpack_codes,
    unpack_positions,
    unpack_zeros,
)


def code_in_bytes(packed, bits, group, index):
    """The format's definition, one code at a time."""
    padded = -(-group // 8) * 8
    if bits == 8:
        return int(packed[index])
    if bits == 4:
        half = padded // 2
        return int(packed[index % half]) >> (4 * (index // half)) & 15
    quarter = padded // 4
    low = int(packed[index % quarter]) >> (2 * (index // quarter)) & 3
    if bits == 2:
        return low
    eighth = padded // 8
    return low | (int(packed[quarter + index % eighth]) >> (index // eighth) & 1) << 2


@pytest.mark.parametrize("bits", BITS)
@given(group=st.integers(1, 70), rows=st.integers(0, 3), seed=st.integers(0, 2**32 - 1))
def test_codes_lie_where_the_format_says(bits, group, rows, seed):
    codes = np.random.default_rng(seed).integers(0, 1 << bits, (rows, 2, group)).astype(np.uint8)
    packed = pack_codes(codes, bits)
    assert packed.shape == (rows, 2, group_bytes(bits, group))
    assert packed.dtype == np.uint8
    np.testing.assert_array_equal(unpack_codes(packed, bits, group), codes)
    for row in range(rows):
        assert [code_in_bytes(packed[row, 1], bits, group, i) for i in range(group)] == list(codes[row, 1])


@pytest.mark.parametrize("bits", BITS)
def test_padding_holds_the_fill_code(bits):
    codes = np.zeros((2, 5), np.uint8)
    packed = pack_codes(codes, bits, fill=np.array([[1], [3]]))
    np.testing.assert_array_equal(unpack_codes(packed, bits, 8)[:, 5:], [[1, 1, 1], [3, 3, 3]])


@pytest.mark.parametrize("bits", BITS)
@given(count=st.integers(0, 33), seed=st.integers(0, 2**32 - 1))
def test_zeros_are_nibbles_in_flat_order(bits, count, seed):
    zeros = np.random.default_rng(seed).integers(0, 16, count).astype(np.uint8)
    packed = pack_zeros(zeros, bits)
    np.testing.assert_array_equal(unpack_zeros(packed, bits, count), zeros)
    if bits <= 4:
        assert all(packed[i // 2] >> 4 * (i % 2) & 15 == zeros[i] for i in range(count))


@given(
    m=st.sampled_from([1, 2, 4, 5, 8, 16, 17, 256]), count=st.integers(0, 30), seed=st.integers(0, 2**32 - 1)
)
def test_positions_come_back(m, count, seed):
    positions = np.random.default_rng(seed).integers(0, m, (3, count))
    np.testing.assert_array_equal(unpack_positions(pack_positions(positions, m), m, count), positions)


def test_four_two_bit_positions_fill_one_byte_from_below():
    np.testing.assert_array_equal(pack_positions([[1, 2, 3, 0, 2]], 4), [[1 | 2 << 2 | 3 << 4, 2]])


def test_values_that_do_not_fit_are_refused():
    with pytest.raises(ArgumentError, match=r"codes span 0\.\.8: expected 0\.\.7"):
        pack_codes(np.array([0, 8]), 3)
    with pytest.raises(ArgumentError, match="bits=5"):
        pack_codes(np.array([0]), 5)
    with pytest.raises(ArgumentError, match="positions"):
        pack_positions(np.array([[4]]), 4)
    with pytest.raises(ShapeError, match="expected uint8 with 8 bytes"):
        unpack_codes(np.zeros((2, 7), np.uint8), 4, 16)
    with pytest.raises(ShapeError, match="zeros"):
        unpack_zeros(np.zeros(3, np.uint8), 4, 4)
