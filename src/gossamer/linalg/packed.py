"""Groups of codes as factors of a matrix: ``qweight``, ``scale`` and, unless symmetric, ``zero``."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gossamer._core.arrays import Array, is_torch, to_numpy
from gossamer._kernels.packing import group_bytes, pack_codes, pack_zeros, unpack_codes, unpack_zeros
from gossamer.linalg.nearest.quantizer import Grid


def factor_names(grid: Grid) -> tuple[str, ...]:
    """Names of the factors that hold the groups of a grid."""
    return ("qweight", "scale") if grid.symmetric else ("qweight", "scale", "zero")


def pack_groups(
    grid: Grid, codes: np.ndarray, scale: np.ndarray, zero: np.ndarray | None
) -> dict[str, np.ndarray]:
    """Pack codes (..., G) with their scales and zeros (...) into factors; a short group is padded by its zero."""
    factors = {
        "qweight": pack_codes(codes, grid.bits, fill=grid.of_zero(scale, zero)[..., None]),
        "scale": scale,
    }
    if zero is not None:
        factors["zero"] = pack_zeros(zero, grid.bits) if grid.zero == "int" else zero
    return factors


def unpack_groups(grid: Grid, group: int, factors: Mapping[str, Array]) -> Array:
    """The values (..., G) in float32; for tensors differentiable in ``scale`` and a float ``zero``."""
    codes = unpack_codes(to_numpy(factors["qweight"]), grid.bits, group)
    scale, zero = factors["scale"], factors.get("zero")
    if zero is not None and grid.zero == "int":
        zero = unpack_zeros(to_numpy(zero), grid.bits, codes[..., 0].size).reshape(codes.shape[:-1])
    if not is_torch(scale):
        return grid.decode(codes, scale, zero)
    import torch

    step = scale.float()[..., None]
    steps = torch.from_numpy(codes).float()
    if grid.symmetric:
        return (steps - 2 ** (grid.bits - 1)) * step
    if grid.zero == "int":
        return (steps - torch.from_numpy(zero).float()[..., None]) * step
    assert zero is not None
    return steps * step - zero.float()[..., None]


def storage_bits(grid: Grid, group: int, count: int) -> int:
    """Bits that ``count`` groups of ``group`` codes take with scales and zeros."""
    zero = 0 if grid.symmetric else 16 * count
    if zero and grid.zero == "int":
        zero = 8 * (-(-count // 2) if grid.bits <= 4 else count)
    return count * (8 * group_bytes(grid.bits, group) + 16) + zero
