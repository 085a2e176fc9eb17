"""Tensor attention (arXiv 2310.04064): cost of both modes, certified errors, the phase transition, and Match3.

Random entries in [-1, 1], width 8, one head, float32, 2 threads. The paper has theorems and no experiments.
"""

from __future__ import annotations

import ctypes
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

import benchmarks.passive_threads  # noqa: F401  (before any library that starts threads)
from benchmarks.harness import Claim, Race, compare, read_results, run
from benchmarks.harness.record import RESULTS

PAPER = "theorem: time n^(1+o(1)) if entries are o((log n)^(1/3)), cubic otherwise (under SETH)"
EINSUM = "torch.einsum of the (n, n, n) scores, softmax, einsum with the values"


def arrays(n: int, d: int = 8, size: float = 1.0, order: int = 3, seed: int = 0) -> tuple[Any, Any, Any]:
    """Queries, keys and values with entries uniform in [-size, size]."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    q, *rest = ((2 * torch.rand(n, d, generator=generator) - 1) * size for _ in range(2 * order - 1))
    return q, rest[: order - 1], rest[order - 1 :]


def exact(q: Any, keys: Any, values: Any) -> Any:
    """Ours, in blocks."""
    from gossamer.nn import tensor_attention

    return tensor_attention(q, keys, values, mode="exact")


def fast(q: Any, keys: Any, values: Any, eps: float = 1e-3) -> Any:
    """Ours, by polynomials."""
    from gossamer.nn import tensor_attention

    return tensor_attention(q, keys, values, mode="poly", eps=eps)


def straightforward(q: Any, keys: Any, values: Any) -> Any:
    """The peer: what the formula says. torch.einsum orders contractions by opt_einsum where that is installed."""
    import torch

    logits = torch.einsum("il,jl,kl->ijk", q / q.shape[1], *keys)
    weights = logits.flatten(1).softmax(1).reshape(logits.shape)
    return torch.einsum("ijk,jl,kl->il", weights, *values)


def with_gradients(function: Callable[..., Any], q: Any, keys: Any, values: Any) -> Any:
    """Forward and backward."""
    import torch

    leaves = [x.detach().requires_grad_() for x in (q, *keys, *values)]
    return torch.autograd.grad(function(leaves[0], leaves[1:3], leaves[3:]).square().sum(), leaves)


def against_einsum(full: bool) -> Iterator[Claim]:
    """Time and memory of the exact mode against the formula."""
    for n, rounds in ((64, 15), (128, 15), (256, 9), (512, 3)):
        data = arrays(n)
        difference = float((exact(*data) - straightforward(*data)).abs().max())
        race = compare(partial(exact, *data), partial(straightforward, *data), rounds=rounds)
        yield Claim.from_race(
            f"Exact mode against einsum, n={n}", ">= 3x" if n == 256 else ">= 1x", race, peer_name=EINSUM,
            note=f"largest difference {difference:.1e}",
        )  # fmt: skip
    data = arrays(256)
    race = compare(
        partial(with_gradients, exact, *data), partial(with_gradients, straightforward, *data), rounds=5
    )
    yield Claim.from_race(
        "Exact mode with gradients against einsum, n=256", ">= 3x", race, peer_name=EINSUM + ", autograd"
    )


def memory(full: bool) -> Iterator[Claim]:
    """Memory that a call adds to a fresh process."""
    for n in (256, 512):
        ours, peer = (_peak(name, n) for name in ("exact", "straightforward"))
        yield Claim(f"Memory of the exact mode, n={n}", "< 0.05x", ours, "MB", peer, EINSUM,
                    note="growth of the peak of resident memory during the call, in a process of its own")  # fmt: skip


def _peak(name: str, n: int) -> float:
    code = f"from benchmarks import tensor_attention as b; print(b.peak_of_call(b.{name}, {n}))"
    return float(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    )


def peak_of_call(function: Callable[..., Any], n: int) -> float:
    """Megabytes by which the resident memory of this process peaks during a call; a small call warms up, unseen."""
    function(*arrays(16))
    ctypes.CDLL(None).malloc_trim(0)  # what it took goes back to the system
    data = arrays(n)
    with open("/proc/self/clear_refs", "w") as file:  # starts the peak anew
        file.write("5")
    before = _status("VmRSS")
    function(*data)
    return (_status("VmHWM") - before) / 1e3


def _status(key: str) -> float:
    with open("/proc/self/status") as file:
        return next(float(line.split()[1]) for line in file if line.startswith(key))


def growth(full: bool) -> Iterator[Claim]:
    """Time against the number of tokens in both modes, and of one against the other."""
    lengths = [16_384, 32_768, 65_536]
    times = [_least(partial(fast, *arrays(n)), 5) for n in lengths]
    slope = float(np.polyfit(np.log(lengths), np.log(times), 1)[0])
    note = ", ".join(f"n={n}: {1e3 * t:.0f} ms" for n, t in zip(lengths, times, strict=True))
    yield Claim(
        "Power of n in the time of the fast mode, n=16k..64k",
        "<= 1.15",
        slope,
        "power",
        paper=PAPER,
        note=note,
    )
    for a, b, n in zip(times, times[1:], lengths, strict=False):
        yield Claim(f"Time of the fast mode, {2 * n} tokens against {n}", "<= 2.3", b / a, "ratio")
    lengths = [128, 256, 512]
    times = [_least(partial(exact, *arrays(n)), 5) for n in lengths]
    slope = float(np.polyfit(np.log(lengths), np.log(times), 1)[0])
    note = ", ".join(f"n={n}: {1e3 * t:.1f} ms" for n, t in zip(lengths, times, strict=True))
    yield Claim("Power of n in the time of the exact mode, n=128..512", "<= 3.15", slope, "power", note=note)
    data = arrays(1024)
    race = compare(partial(fast, *data), partial(exact, *data), rounds=9)
    error = float((fast(*data) - exact(*data)).abs().max())
    yield Claim.from_race("Fast mode (eps=1e-3) against our exact mode, n=1024", ">= 100x", race,
                          peer_name="exact mode, this package", note=f"largest difference {error:.1e}")  # fmt: skip


def efficiency(full: bool) -> Iterator[Claim]:
    """Which share of the machine's arithmetic the exact kernel reaches, against a large matrix product."""
    import torch

    q, keys, values = arrays(512, d=32)
    a = torch.rand(2048, 2048)
    product = 2 * 2048**3
    scores = 512**3
    flops = scores * 4 * 32
    ours = [_least(partial(exact, q, keys, values), 3) for _ in range(5)]
    peer = [_least(lambda: a @ a, 3) for _ in range(5)]
    race = Race(tuple(flops / t / 1e9 for t in ours), tuple(product / t / 1e9 for t in peer), "GFLOP/s")
    yield Claim.from_race("Arithmetic of the exact kernel, n=512, d=32, exponentials not counted", ">= 0.3x", race,
                          peer_name="torch matrix product, 2048 x 2048, float32")  # fmt: skip


