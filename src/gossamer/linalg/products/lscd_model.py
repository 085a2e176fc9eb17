"""How long a product of a sparse weight takes as dense, as bitmap tiles, and as CSR: a roofline, calibrated here."""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from gossamer._core.arrays import to_bits
from gossamer._core.checks import check_choice, check_float, check_int
from gossamer._core.threads import get_threads
from gossamer._kernels import csr, lscd

FORMATS = ("dense", "lscd", "csr")
PROBES = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class Machine:
    """What the time model knows of a machine; :func:`calibrate_machine` measures it.

    Attributes
    ----------
    bandwidth : float
        Bytes a second that the threads read from memory.
    dense, lscd : tuple of float
        Seconds an entry of the matrix, for 1, 2, 4, 8, 16, 32 and 64 columns.
    csr : tuple of float
        Seconds a non-zero, likewise.
    dtype : str
        Of the right-hand side and, but for CSR, of the weights: "float32" or "bfloat16".
    """

    bandwidth: float
    dense: tuple[float, ...]
    lscd: tuple[float, ...]
    csr: tuple[float, ...]
    dtype: str = "float32"


def lscd_model(
    O: int,
    K: int,
    N: int,
    density: float,
    machine: Machine | None = None,
) -> dict[str, Any]:
    r"""Predict the seconds of ``A @ B`` with a sparse (O, K) matrix, by format.

    .. math:: t = \max\left(\frac{\text{bytes}_A + \text{bytes}_B + \text{bytes}_C}{\text{bandwidth}},\;
              n\, c(N)\right)

    with n the entries (dense, LSCD) or non-zeros (CSR) and c(N) the measured seconds each takes for N columns:
    expansion for few columns, arithmetic for many. Ask it before storing a weight sparse: where "dense" is least,
    sparsity does not pay in time.

    Parameters
    ----------
    O, K, N : int
        Shape of the weight and number of columns.
    density : float in [0, 1]
        Fraction of non-zeros.
    machine : Machine, optional
        This machine, calibrated once a process (seconds), with a float32 right-hand side.

    Returns
    -------
    dict
        "dense", "lscd", "csr": seconds; "bound": what limits LSCD, "memory", "expand" or "compute".
    """
    check_int("O", O, low=1)
    check_int("K", K, low=1)
    check_int("N", N, low=0)
    check_float("density", density, low=0, high=1)
    machine = machine or calibrate_machine()
    entries, kept, size = O * K, density * O * K, 2 if machine.dtype == "bfloat16" else 4
    moved = size * K * N + 4 * O * N
    bytes_of = {
        "dense": size * entries,
        "lscd": 2 * kept + entries / 8,
        "csr": 8 * kept + 4 * (O + 1),
    }
    work = {
        "dense": entries * _at(machine.dense, N),
        "lscd": entries * _at(machine.lscd, N),
        "csr": kept * _at(machine.csr, N),
    }
    memory = {name: (count + moved) / machine.bandwidth for name, count in bytes_of.items()}
    result: dict[str, Any] = {name: max(memory[name], work[name]) for name in FORMATS}
    if memory["lscd"] >= work["lscd"]:
        result["bound"] = "memory"
    else:
        result["bound"] = "expand" if work["lscd"] < 2 * entries * machine.lscd[0] else "compute"
    return result


def _at(table: Sequence[float], columns: int) -> float:
    if columns > PROBES[-1]:
        return table[-1] * columns / PROBES[-1]
    return float(np.interp(columns, PROBES, table))


def calibrate_machine(dtype: str = "float32", threads: int | None = None) -> Machine:
    """Measure what :func:`lscd_model` needs, on matrices larger than a cache; a few seconds, once a process.

    Parameters
    ----------
    dtype : {"float32", "bfloat16"}
        Of the right-hand side; "bfloat16" needs torch for the dense product.
    threads : int, optional
        At most this many; the dense product uses what its library is set to.
    """
    return _calibrate(check_choice("dtype", dtype, ("float32", "bfloat16")), get_threads(threads))


@functools.cache
def _calibrate(dtype: str, threads: int) -> Machine:
    rng = np.random.default_rng(0)
    size, density, copies = 3072, 0.2, 7
    weight = rng.standard_normal((size, size), dtype=np.float32)
    mask = rng.random((size, size), dtype=np.float32) < density
    tiles = lscd.pack(to_bits(weight), mask, "bfloat16")
    rows, columns = np.nonzero(mask)
    sparse = (
        np.r_[0, np.cumsum(np.bincount(rows, minlength=size))].astype(np.int32),
        columns.astype(np.int32),
        weight[mask],
    )
    many_tiles = [[part.copy() for part in tiles] for _ in range(copies)]
    many_sparse = [[part.copy() for part in sparse] for _ in range(4)]
    many_dense = [dense_product(weight.copy(), dtype) for _ in range(3)]
    dense_ways = [lambda x, raw, given, f=f: f(given) for f in many_dense]
    lscd_ways = [
        lambda x, raw, given, f=f: lscd.matmat(f[0], f[1], f[2], raw, size, threads=threads)
        for f in many_tiles
    ]
    csr_ways = [
        lambda x, raw, given, f=f: csr.matmat(f[0], f[1], f[2], x, threads=threads) for f in many_sparse
    ]
    dense, expanded, stored = [], [], []
    for n in PROBES:
        x = rng.standard_normal((size, n), dtype=np.float32)
        given: Any = x
        raw = x
        if dtype == "bfloat16":
            import torch

            raw = to_bits(x)
            given = torch.from_numpy(x).bfloat16()
        dense.append(_seconds(dense_ways, x, raw, given) / size**2)
        expanded.append(_seconds(lscd_ways, x, raw, given) / size**2)
        stored.append(_seconds(csr_ways, x, raw, given) / float(mask.sum()))
    return Machine(_bandwidth(threads), tuple(dense), tuple(expanded), tuple(stored), dtype)


def dense_product(weight: np.ndarray, dtype: str) -> Callable[[Any], Any]:
    """``x -> weight @ x`` by the best dense library at hand: NumPy's BLAS, or torch in bfloat16."""
    if dtype == "float32":
        return lambda x: weight @ x
    import torch

    half = torch.from_numpy(weight).bfloat16()
    return lambda x: torch.nn.functional.linear(x.T, half).T.float()


def _seconds(calls: Sequence[Callable[..., Any]], *operands: Any) -> float:
    for call in calls:
        call(*operands)
    times = []
    for number in range(5):
        start = time.perf_counter()
        calls[number % len(calls)](*operands)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _bandwidth(threads: int) -> float:
    parts = [np.ones(16 << 20, np.float32) for _ in range(threads)]
    with ThreadPoolExecutor(threads) as pool:
        times = []
        for _ in range(5):
            start = time.perf_counter()
            list(pool.map(lambda part: float(part @ part), parts))
            times.append(time.perf_counter() - start)
    return sum(part.nbytes for part in parts) / min(times)
