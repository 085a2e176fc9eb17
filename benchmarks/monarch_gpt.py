"""A small GPT on the docstrings of the standard library: dense, Monarch, and Monarch made dense near the end."""

from __future__ import annotations

import ast
import copy
import sysconfig
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from benchmarks.harness import Claim, compare
from benchmarks.monarch_models import Block

WIDTH, DEPTH, CONTEXT, BATCH, STEPS, SWITCH = 256, 4, 128, 8, 120, 0.9
PAPER = "GPT-2 small on WikiText-103: perplexity 20.6 dense, 20.7 Monarch, 2x faster; OpenWebText 2x by the switch"


class Gpt(torch.nn.Module):
    """Characters in, logits of the next one out."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.place = torch.nn.Embedding(128, WIDTH), torch.nn.Embedding(CONTEXT, WIDTH)
        self.blocks = torch.nn.Sequential(*(Block(WIDTH, causal=True) for _ in range(DEPTH)))
        self.norm, self.head = torch.nn.LayerNorm(WIDTH), torch.nn.Linear(WIDTH, 128)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.embedding(ids) + self.place.weight[: ids.shape[1]]
        return self.head(self.norm(self.blocks(x)))


@cache
def text() -> tuple[torch.Tensor, torch.Tensor]:
    """Docstrings of the standard library, a twentieth of the modules held out."""
    parts: tuple[list[str], list[str]] = ([], [])
    for number, path in enumerate(sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
        found = [ast.get_docstring(node) for node in ast.walk(tree) if isinstance(node, kinds)]
        parts[number % 20 == 0].extend(doc for doc in found if doc)
    return tuple(
        torch.from_numpy(np.frombuffer("\n\n".join(p).encode("ascii", "replace"), np.uint8).astype(np.int64))
        for p in parts
    )  # type: ignore[return-value]


def batch(data: torch.Tensor, seed: int, size: int = BATCH) -> torch.Tensor:
    starts = np.random.default_rng(seed).integers(0, len(data) - CONTEXT - 1, size)
    return torch.stack([data[s : s + CONTEXT + 1] for s in starts])


def loss_of(net: Any, ids: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(net(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())


def train(kind: str) -> tuple[float, float]:
    """Validation loss after all steps, and by how much the switch to dense moved a training loss."""
    from gossamer.nn import monarchize
    from gossamer.sparsify import ReverseSparsification

    torch.manual_seed(0)
    net: Any = Gpt()
    if kind != "dense":
        net, _ = monarchize(net, 4, method="fresh", include=("blocks*",))
    optimizer = torch.optim.AdamW(net.parameters(), 1e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, STEPS, pct_start=0.1)
    switch = None
    if kind == "reverse":
        switch = ReverseSparsification(net, optimizer, STEPS, SWITCH, carry_state=True)
    moved = 0.0
    for step in range(STEPS):
        ids = batch(text()[0], step)
        optimizer.zero_grad()
        loss_of(net, ids).backward()
        optimizer.step()
        schedule.step()
        if switch is not None and not switch.dense:
            with torch.no_grad():
                before = float(loss_of(net, ids)) if step + 1 == switch.switch_at else 0.0
                if switch.step():
                    moved = abs(float(loss_of(net, ids)) / before - 1)
    with torch.no_grad():
        held = [float(loss_of(net, batch(text()[1], seed, 32))) for seed in range(8)]
    return float(np.mean(held)), moved


def gpt(full: bool) -> Iterator[Claim]:
    """Validation loss of the three arms after equally many steps."""
    torch.set_num_threads(2)
    dense, monarch, (reverse, moved) = train("dense")[0], train("monarch")[0], train("reverse")
    note = f"{DEPTH} layers of {WIDTH}; {STEPS} steps of {BATCH} x {CONTEXT} characters, one seed"
    yield Claim("Small GPT in Monarch(4): validation loss above the dense one's, equal steps", "<= 0.02",
                monarch - dense, "nats", paper=PAPER, note=f"{monarch:.3f} against {dense:.3f}; {note}")  # fmt: skip
    yield Claim("Small GPT, 90 % Monarch then dense: validation loss above the dense one's, equal steps", "<= 0.01",
                reverse - dense, "nats", paper=PAPER, note=f"{reverse:.3f} against {dense:.3f}; {note}")  # fmt: skip
    yield Claim("Relative change of the training loss at the switch to dense", "<= 1e-5", moved, "relative")


def gpt_speed(full: bool) -> Iterator[Claim]:
    """A training step of the Monarch model against the dense one."""
    from gossamer._core.threads import set_threads
    from gossamer.nn import monarchize

    torch.set_num_threads(2)
    set_threads(2)
    dense = Gpt()
    monarch, _ = monarchize(copy.deepcopy(dense), 4, method="fresh", include=("blocks*",))
    ids = batch(text()[0], 0)

    def step(net: Any) -> None:
        net.zero_grad()
        loss_of(net, ids).backward()

    race = compare(partial(step, monarch), partial(step, dense), rounds=9, warmup=1)
    share = SWITCH / race.ratio + 1 - SWITCH
    yield Claim.from_race(
        "Training step of the small GPT in Monarch(4)", ">= 1.5x", race,
        peer_name="the dense GPT in torch, float32", paper=PAPER,
        note=f"{BATCH} x {CONTEXT} characters, 2 threads; reverse sparsification takes {share:.2f} of the dense time",
    )  # fmt: skip
