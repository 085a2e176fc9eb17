"""Second moments of the inputs of linear layers, E[x x^T], one for each distinct input."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from gossamer._core.errors import ArgumentError, FormatError
from gossamer._core.files import atomic_path
from gossamer.compress.calibrate.stream import Stream
from gossamer.compress.models.source import SourceModel


@dataclass(frozen=True)
class Statistics:
    """Second moments of a block's linear layers.

    Attributes
    ----------
    leader : dict of str to str
        For each layer the first one with the same input: Q, K and V share one, gate and up another.
    second : dict of str to ndarray, shape (K, K)
        ``E[x x^T]`` by leader, float32, the mean over ``tokens``.
    tokens : int
        Rows that were averaged.
    """

    leader: dict[str, str]
    second: dict[str, np.ndarray]
    tokens: int

    def of(self, path: str) -> np.ndarray:
        """The second moment of the inputs of the layer at ``path``, shape (K, K)."""
        return self.second[self.leader[path]]

    def metric(self, path: str, name: str) -> np.ndarray | None:
        """What ``project`` takes as its metric: None, the diagonal, or the whole second moment."""
        if name == "none":
            return None
        second = self.of(path)
        return np.ascontiguousarray(np.diagonal(second)) if name == "diagonal" else second

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write as safetensors, atomically."""
        from safetensors.numpy import save_file

        about = json.dumps({"leader": self.leader, "tokens": self.tokens})
        with atomic_path(path) as temporary:
            save_file(self.second, temporary, metadata={"statistics": about})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Statistics:
        """Read what :meth:`save` wrote."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(os.fspath(path), framework="numpy") as file:
                about = json.loads(file.metadata()["statistics"])
                second = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
            raise FormatError(f"{path}: damaged statistics ({error})") from None
        return cls(about["leader"], second, about["tokens"])


def collect(source: SourceModel, block: str, stream: Stream, *, advance: bool = False) -> Statistics:
    """Second moments of the inputs of a block's linear layers over a stream.

    Parameters
    ----------
    source : SourceModel
        The model.
    block : str
        Path of the block that the stream stands before.
    stream : Stream
        Inputs of the block.
    advance : bool
        Move the stream to the block's outputs in the same pass.

    Notes
    -----
    One float32 product a chunk, summed in float64: ``O(tokens K^2)`` operations and ``K^2`` doubles a distinct
    input.
    """
    module = source.module.get_submodule(block)
    with _Recorder(source.linears(block)) as recorder:
        for index in range(len(stream.chunks)):
            out = stream.run(module, index)
            if advance:
                stream.chunks[index] = out
    return recorder.statistics()


def collect_examples(source: SourceModel, layers: Mapping[str, Any]) -> Statistics:
    """Second moments of the inputs of ``layers`` over the example inputs of any module.

    Parameters
    ----------
    source : SourceModel
        With examples.
    layers : mapping of str to Linear
        Some of its linear layers by path.
    """
    with _Recorder(layers) as recorder, source.evaluating():
        for call in source.examples:
            source.module(*call)
    return recorder.statistics()


class _Recorder:
    """Hooks that sum x x^T; layers called with the same tensor share one sum."""

    def __init__(self, layers: Mapping[str, Any]) -> None:
        self._layers = dict(layers)
        self._leader: dict[str, str] = {}
        self._sums: dict[str, np.ndarray] = {}
        self._tokens: dict[str, int] = {}
        self._latest: dict[str, torch.Tensor] = {}
        self._hooks: list[Any] = []

    def __enter__(self) -> _Recorder:
        for path, layer in self._layers.items():
            self._hooks.append(layer.register_forward_pre_hook(self._hook(path)))
        return self

    def __exit__(self, *exception: object) -> None:
        for hook in self._hooks:
            hook.remove()
        self._latest.clear()

    def statistics(self) -> Statistics:
        silent = [path for path in self._layers if path not in self._leader]
        if silent:
            raise ArgumentError(
                f"{len(silent)} linear layers saw no input, the first is {silent[0]}: "
                "expected example inputs that reach every layer, or an override with keep = true"
            )
        second = {
            path: (total / max(self._tokens[path], 1)).astype(np.float32)
            for path, total in self._sums.items()
        }
        for path, moment in second.items():
            if not np.isfinite(moment).all():
                raise ArgumentError(f"{path}: its inputs hold NaN or infinity on the calibration data")
        return Statistics(dict(self._leader), second, max(self._tokens.values(), default=0))

    def _hook(self, path: str) -> Any:
        def record(module: Any, args: tuple) -> None:
            x = args[0].detach()
            leader = self._leader.get(path)
            if leader is None:
                # the tensors are held so that the memory of one is not reused by another while we compare
                same = (p for p, seen in self._latest.items() if seen is args[0] or _aliases(seen, x))
                leader = self._leader[path] = next(same, path)
            if leader != path:
                return
            self._latest[path] = x
            flat = x.reshape(-1, x.shape[-1])
            product = (flat.T @ flat).numpy()
            if path in self._sums:
                self._sums[path] += product
            else:
                self._sums[path] = product.astype(np.float64)
            self._tokens[path] = self._tokens.get(path, 0) + len(flat)

        return record


def _aliases(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.data_ptr() == b.data_ptr() and a.shape == b.shape and a.stride() == b.stride()
