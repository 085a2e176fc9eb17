"""Monarch (arXiv 2204.00595): layers against dense ones, projections, fine-tuning of projected models.

Speed: float32, 512 tokens, one thread each, interleaved with ``torch.nn.Linear`` of the same shape.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

import benchmarks.passive_threads  # noqa: F401  (before any library that starts threads)
from benchmarks.harness import Claim, compare, run

TOKENS = 512
FORWARD = {4: 1.85, 8: 3.4, 16: 6.0}
PAPER_GPT = (
    "GPT-2 and ViT train 2x faster at equal quality; GLUE fine-tuning 1.7x, average 78.6 to 78.3 (GPU)"
)


def _threads(count: int) -> None:
    import torch

    from gossamer._core.threads import set_threads

    torch.set_num_threads(count)
    set_threads(count)


def _layers(n: int, b: int) -> tuple[Any, Any, Any]:
    import torch

    from gossamer.nn import MonarchLinear

    torch.manual_seed(0)
    ours = MonarchLinear(n, n, nblocks=b)
    x = torch.randn(TOKENS, n)
    with torch.no_grad():
        error = float((ours(x) - ours.to_linear()(x)).norm() / ours(x).norm())
    assert error < 1e-5, error
    return ours, torch.nn.Linear(n, n), x


def _forward(sizes: tuple[int, ...], rounds: int) -> Iterator[Claim]:
    import torch

    _threads(1)
    for n in sizes:
        root = round(n**0.5)
        blocks = [4, 8, 16] + ([root] if root * root == n else [])
        for b in blocks:
            ours, dense, x = _layers(n, b)
            with torch.no_grad():
                race = compare(partial(ours, x), partial(dense, x), rounds=rounds, warmup=2)
            # the root of n has no bound of its own: it must keep that of 16 blocks
            bound = FORWARD.get(b, 6.0) if b != 16 or n >= 2048 else 1.0
            rate, peer = np.median(race.ours), np.median(race.peer)
            yield Claim.from_race(
                f"Forward, n={n}, {b} blocks", f">= {bound}x", race, peer_name="torch.nn.Linear, float32",
                paper=PAPER_GPT if (n, b) == (1024, 4) else "",
                note=f"{b / 2:g} times fewer operations; {4e-9 * TOKENS * n * n / b * rate:.0f} Gflop/s, "
                     f"the dense layer {2e-9 * TOKENS * n * n * peer:.0f}",
            )  # fmt: skip


def forward(full: bool) -> Iterator[Claim]:
    """Layers of 768 to 2048 features, forward."""
    yield from _forward((768, 1024, 2048), 15)


def forward_large(full: bool) -> Iterator[Claim]:
    """Layers of 4096 features: the weights of a dense layer no longer fit the last cache."""
    yield from _forward((4096,), 7)


def training(full: bool) -> Iterator[Claim]:
    """Forward and backward with gradients of input, factors and bias."""
    import torch

    _threads(1)
    for n, b in ((768, 4), (1024, 4), (2048, 4), (1024, 8)):
        ours, dense, x = _layers(n, b)
        upstream = torch.randn(TOKENS, n)

        def step(layer: Any, x: Any = x, upstream: Any = upstream) -> None:
            layer.zero_grad()
            layer(x.detach().requires_grad_()).backward(upstream)

        race = compare(partial(step, ours), partial(step, dense), rounds=11, warmup=2)
        yield Claim.from_race(
            f"Forward and backward, n={n}, {b} blocks", f">= {1.7 if b == 4 else 3.0}x", race,
            peer_name="torch.nn.Linear, float32",
        )  # fmt: skip


def peers(full: bool) -> Iterator[Claim]:
    """Against other cheap layers with as many parameters."""
    import torch

    from gossamer.linalg import Block, BlockDiagonal, LowRank
    from gossamer.nn import StructuredLinear

    _threads(1)
    for n, b in ((1024, 4), (2048, 8)):
        ours, _, x = _layers(n, b)
        rank = n // b
        # block-sparse plus low rank, as Pixelated Butterfly has it: three quarters of the weights in blocks
        pixelfly = StructuredLinear(n, n, structure=Block((8, 8), density=1.5 / b) + LowRank(rank // 4))
        low = torch.nn.Sequential(torch.nn.Linear(n, rank, bias=False), torch.nn.Linear(rank, n))
        diagonal = StructuredLinear(n, n, structure=BlockDiagonal(b // 2))
        for name, peer in (
            ("low rank in torch", low),
            ("block-diagonal, two batched products fewer", diagonal),
            ("block-sparse and low rank (Pixelated Butterfly)", pixelfly),
        ):
            with torch.no_grad():
                race = compare(partial(ours, x), partial(peer, x), rounds=11, warmup=2)
            yield Claim.from_race(
                f"Forward at equal parameters, n={n}, {b} blocks, against {name.split(',')[0]}", ">= 0.9x", race,
                peer_name=name.split(",")[0], note=f"{2 * n * n // b} weights each",
            )  # fmt: skip


def bfloat16(full: bool) -> Iterator[Claim]:
    """Factors stored in 16 bits: half the bytes at the same speed."""
    import torch

    from gossamer.linalg import Monarch

    _threads(1)
    W = torch.randn(2048, 2048)
    half, whole = (Monarch(4, dtype=dtype).project(W) for dtype in ("bfloat16", None))
    x = torch.randn(TOKENS, 2048).T
    race = compare(lambda: half @ x, lambda: whole @ x, rounds=9, warmup=2)
    yield Claim.from_race("Factors in bfloat16 against float32, n=2048, 4 blocks", ">= 0.9x", race,
                          peer_name="the same in float32",
                          note=f"{half.nbytes / whole.nbytes:g} of the bytes")  # fmt: skip


def projection(full: bool) -> Iterator[Claim]:
    """Exact members, noise, and the time of a large projection."""
    import time

    import scipy.linalg

    from gossamer.linalg import Monarch, MonarchStar, recover_mmstar, weighted_error

    rng = np.random.default_rng(0)
    F = np.fft.fft(np.eye(1024))[:, np.arange(1024).reshape(32, 32).T.ravel()]
    H = scipy.linalg.hadamard(64).astype(float)
    for name, W, family in (
        ("Fourier transform, n=1024, permuted", F, Monarch(32, dtype="complex128")),
        ("Hadamard transform, n=64", H, Monarch(8)),
    ):
        error = (weighted_error(W, family.project(W).to_dense()) / (abs(W) ** 2).sum()) ** 0.5
        yield Claim(f"Relative error of the projection: {name}", "<= 1e-12", error, "")
    C = scipy.linalg.circulant(rng.standard_normal(64))
    yield Claim(
        "Residual of a circulant matrix recovered in MM*, n=64", "<= 1e-9", recover_mmstar(C).residual, ""
    )
    W = rng.standard_normal((256, 256))
    own, star = (weighted_error(W, family.project(W).to_dense()) / (W**2).sum() for family in
                 (Monarch(16), MonarchStar(sweeps=20)))  # fmt: skip
    yield Claim("Squared error of noise in MM* against Monarch, n=256", "<= 1x", star, "", own, "Monarch(16)",
                note="20 sweeps of alternating least squares")  # fmt: skip
    for n, target in ((64, 0.618), (256, 0.785), (1024, 0.886)):
        W = rng.standard_normal((n, n)).astype(np.float32)
        error = weighted_error(W, Monarch(round(n**0.5)).project(W).to_dense()) / (W.astype(float) ** 2).sum()
        yield Claim(f"Distance of the squared error of noise from {target}, n={n}", "<= 0.01", abs(error - target), "",
                    note=f"{error:.4f}: noise is not approximated, as it should be")  # fmt: skip
    _threads(2)
    W = rng.standard_normal((4096, 4096)).astype(np.float32)
    for b, target in ((4, 30.0), (64, 5.0)):
        start = time.perf_counter()
        Monarch(b).project(W)
        taken = time.perf_counter() - start
        yield Claim(f"Projection of a 4096 x 4096 weight, {b} blocks", f"<= {target:g}", taken, "s",
                    note="2 threads; every slice cut by its own decomposition, in float64")  # fmt: skip


if __name__ == "__main__":
    from benchmarks.monarch_gpt import gpt, gpt_speed
    from benchmarks.monarch_models import (
        STUDENTS,
        digits,
        encoder_quality,
        encoder_speed,
        operator,
    )
    from benchmarks.monarch_mri import mri

    run(
        "monarch",
        {
            "forward": forward,
            "forward-large": forward_large,
            "training": training,
            "peers": peers,
            "bfloat16": bfloat16,
            "projection": projection,
            "digits": digits,
            **{f"encoder-{kind}": partial(encoder_quality, kind) for kind in STUDENTS},
            "encoder-speed": encoder_speed,
            "operator": operator,
            "mri": mri,
            "gpt": gpt,
            "gpt-speed": gpt_speed,
        },
        packages=["numpy", "scipy", "torch", "scikit-learn", "transformers"],
    )
