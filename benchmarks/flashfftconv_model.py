"""A Hyena model of characters: trained with our convolutions and torch's, then with part of the spectrum left out."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from benchmarks.harness import Claim, Race, compare
from gossamer.datasets import load_wikitext2
from gossamer.nn import FrequencySparseFFTConv, HyenaBlock

LENGTH, WIDTH, BLOCKS = 4096, 128, 4


class Characters(torch.nn.Module):
    """Bytes in, bytes out."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = torch.nn.Embedding(256, WIDTH)
        self.blocks = torch.nn.Sequential(*(HyenaBlock(WIDTH, LENGTH) for _ in range(BLOCKS)))
        self.norm, self.read = torch.nn.LayerNorm(WIDTH), torch.nn.Linear(WIDTH, 256)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.read(self.norm(self.blocks(self.embed(x))))


class ByTorch(torch.nn.Module):
    def forward(self, u: Any, k: Any, pregate: Any = None, postgate: Any = None) -> Any:
        n = 2 * u.shape[-1]
        v = u if pregate is None else pregate * u
        y = torch.fft.irfft(torch.fft.rfft(v, n=n) * torch.fft.rfft(k, n=n), n=n)[..., : u.shape[-1]]
        return y if postgate is None else postgate * y


class WithoutPart(torch.nn.Module):
    """The sparse convolution of the filter proper; the direct term, its first tap's addition, keeps all frequencies."""

    def __init__(self, sparse: FrequencySparseFFTConv, direct: torch.Tensor) -> None:
        super().__init__()
        self.sparse, self.direct, self.calls = sparse, direct, 0

    def forward(self, v: Any, k: Any, postgate: Any) -> Any:
        direct = self.direct[self.calls % len(self.direct)]
        self.calls += 1
        smooth = k.clone()
        smooth[:, 0] -= direct
        return postgate * (self.sparse(v, smooth) + direct[:, None] * v)


@functools.cache
def text(split: str) -> torch.Tensor:
    return torch.from_numpy(np.frombuffer(load_wikitext2(split).encode(), np.uint8).astype(np.int64))


def batch(number: int) -> tuple[torch.Tensor, torch.Tensor]:
    start = int(np.random.default_rng(number).integers(0, len(text("valid")) - LENGTH - 1))
    piece = text("valid")[start : start + LENGTH + 1]
    return piece[None, :-1], piece[None, 1:]


def loss_of(model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(model(x)[0], y[0])


class Training:
    """Adam with a warm-up, the same batches for every model."""

    def __init__(self, model: torch.nn.Module, rate: float = 3e-3) -> None:
        self.model, self.losses = model, []
        self.optimizer = torch.optim.Adam(model.parameters(), rate)
        self.warm = torch.optim.lr_scheduler.LinearLR(self.optimizer, 0.05, total_iters=20)

    def step(self) -> None:
        self.optimizer.zero_grad()
        loss = loss_of(self.model, *batch(len(self.losses)))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.warm.step()
        self.losses.append(float(loss.detach()))


def characters(full: bool) -> Iterator[Claim]:
    """Equal steps with our convolution and with torch's: speed, and the two loss curves."""
    torch.manual_seed(0)
    ours, theirs = Characters(), Characters()
    theirs.load_state_dict(ours.state_dict())
    for block in theirs.blocks:
        block.operator.conv = ByTorch()
    a, b = Training(ours), Training(theirs)
    rounds = 400 if full else 30
    race: Race = compare(a.step, b.step, work=LENGTH, unit="tokens/s", rounds=rounds, warmup=1)
    apart = max(abs(x / y - 1) for x, y in zip(a.losses, b.losses, strict=True))
    where = f"{BLOCKS} blocks, d={WIDTH}, L={LENGTH}, one sequence a step, {len(a.losses)} steps of Adam"
    yield Claim.from_race(
        f"Character model, {BLOCKS} Hyena blocks, d={WIDTH}, L={LENGTH}: training", ">= 1.4x", race,
        peer_name="the same with torch.fft", paper="up to 4.4x end to end", note=where,
    )  # fmt: skip
    yield Claim(
        "Character model: largest difference of the two loss curves", "<= 1", 100 * apart, "%",
        note=f"from {a.losses[0]:.3f} to {np.mean(a.losses[-10:]):.3f}, {np.mean(b.losses[-10:]):.3f} nats a character",
    )  # fmt: skip


def quality(full: bool) -> Iterator[Claim]:
    """Train, then leave out part of every filter's spectrum, without training again."""
    torch.manual_seed(0)
    model = Characters()
    training = Training(model)
    for _ in range(2000 if full else 180):
        training.step()
    model.eval()
    pieces = [text("test")[i * 50_000 : i * 50_000 + LENGTH + 1] for i in range(4)]

    def loss() -> float:
        with torch.no_grad():
            return float(np.mean([float(loss_of(model, p[None, :-1], p[None, 1:])) for p in pieces]))

    dense = loss()
    convs = [block.operator.conv for block in model.blocks]
    size = 2 * LENGTH
    changes: dict[str, list[str]] = {"lowpass": [], "block": []}
    half: dict[str, float] = {}
    for mode, told in changes.items():
        for sparsity in (0.5, 0.75, 0.84, 0.91):
            options = (
                {"sparsity": sparsity} if mode == "block" else {"n_partial": round(size * (1 - sparsity))}
            )
            for block in model.blocks:
                block.operator.conv = WithoutPart(FrequencySparseFFTConv(**options), block.operator.direct)  # type: ignore[arg-type]
            change = 100 * (loss() / dense - 1)
            half.setdefault(mode, change)
            told.append(f"{sparsity:.0%}: {change:+.2f} %")
    for block, conv in zip(model.blocks, convs, strict=True):
        block.operator.conv = conv
    trained = f"{len(training.losses)} steps of {LENGTH} characters, to {dense:.3f} nats a character on the test text"
    for mode, name in (
        ("lowpass", "high frequencies left out"),
        ("block", "blocks of Monarch order left out"),
    ):
        yield Claim(
            f"Character model, trained, 50 % {name}: change of its loss", "<= 0.5", half[mode], "%",
            paper="HyenaDNA keeps its perplexity to 79 %", note=f"{'; '.join(changes[mode])}; {trained}",
        )  # fmt: skip
