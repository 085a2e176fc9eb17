"""Fine-tuning a small character model with LoRA: PEFT's layers and exact attention against fast gradients."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from benchmarks.artifacts import CACHE
from benchmarks.harness import Claim, compare

WIDTH, HEADS, LAYERS, LENGTH, RANK = 32, 4, 2, 4096, 4
LOGIT = 1.0  # no larger logit can occur: what the theorem asks for, kept by bounded weights
PEER = "PEFT's LoRA layers with torch scaled_dot_product_attention"


class PlainAttention(torch.nn.Module):
    """Causal attention of plain linear layers, whose names are those that PEFT's users adapt."""

    def __init__(self) -> None:
        super().__init__()
        for name in "qkvo":
            self.add_module(f"{name}_proj", torch.nn.Linear(WIDTH, WIDTH, bias=False))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Attend."""
        q, k, v = (getattr(self, f"{a}_proj")(x).unflatten(-1, (HEADS, -1)).transpose(1, 2) for a in "qkv")
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o_proj(out.transpose(1, 2).flatten(2))


class Model(torch.nn.Module):
    """Characters, a short convolution for their order, and blocks of attention and MLP."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(128, WIDTH)
        self.order = torch.nn.Conv1d(WIDTH, WIDTH, 4, groups=WIDTH)
        self.attention = torch.nn.ModuleList(PlainAttention() for _ in range(LAYERS))
        self.mlp = torch.nn.ModuleList(
            torch.nn.Sequential(
                torch.nn.Linear(WIDTH, 4 * WIDTH), torch.nn.GELU(), torch.nn.Linear(4 * WIDTH, WIDTH)
            )
            for _ in range(LAYERS)
        )
        self.head = torch.nn.Linear(WIDTH, 128)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Logits of the next character."""
        x = self.embedding(ids)
        x = x + self.order(F.pad(x.mT, (3, 0))).mT
        for attention, mlp in zip(self.attention, self.mlp, strict=True):
            x = x + attention(F.layer_norm(x, (WIDTH,)))
            x = x + mlp(F.layer_norm(x, (WIDTH,)))
        return self.head(F.layer_norm(x, (WIDTH,)))

    @torch.no_grad()
    def bound(self) -> None:
        """Shrink queries and keys so that no logit exceeds LOGIT: normalised rows have norm sqrt(WIDTH)."""
        largest = (LOGIT * (WIDTH / HEADS) ** 0.5 / WIDTH) ** 0.5
        for attention in self.attention:
            for name in "qk":
                weight = getattr(attention, f"{name}_proj").weight
                heads = weight.unflatten(0, (HEADS, -1))
                norms = torch.linalg.matrix_norm(heads, ord=2)[:, None, None]
                heads.mul_((largest / norms).clamp(max=1))


def text(split: str) -> torch.Tensor:
    """Characters of the State of the Union addresses."""
    from gossamer.datasets import load_sotu

    return torch.from_numpy(
        np.frombuffer(load_sotu(split).encode("ascii", "replace"), np.uint8).astype(np.int64)
    )


def windows(data: torch.Tensor, count: int, length: int, seed: int) -> torch.Tensor:
    """Random windows, one character longer than ``length``."""
    starts = np.random.default_rng(seed).integers(0, len(data) - length - 1, count)
    return torch.stack([data[s : s + length + 1] for s in starts])


def loss_of(model: Any, ids: torch.Tensor) -> torch.Tensor:
    """Nats a character."""
    return F.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())


def pretrained(bounded: bool, steps: int = 400) -> Model:
    """The base model, trained on the addresses before 1990 at short contexts; kept under build/bench."""
    path = CACHE / f"lora-base-{'bounded' if bounded else 'free'}.pt"
    torch.manual_seed(0)
    model = Model()
    if path.exists():
        model.load_state_dict(torch.load(path, weights_only=True))
        return model
    data = text("calibrate")
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, steps)
    for step in range(steps):
        optimizer.zero_grad()
        loss_of(model, windows(data, 4, 512, step)).backward()
        optimizer.step()
        schedule.step()
        if bounded:
            model.bound()
    CACHE.mkdir(parents=True, exist_ok=True)
    torch.save(model.state_dict(), path.with_suffix(".part"))
    os.replace(path.with_suffix(".part"), path)
    return model


def peft_model(base: Model) -> Any:
    """The base model with PEFT's adapters on queries and values."""
    import peft

    torch.manual_seed(1)
    config = peft.LoraConfig(
        r=RANK, lora_alpha=2 * RANK, target_modules=["q_proj", "v_proj"], lora_dropout=0.0
    )
    return peft.get_peft_model(copy.deepcopy(base), config)


