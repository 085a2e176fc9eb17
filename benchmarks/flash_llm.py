"""Flash-LLM (arXiv 2309.10285): load as sparse, compute as dense, on two cores of a CPU.

Weights are bfloat16 and come from memory: every call takes the next of as many copies as exceed the last-level cache,
for the peers as well. Parts: ``roofline`` (how near to the machine's limits), ``kernels`` (against dense and sparse
peers), ``choice`` (``format="auto"`` and the time model), ``model`` (SmolLM2 pruned to 70 %, eight answers at once).
"""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.harness import Claim, Race, compare, run
from gossamer._core.arrays import to_bits
from gossamer._kernels import csr, lscd

THREADS, SIZE, COLD = 2, 7168, 96 << 20
PAPER = (
    "Flash-LLM over Sputnik / SparTA: 3.6 / 1.4 at 70 %, 3.0 / 1.4 at 80 %, 2.0 / 1.6 at 90 %; "
    "over cuBLAS 1.4, 1.7, 2.1"
)


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
def dense_copies(kind: str) -> list[Any]:
    """Cold dense weights in torch."""
    import torch

    matrix = torch.from_numpy(weight())
    return [matrix.to(getattr(torch, kind)).clone() for _ in range(2)]


def dense_peer(kind: str, n: int) -> Callable[[], Any]:
    """oneDNN through ``torch.nn.functional.linear``."""
    import torch

    torch.set_num_threads(THREADS)
    x, _, half = operands(n)
    rows = half if kind == "bfloat16" else torch.from_numpy(np.ascontiguousarray(x.T))
    return cycle(lambda W: torch.nn.functional.linear(rows, W), dense_copies(kind))


def sparse_peer(name: str, sparsity: float, n: int) -> Callable[[], Any]:
    """A CSR product in float32 (matrices of tens of megabytes: two copies exceed the cache)."""
    import scipy.sparse

    indptr, indices, data = compressed_rows(sparsity)
    x = operands(n)[0]
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
) -> Claim:
    """One line: ours against a peer over some numbers of columns."""
    races = []
    for n in columns:
        work = 2e-9 * SIZE * SIZE * n
        races.append(compare(ours(sparsity, n), peer(n), work=work, unit="GFLOP/s (dense)", rounds=rounds))
    where = (
        f"N = {columns[0]}" if len(columns) == 1 else f"N = {', '.join(map(str, columns))} (geometric mean)"
    )
    each = "; ".join(f"N = {n}: {race.ratio:.2f}x" for n, race in zip(columns, races))
    return Claim.from_race(
        f"{SIZE}x{SIZE}, {sparsity:.0%} zeros, {where}, against {peer_name}",
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
    ):
        for sparsity, target in targets.items():
            yield kernel_claim(
                sparsity,
                (8, 16, 32),
                name,
                lambda n, name=name, sparsity=sparsity: sparse_peer(name, sparsity, n),
                f">= {target}x",
                rounds,
                "float32 values and activations; ours bfloat16",
            )
    yield kernel_claim(0.8, (8,), "MKL CSR", lambda n: sparse_peer("MKL CSR", 0.8, n), ">= 1x", rounds)


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
            "choice": choice,
            "model": model,
        },
        packages=["torch", "scipy", "sparse_dot_mkl"],
    )
