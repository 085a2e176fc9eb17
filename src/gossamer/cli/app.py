"""The application: its commands, and how errors become one line and an exit code."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from gossamer._core.errors import GossamerError
from gossamer.cli import (
    bench,
    cluster,
    compress,
    demo,
    doctor,
    embed,
    evaluate,
    explain,
    export,
    features,
    generate,
    index,
    info,
    learn_dictionary,
    recipes,
    search,
    select,
    serve_search,
    spgemm,
    systems,
    unmix,
)
from gossamer.cli.output import error_line, exit_code


class _Group(TyperGroup):
    """Runs a command; an error that gossamer raised on purpose is one line, not a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (GossamerError, OSError, MemoryError) as error:
            # a closed pipe (`| head`) is how a reader says that it has seen enough
            if ctx.params.get("debug") or isinstance(error, BrokenPipeError):
                raise
            error_line(error)
            raise typer.Exit(exit_code(error)) from None


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Make a model smaller and faster on a plain CPU, and see what it costs.",
    epilog="Exit codes: 0 done; 1 the job failed (a budget not met, a full disk); 2 bad usage or input.",
)


def _print_version(value: bool) -> None:
    if value:
        from gossamer import __version__

        typer.echo(f"gossamer {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", envvar="GOSSAMER_DEBUG", help="Show tracebacks of errors.")
    ] = False,
) -> None:
    pass


for module in (
    compress,
    generate,
    evaluate,
    info,
    index,
    search,
    bench,
    export,
    explain,
    features,
    demo,
    recipes,
    select,
    cluster,
    systems,
    doctor,
    spgemm,
    learn_dictionary,
    embed,
    unmix,
    serve_search,
):
    app.command(name=module.NAME)(module.run)


def main() -> None:
    """Run the command line; the entry point of ``gossamer``."""
    app(prog_name="gossamer")
