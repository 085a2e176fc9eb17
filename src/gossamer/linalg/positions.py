"""N:M patterns as positions within groups: from masks, to columns, around values."""

from __future__ import annotations

import numpy as np

from gossamer._core.arrays import Array, is_torch
from gossamer._kernels.packing import unpack_positions


def nm_positions(mask: np.ndarray, n: int, m: int) -> np.ndarray:
    """Positions (O, ceil(K / m), n) of the entries that an N:M mask keeps, ascending within a group.

    Groups that keep fewer than n (the short last one) are filled with the first of the others.
    """
    rows, width = mask.shape
    padded = np.pad(mask, ((0, 0), (0, -width % m))).reshape(rows, -1, m)
    return np.sort(np.argsort(~padded, axis=2, kind="stable")[..., :n], axis=2)


def gather_positions(W: np.ndarray, positions: np.ndarray, m: int) -> np.ndarray:
    """The values (O, groups n) of ``W`` at positions (O, groups, n) of its m-groups, 0 beyond the last column."""
    padded = np.pad(W, ((0, 0), (0, -W.shape[1] % m))) if W.shape[1] % m else W
    values = np.take_along_axis(padded.reshape(len(W), -1, m), positions, axis=2)
    return np.ascontiguousarray(values.reshape(len(W), -1))


def stored_columns(packed: np.ndarray, n: int, m: int, shape: tuple[int, int]) -> np.ndarray:
    """The column (O, groups n) of every stored value of an N:M matrix."""
    kept = -(-shape[1] // m) * n
    start = np.repeat(np.arange(0, shape[1], m), n)
    return unpack_positions(packed, m, kept).astype(np.intp) + start


def scatter_columns(values: Array, columns: np.ndarray, m: int, shape: tuple[int, int]) -> Array:
    """The dense (O, K) matrix with ``values`` (O, kept) at ``columns``."""
    width = -(-shape[1] // m) * m
    if is_torch(values):
        import torch

        dense = values.new_zeros((shape[0], width)).scatter(1, torch.from_numpy(columns), values)
        return dense[:, : shape[1]]
    dense = np.zeros((shape[0], width), values.dtype)
    np.put_along_axis(dense, columns, values, axis=1)
    return np.ascontiguousarray(dense[:, : shape[1]])
