"""Texts that a command line names: a file, a known source, or what this machine has."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gossamer._core.errors import ArgumentError, MissingDataError
from gossamer.compress.result import Progress
from gossamer.datasets import load_calibration_text, load_sotu, load_wikitext2

OWN = "self"
"""Names the text that a model writes itself."""


def calibration_text(source: str | None) -> tuple[str | None, str]:
    """Text and name of ``source``; without one, WikiText-2 (valid) or the speeches, whichever is here, or None."""
    if source is not None:
        return load_calibration_text(source)
    try:
        return load_calibration_text(None)
    except MissingDataError:
        return None, ""


def calibration_texts(
    source: str | None, model: Any, recipe: Any, seed: int, progress: Callable[[Progress], None]
) -> tuple[Any, str]:
    """What ``--calib`` names: one text, or several by comma in equal shares; ``self`` is what the model writes."""
    names = [] if source is None or Path(source).is_file() else source.split(",")
    if len(names) < 2 and names != [OWN]:
        return calibration_text(source)
    found: dict[str, Any] = {}
    for name in names:
        if name == OWN:
            found["text of its own"] = _written(
                model, recipe.calibration_tokens // len(names) + 1, seed, progress
            )
        else:
            text, title = load_calibration_text(name)
            found[title] = text
    if len(found) < len(names):
        raise ArgumentError(f"--calib {source}: expected different texts")
    return found, ", ".join(found)


def _written(model: Any, tokens: int, seed: int, progress: Callable[[Progress], None]) -> Any:
    from gossamer.compress import written_text

    begun = time.perf_counter()

    def tell(done: int) -> None:
        passed = time.perf_counter() - begun
        progress(Progress("write", min(done, tokens), tokens, passed, "text to calibrate on"))

    return written_text(model, tokens, seed=seed, progress=tell)


def evaluation_text(source: str | Path | None) -> tuple[str, str]:
    """Text and name to evaluate on: never the part of a known source that calibrates."""
    if source == "wikitext2":
        return load_wikitext2("test"), "WikiText-2 test"
    if source == "sotu":
        return load_sotu("evaluate"), "State of the Union since 1990"
    if source is None:
        try:
            return evaluation_text("wikitext2")
        except MissingDataError:
            return evaluation_text("sotu")
    return load_calibration_text(source)
