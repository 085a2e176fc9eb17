"""Micro-benchmarks of every kernel in the table: time, bytes a second, share of the machine's read bandwidth.

``python -m benchmarks.kernels --family quant --isa avx512 --threads 1,2 --columns 1,64``

Matrices are read from memory, not from a cache: each call takes the next of as many copies as exceed the last-level
cache. The figures are medians over calls, after one call on each copy that is not counted.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from benchmarks.harness import machine
from gossamer._kernels import block, csr, dispatch, gqs, lowrank, monarch, nm, quant
from gossamer._kernels.packing import group_bytes, pack_positions

COLD_BYTES = 160 << 20


@dataclass(frozen=True)
class Instance:
    """A matrix of a family: its factors, and ``product(factors, x, threads)``."""

    label: str
    factors: tuple[np.ndarray, ...]
    product: Callable[..., Any]
    flops: int
    """For one column."""


@dataclass(frozen=True)
class Measurement:
    """One line of the output."""

    family: str
    entry: str
    label: str
    isa: str
    threads: int
    columns: int
    microseconds: float
    gigabytes_a_second: float
    share_of_bandwidth: float
    gigaflops: float


def random_groups(
    rng: np.random.Generator, shape: tuple[int, ...], bits: int, group: int
) -> tuple[np.ndarray, ...]:
    codes = rng.integers(0, 256, (*shape, group_bytes(bits, group)), np.uint8)
    scale = rng.uniform(0.01, 1, shape).astype(np.float16)
    count = int(np.prod(shape))
    zero = rng.integers(0, 256, -(-count // 2) if bits <= 4 else count, np.uint8)
    return codes, scale, zero


def _kept(rng: np.random.Generator, rows: int, count: int, density: float) -> tuple[np.ndarray, np.ndarray]:
    mask = rng.random((rows, count)) < density
    return np.r_[0, np.cumsum(mask.sum(axis=1))].astype(np.int32), np.nonzero(mask)[1]


def instances(family: str, entry: str, size: int, rng: np.random.Generator) -> Iterator[Instance]:
    """Typical matrices of a family, ``size`` x ``size``."""
    act = "int8" if entry == "int8" else "fp32"
    if family == "quant":
        for bits, group in ((4, 16), (4, 32), (4, 128), (2, 16), (3, 32), (8, 32)):

            def product(f, x, threads, bits=bits, group=group):
                return quant.matmat(*f, x, bits=bits, group=group, act=act, threads=threads)

            factors = random_groups(rng, (size, size // group), bits, group)
            yield Instance(f"W{bits} G{group}", factors, product, 2 * size * size)
    elif family == "gqs":
        for bits, group, schedule in ((4, 16, "task"), (4, 16, "row"), (4, 32, "task"), (4, 64, "task")):

            def product(f, x, threads, bits=bits, group=group, schedule=schedule):
                return gqs.matmat(*f, x, bits=bits, group=group, act=act, schedule=schedule, threads=threads)

            row_ptr, col = _kept(rng, size, size // group, 0.5)
            factors = (row_ptr, col.astype(np.uint16), *random_groups(rng, (len(col),), bits, group))
            yield Instance(f"W{bits} S50 G{group} {schedule}", factors, product, 2 * len(col) * group)
    elif family == "nm":
        positions = np.sort(rng.random((size, size // 4, 4)).argsort(axis=-1)[..., :2], axis=-1)
        factors = (
            rng.standard_normal((size, size // 2)).astype(entry),
            pack_positions(positions.reshape(size, -1), 4),
        )
        yield Instance("2:4", factors, lambda f, x, threads: nm.matmat(*f, x, 2, 4, threads), size * size)
    elif family == "block":
        for r, c in ((1, 16), (4, 4), (16, 16)):
            indptr, indices = _kept(rng, size // r, size // c, 0.5)
            blocks = rng.standard_normal((len(indices), r, c)).astype(entry)
            factors = (indptr, indices.astype(np.int32), blocks)
            yield Instance(
                f"S50 {r}x{c}", factors, lambda f, x, threads: block.matmat(*f, x, threads), 2 * blocks.size
            )
    elif family == "csr":
        value, index = entry.split("_")
        indptr, indices = (a.astype(index) for a in _kept(rng, size, size, 0.2))
        data = rng.standard_normal(len(indices)).astype(value)
        yield Instance("S80", (indptr, indices, data), lambda f, x, t: csr.matmat(*f, x, t), 2 * len(data))
    elif family == "lowrank":
        left, right = (rng.standard_normal(s).astype(entry) for s in ((size, 128), (128, size)))

        def product(f, x, threads):
            return lowrank.add(np.zeros((size, x.shape[1]), x.dtype), *f, x, threads)

        yield Instance("r128", (left, right), product, 4 * size * 128)
    elif family == "monarch":
        for b in (4, 16):
            side = size // b
            chain = monarch.monarch((b, side, side, b, side, side), (size, size))
            pair = tuple(rng.standard_normal((2, b, side, side)).astype(entry))
            yield Instance(
                f"b{b}", pair, lambda f, x, t, chain=chain: monarch.multiply(chain, f, x, t), 4 * size * side
            )


def read_bandwidth(threads: int) -> float:
    """Gigabytes a second that ``threads`` threads read from memory (dot products of long vectors)."""
    parts = [np.ones(24 << 20, np.float32) for _ in range(threads)]
    with ThreadPoolExecutor(threads) as pool:
        times = []
        for _ in range(7):
            start = time.perf_counter()
            list(pool.map(lambda part: float(part @ part), parts))
            times.append(time.perf_counter() - start)
    return sum(part.nbytes for part in parts) / min(times) / 1e9


def measure(instance: Instance, x: np.ndarray, threads: int, seconds: float) -> float:
    """Median seconds of a product whose factors come from memory."""
    nbytes = sum(factor.nbytes for factor in instance.factors)
    copies = [
        tuple(factor.copy() for factor in instance.factors)
        for _ in range(min(64, max(2, COLD_BYTES // nbytes + 1)))
    ]
    for factors in copies:
        instance.product(factors, x, threads)
    times: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 5:
        start = time.perf_counter()
        instance.product(copies[len(times) % len(copies)], x, threads)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def run(args: argparse.Namespace) -> list[Measurement]:
    """Measure what the arguments select, printing each line as it is known."""
    bandwidth = {threads: read_bandwidth(threads) for threads in args.threads}
    print("read bandwidth:", ", ".join(f"{b:.1f} GB/s with {t} threads" for t, b in bandwidth.items()))
    rows = []
    for kernel in dispatch.table():
        if args.family not in (None, kernel.family) or args.entry not in (None, kernel.entry):
            continue
        for instance in instances(kernel.family, kernel.entry, args.size, np.random.default_rng(0)):
            if args.label and args.label not in instance.label:
                continue
            for isa in kernel.isas if args.isa == "all" else (args.isa or kernel.isas[-1],):
                dispatch.force_isa(isa)
                for threads in args.threads:
                    for columns in args.columns:
                        dtype = np.float64 if "float64" in kernel.entry else np.float32
                        x = np.random.default_rng(1).standard_normal((args.size, columns)).astype(dtype)
                        taken = measure(instance, x, threads, args.seconds)
                        speed = sum(factor.nbytes for factor in instance.factors) / taken / 1e9
                        row = Measurement(
                            kernel.family, kernel.entry, instance.label, isa, threads, columns, taken * 1e6, speed,
                            speed / bandwidth[threads], instance.flops * columns / taken / 1e9,
                        )  # fmt: skip
                        rows.append(row)
                        print(
                            f"{row.family:8}{row.entry:15}{row.label:17}{isa:9}{threads} threads {columns:4} columns "
                            f"{row.microseconds:9.1f} us {speed:6.1f} GB/s ({row.share_of_bandwidth:4.0%}) "
                            f"{row.gigaflops:7.1f} GFLOP/s",
                            flush=True,
                        )
    dispatch.force_isa("auto")
    return rows


def main() -> None:
    """Parse the command line, measure, and write JSON where asked."""
    numbers = lambda text: [int(part) for part in text.split(",")]  # noqa: E731
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--family", choices=sorted({kernel.family for kernel in dispatch.table()}))
    parser.add_argument("--entry", help="one entry of a family, such as int8")
    parser.add_argument("--label", help="only instances whose name holds this, such as 'W4 G16'")
    parser.add_argument("--isa", choices=[*dispatch.available_isas(), "all"], help="default: the best")
    parser.add_argument("--threads", type=numbers, default=[1, 2], help="comma-separated")
    parser.add_argument("--columns", type=numbers, default=[1], help="comma-separated")
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--seconds", type=float, default=0.3, help="a measurement")
    parser.add_argument("--json", help="file to write")
    args = parser.parse_args()
    rows = run(args)
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump({"machine": machine(), "rows": [asdict(row) for row in rows]}, file, indent=1)


if __name__ == "__main__":
    main()
