"""``gossamer search``: the passages of an index that answer a query best."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from gossamer.cli.output import Json, Threads, print_json, table

NAME = "search"


def run(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What gossamer index wrote.")],
    query: Annotated[str, typer.Argument(help="What to look for.")],
    k: Annotated[int, typer.Option("-k", "--results", min=1, help="Passages to show.")] = 10,
    method: Annotated[
        str | None,
        typer.Option("--method", help="One of the index's, or fusion, the default where it has several."),
    ] = None,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Search an index for the passages that answer a query best."""
    from gossamer.cli.text_indexes import make_indexes
    from gossamer.retrieve import Collection, collection_settings

    methods, settings = collection_settings(folder)
    chosen = [method] if method in methods else methods
    collection = Collection.load(folder, make_indexes({**settings, "methods": chosen}, threads), verify=False)
    began = time.perf_counter()
    hits = collection.search([query], k, method)[0]
    seconds = time.perf_counter() - began
    if as_json:
        print_json({"query": query, "seconds": seconds, "hits": [hit._asdict() for hit in hits]})
        return
    rows = [[f"{hit.score:.4g}", hit.key, hit.text] for hit in hits]
    table(
        f"{len(hits)} of {len(collection):,} passages, {seconds * 1e3:.3g} ms", ["score", "", ""], rows, [0]
    )
