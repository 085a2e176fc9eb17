"""Second moments of the inputs of linear layers, E[x x^T], one for each distinct input."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gossamer._core.errors import FormatError
from gossamer._core.files import atomic_path
from gossamer.compress.calibrate.covariance import MomentRecorder
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
    layers = source.linears(block)
    with MomentRecorder(layers) as recorder:
        for index in range(len(stream.chunks)):
            out = stream.run(module, index)
            if advance:
                stream.chunks[index] = out
    return _statistics(recorder, layers)


def collect_examples(source: SourceModel, layers: Mapping[str, Any]) -> Statistics:
    """Second moments of the inputs of ``layers`` over the example inputs of any module.

    Parameters
    ----------
    source : SourceModel
        With examples.
    layers : mapping of str to Linear
        Some of its linear layers by path.
    """
    with MomentRecorder(layers) as recorder, source.evaluating():
        for call in source.examples:
            source.module(*call)
    return _statistics(recorder, layers)


def _statistics(recorder: MomentRecorder, layers: Mapping[str, Any]) -> Statistics:
    second: dict[str, np.ndarray] = {}
    for path in layers:
        moment = recorder.second(path)
        leader = recorder.leader[path]
        if leader not in second:
            second[leader] = moment.astype(np.float32)
    return Statistics(dict(recorder.leader), second, max(map(recorder.count, layers), default=0))
