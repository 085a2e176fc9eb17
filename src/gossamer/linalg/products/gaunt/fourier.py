"""Gaunt products as convolutions of Fourier coefficients on the torus."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import scipy.fft

from gossamer._core.threads import get_threads
from gossamer._kernels.gaunt import BilinearProgram, Operand, SparseMap
from gossamer.linalg.products.gaunt.factors import Degrees
from gossamer.linalg.transforms.spherical.fourier import (
    fourier_integrals,
    fourier_table,
    fourier_to_sh,
    sh_to_fourier,
)

DIRECT = 8  # degree of the whole product up to which it is convolved term by term


def fourier_product(rows: list[Operand], degrees: Degrees, count: int, threads: int | None) -> np.ndarray:
    """Direct convolution of the independent real coefficients for small products of two, else by FFT."""
    if degrees.bilinear and degrees.whole <= DIRECT:
        first, last = rows[0], rows[-1]
        L1, L2 = degrees.factors[0], degrees.factors[-1]
        return _direct(L1, L2, degrees.out, first.data.dtype.name).run(first, last, count, threads)
    return _by_fft(rows, degrees, count, threads)


def _by_fft(rows: list[Operand], degrees: Degrees, count: int, threads: int | None) -> np.ndarray:
    """Zero-padded to the size of the whole product: a shorter transform would wrap its top frequencies around."""
    K = degrees.whole
    size, workers = scipy.fft.next_fast_len(2 * K + 1, real=True), get_threads(threads)
    product: np.ndarray | None = None
    for row, L, power in zip(rows, degrees.factors, degrees.powers):
        f = sh_to_fourier(row.data, L)
        spectrum = np.zeros((len(f), size, size // 2 + 1), f.dtype)
        u = np.arange(-L, L + 1) % size
        spectrum[:, u, : L + 1] = f[..., L:]  # the other half of v is its mirror image: F is real
        values = scipy.fft.irfft2(spectrum, (size, size), norm="forward", workers=workers) ** power
        if row.repeats != 1 or len(values) != count:
            values = values[np.arange(count) // row.repeats % max(len(values), 1)]
        product = values if product is None else product * values
    assert product is not None
    half = scipy.fft.rfft2(product, norm="forward", workers=workers)[:, np.arange(-K, K + 1) % size, : K + 1]
    whole = np.concatenate([np.conj(half[:, ::-1, :0:-1]), half], axis=-1)
    return np.ascontiguousarray(fourier_to_sh(whole, degrees.out), rows[0].data.dtype)


@lru_cache(maxsize=128)
def _direct(L1: int, L2: int, L3: int, dtype: str) -> BilinearProgram:
    """Half series in, products of waves, projections out; a wave n is cos(n t) for n >= 0 and sin(-n t) below."""
    left, right = _waves(L1, L1), _waves(L2, L2)
    out = {wave: i for i, wave in enumerate(_waves(L1 + L2, L3))}
    terms: dict[tuple[int, int, int], float] = {}
    for i, (u, v) in enumerate(left):
        for j, (s, t) in enumerate(right):
            for a, p in _product(u, s):
                for b, q in _product(v, t):
                    k = out.get((a, b))
                    if k is not None:
                        terms[i, j, k] = terms.get((i, j, k), 0) + p * q
    indices = np.array(list(terms), np.int32).reshape(-1, 3)
    values = np.array(list(terms.values()), dtype)
    maps = [_series(L1, left, dtype), _series(L2, right, dtype), _projection(L1 + L2, L3, list(out), dtype)]
    return BilinearProgram((L1 + 1) ** 2, (L2 + 1) ** 2, len(out), indices, values, *maps)


def _waves(K: int, M: int) -> list[tuple[int, int]]:
    """Independent waves (u, v) with |u| <= K and |v| <= M: cosines of the polar angle for even v, sines for odd v."""
    return [(-u if v % 2 else u, v) for v in range(-M, M + 1) for u in range(v % 2, K + 1)]


def _product(a: int, b: int) -> list[tuple[int, float]]:
    """The product of two waves as waves; sin(0) is left out."""
    far, near = abs(a) + abs(b), abs(abs(a) - abs(b))
    if a >= 0 and b >= 0:
        return [(far, 0.5), (near, 0.5)]
    if a < 0 and b < 0:
        return [(near, 0.5), (far, -0.5)]
    # sin(s) cos(c) = (sin(s + c) + sin(s - c)) / 2
    s, c = (-a, b) if a < 0 else (-b, a)
    sign = 1 if s > c else -1
    return [(-far, 0.5), *([(-near, 0.5 * sign)] if near else [])]


def _series(L: int, waves: list[tuple[int, int]], dtype: str) -> SparseMap:
    table = fourier_table(L)
    rows = [
        [(l * l + l + v, table[abs(v), l, abs(u)]) for l in range(abs(v), L + 1) if table[abs(v), l, abs(u)]]
        for u, v in waves
    ]
    return _sparse(rows, dtype)


def _projection(K: int, L: int, waves: list[tuple[int, int]], dtype: str) -> SparseMap:
    table = fourier_integrals(K, L) * np.where(np.arange(L + 1) == 0, 2 * np.pi, np.pi)[:, None, None]
    place = {wave: i for i, wave in enumerate(waves)}
    rows = []
    for l in range(L + 1):
        for m in range(-l, l + 1):
            found = [(place[-u if m % 2 else u, m], table[abs(m), l, u]) for u in range(m % 2, K + 1)]
            rows.append([(k, value) for k, value in found if value])
    return _sparse(rows, dtype)


def _sparse(rows: list[list[tuple[int, float]]], dtype: str) -> SparseMap:
    pointers = np.cumsum([0, *map(len, rows)]).astype(np.int64)
    columns = np.array([column for row in rows for column, _ in row], np.int32)
    return SparseMap(pointers, columns, np.array([value for row in rows for _, value in row], dtype))
