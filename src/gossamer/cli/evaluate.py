"""``gossamer eval``: how good a compressed model still is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from gossamer.cli.output import Json, Threads, facts, print_json

NAME = "eval"


def run(
    model: Annotated[Path, typer.Argument(help="Directory of a compressed model.")],
    text: Annotated[
        Path | None,
        typer.Option("--text", help="Text file: perplexity; retention for encoders, text by line."),
    ] = None,
    window: Annotated[int, typer.Option("--window", min=2, help="Tokens a window.")] = 512,
    windows: Annotated[
        int | None, typer.Option("--windows", min=1, help="How many windows; all that fit by default.")
    ] = None,
    choices: Annotated[
        Path | None, typer.Option("--choices", help="JSON lines with query, choices and gold: accuracy.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="At most so many questions or lines.")
    ] = None,
    reference: Annotated[
        Path | None, typer.Option("--reference", help="The encoder that embeddings are compared with.")
    ] = None,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Evaluate a model: perplexity, multiple choice, or embedding retention against an original encoder."""
    from gossamer.engine import Engine

    if text is None and choices is None:
        raise typer.BadParameter("expected --text FILE, --choices FILE.jsonl, or both")
    engine = Engine.load(model, threads=threads)
    found: dict[str, Any] = {}
    if text is not None and engine.kind == "bert":
        if reference is None:
            raise typer.BadParameter("an encoder is compared with its original: expected --reference DIR")
        found["retention"] = _retention(engine, Engine.load(reference, threads=threads), text, limit)
    elif text is not None:
        found["perplexity"] = engine.perplexity(_read(text), window=window, windows=windows)
    if choices is not None:
        found["choices"] = engine.accuracy(choices, limit=limit)
    if as_json:
        print_json({"model": str(model), **{name: result.to_dict() for name, result in found.items()}})
        return
    for name, result in found.items():
        facts(f"{model}: {_TITLES[name]}", {key: getattr(result, key) for key in _SHOWN[name]})


_TITLES = {"perplexity": "perplexity", "choices": "multiple choice", "retention": "embedding retention"}
_SHOWN = {
    "perplexity": ("perplexity", "window", "windows", "predicted", "seconds"),
    "choices": ("accuracy", "standard_error", "questions", "normalise", "seconds"),
    "retention": ("spearman", "overlap", "cosine", "texts", "neighbours"),
}


def _retention(engine: Any, original: Any, text: Path, limit: int | None) -> Any:
    from gossamer.engine.retention import retention

    lines = [line for line in _read(text).splitlines() if line.strip()][:limit]
    return retention(original.embed(lines), engine.embed(lines), neighbours=min(10, max(1, len(lines) - 1)))


def _read(path: Path) -> str:
    from gossamer.cli.texts import evaluation_text

    return evaluation_text(path)[0]
