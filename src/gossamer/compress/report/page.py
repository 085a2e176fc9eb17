"""Render :class:`ReportData` as one HTML file: no script, no address, nothing to load."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from importlib.resources import files

from gossamer._core.files import write_text
from gossamer.compress.report.data import Answer, Figure, Layer, ReportData
from gossamer.plots.bars import bars_svg
from gossamer.plots.heatmap import grid_by_block, heatmap_svg
from gossamer.plots.svg import escape, number, tag
from gossamer.plots.tradeoff import tradeoff_svg

_WIDE, _NARROW = 912.0, 322.0


def write_page(data: ReportData, path: str | os.PathLike[str]) -> None:
    """Write the report atomically as one self-contained HTML file.

    Parameters
    ----------
    data : ReportData
        What it shows.
    path : path
        The file.
    """
    write_text(path, render_report(data))


def render_report(data: ReportData) -> str:
    """The report as HTML text.

    Every text in ``data`` is escaped: a model that answers with markup is shown, not obeyed.
    """
    css = files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    body = "".join(
        [
            _header(data),
            _section("Before and after", "", _cards(data.figures)) if data.figures else "",
            _curve(data) if data.curve else "",
            _layer_pictures(data) if data.layers else "",
            _answers(data) if data.answers else "",
            _section("What ran where", "", _facts(data)) if data.machine else "",
            _layer_table(data.layers) if data.layers else "",
            _repeat(data) if data.recipe or data.command else "",
        ]
    )
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(data.model)}, compressed</title>\n<style>\n{css}</style></head>\n"
        f"<body><main>{body}<footer>Written by gossamer. This file needs no network and holds no script."
        "</footer></main></body></html>\n"
    )


def _header(data: ReportData) -> str:
    notes = tag("div", *(tag("p", escape(note)) for note in data.notes), class_="notes") if data.notes else ""
    return tag(
        "header",
        tag("p", "A compressed model, and what it cost", class_="kicker"),
        tag("h1", escape(data.model)),
        tag("p", escape(data.headline), class_="lead"),
        notes,
    )


def _section(title: str, about: str, *content: str) -> str:
    intro = tag("p", escape(about), class_="about") if about else ""
    return "\n" + tag("section", tag("h2", escape(title)), intro, *content)


def _how(text: str, summary: str = "how measured") -> str:
    return tag("details", tag("summary", summary), tag("p", escape(text), class_="how")) if text else ""


def _cards(figures: Sequence[Figure]) -> str:
    return tag("div", *(_card(figure) for figure in figures), class_="cards")


def _card(figure: Figure) -> str:
    bars = [*((bar, False) for bar in figure.before), (figure.after, True)]
    drawn = all(math.isfinite(bar.value) and bar.value >= 0 for bar, _ in bars)
    rows = [
        (bar.label, bar.value, f"{number(bar.value)} {figure.unit}".strip(), accent) for bar, accent in bars
    ]
    return tag(
        "article",
        tag("h3", escape(figure.name)),
        tag("p", escape(number(figure.after.value)) + tag("small", escape(figure.unit)), class_="big"),
        _change(figure),
        bars_svg(figure.name, rows, width=262.0) if figure.before and drawn else "",
        _how(figure.how),
        class_="card",
    )


def _change(figure: Figure) -> str:
    if figure.ratio is None or not math.isfinite(figure.ratio):
        return ""
    gained = figure.ratio <= 1 if figure.better == "less" else figure.ratio >= 1
    against = escape(figure.before[0].label)
    ratio = tag("b", f"{number(figure.ratio)} ×", class_="good" if gained else "worse")
    return tag("p", f"{ratio} the {against}", class_="change")


def _curve(data: ReportData) -> str:
    about = (
        "Each dot is a whole model, measured. Left is smaller, low is better; "
        "the strong dot is the one that was written."
    )
    wide = tag("div", tradeoff_svg(data.curve, budget=data.budget, width=_WIDE, height=430.0), class_="wide")
    narrow = tag(
        "div", tradeoff_svg(data.curve, budget=data.budget, width=_NARROW, height=380.0), class_="narrow"
    )
    return _section("The trade-off", about, tag("div", wide, narrow, class_="panel"), _how(data.curve_how))


def _layer_pictures(data: ReportData) -> str:
    pictures = [
        ("Error of each layer's output", "", True, {row.module: row.error for row in data.layers}),
        ("Bits a weight", "bits", False, {row.module: row.bits for row in data.layers}),
        ("Zeros", "%", False, {row.module: 100 * row.sparsity for row in data.layers}),
    ]
    drawn = []
    for title, unit, log, values in pictures:
        grid = grid_by_block({k: v for k, v in values.items() if math.isfinite(v)})
        if not grid.values.size or not grid.values[grid.values == grid.values].any():
            continue
        drawn.append(tag("h3", escape(title)))
        drawn.append(tag("div", heatmap_svg(grid, title, unit, log=log, width=_WIDE), class_="wide"))
        narrow = heatmap_svg(grid, title, unit, log=log, tall=True, width=_NARROW)
        drawn.append(tag("div", narrow, class_="narrow"))
    if not drawn:
        return ""
    about = "One cell is one matrix; stronger is more. Where the model was pressed, and where it gave."
    return _section("Layer by layer", about, tag("div", *drawn, class_="panel"), _how(data.layers_how))


def _answers(data: ReportData) -> str:
    about = "The same words to both, and what each of them said."
    return _section(
        "The same prompts, answered twice", about, *map(_answer, data.answers), _how(data.answers_how)
    )


def _answer(answer: Answer) -> str:
    sides = [("original", answer.original), ("compressed", answer.compressed)]
    return tag(
        "div",
        tag("p", escape(answer.prompt.strip()), class_="prompt"),
        *(
            tag("div", tag("h4", name), tag("p", escape(text.strip()) or "(nothing)", class_="text"))
            for name, text in sides
        ),
        tag("p", _agreement(answer), class_="same"),
        class_="pair",
    )


def _agreement(answer: Answer) -> str:
    first, second = answer.original.split(), answer.compressed.split()
    same = next((i for i, (a, b) in enumerate(zip(first, second)) if a != b), min(len(first), len(second)))
    if first == second:
        return "word for word the same"
    if not same:
        return "different from the first word"
    return f"the same for the first {same} word{'s' if same > 1 else ''}"


def _facts(data: ReportData) -> str:
    rows = (tag("dt", escape(name)) + tag("dd", escape(value)) for name, value in data.machine.items())
    return tag("div", tag("dl", *rows, class_="facts"), class_="panel")


def _layer_table(layers: Sequence[Layer]) -> str:
    names = ["module", "structure", "shape", "bits a weight", "zeros", "output error"]
    head = "".join(
        tag("th", name, scope="col", class_="n" if i > 1 else None) for i, name in enumerate(names)
    )
    rows = (
        tag(
            "tr",
            tag("th", escape(row.module), scope="row"),
            tag("td", escape(row.structure)),
            tag("td", f"{row.shape[0]} × {row.shape[1]}", class_="n"),
            tag("td", number(row.bits), class_="n"),
            tag("td", f"{100 * row.sparsity:.1f} %", class_="n"),
            tag("td", number(row.error) if math.isfinite(row.error) else "—", class_="n"),
        )
        for row in layers
    )
    caption = tag("caption", "Every matrix of the compressed model", hidden="hidden")
    table = tag("table", caption, tag("thead", tag("tr", head)), tag("tbody", *rows))
    summary = tag("summary", f"all {len(layers)} matrices")
    scroll = tag("div", table, class_="scroll", tabindex=0, role="region", aria_label="Table of matrices")
    return _section("Every matrix", "", tag("details", summary, scroll))


def _repeat(data: ReportData) -> str:
    parts = []
    if data.command:
        parts += [tag("h3", "Command"), tag("pre", tag("code", escape(data.command)))]
    if data.recipe:
        text = tag("pre", tag("code", escape(data.recipe.strip())))
        lines = data.recipe.strip().count("\n") + 1
        folded = tag("details", tag("summary", f"{lines} lines of TOML"), text)
        parts += [tag("h3", "Recipe"), folded if lines > 30 else text]
    return _section("Do it again", "", *parts)
