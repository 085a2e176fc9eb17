"""Allocations: how a sparse autoencoder spends its budget of matches between tokens and features."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from torch import nn

from gossamer._core.arrays import to_numpy
from gossamer._core.checks import check_int
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.nn.autoencoders.codes import SparseCodes
from gossamer.nn.autoencoders.selection import top_above, top_overall, top_per_feature, top_per_token
from gossamer.nn.autoencoders.together import Group, columns_together, largest_together, least_of_all
from gossamer.nn.autoencoders.zipf import Rounding, ZipfSchedule

_DECAY = 0.99


class Allocation(nn.Module):
    """What all allocations share: a budget of k active features a token, on average or exactly.

    Parameters
    ----------
    k : int
        At least 1.
    """

    name = ""
    batch_free = False
    """Whether a token's code never depends on the others, so that there is no threshold."""

    def __init__(self, k: int) -> None:
        super().__init__()
        self.k = check_int("k", k, low=1)
        self.group: Group = None
        self.register_buffer("bound", torch.empty(0))
        self.register_buffer("followed", torch.empty(0), persistent=False)

    bound: torch.Tensor
    followed: torch.Tensor

    def bind(self, n_features: int) -> None:
        """Fit the allocation to a dictionary."""
        if self.k > n_features:
            raise ArgumentError(f"k={self.k}: expected at most the number of features, {n_features}")
        self.bound, self.followed = torch.zeros(2, n_features, dtype=torch.float64)

    def select(
        self, z: torch.Tensor, grads: torch.Tensor | None = None, W_dec: torch.Tensor | None = None
    ) -> SparseCodes:
        """Matches within the batch.

        Parameters
        ----------
        z : Tensor, shape (N, F)
            Pre-activations.
        grads : Tensor, shape (N, d), optional
            Of the loss with respect to the activations; only :class:`gossamer.nn.GradientTopK` looks at them.
        W_dec : Tensor, shape (F, d), optional
            The decoder, one row a feature.
        """
        raise TypeError(
            f"{type(self).__name__} does not select: use TokenChoice, MutualChoice, FeatureChoice"
        )

    def select_alone(self, z: torch.Tensor) -> SparseCodes:
        """Matches that depend on each token alone: every entry above its feature's threshold."""
        if not self.ready:
            raise ArgumentError(
                "the thresholds of this allocation are not known: train it, call calibrate, or use mode='batch'"
            )
        return top_above(z, self.bound)

    @property
    def ready(self) -> bool:
        """Whether codes can be chosen token by token: thresholds are known, or not needed."""
        return self.batch_free or bool((self.bound > 0).any())

    def observe(self, codes: SparseCodes) -> None:
        """Follow the thresholds through the codes of a training batch."""

    def settings(self) -> dict[str, Any]:
        """What :func:`allocation_from` needs to build it again."""
        return {"kind": self.name, "k": self.k}

    def _follow(self, smallest: torch.Tensor) -> None:
        """Move thresholds towards the smallest values kept (F,), infinite for features that had no match.

        The decay of a feature grows with its matches: with a constant one, what a rare feature had first, early in
        training, would still be most of its threshold.
        """
        least_of_all(smallest, self.group)
        matched = smallest.isfinite()
        decay = ((1 + self.followed) / (10 + self.followed)).clamp(max=_DECAY)
        moved = torch.where(self.bound == 0, smallest, torch.lerp(smallest, self.bound, decay))
        self.bound = torch.where(matched, moved, self.bound)
        self.followed = self.followed + matched


class TokenChoice(Allocation):
    """Every token gets its k strongest features (TopK).

    Parameters
    ----------
    k : int
        Active features a token.
    """

    name = "token"
    batch_free = True

    def select(
        self, z: torch.Tensor, grads: torch.Tensor | None = None, W_dec: torch.Tensor | None = None
    ) -> SparseCodes:
        """The k largest positive entries of each row."""
        return top_per_token(z, self.k)

    def select_alone(self, z: torch.Tensor) -> SparseCodes:
        """The same: a token's code does not depend on the others."""
        return top_per_token(z, self.k)


class MutualChoice(Allocation):
    """The k N strongest matches of a batch, whichever tokens and features they belong to (BatchTopK).

    A token that needs many features gets them from tokens that need few.

    Parameters
    ----------
    k : int
        Active features a token, on average.

    References
    ----------
    Ayonrinde, arXiv 2411.02124, 2024.
    """

    name = "mutual"

    def select(
        self, z: torch.Tensor, grads: torch.Tensor | None = None, W_dec: torch.Tensor | None = None
    ) -> SparseCodes:
        """The k N largest positive entries of all."""
        if self.group is not None:
            return largest_together(z, self.k, self.group)
        return top_overall(z, self.k * max(1, z.shape[0]))

    def observe(self, codes: SparseCodes) -> None:
        """Follow the smallest value that was kept; one threshold serves all features."""
        smallest = float(codes.values.detach().min()) if codes.nnz else np.inf
        self._follow(torch.full_like(self.bound, smallest))


