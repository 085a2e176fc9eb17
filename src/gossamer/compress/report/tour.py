"""The whole way in one call: compress a language model, measure it beside the original, write the report."""

from __future__ import annotations

import gc
import importlib.util
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gossamer._core.threads import set_threads
from gossamer.compress.assemble import base_artifact
from gossamer.compress.report.gather import write_report
from gossamer.compress.report.speed import Runner, Speed, engine_runner, llama_cpp_runner, race
from gossamer.compress.result import CompressResult, Progress, Sample

PROMPTS = (
    "What is the capital of France?",
    "Explain in one sentence why the sky is blue.",
    "What would you pack for a day in the mountains?",
    "Write two lines about a spider and its web.",
)
CURVE = ("rtn-w8", "gptq-w4", "rtn-w3", "gqsa-w4s50-oneshot")


@dataclass(frozen=True)
class Tour:
    """What a tour found.

    Attributes
    ----------
    result : CompressResult
        With evaluation, trade-off curve and answers.
    speeds : tuple of Speed
        References first, the compressed model last.
    report : Path
        The HTML file.
    seconds : float
        Of the whole tour.
    """

    result: CompressResult
    speeds: tuple[Speed, ...]
    report: Path
    seconds: float

    def rows(self) -> list[tuple[str, str, str, str]]:
        """Figures as text: name, first reference, compressed, ratio."""
        from gossamer.compress.report.gather import report_data
        from gossamer.plots.svg import number

        rows = []
        for figure in report_data(self.result, speeds=self.speeds).figures:
            before = f"{number(figure.before[0].value)} ({figure.before[0].label})" if figure.before else ""
            ratio = "" if figure.ratio is None else f"{figure.ratio:.2f} ×"
            rows.append((f"{figure.name} {figure.unit}".strip(), before, number(figure.after.value), ratio))
        return rows


def tour(
    out: str | os.PathLike[str],
    *,
    model: Any = "smollm2-135m",
    recipe: Any = "quick",
    max_loss: str | float = "10%",
    calibration: tuple[str | None, str],
    evaluation: tuple[str, str],
    curve: Sequence[str] = CURVE,
    prompts: Sequence[str] = PROMPTS,
    calibrate: int = 16,
    window: int = 256,
    windows: int = 12,
    repeats: int = 3,
    seed: int = 0,
    threads: int | None = None,
    command: str = "",
    progress: Callable[[Progress], None] | None = None,
) -> Tour:
    """Compress, evaluate, draw the trade-off curve, let both models answer, race them, write ``report.html``.

    Parameters
    ----------
    out : path
        Directory for ``model`` (the artifact, which is replaced) and ``report.html``.
    model, recipe, max_loss, seed
        As for :func:`gossamer.compress.compress`.
    calibration, evaluation : (text, name)
        What layers are fitted on, and what perplexity is measured on.
    curve : sequence of str
        Recipes on the trade-off curve, besides the model itself.
    prompts : sequence of str
        What both models are asked.
    calibrate : int
        Calibration windows of the curve's recipes.
    window, windows : int
        Tokens and number of the evaluation's windows.
    repeats : int
        Rounds of the race.
    threads : int, optional
        For everything; all cores by default.
    command : str
        What the report names as the way to repeat this.
    progress : callable, optional
        Hears :class:`gossamer.compress.Progress` values.

    Returns
    -------
    Tour
    """
    from gossamer.compress import compress, load_model
    from gossamer.compress.tradeoff import tradeoff
    from gossamer.engine import Engine

    start = time.perf_counter()
    set_threads(threads)
    folder = Path(out)
    source = load_model(model)
    settings: dict[str, Any] = {"window": window, "windows": windows, "progress": progress, "seed": seed}
    budget: dict[str, Any] = {"overwrite": True, "max_loss": max_loss, "evaluate": evaluation[0]}
    result = compress(source, recipe, calibration[0], out=folder / "model", **budget, **settings)
    points = (
        tradeoff(source, curve, calibration[0], evaluation[0], calibrate=(calibrate, 256), **settings)
        if curve
        else ()
    )
    small = Engine.load(folder / "model", threads=threads)
    base = Engine(base_artifact(source), threads=threads)
    del source
    gc.collect()
    with _stage(progress, "answers", len(prompts)) as step:
        samples = []
        for prompt in prompts:
            samples.append(Sample(prompt, _answer(base, prompt), _answer(small, prompt)))
            step(len(samples))
    with _stage(progress, "race", repeats) as step:
        runners = [*_original(model, threads), engine_runner("base model, float32", base, 128, 48)]
        runners.append(engine_runner("compressed", small, 128, 48))
        speeds = race(runners, repeats, lambda done, _: step(done))
    result = replace(
        result,
        evaluated_on=evaluation[1],
        curve=tuple(points),
        samples=tuple(samples),
        facts={**result.facts, "calibrated_on": calibration[1], "answers": _HOW_ANSWERED},
    )
    report = write_report(result, folder / "report.html", speeds=speeds, command=command)
    return Tour(result, tuple(speeds), report, time.perf_counter() - start)


_HOW_ANSWERED = (
    "Both by this engine with the chat template: greedy, at most 48 tokens; the original as float32, the compressed "
    "model as it is on disk."
)


def _answer(engine: Any, prompt: str) -> str:
    chat = bool(engine.tokenizer is not None and engine.tokenizer.config.get("chat_template"))
    return engine.generate(prompt, max_new_tokens=48, chat=chat).text


def _original(model: Any, threads: int | None) -> list[Runner]:
    """The very file that the model came from, in llama.cpp, where both are there."""
    from gossamer.compress.models.bundled import BUNDLED, locate

    path = (
        Path(locate(model) if model in BUNDLED else model)
        if isinstance(model, (str, os.PathLike))
        else Path()
    )
    if path.suffix != ".gguf" or importlib.util.find_spec("llama_cpp") is None:
        return []
    return [llama_cpp_runner("original file in llama.cpp", path, 128, 48, threads=threads)]


@contextmanager
def _stage(
    progress: Callable[[Progress], None] | None, name: str, total: int
) -> Iterator[Callable[[int], None]]:
    start = time.perf_counter()

    def step(done: int) -> None:
        if progress is not None:
            progress(Progress(name, done, total, time.perf_counter() - start))

    step(0)
    yield step
