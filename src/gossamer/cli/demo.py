"""``gossamer demo``: the whole way on a real language model, in a few minutes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gossamer.cli.output import Json, Threads, print_json, stderr, table
from gossamer.cli.progress import progress_bar

NAME = "demo"

_PLAN = (
    "A few minutes on two cores: load, statistics, sensitivity, predict, allocate, compress, save; then the curve of "
    "other recipes, answers to the same prompts, a race for speed, and the report."
)


def run(
    out: Annotated[Path, typer.Option("--out", "-o", help="Directory for the model and report.html.")] = Path(
        "demo-out"
    ),
    model: Annotated[str, typer.Option("--model", help="Which model.")] = "smollm2-135m",
    recipe: Annotated[str, typer.Option("--recipe", "-r", help="Recipe with options to allocate.")] = "quick",
    max_loss: Annotated[str, typer.Option("--max-loss", help="Largest loss of perplexity.")] = "10%",
    calib: Annotated[str | None, typer.Option("--calib", "-c", help="Text to calibrate on.")] = None,
    evaluate: Annotated[str | None, typer.Option("--eval", help="Another text, for perplexity.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Same seed, same bytes.")] = 0,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Compress a real language model inside a quality budget, measure it, and write a report."""
    from gossamer.cli.texts import calibration_text, evaluation_text
    from gossamer.compress.report.tour import tour

    stderr().print(_PLAN, markup=False)
    with progress_bar() as progress:
        found = tour(
            out,
            model=model,
            recipe=recipe,
            max_loss=max_loss,
            calibration=calibration_text(calib),
            evaluation=evaluation_text(evaluate),
            seed=seed,
            threads=threads,
            command=f"gossamer demo --model {model} --recipe {recipe} --max-loss {max_loss} --seed {seed}",
            progress=progress,
        )
    if as_json:
        print_json(
            {
                "report": str(found.report),
                "seconds_in_all": found.seconds,
                "speeds": [speed.to_dict() for speed in found.speeds],
                "relative_perplexity": found.result.relative_perplexity,
                **found.result.to_dict(),
            }
        )
    else:
        table(
            f"{found.result.model}, before and after",
            ("", "before", "after", "ratio"),
            found.rows(),
            (1, 2, 3),
        )
        for sample in found.result.samples[:2]:
            stderr().print(f"\n{sample.prompt}", style="bold", markup=False)
            stderr().print(f"  original    {sample.base}\n  compressed  {sample.compressed}", markup=False)
        typer.echo(f"\nThe report: {found.report}")
    if not found.result.success:
        stderr().print(f"not met: {found.result.message}", style="bold red", markup=False)
        raise typer.Exit(1)