def fast_model(base: Model, adapted: Any) -> Model:
    """The base model with fast attention; PEFT's adapters load by their own names, strictly."""
    from gossamer.nn import FastLoRAAttention

    model = copy.deepcopy(base).requires_grad_(False)
    for i in range(LAYERS):
        model.attention[i] = FastLoRAAttention(WIDTH, HEADS, r=RANK, alpha=2 * RANK, eps=1e-2)
    state = {name.removeprefix("base_model.model."): value for name, value in adapted.state_dict().items()}
    model.load_state_dict(state, strict=True)
    return model


def tune(model: Any, data: torch.Tensor, steps: int) -> None:
    """Adapters by AdamW on windows of 4,096 characters."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 1e-2, weight_decay=0.0)
    for step in range(steps):
        optimizer.zero_grad()
        loss_of(model, windows(data, 1, LENGTH, step)).backward()
        optimizer.step()


def tuning(full: bool) -> Iterator[Claim]:
    """50 steps on the addresses since 1990: what the approximation changes in the end."""
    torch.set_num_threads(2)
    base = pretrained(bounded=True)
    data = text("evaluate")
    training, held = data[: len(data) * 4 // 5], windows(data[len(data) * 4 // 5 :], 4, LENGTH, 0)
    exact = peft_model(base)
    fast = fast_model(base, exact)
    states = F.layer_norm(fast.embedding(held[:1, :-1]), (WIDTH,))
    ran = fast.attention[0].explain(states)
    judge = peft_model(base)

    @torch.no_grad()
    def held_out(model: Any) -> float:
        state = model.state_dict()
        if model is fast:  # both by the same exact model
            state = {f"base_model.model.{name}": value for name, value in state.items()}
        judge.load_state_dict(state, strict=True)
        return float(np.mean([float(loss_of(judge, one[None])) for one in held]))

    before = held_out(exact)
    for model in (exact, fast):
        tune(model, training, 50)
    losses = held_out(fast), held_out(exact)
    with torch.no_grad():
        free = float(np.mean([float(loss_of(pretrained(bounded=False), one[None])) for one in held]))
    yield Claim("Character model tuned for 50 steps by fast gradients: loss against exact ones", "<= 1.01x",
                losses[0], "nats", losses[1], PEER,
                note=f"{before:.3f} before; contexts of {LENGTH}; {ran.k1} features ({ran.mode}); logits bounded by"
                     f" {LOGIT:g} in pre-training, which costs {before - free:+.3f} nats before tuning")  # fmt: skip


def tuning_speed(full: bool) -> Iterator[Claim]:
    """A step of fine-tuning against PEFT's; gradients of the adapters agree."""
    torch.set_num_threads(2)
    base = pretrained(bounded=True)
    exact = peft_model(base)
    for name, parameter in exact.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02)
    fast = fast_model(base, exact)
    ids = windows(text("evaluate"), 1, LENGTH, 0)

    def step(model: Any) -> dict[str, torch.Tensor]:
        model.zero_grad()
        loss_of(model, ids).backward()
        return {
            n.removeprefix("base_model.model."): p.grad
            for n, p in model.named_parameters()
            if p.requires_grad
        }

    found, wanted = step(fast), step(exact)
    error = max(float((found[name] - slope).norm() / slope.norm()) for name, slope in wanted.items())
    yield Claim("Largest relative error of an adapter's gradient in the character model against PEFT's", "<= 0.01",
                error, "relative",
                note=f"{len(wanted)} matrices under PEFT's names, loaded from its model strictly")  # fmt: skip
    race = compare(partial(step, fast), partial(step, exact), rounds=7, warmup=1)
    yield Claim.from_race(
        "LoRA fine-tuning step of the character model, contexts of 4,096",
        ">= 2x",
        race,
        peer_name=PEER,
        note=f"{LAYERS} layers, {HEADS} heads of width 8, rank {RANK}, causal",
    )
