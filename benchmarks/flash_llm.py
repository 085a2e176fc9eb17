"""Flash-LLM (arXiv 2309.10285): load as sparse, compute as dense, on two cores of a CPU.

Weights are bfloat16 and come from memory: every call takes the next of as many copies as exceed the last-level cache,
for the peers as well. Parts: ``roofline`` (how near to the machine's limits), ``dense`` and ``sparse`` (against peers
on 7168 x 7168), ``shapes`` (another size, and the matrices of a model), ``choice`` (``format="auto"`` and the time
model), ``model`` (SmolLM2 pruned to 70 %, eight answers at once).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import benchmarks.passive_threads  # noqa: F401  (before any library that starts threads)
from benchmarks.flash_llm_peers import (
    SIZE,
    THREADS,
    cycle,
    dense_peer,
    mask,
    operands,
    ours,
    sparse_peer,
    tiles,
    weight,
)
from benchmarks.harness import Claim, Race, compare, run
from gossamer._core.arrays import to_bits
from gossamer._kernels import lscd

PAPER = (
    "Flash-LLM over Sputnik / SparTA: 3.6 / 1.4 at 70 %, 3.0 / 1.4 at 80 %, 2.0 / 1.6 at 90 %; "
    "over cuBLAS 1.4, 1.7, 2.1"
)


def joined(races: list[Race], unit: str) -> Race:
    """Geometric means over several shapes, round by round."""
    mean = lambda rates: tuple(np.exp(np.mean(np.log(np.array(rates)), axis=0)).tolist())  # noqa: E731
    return Race(mean([race.ours for race in races]), mean([race.peer for race in races]), unit)


def kernel_claim(
    sparsity: float,
    columns: tuple[int, ...],
    peer_name: str,
    peer: Any,
    target: str,
    rounds: int,
    note: str = "",
    size: int = SIZE,
) -> Claim:
    """One line: ours against a peer over some numbers of columns."""
    races = []
    for n in columns:
        work = 2e-9 * size * size * n
        races.append(
            compare(ours(sparsity, n, size), peer(n), work=work, unit="GFLOP/s (dense)", rounds=rounds)
        )
    where = (
        f"N = {columns[0]}" if len(columns) == 1 else f"N = {', '.join(map(str, columns))} (geometric mean)"
    )
    each = "; ".join(f"N = {n}: {race.ratio:.2f}x" for n, race in zip(columns, races))
    return Claim.from_race(
        f"{size}x{size}, {sparsity:.0%} zeros, {where}, against {peer_name}",
        target,
        joined(races, "GFLOP/s (dense)"),
        peer_name=f"{peer_name}, {THREADS} threads",
        paper=PAPER,
        note=f"{each}. {note}".strip(),
    )


def kernels_dense(full: bool) -> Iterator[Claim]:
    """Against oneDNN."""
    rounds = 15 if full else 7
    name = "torch bf16 F.linear (oneDNN)"
    arithmetic = (
        "LSCD does the arithmetic of a dense product, so from N = 16 on both are limited by it and not by memory; "
        "the ratio cannot grow with sparsity there"
    )
    for sparsity, target in ((0.7, 1.4), (0.8, 1.7), (0.9, 2.1)):
        yield kernel_claim(
            sparsity,
            (8, 16, 32),
            name,
            lambda n: dense_peer("bfloat16", n),
            f">= {target}x",
            rounds,
            arithmetic,
        )
    yield kernel_claim(0.8, (1,), name, lambda n: dense_peer("bfloat16", n), ">= 2x", rounds)
    yield kernel_claim(0.7, (1,), name, lambda n: dense_peer("bfloat16", n), ">= 1x", rounds)
    yield kernel_claim(0.7, (64,), name, lambda n: dense_peer("bfloat16", n), ">= 1x", rounds, arithmetic)
    yield kernel_claim(
        0.8,
        (8, 16, 32),
        "torch float32 F.linear (oneDNN)",
        lambda n: dense_peer("float32", n),
        ">= 1x",
        rounds,
    )


def kernels_sparse(full: bool) -> Iterator[Claim]:
    """Against CSR."""
    rounds = 9 if full else 3
    for name, targets in (
        ("MKL CSR", {0.7: 2.9, 0.8: 2.9}),
        ("SciPy CSR", {0.8: 1}),
        ("torch.sparse_csr", {0.8: 1}),
        ("own CSR", {0.8: 1, 0.9: 1}),
        ("own CSR, rows sorted by length", {0.8: 1}),
        ("Tiled-CSL, scattered", {0.8: 1}),
    ):
        for sparsity, target in targets.items():
            yield kernel_claim(
                sparsity,
                (8, 16, 32),
                name,
                lambda n, name=name, sparsity=sparsity: sparse_peer(name, sparsity, n),
                f">= {target}x",
                rounds,
                "the format and the way of the GPU kernel, float16 values and float32 activations"
                if name.startswith("Tiled")
                else "float32 values and activations; ours bfloat16",
            )
    for name in ("MKL CSR", "own CSR"):
        yield kernel_claim(0.8, (8,), name, lambda n, name=name: sparse_peer(name, 0.8, n), ">= 1x", rounds)


def shapes(full: bool) -> Iterator[Claim]:
    """A larger matrix, and the small ones of a real model, all of its blocks one after the other."""
    import torch

    rounds, name = 11 if full else 5, "torch bf16 F.linear (oneDNN)"
    yield kernel_claim(
        0.8, (8, 16, 32), name, lambda n: dense_peer("bfloat16", n, 9216), ">= 1.7x", rounds, size=9216
    )
    rng, blocks, sparsity = np.random.default_rng(0), 30, 0.7
    weights = [rng.standard_normal(shape, dtype=np.float32) for shape in ((1536, 576), (576, 1536)) * blocks]
    masks = [rng.random(W.shape, dtype=np.float32) >= sparsity for W in weights]
    packed = [lscd.pack(to_bits(W), kept, "bfloat16") for W, kept in zip(weights, masks)]
    models = [[tuple(part.copy() for part in f) for f in packed] for _ in range(4)]
    half = [torch.from_numpy(W).bfloat16() for W in weights]
    dense = [[W.clone() for W in half] for _ in range(2)]
    inputs = {size: {n: operands(n, size) for n in (1, 8, 16, 32)} for size in (576, 1536)}
    races = {}
    for n in (1, 8, 16, 32):

        def all_ours(model: list[Any], n: int = n) -> None:
            for (rows, cols), factors in zip((W.shape for W in weights), model):
                lscd.matmat(*factors, inputs[cols][n][1], rows, threads=THREADS)

        def all_dense(model: list[Any], n: int = n) -> None:
            for W in model:
                torch.nn.functional.linear(inputs[W.shape[1]][n][2], W)

        races[n] = compare(
            cycle(all_ours, models),
            cycle(all_dense, dense),
            work=2e-9 * n * sum(W.size for W in weights),
            unit="GFLOP/s (dense)",
            rounds=rounds + 4,
        )
    yield Claim.from_race(
        "The 60 matrices 1536x576 and 576x1536 of SmolLM2's blocks, 70% zeros, N = 8, 16, 32 (geometric mean), "
        f"against {name}",
        ">= 1.4x",
        joined([races[n] for n in (8, 16, 32)], "GFLOP/s (dense)"),
        peer_name=f"{name}, {THREADS} threads",
        paper=PAPER,
        note="; ".join(f"N = {n}: {race.ratio:.2f}x" for n, race in races.items()),
    )


def roofline(full: bool) -> Iterator[Claim]:
    """The share of the machine's limit: memory for one column, bfloat16 arithmetic for many."""
    from benchmarks.kernels import read_bandwidth

    bandwidth = read_bandwidth(THREADS)
    for sparsity in (0.7, 0.8, 0.9):
        call, nbytes = ours(sparsity, 1), sum(part.nbytes for part in tiles(sparsity)[0])
        seconds = _median(call)
        yield Claim(
            f"Share of the read bandwidth, N = 1, {sparsity:.0%} zeros",
            ">= 0.6",
            nbytes / seconds / 1e9 / bandwidth,
            "of what the machine reads",
            note=f"{nbytes / seconds / 1e9:.1f} of {bandwidth:.1f} GB/s; {8 * nbytes / SIZE**2:.2f} bits a weight; "
            "where it is low, expanding a vector of 32 places takes longer than loading its bytes",
        )
    peak = 2e-9 * 1024**2 * 1024 / _median(_hot_dense())
    for n in (8, 16, 32):
        rate = 2e-9 * SIZE**2 * n / _median(ours(0.8, n))
        yield Claim(
            f"Share of the bfloat16 arithmetic, N = {n}, 80 % zeros",
            ">= 0.6",
            rate / peak,
            "of a square dense product's rate",
            note=f"{rate:.0f} of {peak:.0f} GFLOP/s; the limit is what oneDNN reaches on a cached 1024^3 product",
        )


