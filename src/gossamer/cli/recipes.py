"""``gossamer recipes``: which ways to compress are shipped."""

from __future__ import annotations

from typing import Annotated

import typer

from gossamer.cli.output import Json, print_json, table

NAME = "recipes"


def run(
    name: Annotated[str | None, typer.Argument(help="Print one recipe as TOML, to copy and change.")] = None,
    as_json: Json = False,
) -> None:
    """List the recipes, or print one."""
    from gossamer.compress import list_recipes, load_recipe

    if name is not None:
        recipe = load_recipe(name)
        if as_json:
            print_json(recipe.to_config())
        else:
            typer.echo(recipe.to_toml().rstrip())
        return
    recipes = list_recipes()
    if as_json:
        print_json({"recipes": [recipe.to_config() for recipe in recipes]})
    else:
        table("", ("recipe", "what it does"), ((recipe.name, recipe.summary) for recipe in recipes))
