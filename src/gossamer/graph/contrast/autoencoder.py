"""A plain perceptron for dense or sparse rows, trained first to give them back from a few numbers."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import scipy.sparse
import torch

from gossamer.nn import SparseTensor
from gossamer.nn.graph.dense_part import transform

PRESETS = {"paper": (500, 500, 2000), "light": (256, 256, 512)}
"""Widths of hidden layers by name."""
BATCH, RATE = 256, 1e-3


class Perceptron(torch.nn.Module):
    """Linear maps with ReLU between them; a sparse input meets the first one by its stored entries only."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleList(torch.nn.Linear(a, b) for a, b in itertools.pairwise(widths))

    def forward(self, x: Any) -> torch.Tensor:
        """Outputs (n, widths[-1]) of rows (n, widths[0])."""
        first, *rest = self.layers
        h = transform(first, x)
        for layer in rest:
            h = layer(torch.relu(h))
        return h


def as_input(X: Any) -> torch.Tensor | SparseTensor:
    """Rows of float32 as the perceptron takes them: a tensor, or a sparse one."""
    return SparseTensor.of(X) if scipy.sparse.issparse(X) else torch.from_numpy(np.ascontiguousarray(X))


def pretrained(
    X: Any, hidden: tuple[int, ...], latent: int, epochs: int, rng: np.random.Generator
) -> tuple[Perceptron, list[float]]:
    """Train an encoder with a mirrored decoder to reproduce X (n, f), and drop the decoder.

    Mean squared error, Adam, batches of 256. Returns the encoder, and the mean error of each epoch.
    """
    widths = (X.shape[1], *hidden, latent)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**63)))
        encoder, decoder = Perceptron(widths), Perceptron(widths[::-1])
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=RATE)
    history = []
    for _ in range(epochs):
        total, order = 0.0, rng.permutation(X.shape[0])
        for start in range(0, len(order), BATCH):
            rows = X[order[start : start + BATCH]]
            clean = torch.from_numpy(rows.toarray() if scipy.sparse.issparse(rows) else rows)
            loss = torch.nn.functional.mse_loss(decoder(encoder(as_input(rows))), clean)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            total += float(loss.detach()) * len(clean)
        history.append(total / len(order))
    return encoder, history