def _least(function: Callable[[], Any], rounds: int) -> float:
    function()
    taken = []
    for _ in range(rounds):
        start = time.perf_counter()
        function()
        taken.append(time.perf_counter() - start)
    return min(taken)


def bounds(full: bool) -> Iterator[Claim]:
    """Measured errors against certified ones, over sizes, widths, orders and tolerances."""
    from gossamer._core.errors import BoundError
    from gossamer.nn import tensor_attention

    worst, runs, refused = 0.0, 0, 0
    for seed in range(3):
        for order in (2, 3, 4):
            for d in (2, 4, 8):
                for size in (0.3, 1.0, 1.5):
                    q, keys, values = (
                        _double(x) for x in arrays(64 if order < 4 else 20, d, size, order, seed)
                    )
                    truth = tensor_attention(q, keys, values, mode="exact")
                    largest = float(np.prod([float(v.abs().max()) for v in values]))
                    for eps in (1e-1, 1e-2, 1e-4):
                        try:
                            out, info = tensor_attention(
                                q, keys, values, mode="poly", eps=eps, return_info=True
                            )
                        except BoundError:
                            refused += 1
                            continue
                        runs += 1
                        worst = max(worst, float((out - truth).abs().max()) / largest / info.bound)
    yield Claim("Largest error over its certified bound", "<= 1", worst, "ratio",
                note=f"{runs} runs of orders 2 to 4, widths 2 to 8, entries up to 1.5; {refused} more were refused: "
                "more than 20,000 monomials")  # fmt: skip


