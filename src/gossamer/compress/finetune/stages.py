"""The training stages as parts of a compression run: on its work directory, from its fitted layers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gossamer.compress.calibrate.stream import open_stream, swapped
from gossamer.compress.calibrate.table import Table
from gossamer.compress.finetune.e2e_oqp import tune
from gossamer.compress.finetune.settings import Training
from gossamer.compress.methods.layer import Fitted
from gossamer.compress.models.source import SourceModel
from gossamer.compress.work import WorkDirectory

_CHECKPOINT = "e2e-oqp.safetensors"


def tune_layers(
    source: SourceModel,
    layers: Sequence[Fitted],
    ids: np.ndarray,
    settings: Training,
    work: WorkDirectory,
    step: Callable[..., None],
    *,
    held_out: np.ndarray | None,
    tables: Mapping[str, Table],
    seed: int,
) -> tuple[list[Fitted], dict[str, Any]]:
    """Run the end-to-end stage on fitted layers; returns them with new scales and zeros, and its losses."""
    tuned = tune(
        source,
        {item.row.module: item.matrix for item in layers},
        ids,
        settings,
        held_out=held_out,
        tables=tables,
        checkpoint=work.path / _CHECKPOINT,
        tell=step,
        seed=seed,
    )
    found = []
    for item in layers:
        matrix = tuned.matrices[item.row.module]
        row = replace(item.row, nbytes=matrix.nbytes, bits_per_weight=matrix.bits_per_weight)
        found.append(Fitted(matrix, row))
    facts: dict[str, Any] = {"steps": settings.tune_steps, "windows": len(ids)}
    if held_out is not None:
        facts |= {"held_out_loss_before": tuned.before, "held_out_loss_after": tuned.after}
    return found, facts


def perplexity_of(
    source: SourceModel, layers: Sequence[Fitted], windows: np.ndarray, tables: Mapping[str, Table]
) -> float:
    """Perplexity of the model with these layers and tables on windows (count, length)."""
    stream = open_stream(source, windows, tables.get(source.embeddings[0]))
    weights = {item.row.module: item.matrix for item in layers}
    for block in source.blocks:
        dense = {path: weights[path].to_dense() for path in source.linears(block)}
        with swapped(source, dense):
            stream.advance(source.module.get_submodule(block))
    return math.exp(min(stream.loss(tables), 700.0))
