"""Prune a trained network by M-FAC, or by simpler curvatures in the same way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from gossamer._core.checks import check_choice, check_float, check_int
from gossamer._core.errors import ArgumentError, bad_argument
from gossamer._core.lazy import require
from gossamer.linalg import NM
from gossamer.solve import DiagonalFisherInverse, ExplicitFisherInverse, FisherInverse
from gossamer.sparsify.gradients import collect_gradients
from gossamer.sparsify.masks import masks_of, model_sparsity, prunable_parameters
from gossamer.sparsify.patterns.groups import pattern_groups
from gossamer.sparsify.report import PruneReport
from gossamer.sparsify.saliency.obs import nm_drop, obs_saliency, obs_update
from gossamer.sparsify.schedules import geometric_schedule

CURVATURES = ("mfac", "woodfisher", "diagonal", "magnitude")


class MFACPruner:
    """Optimal Brain Surgeon on the empirical Fisher: remove what costs least and move the rest to make up for it.

    Gradients are collected and F is inverted on the weights that are left, ``n_recompute`` times on the way, after
    steps that each remove the same share. Recomputation is most of the gain: do not prune far in one shot.

    Parameters
    ----------
    model : torch.nn.Module
        Trained network; changed in place.
    loader : iterable of (inputs, targets)
        Mini-batches. Without shuffling, or with a seeded shuffle, runs repeat.
    criterion : callable
        ``criterion(outputs, targets)``, the mean loss.
    ngrads : int
        Gradients m for each inverse.
    damp : float
        Damping of F.
    block : int or None
        Size of independent blocks of coordinates.
    n_recompute : int
        Sub-steps of :meth:`prune`; 1 is one-shot.
    joint : {"independent", "exact"}
        How removals interact: single moves added up, or the joint optimum in each block.
    params : mapping of str to tensor, optional
        What may be pruned; the weights of linear and convolutional layers by default. Zeros in them count as pruned.
    pattern : str or Structure
        ``"unstructured"``, ``"row"``, ``"column"``, a :class:`gossamer.linalg.Block` or :class:`gossamer.linalg.NM`.
    curvature : {"mfac", "woodfisher", "diagonal", "magnitude"}
        The method, or a baseline: explicit blocks (the same numbers), Optimal Brain Damage, no curvature.
    per_sample, grads_from, seed :
        As in :func:`collect_gradients`.

    References
    ----------
    Frantar, Kurtic, Alistarh. M-FAC. NeurIPS 2021, arXiv 2107.03356.

    Examples
    --------
    ``MFACPruner(net, loader, F.cross_entropy, ngrads=256).prune(0.9)``
    """

    def __init__(
        self,
        model: Any,
        loader: Iterable[Any],
        criterion: Callable[[Any, Any], Any],
        ngrads: int = 64,
        damp: float = 1e-5,
        block: int | None = 128,
        n_recompute: int = 16,
        joint: str = "independent",
        params: Mapping[str, Any] | None = None,
        pattern: Any = "unstructured",
        curvature: str = "mfac",
        per_sample: bool = False,
        grads_from: str = "data",
        seed: int = 0,
    ) -> None:
        self.model, self.loader, self.criterion = model, loader, criterion
        self.ngrads = check_int("ngrads", ngrads, low=1)
        self.damp = check_float("damp", damp, low=0, closed="neither")
        self.block = block if block is None else check_int("block", block, low=1)
        self.n_recompute = check_int("n_recompute", n_recompute, low=1)
        self.joint = check_choice("joint", joint, ("independent", "exact"))
        self.params = dict(params) if params is not None else prunable_parameters(model)
        if not self.params:
            raise bad_argument(
                "params", [], "at least one weight", "the model has no linear or convolutional layer"
            )
        self.curvature = check_choice("curvature", curvature, CURVATURES)
        self.pattern = pattern
        self.options: dict[str, Any] = {"per_sample": per_sample, "grads_from": grads_from, "seed": seed}
        self._groups = self._number_groups()

    def prune(self, sparsity: float | None = None) -> PruneReport:
        """Prune to ``sparsity`` over all prunable weights; with an N:M pattern to that pattern.

        Raises :class:`ArgumentError` if the network is sparser already. Returns masks, weights and a history of
        the steps; the model holds the weights.
        """
        began = time.perf_counter()
        now = model_sparsity(masks_of(self.params))
        history: dict[str, list[Any]] = {"sparsity": [], "predicted_increase": []}
        for drop_of in self._steps(sparsity, now):
            w = self._flat()
            support = np.flatnonzero(w)
            inverse = self._inverse(support)
            drop, increase = drop_of(w, support, inverse)
            w[support] = obs_update(w[support], inverse, drop, self.joint)
            w[support[drop]] = 0.0
            self._write(w)
            history["sparsity"].append(model_sparsity(masks_of(self.params)))
            history["predicted_increase"].append(increase)
        masks = masks_of(self.params)
        reached = model_sparsity(masks)
        return PruneReport(
            message=f"{reached:.2%} of {sum(p.numel() for p in self.params.values())} weights are zero",
            history=history,
            sparsity=reached,
            masks=masks,
            weights={name: p.detach().clone() for name, p in self.params.items()},
            layer_sparsity={name: model_sparsity({name: mask}) for name, mask in masks.items()},
            predicted_increase=float(sum(history["predicted_increase"])),
            seconds=time.perf_counter() - began,
        )

    def _steps(self, sparsity: float | None, now: float) -> Iterable[Callable[..., tuple[np.ndarray, float]]]:
        if isinstance(self.pattern, NM):
            n, m = self.pattern.n, self.pattern.m
            if sparsity is not None and abs(sparsity - (1 - n / m)) > 1e-9:
                raise bad_argument("sparsity", sparsity, f"None or {1 - n / m}, which {n}:{m} has")
            steps = min(self.n_recompute, m - n)
            cuts = np.linspace(m, n, steps + 1).round().astype(int)
            for keep in cuts[1:]:
                yield lambda w, support, inverse, keep=keep: self._drop_nm(w, support, inverse, int(keep))
            return
        if sparsity is None:
            raise bad_argument("sparsity", sparsity, "a share in [0, 1)")
        sparsity = check_float("sparsity", sparsity, low=0, high=1, closed="left")
        if sparsity < now - 1e-12:
            raise ArgumentError(
                f"sparsity={sparsity!r}: the network has {now:.4f} already, expected at least that"
            )
        for target in geometric_schedule(min(now, sparsity), sparsity, self.n_recompute):
            yield lambda w, support, inverse, target=target: self._drop_share(w, support, inverse, target)

    def _drop_share(
        self, w: np.ndarray, support: np.ndarray, inverse: Any, target: float
    ) -> tuple[np.ndarray, float]:
        count = round(target * len(w)) - (len(w) - len(support))
        if count <= 0:
            return np.empty(0, np.int64), 0.0
        if self.pattern == "unstructured":
            scores = obs_saliency(w[support], inverse)
            drop = np.argsort(scores, kind="stable")[:count]
            return drop, float(scores[drop].sum())
        # groups of the weights that are left; the cheapest for each weight that it frees go first
        order = np.argsort(self._groups[support], kind="stable")
        numbers = self._groups[support][order]
        members = np.split(order, np.flatnonzero(np.diff(numbers)) + 1)
        scores = obs_saliency(w[support], inverse, members)
        sizes = np.array([len(group) for group in members])
        ranking = np.argsort(scores / sizes, kind="stable")
        chosen = ranking[: int(np.searchsorted(np.cumsum(sizes[ranking]), count)) + 1]
        return np.concatenate([members[i] for i in chosen]), float(scores[chosen].sum())

    def _drop_nm(
        self, w: np.ndarray, support: np.ndarray, inverse: Any, keep: int
    ) -> tuple[np.ndarray, float]:
        order = np.argsort(self._groups[support], kind="stable")
        numbers = self._groups[support][order]
        members = np.split(order, np.flatnonzero(np.diff(numbers)) + 1)
        drops, increase = [np.empty(0, np.int64)], 0.0
        for size in {len(group) for group in members}:
            if size <= keep:
                continue  # a short group at the end of a row, or one that has its zeros already
            groups = np.stack([group for group in members if len(group) == size])
            drop = nm_drop(w[support], inverse, groups, size - keep)
            increase += float(obs_saliency(w[support], inverse, drop.reshape(len(groups), -1)).sum())
            drops.append(drop)
        return np.concatenate(drops), increase

    def _inverse(self, support: np.ndarray) -> Any:
        """The inverse on the weights that are left: pruned coordinates must not come back through it."""
        if self.curvature == "magnitude":
            return DiagonalFisherInverse(np.zeros((1, len(support)), np.float32), 1.0)
        G = collect_gradients(
            self.model, self.loader, self.criterion, self.ngrads, self.params, support, **self.options
        )
        if self.curvature == "diagonal":
            return DiagonalFisherInverse(G, self.damp)
        if self.curvature == "woodfisher":
            return ExplicitFisherInverse(G, self.damp, self.block)
        return FisherInverse(G, self.damp, self.block)

    def _number_groups(self) -> np.ndarray:
        parts, start = [], 0
        for p in self.params.values():
            groups = pattern_groups(self.pattern, tuple(p.shape)).reshape(-1)
            parts.append(groups + start)
            start += int(groups.max()) + 1
        return np.concatenate(parts)

    def _flat(self) -> np.ndarray:
        return np.concatenate([p.detach().cpu().double().reshape(-1).numpy() for p in self.params.values()])

    def _write(self, w: np.ndarray) -> None:
        torch = require("torch", "torch")
        start = 0
        with torch.no_grad():
            for p in self.params.values():
                p.copy_(torch.from_numpy(w[start : start + p.numel()]).reshape(p.shape))
                start += p.numel()