def _hot_dense() -> Callable[[], Any]:
    import torch

    torch.set_num_threads(THREADS)
    left, right = (torch.randn(1024, 1024).bfloat16() for _ in range(2))
    return lambda: torch.nn.functional.linear(left, right)


def _median(call: Callable[[], Any], rounds: int = 9) -> float:
    call()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def choice(full: bool) -> Iterator[Claim]:
    """``format="auto"`` against the best fixed format, and the time model against the clock."""
    import torch

    from gossamer.linalg import TiledBitmap, calibrate_machine, lscd_model, spmm
    from gossamer.linalg.products.lscd_model import FORMATS

    torch.set_num_threads(THREADS)
    size = 4608
    machine = calibrate_machine("bfloat16", THREADS)
    worst, off, lines = 0.0, [], []
    for sparsity in (0.6, 0.7, 0.8, 0.9):
        A = TiledBitmap.from_dense(np.where(mask(sparsity, size), weight(size), 0))
        for n in (1, 8, 32, 64):
            x = torch.from_numpy(operands(n, size)[0]).bfloat16()
            evict = np.ones(24 << 20, np.float32)
            times: dict[str, list[float]] = {name: [] for name in FORMATS}
            for _ in range(4 if not full else 9):
                for name, taken in times.items():
                    evict.sum()
                    start = time.perf_counter()
                    spmm(A, x, format=name, threads=THREADS)
                    taken.append(time.perf_counter() - start)
            medians = {name: statistics.median(taken[1:]) for name, taken in times.items()}
            predicted = lscd_model(size, size, n, A.density, machine)
            chosen = min(FORMATS, key=lambda name: predicted[name])
            best = min(FORMATS, key=lambda name: medians[name])
            worst = max(worst, medians[chosen] / medians[best])
            off += [abs(predicted[name] / medians[name] - 1) for name in FORMATS]
            lines.append(f"{sparsity:.0%} N={n}: {chosen}" + ("" if chosen == best else f" (best {best})"))
    yield Claim(
        'format="auto": time of the chosen format over that of the best, worst case of the grid',
        "<= 1.05",
        worst,
        "times the best",
        note=f"{size}x{size}, bfloat16: " + ", ".join(lines),
    )
    yield Claim(
        "Time model: predicted against measured, largest error over the grid and the three formats",
        "<= 0.3",
        max(off),
        "relative error",
        note=f"median {np.median(off):.2f}; {sum(o <= 0.3 for o in off)} of {len(off)} within 30 %",
    )