class FeatureChoice(Allocation):
    """Every feature f gets the m_f tokens on which it is strongest; the m_f add up to k N.

    No feature can die: each has its share of the budget. Shares are equal, given, or follow a law of Zipf by the rank
    of a feature's density. Shares below one token a batch are paid in some batches only, so that the long-run rate is
    exact.

    Parameters
    ----------
    k : int
        Active features a token, on average.
    m : array of int, shape (F,), optional
        Tokens of each feature in a batch, used as they are.
    zipf : ZipfSchedule, optional
        The law; :meth:`rank` says which feature has which rank, by index until it is called.

    Raises
    ------
    ArgumentError
        If ``m`` is negative or not of the dictionary's length, if both m and zipf are given, or if m wants more
        tokens than a batch has.

    References
    ----------
    Ayonrinde, arXiv 2411.02124, 2024.
    """

    name = "feature"

    def __init__(self, k: int, m: Any = None, zipf: ZipfSchedule | None = None) -> None:
        super().__init__(k)
        if m is not None and zipf is not None:
            raise ArgumentError("m and zipf: expected one of them")
        self.zipf = zipf
        self.m = None if m is None else np.asarray(to_numpy(m))
        if self.m is not None and (self.m.ndim != 1 or self.m.dtype.kind not in "iu" or (self.m < 0).any()):
            raise ArgumentError("m: expected a 1-D array of integers >= 0")
        self.register_buffer("rates", torch.empty(0, dtype=torch.float64))
        self._rounding = Rounding(0)
        self._warned = False

    rates: torch.Tensor

    def bind(self, n_features: int) -> None:
        """Fit the allocation to a dictionary; a law of another length is refused."""
        super().bind(n_features)
        if self.m is not None and len(self.m) != n_features:
            raise ShapeError(f"m has {len(self.m)} entries: expected one a feature, {n_features}")
        if self.zipf is not None and self.zipf.n_features != n_features:
            raise ShapeError(f"zipf has {self.zipf.n_features} ranks: expected one a feature, {n_features}")
        shares = np.full(n_features, self.k / n_features) if self.zipf is None else self.zipf.density
        self._set_rates(np.asarray(shares, np.float64))

    def rank(self, density: Any, rotation: int = 0, zipf: ZipfSchedule | None = None) -> None:
        """Give each feature the share that the law has for its rank in ``density``.

        Parameters
        ----------
        density : array of shape (F,)
            Share of tokens on which each feature is active.
        rotation : int
            Where ties begin, as for :meth:`ZipfSchedule.targets`.
        zipf : ZipfSchedule, optional
            A new law.
        """
        if zipf is not None:
            self.zipf = zipf
        if self.zipf is None:
            raise ArgumentError("this FeatureChoice has no law: expected zipf")
        owed = self._rounding.owed
        self._set_rates(self.zipf.targets(density, rotation))
        self._rounding.owed = owed

    def _set_rates(self, shares: np.ndarray) -> None:
        self.rates = torch.from_numpy(np.array(shares))
        self._rounding = Rounding(len(shares))

    def budget(self, tokens: int) -> np.ndarray:
        """How many tokens of the next batch each feature gets, int64, shape (F,); adds up to k N.

        Warns once if a batch is too short to give every feature a token.
        """
        if self.m is not None:
            if len(self.m) and self.m.max() > tokens:
                raise ArgumentError(f"m wants {self.m.max()} tokens of a batch of {tokens}")
            return self.m.astype(np.int64)
        rates = to_numpy(self.rates) * tokens
        if not self._warned and rates.min() < 1:
            self._warned = True
            warnings.warn(
                f"batches of {tokens} tokens give the rarest feature {rates.min():.2g} tokens each: it will be "
                "matched in some batches only",
                stacklevel=4,
            )
        return np.clip(self._rounding.next(rates, self.k * tokens), 0, tokens)

    def select(
        self, z: torch.Tensor, grads: torch.Tensor | None = None, W_dec: torch.Tensor | None = None
    ) -> SparseCodes:
        """The m_f largest positive entries of every column f."""
        if self.group is not None:
            return columns_together(z, self.budget, self.group)
        return top_per_feature(z, self.budget(z.shape[0]))

    def observe(self, codes: SparseCodes) -> None:
        """Follow the smallest value kept of every feature that had a match."""
        start, _, places = codes.by_feature()
        smallest = np.full(codes.shape[1], np.inf)
        used = np.flatnonzero(np.diff(start))
        if len(used):
            values = codes.values.detach().double().cpu().numpy()[places]
            smallest[used] = np.minimum.reduceat(values, start[used])
        self._follow(torch.from_numpy(smallest))

    def select_alone(self, z: torch.Tensor) -> SparseCodes:
        """Every entry above its feature's threshold; features that were never matched stay silent."""
        if not self.ready:
            return super().select_alone(z)
        return top_above(z, torch.where(self.bound > 0, self.bound, torch.inf))

    def settings(self) -> dict[str, Any]:
        """What :func:`allocation_from` needs to build it again; shares lie in the buffer ``rates``."""
        law = self.zipf
        return {
            **super().settings(),
            "m": None if self.m is None else self.m.tolist(),
            "zipf": None if law is None else [law.a, law.b, law.C, law.n_features, law.r2],
        }


def allocation_from(settings: dict[str, Any]) -> Allocation:
    """The allocation that :meth:`Allocation.settings` describes."""
    kind, rest = settings["kind"], {key: value for key, value in settings.items() if key != "kind"}
    if kind == "feature":
        law = rest["zipf"]
        return FeatureChoice(rest["k"], rest["m"], None if law is None else ZipfSchedule(*law))
    if kind in ("token", "mutual"):
        return {"token": TokenChoice, "mutual": MutualChoice}[kind](**rest)
    from gossamer.nn.autoencoders.gradient_topk import GradientTopK

    if kind != GradientTopK.name:
        raise ArgumentError(f"allocation kind={kind!r}: expected token, mutual, feature or gradient")
    return GradientTopK(**rest)
