"""FlashFFTConv (arXiv 2311.05908): long convolutions against torch, SciPy and others; sparse, partial, layers, memory.

Random inputs, float32, 2 threads, filter as long as the sequence and transformed in every call by both sides.
"""

from __future__ import annotations

import time
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
    """Against SciPy's transforms with as many threads."""
    import scipy.fft
    import torch

    from gossamer.nn import FlashFFTConv

    conv = FlashFFTConv()
    for L in (1024, 16384):
        u, k, pre, post = _inputs(L)
        U, K, A, B = (x.numpy() for x in (u, k, pre, post))

        def by_scipy(U: Any = U, K: Any = K, A: Any = A, B: Any = B, n: int = 2 * L) -> Any:
            spectrum = scipy.fft.rfft(A * U, n, workers=2) * scipy.fft.rfft(K, n, workers=2)
            return torch.from_numpy(B * scipy.fft.irfft(spectrum, n, workers=2)[..., : n // 2])

        race = _race(lambda u=u, k=k, a=pre, b=post: conv(u, k, a, b), by_scipy)
        yield Claim.from_race(
            f"Gated forward against SciPy, L={L}", ">= 1x", race, peer_name="scipy.fft, workers=2"
        )


def sparse(full: bool) -> Iterator[Claim]:
    """Part of the spectrum left out, against own dense convolution; spectra ready on both sides."""
    from gossamer.linalg.transforms.fft_conv.run import forward, spectra_of
    from gossamer.nn import FrequencySparseFFTConv

    u, k, _, _ = _inputs(32768)
    for sparsity, target in ((0.75, "1.35"), (0.91, "1.6")):
        conv = FrequencySparseFFTConv(sparsity=sparsity)
        plan = conv.explain(u, k)
        width = plan.factors[-1]
        mask = conv.mask(plan).reshape(-1, width, width)
        dense = spectra_of(plan, k.numpy())
        part = (dense.reshape(len(k), -1, width, 2, width) * mask.transpose(0, 2, 1)[:, :, None]).reshape(
            dense.shape
        )
        live = mask.any((1, 2)).astype(np.uint8)
        kept = float(mask.mean())
        race = compare(
            lambda p=plan, s=part, m=live: forward(p, u.numpy(), k.numpy(), spectra=s, live=m),
            lambda p=plan, s=dense: forward(p, u.numpy(), k.numpy(), spectra=s),
        )  # fmt: skip
        yield Claim.from_race(
            f"Frequency-sparse, {sparsity:.0%} left out, L=32768, against own dense", f">= {target}x", race,
            peer_name="FlashFFTConv", paper="1.3-1.8x", note=f"{kept:.4f} of the spectrum is kept and computed",
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
        note="windows of four times the taps",
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


def memory(full: bool) -> Iterator[Claim]:
    """What a training step keeps and takes besides inputs, results and gradients."""
    import torch

    from gossamer.nn import FlashFFTConv

    leaves = [x.requires_grad_() for x in _inputs(4096)]
    taken = []
    for call in (FlashFFTConv(), _by_torch):
        call(*leaves).sum().backward()
        kept = [0]

        def pack(x: Any, kept: Any = kept) -> Any:
            if not any(x.data_ptr() == leaf.data_ptr() for leaf in leaves):
                kept[0] += x.nbytes
            return x

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            call(*leaves)
        taken.append(kept[0] / 2**20)
    yield Claim(
        "Bytes kept for backward besides the inputs, L=4096, part of torch's", "<= 0.333x", taken[0], "MiB", taken[1],
        "torch.fft, autograd", note="saved tensors that are not inputs",
    )  # fmt: skip


def model(full: bool) -> Iterator[Claim]:
    """A training step of a Hyena block, with our convolution and with torch's."""
    import torch

    from gossamer.nn import HyenaBlock

    torch.manual_seed(0)
    ours = torch.nn.Sequential(*(HyenaBlock(128, 4096) for _ in range(4)))
    theirs = torch.nn.Sequential(*(HyenaBlock(128, 4096) for _ in range(4)))
    theirs.load_state_dict(ours.state_dict())

    class TorchConv(torch.nn.Module):
        def forward(self, u: Any, k: Any, pregate: Any = None, postgate: Any = None) -> Any:
            return _by_torch(u, k, pregate, postgate)

    for block in theirs:
        block.operator.conv = TorchConv()
    x = torch.randn(1, 4096, 128)
    losses: dict[int, list[float]] = {0: [], 1: []}
    optimizers = [torch.optim.Adam(net.parameters(), 1e-3) for net in (ours, theirs)]

    def step(i: int) -> None:
        net = (ours, theirs)[i]
        optimizers[i].zero_grad()
        loss = (net(x)[:, :-1] - x[:, 1:]).square().mean()
        loss.backward()
        optimizers[i].step()
        losses[i].append(float(loss.detach()))

    started = time.perf_counter()
    race = compare(lambda: step(0), lambda: step(1), work=4096, unit="tokens/s", rounds=5)
    apart = max(abs(a / b - 1) for a, b in zip(*losses.values(), strict=True))
    yield Claim.from_race(
        "Training step of four Hyena blocks, d=128, L=4096", ">= 1.4x", race, peer_name="the same with torch.fft",
        note=f"losses of equal steps differ by {apart:.1e} at most; {time.perf_counter() - started:.0f} s in all",
    )  # fmt: skip


if __name__ == "__main__":
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
            "model": model,
        },
        packages=["numpy", "scipy", "torch", "mkl"],
    )
