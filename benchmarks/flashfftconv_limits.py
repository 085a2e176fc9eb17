"""What FlashFFTConv takes of a machine: memory of a step, the share of its limits, and products of bfloat16."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.flashfftconv import _by_torch, _inputs
from benchmarks.harness import Claim, compare

MEMORY = """
import ctypes
import gc
import sys
import torch
from benchmarks.flashfftconv import _by_torch, _inputs
from gossamer.nn import FlashFFTConv

def resident(name):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(name)) / 1024

call = FlashFFTConv() if sys.argv[1] == "ours" else _by_torch
leaves = [x.requires_grad_() for x in _inputs(4096)]
weight = torch.randn(leaves[0].shape)
for measured in (False, True):
    for x in leaves:
        x.grad = None
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    before = resident("VmRSS")
    with open("/proc/self/clear_refs", "w") as reset:
        reset.write("5")
    call(*leaves).backward(weight)
print(resident("VmHWM") - before, (sum(x.grad.nbytes for x in leaves) + weight.nbytes) / 2**20)
"""


def memory(full: bool) -> Iterator[Claim]:
    """What a training step takes, and what of it is kept between forward and backward."""
    import torch

    from gossamer.nn import FlashFFTConv

    peaks = []
    for who in ("ours", "torch"):
        out = subprocess.run(
            [sys.executable, "-c", MEMORY, who], capture_output=True, text=True, check=True
        ).stdout
        peaks.append([float(x) for x in out.split()])
    (ours, needed), (theirs, _) = peaks
    yield Claim(
        "Peak memory of a training step besides its inputs, L=4096, part of torch's", "<= 0.333x", ours, "MiB", theirs,
        "torch.fft, autograd",
        note=f"resident memory of the second step, a process each; {needed:.0f} MiB are the result and the gradients, "
        f"which both give; besides those {ours - needed:.0f} against {theirs - needed:.0f} MiB",
    )  # fmt: skip
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


def roofline(full: bool) -> Iterator[Claim]:
    """How near one core comes to its limits, where all is in the cache and where nothing is."""
    from benchmarks.kernels import read_bandwidth
    from gossamer._kernels import fftconv as kernels
    from gossamer.linalg.transforms.fft_conv.chains import cheapest_radices

    rng, width = np.random.default_rng(0), kernels.lanes("float32")
    # additions and products of real vectors in a butterfly, twiddle factors included, for each of its points
    work = {4: (16 + 18) / 4, 8: (52 + 50) / 8, 16: (136 + 84) / 16}
    peak = _product_rate()
    for points in (4096, 16384):
        radices = cheapest_radices(points // width**2)
        plan = kernels.chain(points, radices, columns=True, twisted=True)
        k = rng.standard_normal((1, points), dtype=np.float32)
        u = rng.standard_normal((8, 1, points), dtype=np.float32)
        spectra, out = kernels.spectra_of(plan, k), np.empty_like(u)
        run = lambda p=plan, u=u, s=spectra, o=out: kernels.convolve(  # noqa: E731
            p, u, None, taps=u.shape[2], spectra=s, out=o, threads=1
        )
        seconds = _least(run)
        chain = (*(r for r in radices if r > 1), width, width)
        operations = u.size * (2 * sum(work.get(r, 9.0) for r in chain) + 6)
        yield Claim(
            f"Share of one core's peak, L={points}, filter ready", ">= 0.25", operations / seconds / peak, "of peak",
            note=f"factors {chain}; {operations / u.size:.0f} additions and products a point, "
            f"{1e-9 * operations / seconds:.1f} of {1e-9 * peak:.1f} GFLOPS, the peak by a matrix product: there "
            "every addition is fused with a product, few of a butterfly are",
        )  # fmt: skip
    from gossamer.nn import FlashFFTConv

    u, k, pre, post = _inputs(4096)
    conv = FlashFFTConv()
    seconds = _least(lambda: conv(u, k, pre, post))
    moved = 4 * (4 * u.numel() + k.numel()) / seconds / 1e9
    bandwidth = read_bandwidth(2)
    yield Claim(
        "Share of the memory bandwidth, gated forward, L=4096, two threads", ">= 0.5", moved / bandwidth, "of peak",
        note=f"{moved:.1f} of {bandwidth:.1f} GB/s that reading reaches: input, gates and filter once, the result once",
    )  # fmt: skip


def products(full: bool) -> Iterator[Claim]:
    """The literal chain of matrix products, in bfloat16 and in float32."""
    import torch

    from gossamer.nn import FlashFFTConv

    half, single, default = FlashFFTConv(dtype=torch.bfloat16), FlashFFTConv(engine="gemm"), FlashFFTConv()
    for L in (1024, 4096):
        u, k, _, _ = _inputs(L)
        with torch.no_grad():
            exact = default(u.double(), k.double())
            error = float((half(u, k) - exact).square().mean().sqrt() / exact.square().mean().sqrt())
            race = compare(lambda u=u, k=k: half(u, k), lambda u=u, k=k: single(u, k), rounds=5)
            butterflies = compare(lambda u=u, k=k: default(u, k), lambda u=u, k=k: half(u, k), rounds=3)
        yield Claim.from_race(
            f"Products of bfloat16 against those of float32, L={L}", ">= 1x", race, peer_name="engine gemm, float32",
            note=f"factors {half.explain(u, k).factors}; relative error {error:.1e}; butterflies in float32 take "
            f"{1 / butterflies.ratio:.2f} of its time",
        )  # fmt: skip


def _least(run: Callable[[], Any], rounds: int = 15) -> float:
    run()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def _product_rate() -> float:
    """Floating-point operations a second of one core in a matrix product: two to each multiply-add."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    A = torch.randn(1024, 1024)
    seconds = _least(lambda: A @ A, 9)
    torch.set_num_threads(threads)
    return 2 * 1024**3 / seconds
