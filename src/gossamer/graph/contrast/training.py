"""Training of an encoder and of centres by contrast and by sharpening, on the whole graph or in mini-batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse
import torch

from gossamer._core.errors import ArgumentError
from gossamer.graph.contrast.autoencoder import as_input
from gossamer.graph.contrast.revival import revive
from gossamer.graph.contrast.soft_clusters import divergence, sharpened, soft_assignment

Batch = tuple[np.ndarray, Any, Any, torch.Tensor | None]
"""Rows of the batch, input of them and of what stands behind them, strengths, and targets unless they follow from q."""
SERIES = ("loss", "contrast", "divergence", "changed", "revived")
Contrast = Callable[[torch.Tensor, Any, torch.Tensor], torch.Tensor]
"""Of representations (n, d), strengths (m, n) and memberships (m, k)."""


@dataclass
class Training:
    """An encoder, centres of clusters, and what they are trained for.

    Attributes
    ----------
    encoder : torch.nn.Module
        From rows to representations.
    centres : Parameter, shape (k, d)
        Of clusters.
    contrast : callable
        The contrastive loss.
    alpha, beta : float
        Weights of contrast and of divergence.
    lr : float
        Of Adam.
    reviving : bool
        Whether a cluster that had no nodes in an epoch is started again before the next.
    """

    encoder: torch.nn.Module
    centres: torch.nn.Parameter
    contrast: Contrast
    alpha: float
    beta: float
    lr: float
    reviving: bool

    def run(
        self, X: Any, gamma: Any, epochs: int, batch_size: int | None, rng: np.random.Generator
    ) -> dict[str, list[float]]:
        """Train for some passes; returns the mean losses of each, the share of nodes that changed cluster, and how many
        clusters were started again before it.
        """
        optimizer = torch.optim.Adam([*self.encoder.parameters(), self.centres], lr=self.lr)
        history: dict[str, list[float]] = {name: [] for name in SERIES}
        passes = self._whole(X, gamma) if batch_size is None else self._parts(X, gamma, batch_size, rng)
        before = None
        for _ in range(epochs):
            revived = 0 if before is None else self._revive(X, before, optimizer, rng)
            totals, labels = np.zeros(3), np.empty(X.shape[0], np.int64)
            for rows, batch, strengths, p in next(passes):
                z = self.encoder(batch)
                q = soft_assignment(z[: len(rows)], self.centres)
                near, sharp = self.contrast(z, strengths, q), divergence(sharpened(q) if p is None else p, q)
                loss = self.alpha * near + self.beta * sharp
                parts = np.array([float(part.detach()) for part in (loss, near, sharp)])
                if not np.isfinite(parts).all():
                    raise ArgumentError(f"lr={self.lr}: the loss is {parts[0]}, training diverged; lower it")
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                totals += parts * (len(rows) / X.shape[0])
                labels[rows] = q.detach().argmax(dim=1).numpy()
            changed = 1.0 if before is None else float(np.mean(labels != before))
            for series, value in zip(history.values(), (*totals.tolist(), changed, revived), strict=True):
                series.append(value)
            before = labels
        return history

    def _revive(
        self, X: Any, labels: np.ndarray, optimizer: torch.optim.Optimizer, rng: np.random.Generator
    ) -> int:
        """Start clusters again that had no nodes; what Adam knows of centres that jump is void."""
        if not self.reviving or len(np.unique(labels)) == len(self.centres):
            return 0
        moved = revive(memberships(self.encoder, self.centres, X)[0], self.centres, rng)
        for average in (optimizer.state[self.centres][name] for name in ("exp_avg", "exp_avg_sq")):
            average[moved] = 0
        return len(moved) // 2

    def _whole(self, X: Any, gamma: Any) -> Iterator[Iterable[Batch]]:
        """The whole graph as one batch, whose targets follow from its own memberships."""
        step = [(np.arange(X.shape[0]), as_input(X), gamma, None)]
        while True:
            yield step

    def _parts(
        self, X: Any, gamma: scipy.sparse.csr_array, size: int, rng: np.random.Generator
    ) -> Iterator[Iterable[Batch]]:
        """Random nodes with their neighbours behind them, and targets from the memberships of all nodes."""
        while True:
            p = sharpened(memberships(self.encoder, self.centres, X)[1])
            yield self._pass(X, gamma, p, np.array_split(rng.permutation(X.shape[0]), -(-X.shape[0] // size)))

    def _pass(
        self, X: Any, gamma: scipy.sparse.csr_array, p: torch.Tensor, batches: list[np.ndarray]
    ) -> Iterator[Batch]:
        for rows in batches:
            strengths = gamma[rows]
            nodes = np.concatenate([rows, np.setdiff1d(strengths.indices, rows)])
            place = np.empty(X.shape[0], strengths.indices.dtype)
            place[nodes] = np.arange(len(nodes))
            parts = strengths.data, place[strengths.indices], strengths.indptr
            local = scipy.sparse.csr_array(parts, shape=(len(rows), len(nodes)))
            local.sort_indices()
            yield rows, as_input(X[nodes]), local, p[torch.from_numpy(rows)]


@torch.no_grad()
def memberships(encoder: torch.nn.Module, centres: torch.Tensor, X: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Representations (n, d) and memberships (n, k) of rows."""
    z = encoder(as_input(X))
    return z, soft_assignment(z, centres)
