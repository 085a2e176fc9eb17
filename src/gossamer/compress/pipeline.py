"""The main job: a model and a recipe go in, an artifact that the engine runs comes out."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gossamer._core.errors import ArgumentError
from gossamer.compress import memory
from gossamer.compress.allocate.budget import Allocation, allocate
from gossamer.compress.assemble import assemble, describe, linear_bits, remaining
from gossamer.compress.blockwise import (
    ExampleStatistics,
    NoStatistics,
    StatisticsSource,
    StreamStatistics,
    compress_blocks,
    needs_statistics,
    parts,
)
from gossamer.compress.calibrate.mixes import task_mix
from gossamer.compress.calibrate.stream import open_stream
from gossamer.compress.calibrate.windows import (
    calibration_windows,
    evaluation_windows,
    split_windows,
    windows_hash,
)
from gossamer.compress.finetune.bqpo import BlockTrainer
from gossamer.compress.finetune.stages import perplexity_of, tune_layers
from gossamer.compress.methods.embedding import fit_embeddings
from gossamer.compress.methods.layer import Fitted, fit_layer
from gossamer.compress.models.huggingface import import_architectures
from gossamer.compress.models.load import load_model
from gossamer.compress.models.source import SourceModel
from gossamer.compress.progress import Reporter
from gossamer.compress.recipe import Budget, Recipe, load_recipe, parse_loss, parse_size
from gossamer.compress.result import CompressResult, Progress
from gossamer.compress.work import WorkDirectory
from gossamer.engine.artifact import save_artifact


def compress(
    model: Any,
    recipe: str | os.PathLike[str] | Recipe = "balanced",
    calibration: Any = None,
    *,
    out: str | os.PathLike[str],
    resume: bool = False,
    overwrite: bool = False,
    target_size: str | int | None = None,
    max_loss: str | float | None = None,
    evaluate: Any = None,
    window: int = 256,
    windows: int = 16,
    costs: Mapping[str, float] | None = None,
    progress: Callable[[Progress], None] | None = None,
    seed: int = 0,
) -> CompressResult:
    """Compress a model and write the artifact.

    Blocks are taken in order. The inputs that a block meets behind the blocks already compressed weigh the error of
    its linear layers; each layer is projected onto the family that the recipe names; the finished block goes to
    ``<out>.work``. A run that was killed at any moment continues there with ``resume=True`` and writes the same
    bytes.

    Parameters
    ----------
    model : str, path, torch.nn.Module or SourceModel
        See :func:`load_model`. It is not modified.
    recipe : str, path or Recipe
        See :func:`load_recipe`.
    calibration : str, path, array of int, or mapping of such
        Text (or a file of it, or token ids) to calibrate on, or several by name, in equal shares (see
        :func:`task_mix`); not needed by recipes that look at weights only, nor
        by modules that bring example inputs.
    out : path
        The artifact directory.
    resume : bool
        Go on with an unfinished run of the same model, recipe, calibration and seed.
    overwrite : bool
        Throw away the work of an unfinished run, and replace an artifact.
    target_size : int or str, optional
        Budget in bytes of the artifact's tensors, such as ``"45MB"``; the recipe must have options.
    max_loss : float or str, optional
        Budget in quality: relative increase of perplexity on held-out calibration text, such as ``"5%"``.
    evaluate : str, path or array of int, optional
        Text on which perplexity is measured before and after, in ``windows`` windows of ``window`` tokens.
    window, windows : int
        See ``evaluate``.
    costs : dict of str to float, optional
        Measured time a weight by option name, for budgets; the default cost is the bytes that a token reads.
    progress : callable, optional
        Called with a :class:`Progress` after every step.
    seed : int
        Seed of what is random (the labels that budgets sample).

    Returns
    -------
    CompressResult

    Raises
    ------
    ArgumentError
        For bad arguments, a calibration text that is too short, weights with NaN, a budget that cannot be met.
    DiskFullError
        If the disk is full; what is finished is kept.
    """
    started = time.perf_counter()
    if isinstance(model, (str, os.PathLike)):
        import_architectures()  # so that peak memory is counted from after the imports
    base_memory = memory.resident()
    memory.reset_peak()
    reporter = Reporter(progress)
    with reporter.stage("load", 1) as step:
        source = load_model(model)
        source.release()  # the check of its values has read all of it
        step(1, source.name)
    chosen = _with_budget(load_recipe(recipe), target_size, max_loss)
    _check_out(Path(out), resume or overwrite)
    ids, held_out, more = _windows(source, chosen, calibration)
    identity = {
        "model": source.content_hash,
        "recipe": chosen.hash,
        "calibration": windows_hash(ids if more is None else more) if ids is not None else "",
        "seed": seed,
    }
    if chosen.default is not None:
        for path, layer in source.linears().items():
            chosen.rule(path).check_fit(path, tuple(layer.weight.shape))
    evaluated = None
    if evaluate is not None:
        evaluated = evaluation_windows(evaluate, source.tokenizer, window, windows)
    work = WorkDirectory.open(out, identity, resume=resume, overwrite=overwrite)

    with source.evaluating():
        allocation = None
        memory.give_back()  # what tokenising took
        if chosen.options:
            if ids is None or held_out is None:
                raise ArgumentError("calibration: a budget needs a text, got None")
            with work.writing():
                allocation = allocate(
                    source, chosen, ids, held_out, work.path, reporter, costs=costs, seed=seed
                )
            chosen = allocation.recipe
        embeddings, tables = fit_embeddings(source, chosen.head)
        table = tables.get(source.embeddings[0]) if source.embeddings else None
        base = compressed = None
        if evaluated is not None:
            base, compressed = open_stream(source, evaluated), open_stream(source, evaluated, table)
        trainer = None
        if "bqpo" in chosen.stages:
            assert ids is not None
            trainer = BlockTrainer(
                source, ids, held_out, chosen.training, folder=work.path, table=table, seed=seed
            )
        with reporter.stage("compress", len(parts(source))) as step, work.writing():
            compress_blocks(
                source,
                chosen,
                _statistics(source, chosen, ids, table, allocation, trainer),
                work,
                step,
                base=base,
                compressed=compressed,
                fit=allocation.fit if allocation is not None else fit_layer,
                trainer=trainer,
            )
        before = math.exp(base.loss()) if base is not None else None
        after = math.exp(min(compressed.loss(tables), 700.0)) if compressed is not None else None
        layers: list[Fitted] = []
        training: dict[str, Any] = {}
        if trainer is not None:
            training["bqpo"] = {"perplexity": after, "blocks": trainer.history()}
            del trainer  # and the activations of all windows
        if "e2e-oqp" in chosen.stages:
            assert more is not None
            settings = chosen.training
            with reporter.stage("e2e-oqp", settings.tune_steps) as step, work.writing():
                layers, training["e2e-oqp"] = tune_layers(
                    source,
                    work.load_all(),
                    more,
                    settings,
                    work,
                    step,
                    held_out=held_out,
                    tables=tables,
                    seed=seed,
                )
            if evaluated is not None:
                after = perplexity_of(source, layers, evaluated, tables)
    parameters, base_nbytes = source.parameters, source.nbytes
    del tables, table, base, compressed
    arrays = remaining(source, embeddings)
    if (
        source is not model and source.source_nbytes
    ):  # nobody else holds the model: make room for the artifact
        arrays = {name: array.copy() for name, array in arrays.items()}
        source.module = None
    memory.give_back()
    layers = layers or work.load_all()
    figures: dict[str, Any] = {"bits_per_weight": linear_bits(layers)}
    if evaluated is not None:
        figures |= {"base_perplexity": before, "perplexity": after, "window": window, "windows": windows}
    with reporter.stage("save", 1) as step, work.writing():
        metadata = describe(source, chosen, [*layers, *embeddings.values()], identity, figures)
        artifact = assemble(source, layers, embeddings, arrays, metadata)
        save_artifact(out, artifact)
        (Path(out) / "recipe.toml").write_text(chosen.to_toml(), encoding="utf-8")
        step(1, str(out))
    work.remove()
    return CompressResult(
        success=allocation is None or allocation.met,
        message=allocation.message if allocation is not None else "",
        path=str(out),
        model=source.name,
        recipe=chosen.name,
        kind=source.kind,
        layers=tuple(item.row for item in [*layers, *embeddings.values()]),
        base_perplexity=before,
        perplexity=after,
        window=window if evaluated is not None else 0,
        windows=windows if evaluated is not None else 0,
        evaluated_on=_title(evaluate),
        base_nbytes=base_nbytes,
        source_nbytes=source.source_nbytes,
        nbytes=artifact.nbytes,
        parameters=parameters,
        bits_per_weight=linear_bits(layers),
        seconds=time.perf_counter() - started,
        stages=dict(reporter.stages),
        peak_memory=memory.peak(),
        base_memory=base_memory,
        allocation=allocation.to_dict() if allocation is not None else {},
        facts={
            **identity,
            "licence": source.licence,
            "calibration_windows": 0 if ids is None else int(ids.shape[0]),
            "calibration_length": 0 if ids is None else int(ids.shape[1]),
            "calibrated_on": _title(calibration),
            "head": chosen.head,
            **({"stages": list(chosen.stages), "training": training} if training else {}),
        },
    )


def _with_budget(recipe: Recipe, target_size: str | int | None, max_loss: str | float | None) -> Recipe:
    if target_size is None and max_loss is None:
        if recipe.options and recipe.budget is None:
            raise ArgumentError(f"recipe {recipe.name!r} allocates by a budget: give target_size or max_loss")
        return recipe
    if not recipe.options:
        raise ArgumentError(
            f"recipe {recipe.name!r} has a fixed rule and no [[option]] to choose from: "
            "target_size and max_loss need one that has, such as 'balanced'"
        )
    budget = Budget(
        max_loss=None if max_loss is None else parse_loss(max_loss),
        target_size=None if target_size is None else parse_size(target_size),
    )
    return replace(recipe, budget=budget)


def _windows(
    source: SourceModel, recipe: Recipe, text: Any
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """Windows to calibrate on, further ones to check budgets and epochs on, and those of end-to-end training."""
    if source.kind == "module":
        if recipe.options or recipe.stages:
            raise ArgumentError(
                f"{source.name}: budgets and stages need a language model, whose loss is known"
            )
        return None, None, None
    if text is None:
        if recipe.options or recipe.stages or needs_statistics(source, recipe):
            raise ArgumentError(
                f"calibration=None: recipe {recipe.name!r} weighs errors by inputs and needs a text"
            )
        return None, None, None
    plan, held_out = recipe.calibration, None
    length = min(plan.length, source.context or plan.length)
    count, mixed = recipe.calibration_windows, isinstance(text, Mapping)
    ids = (task_mix if mixed else calibration_windows)(text, source.tokenizer, length=length, count=count)
    if mixed:  # sources come in turn: slices hold all of them, where strides might meet one only
        held_out, ids = ids[: plan.held_out] if plan.held_out else None, ids[plan.held_out :]
    elif plan.held_out:
        ids, held_out = split_windows(ids, plan.held_out)
    if "e2e-oqp" not in recipe.stages:
        return ids, held_out, None
    spread = (np.arange(plan.windows) * (len(ids) / plan.windows)).astype(int)
    return ids[: plan.windows] if mixed else ids[spread], held_out, ids[: recipe.training.tune_windows]


def _statistics(
    source: SourceModel,
    recipe: Recipe,
    ids: np.ndarray | None,
    table: Any,
    allocation: Allocation | None,
    trainer: BlockTrainer | None,
) -> StatisticsSource:
    if allocation is not None:
        return allocation.statistics
    if source.kind == "module":
        return ExampleStatistics(source) if needs_statistics(source, recipe) else NoStatistics()
    if ids is None:
        return NoStatistics()
    stream = trainer.inputs if trainer is not None else None
    return StreamStatistics(source, ids, recipe.calibration.stream == "compressed", table, stream)


def _check_out(out: Path, replacing: bool) -> None:
    if out.exists() and not out.is_dir():
        raise ArgumentError(f"out={str(out)!r} is a file: expected the name of a directory")
    if not out.is_dir() or not any(out.iterdir()):
        return
    if not (out / "gossamer.json").is_file():
        raise ArgumentError(f"out={str(out)!r} holds files and is no artifact: choose another name")
    if not replacing:
        raise ArgumentError(
            f"out={str(out)!r} exists: choose another name, or pass overwrite=True to replace it"
        )


def _title(text: Any) -> str:
    """The name of a text's file, or of several; nothing of the text itself."""
    if isinstance(text, Mapping):
        return ", ".join(map(str, text))
    if isinstance(text, os.PathLike) or (isinstance(text, str) and len(text) < 1024 and os.path.isfile(text)):
        return os.path.basename(os.fspath(text))
    return "" if text is None else "text given by the caller"
