"""What a feature does to a model when it is added to its activations."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from gossamer._core.arrays import to_numpy
from gossamer._core.checks import check_float, check_int
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._core.random import check_random_state
from gossamer.nn.autoencoders.hooks import changed_output, check_deterministic, logits_of
from gossamer.nn.autoencoders.sae_metrics import divergence
from gossamer.nn.autoencoders.splice import replaceable


@dataclass(frozen=True)
class Contexts:
    """Positions in texts at which a model is steered.

    Attributes
    ----------
    tokens : ndarray of int64, shape (C, S)
        A sequence each.
    positions : ndarray of int64, shape (C,)
        Where in it.
    """

    tokens: np.ndarray
    positions: np.ndarray


def random_contexts(tokens: Any, count: int = 256, random_state: Any = 0) -> Contexts:
    """Choose random positions of sequences, never the first.

    Parameters
    ----------
    tokens : array of int, shape (B, S)
        Sequences.
    count : int
        How many.
    random_state : int, Generator or None
        Source of randomness.
    """
    tokens = to_numpy(tokens).astype(np.int64)
    if tokens.ndim != 2 or tokens.shape[1] < 2:
        raise ShapeError(f"tokens has shape {tokens.shape}: expected (B, S) with S >= 2")
    rng = check_random_state(random_state)
    rows = rng.integers(0, len(tokens), check_int("count", count, low=1))
    return Contexts(tokens[rows], rng.integers(1, tokens.shape[1], count))


@dataclass(frozen=True)
class LatentEffects:
    """What each feature does when it is added.

    Attributes
    ----------
    latents : ndarray of int, shape (L,)
        Which features.
    alpha : ndarray, shape (L,)
        How much of each was added.
    kl : ndarray, shape (L,)
        Mean divergence from the clean to the steered prediction at the position.
    logit : ndarray, shape (L,)
        Mean norm of the change of the logits, centred.
    consistency : ndarray, shape (L,)
        Mean cosine between the changes in different contexts; 1 if a feature always does the same.
    """

    latents: np.ndarray
    alpha: np.ndarray
    kl: np.ndarray
    logit: np.ndarray
    consistency: np.ndarray

    def summary(self) -> dict[str, float]:
        """Means, medians and outer deciles of ``kl`` and ``logit``, and the mean consistency."""
        found = {"consistency_mean": float(np.mean(self.consistency))}
        for name, values in (("kl", self.kl), ("logit", self.logit)):
            found[f"{name}_mean"] = float(values.mean())
            for label, q in (("p10", 0.1), ("median", 0.5), ("p90", 0.9)):
                found[f"{name}_{label}"] = float(np.quantile(values, q))
        return found


def latent_effects(
    model: nn.Module,
    hook: str | nn.Module,
    W_dec: Any,
    contexts: Contexts,
    *,
    alpha: str | float | Any = "norm",
    latents: Sequence[int] | None = None,
    batch_size: int = 32,
) -> LatentEffects:
    """Add ``alpha w_i`` to the activation at one position of each context, and see what the prediction there becomes.

    Parameters
    ----------
    model : nn.Module
        A causal language model.
    hook : str or nn.Module
        Where.
    W_dec : array, shape (F, d)
        The features; each is brought to norm 1, so that effects compare.
    contexts : Contexts
        As of :func:`random_contexts`.
    alpha : "norm", float, or array of shape (F,)
        ``"norm"`` is half the median norm of the activations, the same for all features; an array has a strength for
        each, such as the 90 % quantile of its active values (:func:`active_quantiles`).
    latents : sequence of int, optional
        Which features; all if not given.
    batch_size : int
        Contexts that run at once.

    Returns
    -------
    LatentEffects

    Notes
    -----
    One run of the model a feature and context.
    """
    check_deterministic(model)
    W = torch.from_numpy(np.ascontiguousarray(to_numpy(W_dec)))
    if W.ndim != 2:
        raise ShapeError(f"W_dec has shape {tuple(W.shape)}: expected (F, d)")
    W = nn.functional.normalize(W, dim=1)
    chosen = np.arange(len(W)) if latents is None else np.asarray(latents, np.int64)
    if len(chosen) and (chosen.min() < 0 or chosen.max() >= len(W)):
        raise ArgumentError(f"latents span {chosen.min()}..{chosen.max()}: expected 0..{len(W) - 1}")
    runs = _Runs(model, hook, contexts, check_int("batch_size", batch_size, low=1))
    clean, norm = runs.clean()
    strengths = _strengths(alpha, norm, chosen, len(W))
    kl, logit, consistency = (np.zeros(len(chosen)) for _ in range(3))
    for i, (latent, strength) in enumerate(zip(chosen, strengths, strict=True)):
        steered = runs.steered(strength * W[latent])
        kl[i] = float(divergence(clean, steered).mean())
        change = steered - clean
        change = change - change.mean(dim=1, keepdim=True)
        size = change.norm(dim=1)
        logit[i] = float(size.mean())
        unit = change[size > 0] / size[size > 0, None]
        count = len(unit)
        # the mean cosine over pairs, from the norm of the sum of unit vectors
        pairs = count * (count - 1)
        consistency[i] = float((unit.double().sum(dim=0).square().sum() - count) / pairs) if pairs else 1.0
    return LatentEffects(chosen, strengths, kl, logit, consistency)


def active_quantiles(codes: Any, quantile: float = 0.9) -> np.ndarray:
    """Quantile of the active values of each feature, 0 for features that are silent.

    Parameters
    ----------
    codes : SparseCodes
        Of a sample of activations; multiply by the autoencoder's ``scale`` for the units of the activations.
    quantile : float
        In [0, 1].
    """
    check_float("quantile", quantile, low=0, high=1)
    start, _, places = codes.by_feature()
    values = codes.values.detach().double().numpy()[places]
    return np.array(
        [np.quantile(values[a:b], quantile) if b > a else 0.0 for a, b in itertools.pairwise(start)],
        np.float64,
    )


class _Runs:
    """Predictions at the positions of the contexts."""

    def __init__(self, model: nn.Module, hook: str | nn.Module, contexts: Contexts, batch: int) -> None:
        self._model, self._hook, self._batch = model, hook, batch
        self._tokens = torch.from_numpy(np.ascontiguousarray(contexts.tokens))
        self._positions = torch.from_numpy(np.ascontiguousarray(contexts.positions))
        if self._tokens.ndim != 2 or self._positions.shape != self._tokens.shape[:1] or not len(self._tokens):
            raise ShapeError("contexts: expected tokens (C, S) and positions (C,)")

    def clean(self) -> tuple[torch.Tensor, float]:
        """Clean logits at the positions, and the median norm of activations."""
        norms: list[torch.Tensor] = []

        def look(x: torch.Tensor) -> torch.Tensor:
            norms.append(x[replaceable(x)].norm(dim=-1))
            return x

        logits = self._run(look)
        return logits, float(torch.cat(norms).median())

    def steered(self, push: torch.Tensor) -> torch.Tensor:
        """Logits at the positions with ``push`` (d,) added there."""
        done = 0

        def add(x: torch.Tensor) -> torch.Tensor:
            nonlocal done
            moved = x.clone()
            where = self._positions[done : done + len(x)]
            moved[torch.arange(len(x)), where] += push.to(x.dtype)
            done += len(x)
            return moved

        return self._run(add)

    def _run(self, change: Any) -> torch.Tensor:
        found = []
        with torch.no_grad(), changed_output(self._model, self._hook, change):
            for tokens, where in zip(self._tokens.split(self._batch), self._positions.split(self._batch)):
                # nothing behind a position can change the prediction there
                logits = logits_of(self._model, tokens[:, : int(where.max()) + 1])
                found.append(logits[torch.arange(len(tokens)), where])
        return torch.cat(found)


def _strengths(alpha: Any, norm: float, latents: np.ndarray, count: int) -> np.ndarray:
    if isinstance(alpha, str):
        if alpha != "norm":
            raise ArgumentError(f"alpha={alpha!r}: expected 'norm', a number, or one number a feature")
        return np.full(len(latents), 0.5 * norm)
    values = to_numpy(alpha).astype(np.float64)
    if values.ndim == 0:
        return np.full(len(latents), check_float("alpha", alpha))
    if values.shape != (count,):
        raise ShapeError(f"alpha has shape {values.shape}: expected ({count},)")
    return values[latents]


__all__ = ["Contexts", "LatentEffects", "active_quantiles", "latent_effects", "random_contexts"]
