"""Small networks that learn Match3: an embedding, attention, two linear layers on every token."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

N, M, WIDTH, STEPS, BATCH = 12, 101, 32, 4000, 64


def inputs(tokens: np.ndarray) -> Any:
    """Cosines and sines of four frequencies, (..., N, 8)."""
    import torch

    angles = 2 * np.pi * tokens[..., None] * np.arange(1, 5) / M
    return torch.from_numpy(np.concatenate([np.cos(angles), np.sin(angles)], -1).astype(np.float32))


def network(kind: str) -> Any:
    """One layer of order 3 with heads of width 8, of order 2 with heads of width 16, or two of order 2 of width 8."""
    import torch

    from gossamer.nn import TensorAttention

    order, width, depth = {
        "third order": (3, 8, 1),
        "ordinary": (2, 16, 1),
        "ordinary, two layers": (2, 8, 2),
    }[kind]

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = torch.nn.Linear(8, WIDTH)
            self.attention = torch.nn.ModuleList(
                TensorAttention(WIDTH, 4, width, order, mode="exact", scale="learned") for _ in range(depth)
            )
            self.read = torch.nn.Sequential(
                torch.nn.LayerNorm(WIDTH),
                torch.nn.Linear(WIDTH, 2 * WIDTH),
                torch.nn.ReLU(),
                torch.nn.Linear(2 * WIDTH, 1),
            )

        def forward(self, x: Any) -> Any:
            x = self.embed(x)
            for layer in self.attention:
                x = x + layer(x)
            return self.read(x)[..., 0]

    return Network()


def train(kind: str, seed: int, steps: int = STEPS) -> tuple[float, int]:
    """Accuracy on new sequences after training on fresh ones, and the number of parameters."""
    import torch

    from gossamer.nn import match3_dataset

    torch.set_num_threads(1)  # the network is tiny
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed + 1)
    net = network(kind)
    optimizer = torch.optim.Adam(net.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=steps)
    for _ in range(steps):
        tokens, labels = match3_dataset(BATCH, N, M, rng)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(
            net(inputs(tokens)), torch.from_numpy(labels).float()
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    tokens, labels = test_set()
    with torch.no_grad():
        right = (net(inputs(tokens)) > 0).numpy() == labels
    return float(right.mean()), sum(p.numel() for p in net.parameters())


@cache
def test_set() -> tuple[np.ndarray, np.ndarray]:
    """Sequences that no training run sees."""
    from gossamer.nn import match3_dataset

    return match3_dataset(4000, N, M, 10**6)


def rate() -> float:
    """Share of positive labels."""
    return float(test_set()[1].mean())
