"""``gossamer systems``: the methods that gossamer consists of, and where each one is."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import typer

from gossamer._core.errors import FormatError, unknown_choice
from gossamer.cli.output import Json, facts, print_json, table

NAME = "systems"


def run(
    slug: Annotated[str | None, typer.Argument(help="Show everything about one system.")] = None,
    working: Annotated[bool, typer.Option("--working", help="Only those that work already.")] = False,
    as_json: Json = False,
) -> None:
    """List the systems, or show one."""
    systems = [row for row in read_systems() if not working or row["status"] == "working"]
    if slug is not None:
        found = next((row for row in systems if row["slug"] == slug), None)
        if found is None:
            raise unknown_choice("system", slug, [row["slug"] for row in systems])
        if as_json:
            print_json(found)
        else:
            facts(found["slug"], {key: value or None for key, value in found.items() if key != "slug"})
    elif as_json:
        print_json({"systems": systems})
    else:
        table(
            "",
            ("system", "year", "status", "public names"),
            ((row["slug"], row["year"], row["status"], ", ".join(row["public"])) for row in systems),
        )


def read_systems() -> list[dict[str, Any]]:
    """The tables of ``systems.toml``: of the installed package, or of the source tree it runs from."""
    installed = files("gossamer").joinpath("cli", "systems.toml")
    source = Path(__file__).parents[3] / "docs" / "systems.toml"
    for place in (installed, source):
        if place.is_file():
            return tomllib.loads(place.read_text(encoding="utf-8"))["system"]
    raise FormatError(f"{installed}: no such file; the installation is incomplete")
