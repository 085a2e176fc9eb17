"""Directives that render tables from data: ``systems-table``, ``benchmark`` and ``recipes-table``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from records import CLAIM_HEADER, ROOT, claim_rows, notes, provenance, record, systems
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


class _Markdown(SphinxDirective):
    """A directive that writes Markdown and lets the page's own parser read it."""

    def render(self, lines: Sequence[str]) -> list[nodes.Node]:
        node = nodes.container()
        self.state.nested_parse(
            StringList(list(lines), source=self.get_location()), self.content_offset, node
        )
        return node.children


class SystemsTable(_Markdown):
    """All systems with their status; those with a page link to it."""

    def run(self) -> list[nodes.Node]:
        self.env.note_dependency(str(ROOT / "docs/systems.toml"))
        rows = []
        for system in systems():
            page = Path(system["page"]).stem
            name = f"[{system['slug']}](/systems/{page})" if page else f"`{system['slug']}`"
            rows.append((name, system["title"], str(system["year"]), system["citation"], system["status"]))
        return self.render(table(("name", "method", "year", "paper", "status"), rows))


class Benchmark(_Markdown):
    """The claims of one benchmark: paper, ours, peer, target, reached or not; and how each was measured.

    With ``:only:``, the claims whose names begin so (beginnings are parted by ``|``), and nothing but the table.
    """

    required_arguments = 1
    option_spec = {"only": directives.unchanged_required}  # noqa: RUF012 - docutils wants a dictionary

    def run(self) -> list[nodes.Node]:
        slug, only = self.arguments[0], self.options.get("only")
        self.env.note_dependency(str(ROOT / "benchmarks/results" / f"{slug}.json"))
        measured = record(slug)
        if measured is None:
            return self.render(
                [f"Not measured on this checkout: `python -m benchmarks.{slug.replace('-', '_')}`."]
            )
        if only is not None:
            begins = tuple(part.strip() for part in only.split("|"))
            chosen = [claim for claim in measured["claims"] if claim["name"].startswith(begins)]
            if not chosen:
                raise self.error(f"no claim of {slug} begins with {only!r}")
            return self.render(table(CLAIM_HEADER, claim_rows({"claims": chosen})))
        lines = [*table(CLAIM_HEADER, claim_rows(measured)), "", provenance(measured), ""]
        lines += [f"- **{name}**: {text}" for name, text in notes(measured)]
        return self.render(lines)


class RecipesTable(_Markdown):
    """The recipes that gossamer ships."""

    def run(self) -> list[nodes.Node]:
        from gossamer.compress import list_recipes

        rows = [(f"`{recipe.name}`", recipe.summary) for recipe in list_recipes()]
        return self.render(table(("recipe", "what it does"), rows))


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Markdown lines of a table."""
    escaped = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    return [
        "| " + " | ".join(header) + " |",
        "|" + " --- |" * len(header),
        *("| " + " | ".join(row) + " |" for row in escaped),
    ]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    app.add_directive("systems-table", SystemsTable)
    app.add_directive("benchmark", Benchmark)
    app.add_directive("recipes-table", RecipesTable)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
