"""Small instances for every row of the table of kernels, each with its product by definition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gossamer._core.arrays import to_bits, widen
from gossamer._kernels import block, csr, gqs, lowrank, lscd, monarch, nm, quant
from gossamer._kernels.packing import (
    pack_codes,
    pack_positions,
    pack_zeros,
    padded_group,
    unpack_codes,
    unpack_zeros,
)

GROUPS = (1, 3, 8, 16, 20, 32, 48, 64, 96, 128, 256, 0)
ZEROS = ("none", "int", "float")


@dataclass
class Case:
    """A matrix as a function ``product(x, threads)`` and as a dense float64 array."""

    product: Callable[..., np.ndarray]
    dense: np.ndarray
    dtype: type
    label: str = ""


def random_groups(rng, shape, bits, group, zero, scale=None):
    """Codes, scales and zeros of ``shape`` groups, and the weights (..., group) in float64."""
    codes = rng.integers(0, 1 << bits, (*shape, group)).astype(np.uint8)
    if scale is None:
        scale = rng.uniform(0.01, 1, shape)
    scale = np.broadcast_to(np.asarray(scale, np.float16), shape).copy()
    if zero == "int":
        zeros = pack_zeros(rng.integers(0, 1 << bits, int(np.prod(shape))), bits)
    elif zero == "float":
        zeros = (scale * rng.uniform(0, (1 << bits) - 1, shape)).astype(np.float16)
    else:
        zeros = None
    packed = pack_codes(codes, bits, fill=rng.integers(0, 1 << bits) if padded_group(group) > group else 0)
    return packed, scale, zeros


def group_weights(packed, scale, zero, bits, group):
    """The definition: ``(q - z) scale`` of each group, (..., group) in float64."""
    codes = unpack_codes(packed, bits, group).astype(np.float64)
    scale = scale.astype(np.float64)[..., None]
    if zero is None:
        return (codes - 2 ** (bits - 1)) * scale
    if zero.dtype == np.float16:
        return codes * scale - zero.astype(np.float64)[..., None]
    return (codes - unpack_zeros(zero, bits, scale.size).reshape(scale.shape)) * scale


def random_row_ptr(rng, rows, count, density):
    """Kept positions of ``count`` in each of ``rows`` rows: pointers and ascending columns; some rows are empty."""
    mask = rng.random((rows, count)) < density * rng.choice([0, 0.5, 1, 1.5], (rows, 1))
    return np.r_[0, np.cumsum(mask.sum(axis=1))], np.nonzero(mask)[1]


def quant_case(rng, rows, cols, bits, group, zero, entry, scale=None):
    size = group or cols
    count = -(-cols // size)
    packed, scale, zeros = random_groups(rng, (rows, count), bits, size, zero, scale)
    quant.check(packed, scale, zeros, (rows, cols), bits=bits, group=group)
    dense = group_weights(packed, scale, zeros, bits, size).reshape(rows, count * size)[:, :cols]
    act = "int8" if entry == "int8" else "fp32"

    def product(x, threads=1, low_rank=None):
        return quant.matmat(
            packed, scale, zeros, x, bits=bits, group=group, act=act, low_rank=lowrank.native(low_rank),
            threads=threads,
        )  # fmt: skip

    label = f"quant {rows}x{cols} W{bits} G{group} zero={zero} {entry}"
    return Case(product, dense, np.float64 if entry == "float64" else np.float32, label)


def gqs_case(rng, rows, cols, bits, group, zero, entry, scale=None, density=0.5, schedule="task"):
    size = group or cols
    count = -(-cols // size)
    row_ptr, col = random_row_ptr(rng, rows, count, density)
    row_ptr, col = row_ptr.astype(np.int32), col.astype(np.uint16)
    packed, scale, zeros = random_groups(rng, (len(col),), bits, size, zero, scale)
    gqs.check(row_ptr, col, packed, scale, zeros, (rows, cols), bits=bits, group=group)
    dense = np.zeros((rows, count, size))
    dense[np.repeat(np.arange(rows), np.diff(row_ptr)), col] = group_weights(packed, scale, zeros, bits, size)
    act = "int8" if entry == "int8" else "fp32"

    def product(x, threads=1, schedule=schedule, low_rank=None):
        return gqs.matmat(
            row_ptr, col, packed, scale, zeros, x, bits=bits, group=group, act=act, schedule=schedule,
            low_rank=lowrank.native(low_rank), threads=threads,
        )  # fmt: skip

    dtype = np.float64 if entry == "float64" else np.float32
    label = f"gqs {rows}x{cols} W{bits} G{group} zero={zero} {entry} {schedule}"
    return Case(product, dense.reshape(rows, count * size)[:, :cols], dtype, label)


def nm_case(rng, rows, cols, n, m, entry):
    groups = -(-cols // m)
    positions = np.sort(rng.random((rows, groups, m)).argsort(axis=-1)[..., :n], axis=-1)
    values = rng.standard_normal((rows, groups, n)).astype(entry)
    values[np.arange(groups)[:, None] * m + positions >= cols] = 0
    dense = np.zeros((rows, groups, m))
    np.put_along_axis(dense, positions, values.astype(np.float64), axis=-1)
    values, positions = (a.reshape(rows, groups * n) for a in (values, positions))
    packed = pack_positions(positions, m)
    nm.check(values, packed, (rows, cols), n=n, m=m)

    def product(x, threads=1):
        return nm.matmat(values, packed, x, n, m, threads=threads)

    return Case(
        product, dense.reshape(rows, groups * m)[:, :cols], values.dtype, f"nm {rows}x{cols} {n}:{m} {entry}"
    )


def block_case(rng, block_rows, block_cols, shape, entry, density=0.5):
    r, c = shape
    indptr, indices = random_row_ptr(rng, block_rows, block_cols, density)
    indptr, indices = indptr.astype(np.int32), indices.astype(np.int32)
    blocks = rng.standard_normal((len(indices), r, c)).astype(entry)
    block.check(indptr, indices, blocks, (block_rows * r, block_cols * c))
    dense = np.zeros((block_rows, block_cols, r, c))
    dense[np.repeat(np.arange(block_rows), np.diff(indptr)), indices] = blocks
    dense = dense.transpose(0, 2, 1, 3).reshape(block_rows * r, block_cols * c)

    def product(x, threads=1):
        return block.matmat(indptr, indices, blocks, x, threads=threads)

    return Case(product, dense, blocks.dtype, f"block {block_rows}x{block_cols} of {r}x{c} {entry}")


def csr_case(rng, rows, cols, entry, density=0.4):
    value, index = entry.split("_")
    indptr, indices = (a.astype(index) for a in random_row_ptr(rng, rows, cols, density))
    data = rng.standard_normal(len(indices)).astype(value)
    csr.check(indptr, indices, data, (rows, cols))
    dense = np.zeros((rows, cols))
    dense[np.repeat(np.arange(rows), np.diff(indptr)), indices] = data

    def product(x, threads=1):
        return csr.matmat(indptr, indices, data, x, threads=threads)

    return Case(product, dense, data.dtype, f"csr {rows}x{cols} {entry}")


def lowrank_case(rng, rows, cols, rank, entry):
    left, right = (rng.standard_normal(shape).astype(entry) for shape in ((rows, rank), (rank, cols)))
    lowrank.check(left, right, (rows, cols))

    def product(x, threads=1):
        y = np.zeros((rows, x.shape[1]), entry)
        return lowrank.add(y, left, right, x, threads=threads)

    return Case(
        product, left.astype(np.float64) @ right, left.dtype, f"lowrank {rows}x{cols} r{rank} {entry}"
    )


def random_factors(rng, rows, cols, rank, storage):
    """A low-rank term in one of the storages: its factors, and the product in float64."""
    if storage.startswith("int"):
        bits, group = int(storage[3:]), int(rng.choice([8, 16, 20, 64, 0]))
        factors, wide = [], []
        for shape in ((rows, rank), (rank, cols)):
            size = group or shape[1]
            count = -(-shape[1] // size)
            packed, scale, zeros = random_groups(rng, (shape[0], count), bits, size, str(rng.choice(ZEROS)))
            factors.append(lowrank.Codes(packed, scale, zeros, bits, group, shape[1]))
            dense = group_weights(packed, scale, zeros, bits, size).reshape(shape[0], count * size)
            wide.append(dense[:, : shape[1]])
    else:
        floats = [rng.standard_normal(shape).astype(np.float32) for shape in ((rows, rank), (rank, cols))]
        if storage == "bfloat16":
            factors = [to_bits(f) for f in floats]
            floats = [widen(f) for f in factors]
        else:
            factors = floats = [f.astype(storage) for f in floats]
        wide = [f.astype(np.float64) for f in floats]
    lowrank.check(*factors, (rows, cols))
    return tuple(factors), wide[0] @ wide[1]


def lscd_case(rng, rows, cols, entry, density=0.4, split=0):
    weight = rng.standard_normal((rows, cols)).astype(np.float32)
    stored = to_bits(weight) if entry == "bfloat16" else weight.astype(entry)
    mask = rng.random((rows, cols)) < density * rng.choice([0, 0.5, 1, 1.5], (rows, 1))
    factors = lscd.pack(stored, mask, entry)
    lscd.check(*factors, (rows, cols), entry)

    def product(x, threads=1):
        return lscd.matmat(*factors, x, rows, split=split, threads=threads)

    dense = np.where(mask, widen(stored), 0).astype(np.float64)
    return Case(product, dense, np.float32, f"lscd {rows}x{cols} {entry} split {split}")


def monarch_case(rng, sizes, shape, entry):
    (k, q, p, l, s, r), chain = sizes, monarch.monarch(sizes, shape)
    w1, w2 = rng.standard_normal((k, q, p)).astype(entry), rng.standard_normal((l, s, r)).astype(entry)
    spread = np.zeros((k, q, k, p))
    spread[np.arange(k), :, np.arange(k)] = w1
    dense = (w2 @ spread.reshape(r, l, k * p).swapaxes(0, 1)).swapaxes(0, 1).reshape(l * s, k * p)

    def product(x, threads=1):
        return monarch.multiply(chain, (w1, w2), x, threads=threads)

    return Case(product, dense[: shape[0], : shape[1]], w1.dtype, f"monarch {sizes} {shape} {entry}")


def random_case(family: str, entry: str, rng: np.random.Generator, largest: int = 300) -> Case:
    """A random instance of a row of the table, odd sizes and all."""
    rows = int(rng.integers(0, 20))
    cols = int(rng.choice([rng.integers(1, 40), rng.integers(1, largest)]))
    bits, group, zero = int(rng.choice([2, 3, 4, 8])), int(rng.choice(GROUPS)), str(rng.choice(ZEROS))
    if family == "quant":
        return quant_case(rng, rows, cols, bits, group, zero, entry)
    if family == "gqs":
        schedule = str(rng.choice(gqs.SCHEDULES))
        return gqs_case(rng, rows, cols, bits, group, zero, entry, density=rng.random(), schedule=schedule)
    if family == "nm":
        m = int(rng.choice([1, 2, 4, 4, 5, 8, 16, 17, 33]))
        n = 2 if m == 4 else int(rng.integers(1, m + 1))
        return nm_case(rng, rows, cols, n, m, entry)
    if family == "block":
        shape = ((1, 1), (1, 16), (4, 4), (3, 5), (16, 1), (2, 33), (6, 8))[rng.integers(7)]
        return block_case(rng, rows, int(rng.integers(1, 12)), shape, entry)
    if family == "csr":
        return csr_case(rng, rows, cols, entry, density=rng.random())
    if family == "lscd":
        return lscd_case(rng, rows + 1, cols, entry, rng.random(), int(rng.integers(0, 4)))
    if family == "lowrank":
        return lowrank_case(rng, rows, cols, int(rng.integers(0, 9)), entry)
    if family == "monarch":
        k, l, c = (int(n) for n in rng.integers(1, 4, 3))
        p, s = cols // k + 1, rows // l + 1
        return monarch_case(rng, (k, l * c, p, l, s, k * c), (rows + 1, cols), entry)
    raise AssertionError(f"the table has a family without cases: {family}")


def random_x(case: Case, rng: np.random.Generator, columns: int) -> np.ndarray:
    return rng.standard_normal((case.dense.shape[1], columns)).astype(case.dtype)


def rounded(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each column in blocks of 32: integers (K, N) and the scale of every row of x, by the definition."""
    blocks = -(-len(x) // 32)
    padded = np.zeros((blocks * 32, x.shape[1]), np.float32)
    padded[: len(x)] = x
    padded = padded.reshape(blocks, 32, x.shape[1])
    top = np.abs(padded).max(axis=1, keepdims=True)
    inverse = np.divide(np.float32(127), top, out=np.zeros_like(top), where=top > 0)
    codes = np.rint(padded * inverse).astype(np.int64)
    scale = np.broadcast_to(top / np.float32(127), codes.shape)
    flat = (blocks * 32, x.shape[1])
    return codes.reshape(flat)[: len(x)], scale.reshape(flat)[: len(x)].astype(np.float64)
