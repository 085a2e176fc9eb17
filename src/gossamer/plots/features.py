"""Learnt features and the texts they are strongest on, as one HTML file that can be searched."""

from __future__ import annotations

import base64
import hashlib
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from gossamer._core.files import write_text
from gossamer.plots.svg import drawing, escape, label, nice_ticks, number, tag


@dataclass(frozen=True)
class FeatureText:
    """A piece of text on which a feature is active.

    Attributes
    ----------
    pieces : tuple of str
        Its tokens.
    strengths : tuple of float
        How active the feature is on each; 0 where it is silent.
    """

    pieces: tuple[str, ...]
    strengths: tuple[float, ...]


@dataclass(frozen=True)
class Feature:
    """One feature of a dictionary.

    Attributes
    ----------
    number : int
        Its place in the dictionary.
    density : float
        Share of tokens on which it is active.
    strongest : float
        Its largest activation.
    texts : tuple of FeatureText
        From the strongest on.
    raises, lowers : tuple of str
        Tokens that it makes more and less probable, as the output layer alone sees it.
    """

    number: int
    density: float
    strongest: float
    texts: tuple[FeatureText, ...]
    raises: tuple[str, ...] = ()
    lowers: tuple[str, ...] = ()


@dataclass(frozen=True)
class FeatureReport:
    """What a page of features shows.

    Attributes
    ----------
    title, headline : str
        Of the page.
    facts : dict of str to str
        Figures under the headline.
    features : tuple of Feature
        In the order of the page.
    density : tuple of float
        Of all features in use, from the most used on.
    law : tuple of float
        The fitted law at the same ranks; empty if there is none.
    notes : tuple of str
        Paragraphs about how the features were found.
    """

    title: str
    headline: str
    facts: dict[str, str]
    features: tuple[Feature, ...]
    density: tuple[float, ...] = ()
    law: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()


def write_feature_page(report: FeatureReport, path: str | os.PathLike[str]) -> None:
    """Write the page atomically as one self-contained HTML file.

    Parameters
    ----------
    report : FeatureReport
        What it shows.
    path : path
        The file.
    """
    write_text(path, feature_page(report))


def feature_page(report: FeatureReport) -> str:
    """The page as HTML text.

    All text is escaped; nothing is loaded. The one script, which searches and sorts, is named by its hash in the
    page's policy, so that no other can run; without it every feature is shown.
    """
    css, script = (
        files(__package__).joinpath(f"feature_page.{kind}").read_text("utf-8") for kind in ("css", "js")
    )
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    facts = "".join(tag("div", tag("dt", escape(k)) + tag("dd", escape(v))) for k, v in report.facts.items())
    header = tag(
        "header",
        tag("p", "Features of a sparse autoencoder", class_="kicker"),
        tag("h1", escape(report.title)),
        tag("p", escape(report.headline), class_="lead"),
        tag("dl", facts, class_="facts") if facts else "",
    )
    use = ""
    if report.density:
        use = tag("h2", "How often features are used") + tag(
            "div", _ranks(report.density, report.law), class_="panel"
        )
    tools = tag(
        "div",
        '<input id="find" type="search" placeholder="Search texts, tokens, numbers" aria-label="Search">',
        '<select id="order" aria-label="Order"><option value="density">most used first</option>'
        '<option value="strongest">strongest first</option><option value="number">by number</option></select>',
        tag("output", " ", id="count"),
        class_="tools",
        hidden="hidden",
    )
    cards = tag("div", *map(_card, report.features), id="features") if report.features else ""
    notes = "".join(tag("p", escape(note), class_="about") for note in report.notes)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(report.title)}</title>\n<style>\n{css}</style></head>\n<body><main>{header}{use}\n"
        f"{tag('h2', 'Features')}{notes}{tools}{cards}"
        "<footer>Written by gossamer. This file needs no network.</footer></main>\n"
        f"<script>{script}</script></body></html>\n"
    )


def _card(feature: Feature) -> str:
    name = f"f{feature.number}"
    facts = f"{_percent(feature.density)} of tokens, up to {number(feature.strongest)}"
    says = [
        f"{word} " + " ".join(tag("code", escape(_visible(piece))) for piece in pieces)
        for word, pieces in (("raises", feature.raises), ("lowers", feature.lowers))
        if pieces
    ]
    return tag(
        "article",
        tag("h3", tag("a", str(feature.number), href=f"#{name}"), tag("small", escape(facts))),
        tag("p", "; ".join(says), class_="says") if says else "",
        tag("ol", *(tag("li", _marked(text)) for text in feature.texts), class_="texts")
        if feature.texts
        else "",
        class_="feature",
        id=name,
        data_number=feature.number,
        data_density=f"{feature.density:.6g}",
        data_strongest=f"{feature.strongest:.6g}",
    )


def _marked(text: FeatureText) -> str:
    top = max(text.strengths, default=0.0)
    parts = []
    for piece, strength in zip(text.pieces, text.strengths, strict=True):
        if strength <= 0 or not top > 0:
            parts.append(escape(piece))
            continue
        level = min(4, 1 + int(4 * strength / top))
        peak = " peak" if strength == top else ""
        parts.append(tag("mark", escape(piece) or "∅", class_=f"h{level}{peak}", title=number(strength)))
    return "".join(parts)


def _ranks(density: Sequence[float], law: Sequence[float]) -> str:
    """Density against rank on logarithmic axes, with the fitted law."""
    width, height, left, bottom = 912.0, 260.0, 56.0, 34.0
    most = math.log10(max(len(density), 10))
    low = math.floor(math.log10(min(d for d in [*density, *law] if d > 0)))

    def place(rank: float, share: float) -> str:
        x = left + (width - left - 12) * math.log10(rank) / most
        y = 10 + (height - bottom - 10) * math.log10(share) / low
        return f"{x:.1f},{y:.1f}"

    def line(values: Sequence[float], kind: str) -> str:
        ranks = sorted({round(10 ** (most * i / 300)) for i in range(301)})
        points = " ".join(place(r, values[r - 1]) for r in ranks if r <= len(values) and values[r - 1] > 0)
        return tag("polyline", points=points, class_=kind)

    parts = [line(density, "seen"), line(law, "law") if law else ""]
    for power in nice_ticks(low, 0, min(5, -low)):
        if power == int(power):
            y = 10 + (height - bottom - 10) * power / low
            parts.append(label(left - 8, y + 4, _percent(10.0**power), text_anchor="end"))
    for power in range(int(most) + 1):
        x = left + (width - left - 12) * power / most
        parts.append(label(x, height - 10, number(10.0**power), text_anchor="middle"))
    parts.append(label(width - 12, height - 10, "rank", text_anchor="end"))
    said = f"{len(density)} features in use, from {_percent(density[0])} to {_percent(density[-1])} of tokens"
    said += "; the dashed line is the fitted law" if law else ""
    return drawing(width, height, "Share of tokens by rank", said, parts)


def _percent(share: float) -> str:
    return f"{number(100 * share, 2)} %"


def _visible(piece: str) -> str:
    """A token with its blanks made visible."""
    return piece.replace(" ", "␣").replace("\n", "⏎").replace("\t", "⇥") or "∅"
