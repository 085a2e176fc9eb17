"""``gossamer bench``: how fast a compressed model runs here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gossamer.cli.output import Json, Threads, print_json, size, stderr, table

if TYPE_CHECKING:
    from gossamer.engine import Engine

NAME = "bench"


def run(
    model: Annotated[Path, typer.Argument(help="Directory of a compressed model.")],
    prefill: Annotated[int, typer.Option("--prefill", min=1, help="Tokens of the prompt.")] = 256,
    decode: Annotated[int, typer.Option("--decode", min=1, help="Tokens that are then drawn.")] = 64,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Runs; the median counts.")] = 5,
    peer: Annotated[
        Path | None, typer.Option("--peer", help="A .gguf file to run in llama.cpp, turn by turn.")
    ] = None,
    stages: Annotated[
        bool, typer.Option("--profile", help="Show where the time of a decoded token goes instead.")
    ] = False,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Measure prefill and decode speed, alone or beside llama.cpp on a GGUF file."""
    from gossamer.compress.report.speed import engine_runner, llama_cpp_runner, race
    from gossamer.engine import Engine

    if stages:
        _profile(Engine.load(model, threads=threads), prefill, decode, as_json)
        return
    runners = [engine_runner(str(model), Engine.load(model, threads=threads), prefill, decode)]
    if peer is not None:
        runners.append(llama_cpp_runner(f"{peer.name} in llama.cpp", peer, prefill, decode, threads=threads))
    speeds = race(runners, repeats)
    if as_json:
        print_json({"speeds": [speed.to_dict() for speed in speeds]})
        return
    table(
        "",
        ("model", "prefill tokens/s", "decode tokens/s", "spread", "memory"),
        (
            (s.label, s.prefill, s.decode, f"{s.decode_spread:.0%}", size(s.memory) if s.memory else "")
            for s in speeds
        ),
        numeric=(1, 2, 3, 4),
    )
    stderr().print(speeds[0].how, style="dim", markup=False)


def _profile(engine: Engine, prefill: int, decode: int, as_json: bool) -> None:
    from gossamer.engine.profile import profile

    result = profile(engine, prefill, decode)
    if as_json:
        print_json(result.to_dict())
        return
    total = {
        "stage": "token",
        "seconds": result.seconds,
        "share": 1.0,
        "bytes": result.bytes,
        "flops": result.flops,
    }
    table(
        "",
        ("stage", "us a token", "share", "bytes read", "Mflop", "GB/s"),
        (
            (
                row["stage"],
                f"{1e6 * row['seconds']:.0f}",
                f"{row['share']:.0%}",
                size(row["bytes"]) if row["bytes"] else "",
                f"{row['flops'] / 1e6:.1f}" if row["flops"] else "",
                f"{row['bytes'] / row['seconds'] / 1e9 / engine.threads:.1f}" if row["bytes"] else "",
            )
            for row in (*result.rows, total)
        ),
        numeric=(1, 2, 3, 4, 5),
    )
    stderr().print(result.message + "; GB/s a thread", style="dim", markup=False)
