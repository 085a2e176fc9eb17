"""E2E-OQP: with codes and masks frozen, the scales and zeros of the whole model learn the model's own aim."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gossamer._core.errors import ArgumentError, FormatError
from gossamer._core.files import atomic_path
from gossamer.compress.calibrate.stream import swapped
from gossamer.compress.calibrate.table import Table
from gossamer.compress.finetune.descent import Descent, order
from gossamer.compress.finetune.forms import ScaledLinear, beside, frozen, replaced
from gossamer.compress.finetune.objectives import Objective, objective
from gossamer.compress.finetune.placement import KINDS, joined, split
from gossamer.compress.finetune.settings import Training
from gossamer.compress.models.source import SourceModel
from gossamer.linalg import StructuredMatrix

_SCALES_ONLY = 0.2
"""Last part of the steps, in which zeros are codes already and only scales move."""
_WARMUP = 0.05


@dataclass(frozen=True)
class Tuned:
    """What the stage returns: matrices by module path, and the held-out loss before and after (nan: not asked)."""

    matrices: dict[str, StructuredMatrix]
    before: float
    after: float


def tune(
    source: SourceModel,
    matrices: Mapping[str, StructuredMatrix],
    ids: np.ndarray,
    settings: Training,
    *,
    held_out: np.ndarray | None = None,
    tables: Mapping[str, Table] | None = None,
    checkpoint: Path | None = None,
    tell: Callable[[int, str], None] | None = None,
    seed: int = 0,
) -> Tuned:
    r"""Train scales and zeros on next-token cross-entropy; those of an encoder towards the original's embeddings.

    With :math:`\hat w = (q - z) s` and ``g`` the gradient of a weight, a scale's is :math:`\sum g (q - z)` and a
    zero's :math:`-s \sum g` over the group. AdamW without decay, 5 % of the steps warm-up, then a cosine.

    Parameters
    ----------
    source : SourceModel
        The original model; a Llama decoder or a BERT encoder. Not modified.
    matrices : mapping of str to StructuredMatrix
        What each compressed linear layer is; those of other than the quantised families stay as they are, and so do
        terms that are added to one.
    ids : ndarray of int64, shape (windows, length)
        Windows to train on.
    settings : Training
        The fields ``tune_*``, ``aim``, ``train_zero``, ``export_zero``, ``distil``, ``save_every``, ``precision``.
    held_out : ndarray of int64, optional
        Windows to judge on: the result is kept only if it is better there than the start.
    tables : mapping of str to Table, optional
        Compressed embedding and head.
    checkpoint : Path, optional
        A file with all that the next step depends on, written every ``save_every`` steps; if it is there, the run
        goes on behind it and ends with the same bytes.
    tell : callable, optional
        ``tell(step, detail)`` after every step.
    seed : int
        Of the order of windows.

    Returns
    -------
    Tuned
        Codes and patterns are bit for bit those of ``matrices``.

    Notes
    -----
    Memory: codes, two numbers a group with two moments each, and the activations of one micro-batch.
    """
    aim = objective(source, settings)
    modules = {path: source.module.get_submodule(path) for path in matrices}
    parts = {path: split(matrix) for path, matrix in matrices.items()}
    layers = {
        path: ScaledLinear(codes, modules[path].bias, settings.export_zero)
        for path, (codes, _) in parts.items()
        if codes.structure.kind in KINDS
    }
    forms = {path: beside(layer, parts[path][1]) for path, layer in layers.items()}
    if not layers:
        raise ArgumentError(f"stage 'e2e-oqp': none of the {len(matrices)} matrices has scales to train")
    fixed: dict[str, Any] = {path: m.to_dense() for path, m in matrices.items() if path not in layers}
    for path, table in (tables or {}).items():
        fixed[path] = torch.cat(list(table.pieces()))

    original = {path: source.weight(path).data for path in (*fixed, *layers)}

    def judge(current: Mapping[str, StructuredMatrix]) -> float:
        if held_out is None:
            return float("nan")
        weights = {path: current[path].to_dense() for path in layers}
        with swapped(source, {**fixed, **weights}), torch.no_grad():
            return float(np.mean([float(_loss(source, aim, row[None], original)) for row in held_out]))

    before = judge(matrices)
    steps = settings.tune_steps
    zeros: list[torch.Tensor] = [
        layer.zero for layer in layers.values() if layer.zero is not None and settings.train_zero
    ]
    descent = Descent(
        [
            ([layer.scale for layer in layers.values()], settings.tune_scale_rate),
            (zeros, settings.tune_zero_rate),
        ],
        steps,
        clip=settings.clip,
        warmup=_WARMUP,
        least=[(layer.scale, layer.scale.detach() / 64) for layer in layers.values()],
    )
    if checkpoint is not None and checkpoint.exists():
        _restore(descent, checkpoint)
    coded = any(layer.grid.zero == "int" and layer.zero is not None for layer in layers.values())
    switch = round((1 - _SCALES_ONLY) * steps) if zeros and coded else steps
    batches = order(len(ids), settings.tune_batch, steps, seed)
    for step in range(descent.done, steps):
        if step == switch:
            for layer in layers.values():
                layer.round_zeros()
        value = _step(
            source, aim, forms, fixed, ids[batches[step]], settings, descent, zeros if step >= switch else []
        )
        if tell is not None:
            tell(step + 1, f"{aim.label} {value:.3f}")
        if checkpoint is not None and (step + 1) % settings.save_every == 0:
            _save(descent, checkpoint)
    tuned = dict(matrices) | {path: joined(layer.export(), parts[path][1]) for path, layer in layers.items()}
    after = judge(tuned)
    if held_out is not None and not after <= before:
        return Tuned(dict(matrices), before, before)
    return Tuned(tuned, before, after)


def _step(
    source: SourceModel,
    aim: Objective,
    forms: Mapping[str, torch.nn.Module],
    fixed: Mapping[str, Any],
    ids: np.ndarray,
    settings: Training,
    descent: Descent,
    idle: list[torch.Tensor],
) -> float:
    """One step over a batch of windows, a few at a time so that outputs stay small."""
    few = aim.few(ids.shape[1])
    parts = [ids[i : i + few] for i in range(0, len(ids), few)]
    original = {path: source.weight(path).data for path in fixed}

    def loss(part: np.ndarray) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=settings.low_precision):
            value = _loss(source, aim, part, original, forms)
        return value * (len(part) / len(ids))

    # the backward pass reads weights again: they stay exchanged until it is over
    with frozen(source.module), swapped(source, fixed), torch.enable_grad():
        return descent.step([partial(loss, part) for part in parts], idle)


def _loss(
    source: SourceModel,
    aim: Objective,
    ids: np.ndarray,
    original: Mapping[str, Any],
    forms: Mapping[str, torch.nn.Module] | None = None,
) -> torch.Tensor:
    """The loss of the weights in place, or of training forms beside them, against those called ``original``."""
    teacher = None
    if aim.needs_teacher:
        with torch.no_grad(), swapped(source, original):
            teacher = aim.outputs(ids)
    with replaced(source.module, forms or {}):
        return aim.loss(aim.outputs(ids), ids, teacher)


def _save(descent: Descent, path: Path) -> None:
    from safetensors.torch import save_file

    state = {name: tensor.contiguous() for name, tensor in descent.state().items()}
    with atomic_path(path) as temporary:
        save_file(state, temporary, metadata={"done": json.dumps(descent.done)})


def _restore(descent: Descent, path: Path) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            done = json.loads(file.metadata()["done"])
            descent.restore({name: file.get_tensor(name) for name in file.keys()}, done)  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, TypeError, RuntimeError, json.JSONDecodeError) as error:
        raise FormatError(f"{path}: damaged ({error}); remove it to begin the stage anew") from None