def model(full: bool) -> Iterator[Claim]:
    """SmolLM2 pruned to 70 % by Wanda, eight answers at once, against the same engine with dense bfloat16."""
    from benchmarks.artifacts import compressed
    from gossamer.engine.artifact import load_artifact
    from gossamer.engine.decoder import Decoder

    batch, steps = 8, 12
    rule = {"metric": "none", "structure": {"kind": "dense", "dtype": "bfloat16"}}
    dense_recipe = {"name": "base-bf16", "head": "w8", "default": rule}
    paths = {"ours": compressed("wanda-70-lscd")[0], "peer": compressed(dense_recipe)[0]}
    decoders = {
        name: Decoder.from_artifact(load_artifact(path), threads=THREADS, max_context=512)
        for name, path in paths.items()
    }

    def decode(decoder: Decoder) -> None:
        for step in range(steps):
            decoder.decode_batch(
                sessions[id(decoder)], [(911 * step + 31 * i) % 40000 + 100 for i in range(batch)]
            )

    sessions: dict[int, list[Any]] = {}
    for decoder in decoders.values():
        sessions[id(decoder)] = [decoder.new_session() for _ in range(batch)]
        for session in sessions[id(decoder)]:
            session.prefill(list(range(1000, 1032)))
    race = compare(
        lambda: decode(decoders["ours"]),
        lambda: decode(decoders["peer"]),
        work=batch * steps / THREADS,
        unit="tokens a core-second",
        rounds=15 if full else 9,
    )
    yield Claim.from_race(
        "SmolLM2-135M pruned to 70 % (Wanda), batch 8",
        ">= 1.3x",
        race,
        peer_name="the same engine, dense bfloat16",
        paper="up to 3.8x / 3.6x the tokens per GPU-second of DeepSpeed / FasterTransformer on OPT-30B to 175B",
        note="both with the same 8-bit head; ours rounds activations to bfloat16, the peer multiplies float32 ones",
    )
    memory = {name: decoder.memory["weights"] / 1e6 for name, decoder in decoders.items()}
    yield Claim(
        "Weights in memory, pruned to 70 %",
        "<= 0.6x",
        memory["ours"],
        "MB",
        memory["peer"],
        "dense bfloat16",
        note="8-bit head and embedding counted in both",
    )


if __name__ == "__main__":
    run(
        "flash-llm",
        {
            "roofline": roofline,
            "dense": kernels_dense,
            "sparse": kernels_sparse,
            "shapes": shapes,
            "choice": choice,
            "model": model,
        },
        packages=["torch", "scipy", "sparse_dot_mkl"],
    )
