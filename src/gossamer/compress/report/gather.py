"""From the result of a compression to what its report shows."""

from __future__ import annotations

import datetime
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gossamer._core.machine import machine_facts, package_versions
from gossamer._core.threads import get_threads
from gossamer._kernels.dispatch import active_isa
from gossamer.compress.report.data import Answer, Bar, Figure, Layer, ReportData
from gossamer.compress.report.page import write_page
from gossamer.compress.report.speed import Speed
from gossamer.compress.result import CompressResult
from gossamer.plots.svg import number
from gossamer.plots.tradeoff import TradeoffPoint


def write_report(
    result: CompressResult,
    path: str | os.PathLike[str],
    *,
    speeds: Sequence[Speed] = (),
    recipe: str = "",
    command: str = "",
) -> Path:
    """Write the report of a compression and return its path.

    Parameters
    ----------
    result : CompressResult
        What :func:`gossamer.compress.compress` returned.
    path : path
        The HTML file.
    speeds, recipe, command
        As for :func:`report_data`.
    """
    write_page(report_data(result, speeds=speeds, recipe=recipe, command=command), path)
    return Path(path)


def report_data(
    result: CompressResult, *, speeds: Sequence[Speed] = (), recipe: str = "", command: str = ""
) -> ReportData:
    """Collect what a report shows; what was not measured is left out, not guessed.

    Parameters
    ----------
    result : CompressResult
        With or without evaluation, curve and samples.
    speeds : sequence of Speed
        References first, the compressed model last.
    recipe : str
        The recipe as TOML; by default the one that lies in the artifact.
    command : str
        What repeats the run.
    """
    figures = [_size(result), _bits(result), *_speeds(speeds), _perplexity(result), _memory(speeds)]
    shown = tuple(figure for figure in figures if figure is not None)
    evaluated = _evaluated(result)
    return ReportData(
        model=result.model,
        headline=_headline(shown),
        figures=shown,
        curve=_curve(result),
        budget=_budget(result),
        curve_how=f"Every dot is the whole model after one recipe, without training. Perplexity: {evaluated} "
        "Size: all tensors, embedding included.",
        layers=tuple(
            Layer(row.module, row.structure, row.shape, row.bits_per_weight, row.sparsity, row.error)
            for row in result.layers
        ),
        layers_how="Error: mean squared error of the layer's output on the calibration text, relative to the mean "
        "square of the output. Bits: stored bytes of the matrix, scales and indices included, by its entries. "
        "Zeros: entries that are exactly zero." + _options(result),
        answers=tuple(Answer(s.prompt, s.base, s.compressed) for s in result.samples),
        answers_how=str(
            result.facts.get("answers", "Both greedily, with the model's chat template if it has one.")
        ),
        machine=_machine(result),
        recipe=recipe or _recipe(result),
        command=command or str(result.facts.get("command", "")),
        notes=_notes(result),
    )


def _options(result: CompressResult) -> str:
    counts = result.allocation.get("layers_by_option") or {}
    parts = [f"{name} for {count}" for name, count in counts.items()]
    return f" Chosen within the budget: {', '.join(parts)} layers." if parts else ""


def _size(result: CompressResult) -> Figure | None:
    if not result.nbytes:
        return None
    before = [Bar("original file", result.source_nbytes / 1e6)] if result.source_nbytes else []
    before.append(Bar("as float32", result.base_nbytes / 1e6))
    how = "Bytes of all tensors of the compressed model (embedding, norms and overhead counted), in 10⁶ bytes"
    how += "; of the file or files that the model came from." if result.source_nbytes else "."
    return Figure("size", "MB", "less", tuple(before), Bar("compressed", result.nbytes / 1e6), how)


def _bits(result: CompressResult) -> Figure | None:
    if not result.bits_per_weight:
        return None
    how = "Stored bytes of the linear layers, scales and indices included, by their entries. "
    return Figure(
        "linear layers", "bits a weight", "less", (Bar("float32", 32.0),), Bar("compressed", result.bits_per_weight),
        how + "Embedding and head are not counted here.",
    )  # fmt: skip


def _speeds(speeds: Sequence[Speed]) -> list[Figure]:
    if not speeds:
        return []
    *before, after = speeds
    # ratios are taken against the first reference: one that was disturbed must not stand there
    before.sort(key=lambda speed: not speed.steady)
    shaken = [speed.label for speed in speeds if not speed.steady]
    warning = f" Its runs differ a lot, so that it says little: {', '.join(shaken)}." if shaken else ""
    return [
        Figure(
            name,
            "tokens/s",
            "more",
            tuple(Bar(_steady_label(speed), getattr(speed, attribute)) for speed in before),
            Bar(_steady_label(after), getattr(after, attribute)),
            after.how + warning,
        )
        for name, attribute in (("writing (decode)", "decode"), ("reading (prefill)", "prefill"))
    ]


def _steady_label(speed: Speed) -> str:
    return speed.label if speed.steady else f"{speed.label} (unsteady)"


