"""A model and its compressed twin, layer by layer."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from gossamer._core.arrays import to_numpy
from gossamer._core.errors import ArgumentError, ShapeError, UnsupportedError
from gossamer.compress.models.source import BLOCKS, SourceModel
from gossamer.engine.artifact import Artifact, load_artifact
from gossamer.linalg import Dense, StructuredMatrix


class Pair:
    """What each linear layer of a model is, and what it became.

    Parameters
    ----------
    source : SourceModel
        The model before compression.
    compressed : Artifact, path of one, torch.nn.Module, SourceModel, or mapping of str to matrix or array
        The model after it. Values are taken as executed: quantised formats are multiplied out from what they store.

    Raises
    ------
    ArgumentError
        If the two have different linear layers; the message has the first that differ.
    """

    def __init__(self, source: SourceModel, compressed: Any) -> None:
        if isinstance(compressed, (str, os.PathLike)):
            compressed = load_artifact(compressed)
        self.source = source
        self.artifact = compressed if isinstance(compressed, Artifact) else None
        found = _matrices(compressed)
        self.paths = list(source.linears())
        inside = f"{BLOCKS[source.kind]}." if source.kind in BLOCKS else ""
        others = {path for path in found if path.startswith(inside)}
        missing, extra = [p for p in self.paths if p not in found], sorted(others - set(self.paths))
        if missing or extra:
            raise ArgumentError(
                f"base and compressed model have different linear layers: {len(missing)} only in the base "
                f"({', '.join(missing[:3]) or 'none'}), {len(extra)} only in the compressed one "
                f"({', '.join(extra[:3]) or 'none'})"
            )
        for path in self.paths:
            shape = tuple(source.weight(path).shape)
            if tuple(found[path].shape) != shape:
                raise ShapeError(f"{path}: compressed to shape {tuple(found[path].shape)}, expected {shape}")
        self._found = found

    def base(self, path: str) -> np.ndarray:
        """The weight before compression, (O, K)."""
        return self.source.weight(path).detach().numpy()

    def compressed(self, path: str) -> np.ndarray:
        """The weight as the compressed model executes it, float32 (O, K)."""
        value = self._found[path]
        dense = value.to_dense() if isinstance(value, StructuredMatrix) else value
        return to_numpy(dense).astype(np.float32, copy=False)

    def matrix(self, path: str) -> StructuredMatrix:
        """The compressed weight in its format."""
        value = self._found[path]
        return (
            value.numpy() if isinstance(value, StructuredMatrix) else Dense().project(self.compressed(path))
        )

    def embeddings(self) -> dict[str, np.ndarray]:
        """Embeddings and head that were compressed as well, dense, by path."""
        return {path: self.compressed(path) for path in self.source.embeddings if path in self._found}

    def tied(self) -> dict[str, str]:
        """Layers whose weight is that of an earlier layer, and which one that is: repaired once."""
        first: dict[int, str] = {}
        shared = {}
        for path in self.paths:
            other = first.setdefault(id(self.source.weight(path)), path)
            if other != path:
                shared[path] = other
        return shared


def _matrices(compressed: Any) -> dict[str, Any]:
    if isinstance(compressed, Artifact):
        return dict(compressed.matrices)
    if isinstance(compressed, Mapping):
        return dict(compressed)
    module = compressed.module if isinstance(compressed, SourceModel) else compressed
    if not hasattr(module, "named_modules"):
        raise UnsupportedError(
            f"compressed model is a {type(compressed).__name__}: expected an artifact, a torch module or a mapping"
        )
    import torch

    found: dict[str, Any] = {}
    for name, part in module.named_modules():
        matrix = getattr(part, "matrix", None)
        if isinstance(matrix, StructuredMatrix):
            found[name] = matrix
        elif isinstance(part, torch.nn.Linear):
            found[name] = part.weight.detach()
    return found
