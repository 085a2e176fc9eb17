"""What :mod:`benchmarks.flash_llm` multiplies, and by whom: every call takes the next of several cold copies."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from gossamer._core.arrays import to_bits
from gossamer._kernels import csr, lscd

THREADS, SIZE, COLD = 2, 7168, 96 << 20


@functools.cache
def weight(size: int = SIZE) -> np.ndarray:
    """A random dense matrix."""
    return np.random.default_rng(0).standard_normal((size, size), dtype=np.float32)


@functools.cache
def mask(sparsity: float, size: int = SIZE) -> np.ndarray:
    """Which entries stay."""
    return np.random.default_rng(1).random((size, size), dtype=np.float32) >= sparsity


def copies(parts: tuple[np.ndarray, ...]) -> list[tuple[np.ndarray, ...]]:
    """Enough copies that a round through them never finds one in a cache."""
    count = COLD // sum(part.nbytes for part in parts) + 1
    return [parts, *(tuple(part.copy() for part in parts) for _ in range(count))]


@functools.cache
def tiles(sparsity: float, size: int = SIZE) -> list[tuple[np.ndarray, ...]]:
    """Cold copies of the bitmap tiles."""
    return copies(lscd.pack(to_bits(weight(size)), mask(sparsity, size), "bfloat16"))


def compressed_rows(sparsity: float, size: int = SIZE) -> tuple[np.ndarray, ...]:
    """CSR factors with float32 values."""
    kept = mask(sparsity, size)
    indptr = np.r_[0, np.cumsum(kept.sum(axis=1))].astype(np.int32)
    return indptr, np.nonzero(kept)[1].astype(np.int32), weight(size)[kept]


def operands(n: int, size: int = SIZE) -> tuple[np.ndarray, np.ndarray, Any]:
    """X (K, N) as float32, as raw bfloat16, and as N rows in torch's bfloat16."""
    import torch

    x = np.random.default_rng(n).standard_normal((size, n), dtype=np.float32)
    return x, to_bits(x), torch.from_numpy(np.ascontiguousarray(x.T)).bfloat16()


def cycle(product: Callable[[Any], Any], matrices: list[Any]) -> Callable[[], Any]:
    """Each call takes the next matrix."""
    state = [0]

    def call() -> Any:
        state[0] = (state[0] + 1) % len(matrices)
        return product(matrices[state[0]])

    return call


def ours(sparsity: float, n: int, size: int = SIZE) -> Callable[[], Any]:
    """LSCD with bfloat16 weights and activations."""
    raw = operands(n, size)[1]
    return cycle(lambda f: lscd.matmat(*f, raw, size, threads=THREADS), tiles(sparsity, size))


@functools.cache
def dense_copies(kind: str, size: int) -> list[Any]:
    """Cold dense weights in torch."""
    import torch

    matrix = torch.from_numpy(weight(size))
    return [matrix.to(getattr(torch, kind)).clone() for _ in range(2)]


def dense_peer(kind: str, n: int, size: int = SIZE) -> Callable[[], Any]:
    """oneDNN through ``torch.nn.functional.linear``."""
    import torch

    torch.set_num_threads(THREADS)
    x, _, half = operands(n, size)
    rows = half if kind == "bfloat16" else torch.from_numpy(np.ascontiguousarray(x.T))
    return cycle(lambda W: torch.nn.functional.linear(rows, W), dense_copies(kind, size))


def sparse_peer(name: str, sparsity: float, n: int) -> Callable[[], Any]:
    """A sparse product in float32 (matrices of tens of megabytes: two copies exceed the cache)."""
    import scipy.sparse

    x = operands(n)[0]
    if name == "Tiled-CSL, scattered":
        half = np.where(mask(sparsity), weight(), 0).astype(np.float16)
        return cycle(
            lambda f: lscd.csl_matmat(*f, x, SIZE, threads=THREADS), copies(lscd.csl_pack(half, True))
        )
    indptr, indices, data = compressed_rows(sparsity)
    if name == "own CSR, rows sorted by length":
        order = np.argsort(-np.diff(indptr), kind="stable")
        by_length = scipy.sparse.csr_array((data, indices, indptr), (SIZE, SIZE))[order]
        given = copies((by_length.indptr, by_length.indices, by_length.data))

        def in_order(factors: tuple[np.ndarray, ...]) -> np.ndarray:
            y = np.empty((SIZE, n), np.float32)
            y[order] = csr.matmat(*factors, x, threads=THREADS)
            return y

        return cycle(in_order, given)
    both = [(indptr, indices, data), (indptr.copy(), indices.copy(), data.copy())]
    if name == "own CSR":
        return cycle(lambda f: csr.matmat(*f, x, threads=THREADS), both)
    if name == "torch.sparse_csr":
        import torch

        torch.set_num_threads(THREADS)
        given = [torch.sparse_csr_tensor(*map(torch.from_numpy, f), (SIZE, SIZE)) for f in both]
        right = torch.from_numpy(x)
        return cycle(lambda A: A @ right, given)
    arrays = [scipy.sparse.csr_matrix((f[2], f[1], f[0]), (SIZE, SIZE)) for f in both]
    if name == "SciPy CSR":
        return cycle(lambda A: A @ x, arrays)
    from sparse_dot_mkl import dot_product_mkl, mkl_set_num_threads

    mkl_set_num_threads(THREADS)
    return cycle(lambda A: dot_product_mkl(A, x), arrays)
