"""Where one accumulator beats another on this machine."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from gossamer._kernels.spgemm import Product, Thresholds
from gossamer.linalg.sparse_product.thresholds import save_thresholds


def spgemm_calibrate(
    *,
    fma: Sequence[int] = (4, 6, 8, 10, 12, 14, 16, 18, 20),
    windows: Sequence[int] = (8, 10, 12, 14, 16, 18, 20, 22, 24),
    work: int = 1 << 20,
    save: bool = True,
) -> Thresholds:
    """Time the accumulators on synthetic rows and keep the thresholds in the user's cache directory.

    Parameters
    ----------
    fma : sequence of int
        Products of a row, as exponents of two.
    windows : sequence of int
        Width of the window of columns, as exponents of two.
    work : int
        Products of one timing.
    save : bool
        Use the result from now on; ``$XDG_CACHE_HOME/gossamer/spgemm.json`` holds it. Delete the file to go back to
        the built-in table.

    Returns
    -------
    Thresholds
        What was found: the longest row that is fastest sorted in a buffer, the widest window that is fastest dense,
        and how sparse a wider one may be filled.

    References
    ----------
    Shivdikar, "SMASH", arXiv 2105.14156 (2021).
    """
    built_in = Thresholds()
    small = built_in.small_limit // 2
    dense, ratio = 1 << min(windows), 1
    for products in fma:
        times = {w: _times(1 << products, 1 << w, work) for w in windows}
        if sum(t["small"] < min(t["hash"], t["dense"]) for t in times.values()) * 2 > len(times):
            small = max(small, 1 << products)
        wide = [w for w, t in times.items() if t["dense"] < t["hash"]]
        if wide:
            dense = max(dense, 1 << min(max(wide), 20)) if products <= 8 else dense
            ratio = max(ratio, min(1 << max(0, max(wide) - products), 64))
    found = Thresholds(small_limit=min(small, 256), dense_window=dense, dense_ratio=ratio)
    if save:
        save_thresholds(found)
    return found


def _times(products: int, window: int, work: int) -> dict[str, float]:
    """Seconds of each accumulator on rows of ``products`` products, 8 to a row of B, in a window of columns."""
    rng = np.random.default_rng(0)
    each = min(8, products)
    terms = products // each
    rows = max(1, min(work // products, 4096))
    inner = 1024
    columns = np.sort(rng.integers(0, window, (inner, each)), axis=1)
    b = (np.arange(inner + 1) * each).astype(np.int32), columns.ravel().astype(np.int32)
    a = (
        (np.arange(rows + 1) * terms).astype(np.int32),
        rng.integers(0, inner, rows * terms).astype(np.int32),
    )
    ones = np.ones(len(a[1])), np.ones(len(b[1]))
    taken = {}
    for kind in ("small", "dense", "hash"):
        product = Product(a, b, window, forced=kind, threads=1)
        pointers = product.symbolic()
        best = np.inf
        for _ in range(2):
            start = time.perf_counter()
            product.numeric("plus_times_float64", pointers, *ones, np.dtype(np.float64), True)
            best = min(best, time.perf_counter() - start)
        taken[kind] = best
    return taken
