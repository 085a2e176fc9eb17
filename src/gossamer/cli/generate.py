"""``gossamer generate``: let a compressed language model write."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from gossamer.cli.output import Json, Threads, print_json, stderr

NAME = "generate"


def run(
    model: Annotated[Path, typer.Argument(help="Directory of a compressed model.")],
    prompt: Annotated[str, typer.Argument(help="What the model continues or answers; - reads stdin.")],
    max_new_tokens: Annotated[
        int, typer.Option("--max-new-tokens", "-n", min=1, help="Longest answer.")
    ] = 128,
    chat: Annotated[
        bool, typer.Option("--chat", help="Put the prompt into the model's chat template.")
    ] = False,
    temperature: Annotated[float, typer.Option("--temperature", help="0 takes the likeliest token.")] = 0.0,
    top_k: Annotated[int, typer.Option("--top-k", help="Keep the k likeliest tokens; 0 keeps all.")] = 0,
    top_p: Annotated[
        float, typer.Option("--top-p", help="Keep the likeliest tokens up to this share.")
    ] = 1.0,
    repetition_penalty: Annotated[
        float, typer.Option("--repetition-penalty", help="1 changes nothing.")
    ] = 1.0,
    stop: Annotated[
        list[str] | None, typer.Option("--stop", help="End before this text; may be repeated.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Same seed, same text.")] = None,
    stream: Annotated[bool, typer.Option("--stream/--no-stream", help="Print words as they come.")] = True,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Generate text with a compressed model."""
    from gossamer.engine import Engine

    engine = Engine.load(model, threads=threads)
    text = sys.stdin.read() if prompt == "-" else prompt
    live = stream and not as_json
    result = engine.generate(
        text,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        repetition_penalty=repetition_penalty,
        seed=seed,
        stop=stop or [],
        chat=chat,
        stream=_print_piece if live else None,
    )
    if as_json:
        print_json(
            {**result.to_dict(), "prefill_speed": result.prefill_speed, "decode_speed": result.decode_speed}
        )
        return
    typer.echo("" if live else result.text)
    note = f"{result.prompt_tokens} + {len(result.ids)} tokens, decode {result.decode_speed:.0f} tokens/s"
    stderr().print(f"{note}, ended by {result.finish_reason}", style="dim", markup=False)


def _print_piece(piece: str) -> None:
    sys.stdout.write(piece)
    sys.stdout.flush()
