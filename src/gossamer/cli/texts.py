"""Texts that a command line names: a file, a known source, or what this machine has."""

from __future__ import annotations

from pathlib import Path

from gossamer._core.errors import MissingDataError
from gossamer.datasets import load_calibration_text, load_sotu, load_wikitext2


def calibration_text(source: str | None) -> tuple[str | None, str]:
    """Text and name of ``source``; without one, WikiText-2 (valid) or the speeches, whichever is here, or None."""
    if source is not None:
        return load_calibration_text(source)
    try:
        return load_calibration_text(None)
    except MissingDataError:
        return None, ""


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
