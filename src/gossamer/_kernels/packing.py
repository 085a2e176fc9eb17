"""How small integers lie in bytes: codes of 2, 3, 4 and 8 bits, zero points, N:M positions.

A group of G codes is padded to Gp, the next multiple of 8, and split in equal contiguous parts that share
bytes, so that one ``and`` and one shift give whole runs of neighbours:

====  ======================================================================================================
bits  bytes of a group
====  ======================================================================================================
2     Gp/4 bytes, byte t = q[t] | q[t + Gp/4] << 2 | q[t + 2 Gp/4] << 4 | q[t + 3 Gp/4] << 6
3     the low two bits as above, then Gp/8 bytes of high bits: bit k of byte t belongs to q[t + k Gp/8]
4     Gp/2 bytes, byte t = q[t] | q[t + Gp/2] << 4
8     Gp bytes
====  ======================================================================================================
"""

from __future__ import annotations

import numpy as np

from gossamer._core.checks import check_choice, check_int
from gossamer._core.errors import ArgumentError, ShapeError

BITS = (2, 3, 4, 8)


def padded_group(group: int) -> int:
    """``group`` rounded up to a multiple of 8."""
    return -(-group // 8) * 8


def group_bytes(bits: int, group: int) -> int:
    """Bytes that one group of ``group`` codes takes."""
    return bits * padded_group(group) // 8


def position_bits(m: int) -> int:
    """Bits of one position within a group of ``m``: 2, 4 or 8."""
    check_int("m", m, low=1, high=256)
    return 2 if m <= 4 else 4 if m <= 16 else 8


def pack_codes(codes: np.ndarray, bits: int, fill: int | np.ndarray = 0) -> np.ndarray:
    """Pack the last axis, a group of codes, into bytes.

    Parameters
    ----------
    codes : uint8 array, shape (..., G)
        Values below ``2**bits``.
    bits : {2, 3, 4, 8}
        Width of a code.
    fill : int or array, broadcastable to shape (..., 1)
        Code of the padding up to a multiple of 8: the one nearest to the weight 0. Kernels never use it.

    Returns
    -------
    uint8 array, shape (..., bits * Gp / 8)

    Raises
    ------
    ArgumentError
        If ``bits`` is not offered or a code does not fit it.
    """
    check_choice("bits", bits, BITS)
    codes = _codes("codes", codes, bits)
    group = codes.shape[-1]
    padding = padded_group(group) - group
    if padding:
        tail = np.broadcast_to(_codes("fill", np.asarray(fill), bits), (*codes.shape[:-1], 1))
        codes = np.concatenate([codes, np.repeat(tail, padding, axis=-1)], axis=-1)
    if bits == 8:
        return np.ascontiguousarray(codes)
    if bits == 3:
        return np.concatenate([_interleave(codes & 3, 2), _interleave(codes >> 2, 1)], axis=-1)
    return _interleave(codes, bits)


def unpack_codes(packed: np.ndarray, bits: int, group: int) -> np.ndarray:
    """Undo :func:`pack_codes`: bytes (..., bits * Gp / 8) to uint8 codes (..., G)."""
    check_choice("bits", bits, BITS)
    check_int("group", group, low=1)
    packed = np.asarray(packed)
    if packed.dtype != np.uint8 or packed.shape[-1] != group_bytes(bits, group):
        raise ShapeError(
            f"packed is {packed.dtype} of shape {packed.shape}: expected uint8 with "
            f"{group_bytes(bits, group)} bytes for a group of {group} codes of {bits} bits"
        )
    if bits == 8:
        codes = packed
    elif bits == 3:
        low = padded_group(group) // 4
        codes = _deinterleave(packed[..., :low], 2) | _deinterleave(packed[..., low:], 1) << 2
    else:
        codes = _deinterleave(packed, bits)
    return codes[..., :group]


def pack_zeros(zeros: np.ndarray, bits: int) -> np.ndarray:
    """Pack integer zero points in flat C order: two a byte (the earlier one low) up to 4 bits, else one."""
    check_choice("bits", bits, BITS)
    flat = _codes("zeros", zeros, 4 if bits <= 4 else 8).reshape(-1)
    return _pack_flat(flat, 4) if bits <= 4 else flat.copy()


def unpack_zeros(packed: np.ndarray, bits: int, count: int) -> np.ndarray:
    """Undo :func:`pack_zeros`: the first ``count`` zero points as a flat uint8 array."""
    check_choice("bits", bits, BITS)
    expected = -(-count // 2) if bits <= 4 else count
    if packed.dtype != np.uint8 or packed.shape != (expected,):
        raise ShapeError(
            f"zeros are {packed.dtype} of shape {packed.shape}: expected uint8 of shape ({expected},)"
        )
    return _unpack_flat(packed, 4)[:count] if bits <= 4 else packed


def pack_positions(positions: np.ndarray, m: int) -> np.ndarray:
    """Pack positions (O, n), each below ``m``, in 2, 4 or 8 bits, little-endian along a row."""
    positions = np.asarray(positions)
    bits = position_bits(m)
    if positions.size and (positions.min() < 0 or positions.max() >= m):
        raise ArgumentError(f"positions span {positions.min()}..{positions.max()}: expected 0..{m - 1}")
    return _pack_flat(positions.astype(np.uint8), bits)


def unpack_positions(packed: np.ndarray, m: int, count: int) -> np.ndarray:
    """Undo :func:`pack_positions`: bytes (O, b) to the first ``count`` positions of each row, uint8."""
    bits = position_bits(m)
    expected = -(-count * bits // 8)
    if packed.dtype != np.uint8 or packed.ndim != 2 or packed.shape[1] != expected:
        raise ShapeError(
            f"positions are {packed.dtype} of shape {packed.shape}: expected uint8 of shape (O, {expected}) "
            f"for {count} positions of {bits} bits a row"
        )
    return _unpack_flat(packed, bits)[:, :count]


def _codes(name: str, codes: np.ndarray, bits: int) -> np.ndarray:
    codes = np.asarray(codes)
    if codes.size and (codes.min() < 0 or codes.max() >= 1 << bits):
        raise ArgumentError(f"{name} span {codes.min()}..{codes.max()}: expected 0..{(1 << bits) - 1}")
    return codes.astype(np.uint8, copy=False)


def _interleave(codes: np.ndarray, bits: int) -> np.ndarray:
    """Byte t holds the t-th code of each of ``8 / bits`` equal parts."""
    parts = 8 // bits
    split = codes.reshape(*codes.shape[:-1], parts, codes.shape[-1] // parts)
    packed = split[..., 0, :].copy()
    for part in range(1, parts):
        packed |= split[..., part, :] << (part * bits)
    return packed


def _deinterleave(packed: np.ndarray, bits: int) -> np.ndarray:
    shifts = np.arange(0, 8, bits, dtype=np.uint8)[:, None]
    split = (packed[..., None, :] >> shifts) & np.uint8((1 << bits) - 1)
    return split.reshape(*packed.shape[:-1], packed.shape[-1] * (8 // bits))


def _pack_flat(values: np.ndarray, bits: int) -> np.ndarray:
    """Neighbours share a byte, the earlier in the lower bits."""
    parts = 8 // bits
    padding = -values.shape[-1] % parts
    if padding:
        values = np.concatenate([values, np.zeros((*values.shape[:-1], padding), np.uint8)], axis=-1)
    split = values.reshape(*values.shape[:-1], values.shape[-1] // parts, parts)
    packed = split[..., 0].copy()
    for part in range(1, parts):
        packed |= split[..., part] << (part * bits)
    return packed


def _unpack_flat(packed: np.ndarray, bits: int) -> np.ndarray:
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    split = (packed[..., None] >> shifts) & np.uint8((1 << bits) - 1)
    return split.reshape(*packed.shape[:-1], packed.shape[-1] * len(shifts))