def _memory(speeds: Sequence[Speed]) -> Figure | None:
    known = [speed for speed in speeds if speed.memory]
    if not known or known[-1] is not speeds[-1]:
        return None
    bars = [Bar(speed.label, speed.memory / 1e6) for speed in known]
    how = "Bytes that the engine holds for weights, repacked for its kernels, and one session's cache."
    return Figure("memory while running", "MB", "less", tuple(bars[:-1]), bars[-1], how)


def _perplexity(result: CompressResult) -> Figure | None:
    if result.perplexity is None:
        return None
    before = (Bar("base model", result.base_perplexity),) if result.base_perplexity else ()
    return Figure(
        "perplexity",
        "",
        "less",
        before,
        Bar("compressed", result.perplexity),
        _evaluated(result) + _kept(result),
    )


def _kept(result: CompressResult) -> str:
    """What the budget was measured on, which is another text than the figure's."""
    return f" The budget itself: {result.message}." if result.allocation and result.message else ""


def _evaluated(result: CompressResult) -> str:
    if not result.windows:
        return "not evaluated."
    text = f" of {result.evaluated_on}" if result.evaluated_on else ""
    return (
        f"{result.windows} windows of {result.window} tokens{text}, not overlapping, from its start, no "
        "beginning-of-text token; mean over predicted tokens. Only equal windows and counts compare."
    )


def _headline(figures: Sequence[Figure]) -> str:
    found = {figure.name: figure for figure in figures}
    parts = []
    if (size := found.get("size")) is not None and size.before:
        parts.append(f"{number(size.before[0].value)} MB become {number(size.after.value)} MB.")
    speed = found.get("writing (decode)")
    if speed is not None and speed.ratio and "unsteady" not in speed.before[0].label + speed.after.label:
        parts.append(f"It writes {number(speed.ratio)} times as fast as the {speed.before[0].label}.")
    loss = found.get("perplexity")
    if loss is not None and loss.ratio:
        parts.append(f"Its perplexity is {number(loss.ratio)} times the base model's.")
    return " ".join(parts)


def _curve(result: CompressResult) -> tuple[TradeoffPoint, ...]:
    if not result.curve:
        return ()
    points = [
        TradeoffPoint(point.name, point.nbytes / 1e6, point.relative, series=point.name.split("-")[0])
        for point in result.curve
        if point.name != result.recipe
    ]
    loss = result.relative_perplexity
    here = [p for p in result.curve if p.name == result.recipe]
    if here:
        points.append(TradeoffPoint(result.recipe, here[0].nbytes / 1e6, here[0].relative, chosen=True))
    elif loss is not None:
        points.append(TradeoffPoint(result.recipe, result.nbytes / 1e6, loss, chosen=True))
    return tuple(points)


def _budget(result: CompressResult) -> float | None:
    allowed = result.allocation.get("max_loss")
    return 1.0 + float(allowed) if isinstance(allowed, (int, float)) else None


def _machine(result: CompressResult) -> dict[str, str]:
    facts = machine_facts()
    versions = package_versions(["gossamer", "numpy", "torch", "transformers", "llama-cpp-python"])
    shown = {
        "processor": facts["cpu"],
        "instruction set of the kernels": active_isa(),
        "threads": str(get_threads()),
        "memory": facts["memory"],
        "system": f"{facts['system']}, Python {facts['python']}",
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }
    if result.seconds:
        shown["time to compress"] = f"{result.seconds:.0f} s"
    if result.peak_memory:
        shown["peak memory of compressing"] = f"{result.peak_memory / 1e6:.0f} MB"
    for key, value in result.facts.items():
        if (
            key not in _NOT_SHOWN
            and isinstance(value, (str, int, float))
            and value != ""
            and not isinstance(value, bool)
        ):
            name = f"{key}, SHA-256" if key in _HASHES else key.replace("_", " ")
            shown.setdefault(name, _plain(value))
    return shown


_HASHES = {"model", "recipe", "calibration"}
_NOT_SHOWN = {"command", "answers", "note"}


def _recipe(result: CompressResult) -> str:
    file = Path(result.path) / "recipe.toml"
    return file.read_text(encoding="utf-8") if file.is_file() else ""


def _plain(value: Any) -> str:
    return number(value) if isinstance(value, float) and math.isfinite(value) else str(value)


def _notes(result: CompressResult) -> tuple[str, ...]:
    notes = []
    if not result.success:
        notes.append(f"This run did not reach what it was asked for: {result.message}")
    stored = 8 * result.source_nbytes / result.parameters if result.parameters else 0.0
    if 0 < stored < 15:
        notes.append(
            f"The original file holds {stored:.1f} bits a weight: it is itself compressed. The base model here is what "
            "that file says, as float32, and not the model as it was trained."
        )
    if result.facts.get("note"):
        notes.append(str(result.facts["note"]))
    return tuple(notes)
