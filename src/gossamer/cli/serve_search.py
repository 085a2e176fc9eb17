"""``gossamer serve-search``: an index behind a page of this machine's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gossamer.cli.output import Threads

NAME = "serve-search"


def run(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What gossamer index wrote.")],
    host: Annotated[
        str, typer.Option("--host", help="Address to listen at; by default this machine's own only.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any that is free.")] = 8000,
    title: Annotated[
        str | None, typer.Option("--title", help="Over the page; the folder's name by default.")
    ] = None,
    threads: Threads = None,
) -> None:
    """Serve a page that searches an index, until Ctrl-C."""
    from gossamer._core.lazy import require
    from gossamer.cli.text_indexes import make_indexes
    from gossamer.retrieve import Collection, collection_settings, search_app

    uvicorn = require("uvicorn", "serve")
    methods, settings = collection_settings(folder)
    indexes = {**settings, "methods": methods}

    def load() -> Collection:
        return Collection.load(folder, make_indexes(indexes, threads), verify=False)

    app = search_app(load, title=title or folder.resolve().name)
    uvicorn.run(app, host=host, port=port, log_level="info")
