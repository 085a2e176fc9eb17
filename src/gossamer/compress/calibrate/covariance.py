"""Second moments of what linear layers see, gathered by hooks, padding left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from gossamer._core.checks import check_choice, check_int
from gossamer._core.errors import ArgumentError, unknown_choice
from gossamer.compress.models.source import SourceModel, named_linears


def covariance(
    model: Any,
    batches: Iterable[Any],
    modules: Sequence[str] | None = None,
    *,
    dtype: str = "float64",
) -> dict[str, np.ndarray]:
    r"""Second moments :math:`\frac1T \sum_t x_t x_t^T` of the inputs of layers, over all tokens that are not padding.

    Parameters
    ----------
    model : torch.nn.Module or SourceModel
        Run in evaluation mode, without gradients; not changed.
    batches : iterable
        Calls: a tensor, a tuple of positional arguments, or a mapping of keyword arguments, whose
        ``attention_mask`` (0 at padding), if there is one, says which tokens count.
    modules : sequence of str, optional
        Paths of the layers; every :class:`torch.nn.Linear` if None.
    dtype : {"float64", "float32"}
        In which a batch is multiplied; sums are in float64 always. float64 makes the result independent of how
        tokens are cut into batches, to 1e-12; float32 takes half the time.

    Returns
    -------
    dict of str to ndarray of float64, shape (K, K)
        By path. Layers that are called with the same tensor share one array.

    Raises
    ------
    ArgumentError
        For paths that do not exist, layers that saw no token, and inputs with NaN or infinity (naming the layer).

    Notes
    -----
    O(T K^2) operations and K^2 doubles for each distinct input.
    """
    module = model.module if isinstance(model, SourceModel) else model
    known = dict(module.named_modules())
    paths = [name for name, _ in named_linears(module)] if modules is None else list(modules)
    for path in paths:
        if path not in known:
            raise unknown_choice("modules", path, known)
    flags = {part: part.training for part in known.values()}
    try:
        module.eval()
        with torch.no_grad(), MomentRecorder({path: known[path] for path in paths}, dtype=dtype) as recorder:
            for batch in batches:
                if isinstance(batch, Mapping):
                    recorder.keep = batch.get("attention_mask")
                    module(**batch)
                else:
                    module(*(batch if isinstance(batch, tuple) else (batch,)))
    finally:
        for part, training in flags.items():
            part.training = training
    return {path: recorder.second(path) for path in paths}


class MomentRecorder:
    """Hooks that sum ``x x^T`` and ``|x|``; layers called with the same tensor share one sum.

    Parameters
    ----------
    layers : mapping of str to Module
        Layers by path, called with their input as first argument.
    dtype : {"float64", "float32"}
        Of the products.
    legacy : int
        Not 0: the running value of EoRA's research code over this many sequences, ``C <- C n / (n + 1) + S_i / n``
        with the sum ``S_i`` of sequence i, in which the last ones weigh up to e times as much as the first.

    Attributes
    ----------
    keep : tensor or None
        Set before a call: 0 where a token is padding.
    leader : dict of str to str
        For each layer the first one with the same input, in the order of calls.
    tokens : dict of str to int
        Rows that were averaged, by leader.
    """

    def __init__(self, layers: Mapping[str, Any], *, dtype: str = "float32", legacy: int = 0) -> None:
        check_choice("dtype", dtype, ("float64", "float32"))
        self._layers, self._dtype = dict(layers), getattr(torch, dtype)
        self._legacy = check_int("legacy", legacy, low=0)
        self.keep: torch.Tensor | None = None
        self.leader: dict[str, str] = {}
        self.tokens: dict[str, int] = {}
        self._sums: dict[str, np.ndarray] = {}
        self._absolute: dict[str, np.ndarray] = {}
        self._averaged: set[str] = set()
        self._latest: dict[str, torch.Tensor] = {}
        self._hooks: list[Any] = []

    def __enter__(self) -> MomentRecorder:
        for path, layer in self._layers.items():
            self._hooks.append(layer.register_forward_pre_hook(self._hook(path)))
        return self

    def __exit__(self, *exception: object) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        self._latest.clear()

    def second(self, path: str) -> np.ndarray:
        """The second moment of the inputs of the layer at ``path``, float64 (K, K); shared, not to be changed."""
        leader = self._seen(path)
        total = self._sums[leader]
        if leader not in self._averaged and not self._legacy:
            total /= self.tokens[leader]
            self._absolute[leader] /= self.tokens[leader]
            self._averaged.add(leader)
        if not np.isfinite(total).all():
            raise ArgumentError(f"{path}: its inputs hold NaN or infinity on the calibration data")
        return total

    def absolute(self, path: str) -> np.ndarray:
        """The mean of ``|x|``, float64 (K,)."""
        self.second(path)
        return self._absolute[self.leader[path]]

    def count(self, path: str) -> int:
        """Tokens that the layer at ``path`` saw."""
        return self.tokens[self._seen(path)]

    def _seen(self, path: str) -> str:
        if path not in self.leader or not self.tokens[self.leader[path]]:
            silent = [p for p in self._layers if p not in self.leader] or [path]
            raise ArgumentError(
                f"{len(silent)} linear layers saw no input, the first is {silent[0]}: "
                "expected example inputs that reach every layer, or an override with keep = true"
            )
        return self.leader[path]

    def _hook(self, path: str) -> Any:
        def record(module: Any, args: tuple) -> None:
            x = args[0].detach()
            leader = self.leader.get(path)
            if leader is None:
                # the tensors are held so that the memory of one is not reused by another while we compare
                same = (p for p, seen in self._latest.items() if seen is args[0] or _aliases(seen, x))
                leader = self.leader[path] = next(same, path)
            if leader != path:
                return
            self._latest[path] = x
            width = x.shape[-1]
            if path not in self._sums:
                self._sums[path], self._absolute[path] = np.zeros((width, width)), np.zeros(width)
                self.tokens[path] = 0
            for sequence in self._sequences(path, x):
                self._add(path, sequence.to(self._dtype))

        return record

    def _sequences(self, path: str, x: torch.Tensor) -> list[torch.Tensor]:
        if self.keep is not None:
            if self.keep.numel() != x[..., 0].numel():
                raise ArgumentError(
                    f"{path}: the attention mask has {self.keep.numel()} entries: "
                    f"expected one for each of the {x[..., 0].numel()} tokens"
                )
            alive = self.keep.reshape(x.shape[:-1]).bool()
        else:
            alive = None
        if self._legacy and x.ndim == 3:
            return [one if alive is None else one[alive[i]] for i, one in enumerate(x)]
        return [x.reshape(-1, x.shape[-1]) if alive is None else x[alive]]

    def _add(self, path: str, x: torch.Tensor) -> None:
        if self._legacy:
            self._sums[path] *= self._legacy / (self._legacy + 1)
            self._absolute[path] *= self._legacy / (self._legacy + 1)
        weight = 1 / self._legacy if self._legacy else 1
        self._sums[path] += (x.T @ x).numpy() * weight
        self._absolute[path] += x.abs().sum(dim=0, dtype=torch.float64).numpy() * weight
        self.tokens[path] += len(x)


def _aliases(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.data_ptr() == b.data_ptr() and a.shape == b.shape and a.stride() == b.stride()
