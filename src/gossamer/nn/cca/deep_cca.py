"""Encoders of several views, trained so that their representations agree."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch

from gossamer._core.checks import check_float, check_int
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.linalg import canonical_correlations
from gossamer.nn.cca.ey_loss import EYLoss

Loss = Callable[..., torch.Tensor]


class DeepCCA(torch.nn.Module):
    r"""Deep (multiview) CCA: one encoder a view, any loss on their representations.

    With :class:`EYLoss`, the default, it is DCCA-EY: for the features below, the minimum over the last linear layers
    is :math:`-\sum_k \rho_k^2`, the optimum of deep CCA, reached from batches as small as K or less.

    Parameters
    ----------
    encoders : sequence of torch.nn.Module
        One a view, each giving (m, K); one for two views (``[f, f]``) shares weights.
    loss : callable, optional
        Takes the representations, one a view, and returns a number: :class:`EYLoss`, :class:`DCCALoss`,
        :class:`VICRegLoss`, :class:`BarlowTwinsLoss` or one's own. A module with parameters or buffers is trained
        along.

    Attributes
    ----------
    history : list of float
        Mean loss of every epoch of :meth:`fit`.

    Raises
    ------
    ShapeError, ArgumentError
        Fewer than two encoders, views with different numbers of rows, losses that are not finite.

    Notes
    -----
    A module like any other: for loops of one's own, and for DistributedDataParallel (with ``EYLoss(group=True)``, the
    loss of the global batch), ``model(*views)`` gives the loss.

    References
    ----------
    Chapman, Wells, Lawry Aguila, ICLR 2024, arXiv 2310.01012; Andrew, Arora, Bilmes, Livescu, ICML 2013.

    Examples
    --------
    >>> import torch
    >>> from gossamer.nn import DeepCCA
    >>> torch.manual_seed(0) and None
    >>> shared = torch.randn(512, 1)
    >>> views = [torch.cat([shared, torch.randn(512, 3)], 1) for _ in range(2)]
    >>> model = DeepCCA([torch.nn.Linear(4, 1), torch.nn.Linear(4, 1)]).fit(views, epochs=30, rate=0.01, seed=0)
    >>> model.score(views) > 0.95
    True
    """

    def __init__(self, encoders: Sequence[torch.nn.Module], loss: Loss | None = None) -> None:
        super().__init__()
        if len(encoders) < 2:
            raise ShapeError(f"encoders has {len(encoders)} modules: expected two or more")
        self.encoders = torch.nn.ModuleList(encoders)
        self.loss = EYLoss() if loss is None else loss
        self.history: list[float] = []

    def encode(self, views: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Representations (m, K), one a view."""
        if len(views) != len(self.encoders):
            raise ShapeError(f"{len(views)} views: expected {len(self.encoders)}, one an encoder")
        return [encoder(view) for encoder, view in zip(self.encoders, views, strict=True)]

    def forward(self, *views: torch.Tensor) -> torch.Tensor:
        """Loss of a batch."""
        return self.loss(*self.encode(views))

    def fit(
        self,
        views: Sequence[torch.Tensor] | Iterable[Any],
        *,
        epochs: int = 10,
        batch_size: int = 100,
        rate: float = 1e-3,
        optimizer: torch.optim.Optimizer | None = None,
        seed: int | None = None,
    ) -> DeepCCA:
        """Train by Adam, or by the optimiser given.

        Parameters
        ----------
        views : list of tensor or array, or iterable
            Views with the same rows, shuffled every epoch; or batches, each a sequence of one tensor a view, as a
            ``DataLoader`` yields them.
        epochs : int
            Passes.
        batch_size : int
            Rows of a batch; what is left at the end joins the last one if it is less than half of one. Of no use for
            an iterable.
        rate : float
            Of Adam.
        optimizer : torch.optim.Optimizer, optional
            Of the parameters of this module.
        seed : int, optional
            Of the order of rows.
        """
        epochs = check_int("epochs", epochs, low=1)
        rate = check_float("rate", rate, low=0, closed="neither")
        if optimizer is None:
            optimizer = torch.optim.Adam([p for p in self.parameters() if p.requires_grad], lr=rate)
        source: Iterable[Any] = views
        if isinstance(views, (list, tuple)):
            source = _Rows(_tensors(views), check_int("batch_size", batch_size, low=2), seed)
        self.train()
        for _ in range(epochs):
            losses = [self._step(batch, optimizer) for batch in source]
            if not losses:
                raise ArgumentError("there are no batches: expected an iterable that can be passed again")
            self.history.append(float(np.mean(losses)))
        return self

    def _step(self, batch: Sequence[torch.Tensor], optimizer: torch.optim.Optimizer) -> float:
        loss = self(*batch)
        value = float(loss.detach())
        if not np.isfinite(value):
            raise ArgumentError(f"the loss is {value}: diverged; lower the rate or raise the ridge")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return value

    @torch.no_grad()
    def transform(self, views: Sequence[Any], batch_size: int = 1024) -> list[torch.Tensor]:
        """Representations (N, K) of views, with encoders in evaluation mode."""
        tensors = _tensors(views)
        training = self.training
        self.eval()
        parts = [
            self.encode([view[start : start + batch_size] for view in tensors])
            for start in range(0, max(len(tensors[0]), 1), batch_size)
        ]
        self.train(training)
        return [torch.cat(pieces) for pieces in zip(*parts, strict=True)]

    def score(self, views: Sequence[Any]) -> float:
        """Total canonical correlation of the representations, the mean over pairs of views; use held-out rows."""
        pairs = itertools.combinations(self.transform(views), 2)
        return float(np.mean([canonical_correlations(a, b).sum() for a, b in pairs]))


class _Rows:
    """Batches of rows in a new random order every pass."""

    def __init__(self, views: list[torch.Tensor], size: int, seed: int | None) -> None:
        self.views, self.size = views, size
        self.rng = torch.Generator()
        if seed is None:
            self.rng.seed()
        else:
            self.rng.manual_seed(check_int("seed", seed, low=0))

    def __iter__(self) -> Any:
        order = torch.randperm(len(self.views[0]), generator=self.rng)
        parts = list(order.split(self.size))
        if len(parts) > 1 and len(parts[-1]) < (self.size + 1) // 2:
            parts[-2:] = [torch.cat(parts[-2:])]
        for rows in parts:
            yield [view[rows] for view in self.views]


def _tensors(views: Sequence[Any]) -> list[torch.Tensor]:
    tensors = [torch.as_tensor(view) for view in views]
    rows = [len(tensor) for tensor in tensors]
    if len(set(rows)) != 1 or rows[0] < 1:
        raise ShapeError(f"views have {rows} rows: expected the same number, at least one")
    return tensors


__all__ = ["DeepCCA"]
