"""The families in NumPy, with the signatures of the compiled module."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from gossamer._kernels.packing import unpack_codes, unpack_positions, unpack_zeros


def group_values(qweight, scale, zero, bits, group):
    """The weights (..., G) of each group in float64."""
    codes = unpack_codes(qweight, bits, group).astype(np.float64)
    scale = scale.astype(np.float64)[..., None]
    if zero is None:
        return (codes - 2 ** (bits - 1)) * scale
    if zero.dtype == np.float16:
        return codes * scale - zero.astype(np.float64)[..., None]
    z = unpack_zeros(zero, bits, scale.size).reshape(scale.shape)
    return (codes - z) * scale


def quant_dense(qweight, scale, zero, bits, group, cols):
    return group_values(qweight, scale, zero, bits, group).reshape(len(qweight), -1)[:, :cols]


def gqs_dense(row_ptr, col, qweight, scale, zero, bits, group, cols):
    values = group_values(qweight, scale, zero, bits, group)
    rows = np.repeat(np.arange(len(row_ptr) - 1), np.diff(row_ptr))
    dense = np.zeros((len(row_ptr) - 1, -(-cols // group), group))
    dense[rows, col] = values
    return dense.reshape(len(dense), -1)[:, :cols]


def rounded(x):
    """Each column in blocks of 32, rounded to int8 and back."""
    padded = np.concatenate([x, np.zeros((-len(x) % 32, x.shape[1]), np.float32)]).reshape(-1, 32, x.shape[1])
    top = np.abs(padded).max(axis=1, keepdims=True)
    scale = top / np.float32(127)
    inverse = np.divide(np.float32(127), top, out=np.zeros_like(top), where=top > 0)
    return (np.rint(padded * inverse).astype(np.float64) * scale).reshape(-1, x.shape[1])[: len(x)]


def _quant(qweight, scale, zero, x, y, bits, group, int8, threads):
    if y.size:
        y[:] = quant_dense(qweight, scale, zero, bits, group, len(x)) @ (rounded(x) if int8 else x)


def _gqs(row_ptr, col, qweight, scale, zero, x, y, bits, group, int8, task, threads):
    if y.size:
        y[:] = gqs_dense(row_ptr, col, qweight, scale, zero, bits, group, len(x)) @ (
            rounded(x) if int8 else x
        )


def _nm(values, positions, x, y, n, m, threads):
    kept = values.shape[1]
    dense = np.zeros((len(values), kept // n, m), values.dtype)
    where = unpack_positions(positions, m, kept).reshape(len(values), kept // n, n)
    np.put_along_axis(dense, where.astype(np.intp), values.reshape(where.shape), axis=-1)
    y[:] = dense.reshape(len(values), -1) @ x


def _block(indptr, indices, blocks, x, y, threads):
    _, r, c = blocks.shape
    y[:] = 0
    for row in range(len(indptr) - 1):
        for at in range(indptr[row], indptr[row + 1]):
            y[row * r : row * r + r] += blocks[at] @ x[indices[at] * c : indices[at] * c + c]


def _lowrank(y, left, right, x, threads):
    y += left @ (right @ x)


quant = SimpleNamespace(matmat=_quant)
gqs = SimpleNamespace(matmat=_gqs)
nm = SimpleNamespace(matmat=_nm)
block = SimpleNamespace(matmat=_block)
lowrank = SimpleNamespace(add=_lowrank)
