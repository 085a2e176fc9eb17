"""Fitted layers, embedding and what is left of a model, put together as an artifact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from gossamer._core.arrays import to_numpy
from gossamer.compress.methods.layer import Fitted
from gossamer.compress.models.source import SourceModel
from gossamer.compress.recipe import Recipe
from gossamer.engine.artifact import Artifact
from gossamer.linalg import Dense


def remaining(source: SourceModel, embeddings: Mapping[str, Fitted]) -> dict[str, np.ndarray]:
    """What stays as it is: norms, biases, and the embeddings that are not among the fitted ones; shared memory."""
    arrays = {name: to_numpy(tensor) for name, tensor in source.rest().items()}
    for path in source.embeddings:
        if path not in embeddings:
            arrays[f"{path}.weight"] = to_numpy(source.weight(path))
    return arrays


def assemble(
    source: SourceModel,
    layers: Sequence[Fitted],
    embeddings: Mapping[str, Fitted],
    arrays: Mapping[str, np.ndarray],
    metadata: dict[str, Any],
) -> Artifact:
    """Build the artifact of a compressed model; of ``source`` only the description is used, not the module."""
    matrices = {item.row.module: item.matrix for item in layers}
    matrices |= {path: item.matrix for path, item in embeddings.items()}
    others = dict(arrays)
    pooler = others.pop("pooler.dense.weight", None) if source.kind == "bert" else None
    if pooler is not None:
        matrices["pooler.dense"] = Dense().project(pooler)
    return Artifact(
        kind=source.kind,
        config=source.config,
        matrices=matrices,
        arrays=others,
        metadata=metadata,
        tokenizer=source.tokenizer,
    )


def base_artifact(source: SourceModel) -> Artifact:
    """The uncompressed model as an artifact with dense float32 matrices, so that the engine runs it."""
    dense = Dense("float32")
    matrices = {path: dense.project(to_numpy(source.weight(path).detach())) for path in source.linears()}
    arrays = {name: to_numpy(tensor.detach()) for name, tensor in source.rest().items()}
    for path in source.embeddings:
        arrays[f"{path}.weight"] = to_numpy(source.weight(path).detach())
    return Artifact(source.kind, source.config, matrices, arrays, {}, source.tokenizer)


def describe(
    source: SourceModel,
    recipe: Recipe,
    layers: Sequence[Fitted],
    identity: Mapping[str, Any],
    figures: dict[str, Any],
) -> dict[str, Any]:
    """What an artifact says of its own making: the same for the same run, so that artifacts compare by bytes."""
    return {
        "recipe": recipe.to_config(),
        "source": {"name": source.name, "sha256": source.content_hash, "bytes": source.source_nbytes},
        "licence": source.licence,
        "chat_template": source.chat_template,
        "run": dict(identity),
        "figures": figures,
        "layers": [{**asdict(item.row), "shape": list(item.row.shape)} for item in layers],
    }


def linear_bits(layers: Sequence[Fitted]) -> float:
    """Stored bits for each weight of the linear layers, all overhead counted."""
    weights = sum(item.row.shape[0] * item.row.shape[1] for item in layers)
    return 8 * sum(item.row.nbytes for item in layers) / max(weights, 1)