def _double(x: Any) -> Any:
    return [a.double() for a in x] if isinstance(x, list) else x.double()


def phase(full: bool) -> Iterator[Claim]:
    """The size of entries at which the fast mode stops being fast, for orders 2, 3 and 4."""
    n, limit = 4096, 1000
    reach = {order: _reach(order, n, limit) for order in (2, 3, 4)}
    logs = np.log(n)
    for order in (3, 4):
        scaled = ", ".join(
            f"order {k}: B = {b:.2f} = {b / logs ** (1 / k):.2f} (log n)^(1/{k})" for k, b in reach.items()
        )
        yield Claim(f"Largest entries that {limit} monomials keep to 1 %, order {order} against {order - 1}", "< 1x",
                    reach[order], "B", reach[order - 1], f"order {order - 1}", paper=PAPER,
                    note=f"d = 8, n = {n}, scale 1/d; {scaled}")  # fmt: skip


def _reach(order: int, n: int, limit: int) -> float:
    """The largest B for entries uniform in [-B, B] whose certified polynomial has at most so many monomials."""
    low, high = 0.1, 10.0
    while high / low > 1.005:
        middle = (low * high) ** 0.5
        if features(order, n, middle, limit) is not None:
            low = middle
        else:
            high = middle
    return low


def features(order: int, n: int, size: float, limit: int = 20_000, eps: float = 1e-2) -> int | None:
    """Monomials that certify ``eps`` for uniform entries, or None past the limit."""
    from gossamer._core.errors import BoundError
    from gossamer.nn.attention.poly_tuples import PolyPlan

    q, keys, _ = arrays(n, 8, size, order)
    try:
        return PolyPlan(q.double() / 8, [k.double() for k in keys], eps, limit).features
    except BoundError:
        return None


def match3_third(seed: int, full: bool) -> Iterator[Claim]:
    """Learning Match3 by one layer of third-order attention."""
    from benchmarks.tensor_attention_match3 import rate, train

    accuracy, count = train("third order", seed)
    yield Claim(_learned("one layer of order 3", seed), ">= 93", 100 * accuracy, "%", 100 * rate(),
                "always answering yes", note=f"{count} parameters")  # fmt: skip


def match3_ordinary(kind: str, full: bool) -> Iterator[Claim]:
    """Learning it by one or two layers of ordinary attention with more parameters, and how far these stay behind."""
    from benchmarks.tensor_attention_match3 import train

    third = {
        claim["name"]: claim["ours"] for claim in read_results(RESULTS / "tensor-attention.json")["claims"]
    }
    layers, limit, lead = {"ordinary": ("one layer", 65, 20), "ordinary, two layers": ("two layers", 100, 0)}[
        kind
    ]
    for seed in (0, 1):
        accuracy, count = train(kind, seed)
        yield Claim(_learned(f"{layers} of order 2", seed), f"<= {limit}", 100 * accuracy, "%",
                    note=f"{count} parameters")  # fmt: skip
        yield Claim(f"Match3, points of one layer of order 3 above {layers} of order 2, seed {seed}", f">= {lead}",
                    third[_learned("one layer of order 3", seed)] - 100 * accuracy, "points")  # fmt: skip


def _learned(network: str, seed: int) -> str:
    return f"Match3 accuracy after 4000 steps, {network}, seed {seed}"


if __name__ == "__main__":
    run(
        "tensor-attention",
        {
            "einsum": against_einsum,
            "memory": memory,
            "growth": growth,
            "efficiency": efficiency,
            "bounds": bounds,
            "phase": phase,
            "match3-third-0": partial(match3_third, 0),
            "match3-third-1": partial(match3_third, 1),
            "match3-ordinary": partial(match3_ordinary, "ordinary"),
            "match3-two-layers": partial(match3_ordinary, "ordinary, two layers"),
        },
        packages=["numpy", "torch", "opt_einsum"],
    )
