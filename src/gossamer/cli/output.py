"""What commands print: people's tables or machines' JSON on stdout, everything else on stderr."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from gossamer._core.errors import ArgumentError, FormatError, MissingDependencyError, UnsupportedError

Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, and nothing else there.")]
Threads = Annotated[
    int | None, typer.Option("--threads", min=1, help="Threads to use; all available cores by default.")
]

_BAD_INPUT = (ArgumentError, FormatError, UnsupportedError, MissingDependencyError, FileNotFoundError)


def stdout() -> Console:
    """A console on the present stdout; what goes into a pipe or a file is not folded to 80 columns."""
    terminal = sys.stdout.isatty()
    return Console(file=sys.stdout, highlight=False, width=None if terminal else 200, soft_wrap=not terminal)


def stderr() -> Console:
    """A console on the present stderr, for progress and errors."""
    return Console(file=sys.stderr, highlight=False, soft_wrap=not sys.stderr.isatty())


def print_json(value: Any) -> None:
    """Print strict JSON; NaN and infinity, which JSON cannot hold, become null."""
    typer.echo(json.dumps(_strict(value), indent=1, ensure_ascii=False, allow_nan=False))


def error_line(error: BaseException) -> None:
    """Print an error as one red line: what was wrong and what was expected."""
    text = " ".join(str(error).split()) or type(error).__name__
    console = Console(file=sys.stderr, highlight=False, soft_wrap=True)
    console.print(f"error: {text}", style="bold red", markup=False)


def exit_code(error: BaseException) -> int:
    """2 where the input was bad, 1 where the job failed."""
    return 2 if isinstance(error, _BAD_INPUT) else 1


def table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], numeric: Iterable[int] = ()
) -> None:
    """Print a table; the columns with an index in ``numeric`` are aligned to the right."""
    right = set(numeric)
    drawn = Table(title=title or None, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for i, name in enumerate(columns):
        drawn.add_column(name, header_style="dim", justify="right" if i in right else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*(plain(cell) for cell in row))
    stdout().print(drawn)


def facts(title: str, values: dict[str, Any]) -> None:
    """Print names with their values, one a line; None is left out."""
    drawn = Table.grid(padding=(0, 2))
    for name, value in values.items():
        if value is not None:
            drawn.add_row(f"[dim]{name}", plain(value))
    console = stdout()
    console.print(title, style="bold", markup=False)
    console.print(drawn)


def plain(value: Any) -> str:
    """A cell's text, with rich's markup characters taken literally."""
    from rich.markup import escape

    if isinstance(value, float):
        value = f"{value:.4g}" if abs(value) < 1e4 or not math.isfinite(value) else f"{value:,.0f}"
    elif isinstance(value, (list, tuple)):
        value = ", ".join(str(item) for item in value)
    return escape(str(value))


def size(nbytes: float) -> str:
    """Bytes for people, in powers of ten as disks and ``--target-size`` count."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if nbytes >= scale:
            return f"{nbytes / scale:.1f} {unit}"
    return f"{nbytes:.0f} B"


def _strict(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _strict(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
