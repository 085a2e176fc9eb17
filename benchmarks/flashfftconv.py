"""FlashFFTConv (arXiv 2311.05908): long convolutions against torch, SciPy and others; sparse, partial, layers, memory.

Random inputs, float32, 2 threads, filter as long as the sequence and transformed in every call by both sides.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.harness import Claim, Race, compare, run

PAPER = "H100: up to 7.93x over PyTorch (gated, 1K), 6.6x at 4K, 2.5-3.2x at 16-32K, 1.3x at 4M"
MIDDLE = (512, 1024, 2048, 4096, 8192, 16384, 32768)
LONG = (131072, 1048576)
SIZE = 1 << 21  # numbers in an input, about


def _inputs(L: int, batch: int = 1) -> tuple[Any, ...]:
    import torch

    torch.manual_seed(0)
    channels = max(1, min(64, SIZE // (batch * L)))
    shape = (max(batch, SIZE // (channels * L)) if L <= 32768 else batch, channels, L)
    u, pre, post = (torch.randn(shape) for _ in range(3))
    return u, torch.randn(channels, L) / L**0.5, pre, post


def _by_torch(u: Any, k: Any, pre: Any = None, post: Any = None) -> Any:
    import torch

    n = 2 * u.shape[-1]
    v = u if pre is None else pre * u
    y = torch.fft.irfft(torch.fft.rfft(v, n=n) * torch.fft.rfft(k, n=n), n=n)[..., : u.shape[-1]]
    return y if post is None else post * y


def _race(ours: Callable[[], Any], peer: Callable[[], Any], rounds: int = 5) -> Race:
    import torch

    with torch.no_grad():
        error = float((ours() - peer()).abs().max() / peer().abs().max())
        if error > 1e-4:
            raise ValueError(f"the two differ by {error:.2g}")
        return compare(ours, peer, rounds=rounds)


def _table(name: str, lengths: tuple[int, ...], gated: bool, mean: str) -> Iterator[Claim]:
    from gossamer.nn import FlashFFTConv

    conv, ratios = FlashFFTConv(), []
    for L in lengths:
        u, k, pre, post = _inputs(L)
        gates = (pre, post) if gated else ()
        race = _race(lambda u=u, k=k, g=gates: conv(u, k, *g), lambda u=u, k=k, g=gates: _by_torch(u, k, *g))
        ratios.append(race.ratio)
        yield Claim.from_race(
            f"{name}, L={L}, input {'x'.join(map(str, u.shape))}", ">= 1x", race, peer_name="torch.fft (MKL), rfft",
            paper=PAPER, note=conv.explain(u, k).engine,
        )  # fmt: skip
    yield Claim(
        f"{name}, geometric mean of speed-ups, L={lengths[0]}..{lengths[-1]}", f">= {mean}",
        float(np.exp(np.mean(np.log(ratios)))), "x", peer_name="torch.fft (MKL), rfft", paper=PAPER,
        note="of the medians of five interleaved rounds at each length",
    )  # fmt: skip


def gated(full: bool) -> Iterator[Claim]:
    """Gated causal convolution, forward."""
    yield from _table("Gated forward", MIDDLE, True, "2.0")


def gated_long(full: bool) -> Iterator[Claim]:
    """The same for the longest sequences, and the shortest."""
    yield from _table("Gated forward", LONG, True, "1.3")
    yield from _table("Gated forward", (256,), True, "1.0")


def plain(full: bool) -> Iterator[Claim]:
    """Without gates."""
    yield from _table("Ungated forward", MIDDLE, False, "1.6")


def training(full: bool) -> Iterator[Claim]:
    """Forward and backward, gradients of input, filter and both gates."""
    import torch

    from gossamer.nn import FlashFFTConv

    conv, ratios = FlashFFTConv(), []
    for L in (512, 2048, 8192, 32768):
        leaves = [x.requires_grad_() for x in _inputs(L)]
        weight = torch.randn(leaves[0].shape)

        def step(call: Any, leaves: Any = leaves, weight: Any = weight) -> Any:
            return torch.autograd.grad(call(*leaves), leaves, weight)

        race = compare(lambda s=step: s(conv), lambda s=step: s(_by_torch), rounds=5)
        ratios.append(race.ratio)
        yield Claim.from_race(
            f"Gated forward and backward, L={L}", ">= 1x", race, peer_name="torch.fft, autograd"
        )
    yield Claim(
        "Gated forward and backward, geometric mean of speed-ups, L=512..32768", ">= 2.0",
        float(np.exp(np.mean(np.log(ratios)))), "x", peer_name="torch.fft, autograd",
    )  # fmt: skip


def peers(full: bool) -> Iterator[Claim]:
    """Against other transforms with as many threads."""
    from benchmarks.flashfftconv_peers import by_fftw, by_mkl, by_scipy
    from gossamer.nn import FlashFFTConv

    conv = FlashFFTConv()
    kinds = {
        "SciPy": (by_scipy, "scipy.fft, workers=2"),
        "FFTW": (by_fftw, "pyFFTW, FFTW_MEASURE, 2 threads, buffers kept"),
        "mkl_fft": (by_mkl, "mkl_fft, 2 threads"),
    }
    for L in (1024, 16384):
        inputs = _inputs(L)
        for name, (make, peer_name) in kinds.items():
            peer = make(*inputs)
            if peer is not None:
                u, k, pre, post = inputs
                race = _race(lambda u=u, k=k, a=pre, b=post: conv(u, k, a, b), peer)
                yield Claim.from_race(
                    f"Gated forward against {name}, L={L}", ">= 1x", race, peer_name=peer_name
                )


def sparse(full: bool) -> Iterator[Claim]:
    """Part of the spectrum left out, against own dense convolution; filters transformed in every call by both."""
    import torch

    from gossamer.nn import FlashFFTConv, FrequencySparseFFTConv

    u, k, _, _ = _inputs(32768)
    dense, weight = FlashFFTConv(engine="codelet"), torch.randn(u.shape)
    ways: dict[str, dict[float, dict[str, Any]]] = {
        "tiles of Monarch order": {s: {"sparsity": s} for s in (0.75, 0.91)},
        "high frequencies": {s: {"n_partial": round(65536 * (1 - s))} for s in (0.75, 0.91)},
    }
    for what, options in ways.items():
        for sparsity, target in ((0.75, "1.35"), (0.91, "1.6")):
            conv = FrequencySparseFFTConv(**options[sparsity])
            kept, computed = conv.kept(u, k)
            note = f"{kept:.4f} of the spectrum is kept, {computed:.4f} computed"
            with torch.no_grad():
                race = compare(lambda c=conv: c(u, k), lambda: dense(u, k))
            yield Claim.from_race(
                f"Frequency-sparse, {sparsity:.0%} of {what} left out, L=32768, against own dense", f">= {target}x",
                race, peer_name="FlashFFTConv", paper="1.3-1.8x", note=note,
            )  # fmt: skip
            leaves = [x.clone().requires_grad_() for x in (u, k)]

            def step(call: Any, leaves: Any = leaves) -> Any:
                return torch.autograd.grad(call(*leaves), leaves, weight)

            race = compare(lambda s=step, c=conv: s(c), lambda s=step: s(dense), rounds=5)
            yield Claim.from_race(
                f"The same with both gradients, {sparsity:.0%} of {what} left out", ">= 1x", race,
                peer_name="FlashFFTConv", note=note,
            )  # fmt: skip


def partial(full: bool) -> Iterator[Claim]:
    """Short filters at L=128K, and a stream of four million points."""
    import resource

    import torch

    from gossamer.nn import FlashFFTConv, PartialFFTConv

    L = 131072
    u, k, _, _ = _inputs(L)
    few = k[:, : L // 16].contiguous()
    conv, dense = PartialFFTConv(L // 16), FlashFFTConv()
    padded = torch.nn.functional.pad(few, (0, L - few.shape[1]))
    race = _race(lambda: conv(u, few), lambda: dense(u, padded))
    yield Claim.from_race(
        "Partial, L/16 taps, L=131072, against own full convolution", ">= 1.8x", race, peer_name="FlashFFTConv",
        note=str(conv.explain(u, few)),
    )  # fmt: skip
    race = _race(lambda: conv(u, few), lambda: _by_torch(u, padded))
    yield Claim.from_race(
        "Partial, L/16 taps, L=131072, against torch", ">= 1x", race, peer_name="torch.fft, full length"
    )
    stream, piece = PartialFFTConv(8192).stream(few), torch.randn(1, u.shape[1], 65536)
    stream.step(piece)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(64):
        stream.step(piece)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    yield Claim(
        "Peak memory gained over a stream of 4M points", "<= 1024", grown, "MiB", note="64 pieces of 65536"
    )


def short(full: bool) -> Iterator[Claim]:
    """Short depthwise convolutions."""
    import torch

    from gossamer.nn import DepthwiseConv1d

    for taps in (3, 7):
        x = torch.randn(8, 64, 4096)
        layer = DepthwiseConv1d(64, taps)
        weight, bias = layer.weight[:, None], layer.bias

        def by_torch(x: Any = x, w: Any = weight, b: Any = bias, n: int = taps - 1) -> Any:
            return torch.nn.functional.conv1d(x, w, b, padding=n, groups=64)[..., : x.shape[2]]

        race = _race(lambda m=layer, x=x: m(x), by_torch)
        yield Claim.from_race(
            f"Depthwise, {taps} taps, 8x64x4096", ">= 1x", race, peer_name="torch conv1d, groups"
        )


if __name__ == "__main__":
    from benchmarks.flashfftconv_limits import memory, products, roofline
    from benchmarks.flashfftconv_model import characters, quality

    run(
        "flashfftconv",
        {
            "gated": gated,
            "gated-long": gated_long,
            "plain": plain,
            "training": training,
            "peers": peers,
            "sparse": sparse,
            "partial": partial,
            "short": short,
            "memory": memory,
            "roofline": roofline,
            "products": products,
            "characters": characters,
            "quality": quality,
        },
        packages=[
            "numpy",
            "scipy",
            "torch",
            "mkl",
            *(p for p in ("pyfftw", "mkl_fft") if importlib.util.find_spec(p)),
        ],
    )
