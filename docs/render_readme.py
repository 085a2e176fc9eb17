"""Render the tables and the picture of README.md from docs/systems.toml and benchmarks/results.

``python docs/render_readme.py`` writes them; ``--check`` says whether they are up to date, and changes nothing.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs" / "_ext"))

from records import CLAIM_HEADER, claim_rows, provenance, record, systems  # noqa: E402

PICTURE = Path("docs/_static/speed.svg")
SHOWN = ("gqsa", "compress-quality")


def systems_block() -> str:
    """The table of all systems."""
    rows = []
    for system in systems():
        name = f"[{system['slug']}]({system['page']})" if system["page"] else system["slug"]
        rows.append((name, system["title"], str(system["year"]), system["status"]))
    states = [system["status"] for system in systems()]
    working, partial = states.count("working"), states.count("partial")
    counts = f"Of {len(rows)}: {working} working, {partial} in part (its page says which)."
    return f"{counts}\n\n" + table(("system", "method", "year", "status"), rows)


def results_block() -> str:
    """Every claim that was measured, misses included."""
    parts = []
    for slug in SHOWN:
        measured = record(slug)
        command = f"python -m benchmarks.{slug.replace('-', '_')}"
        if measured is None:
            parts.append(f"`{command}` has not been run on this checkout.")
        else:
            parts += [
                table(CLAIM_HEADER, claim_rows(measured)),
                f"{provenance(measured)} Repeat it: `{command}`.",
            ]
    return "\n\n".join(parts)


def picture_block() -> str:
    """A reference to the picture, once there is something to draw."""
    return f"![Decoding speed against llama.cpp]({PICTURE})" if bars() else ""


def bars() -> list[tuple[str, float, bool]]:
    """Label, tokens a second, and whether it is ours, for the race shown in the picture."""
    measured = record("gqsa")
    races = (
        [c for c in measured["claims"] if c["unit"] == "tokens/s" and c["name"].endswith("quiet")]
        if measured
        else []
    )
    if not races:
        return []
    peers = [(races[0]["peer_name"], races[0]["peer"], False)]
    return peers + [(race["name"], race["ours"], True) for race in races]


def speed_svg(rows: list[tuple[str, float, bool]]) -> str:
    """A bar chart as SVG text; written by hand so that it is the same on every machine."""
    width, bar, gap, left = 760, 26, 14, 360
    top = max(value for _, value, _ in rows)
    height = gap + len(rows) * (bar + gap)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        f'font-size="13" role="img" aria-label="Decoding speed in tokens a second">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for position, (label, value, ours) in enumerate(rows):
        y = gap + position * (bar + gap)
        length = (width - left - 90) * value / top
        lines += [
            f'<text x="{left - 10}" y="{y + 18}" text-anchor="end">{escape(label)}</text>',
            f'<rect x="{left}" y="{y}" width="{length:.1f}" height="{bar}" fill="{"#2a7f62" if ours else "#8a8f98"}"/>',
            f'<text x="{left + length + 8:.1f}" y="{y + 18}">{value:.0f} tokens/s</text>',
        ]
    return "\n".join([*lines, "</svg>", ""])


def table(header: tuple[str, ...], rows: list[Any]) -> str:
    """A Markdown table."""
    cells = [[str(cell).replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    lines = [header, ["---"] * len(header), *cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def render(readme: str) -> str:
    """README.md with every block between ``<!-- name:begin -->`` and ``<!-- name:end -->`` rendered anew."""
    for name, block in (("systems", systems_block), ("results", results_block), ("picture", picture_block)):
        head, begin, rest = readme.partition(f"<!-- {name}:begin -->\n")
        _, end, tail = rest.partition(f"<!-- {name}:end -->")
        if not end:
            raise SystemExit(f"README.md has no block {name!r}")
        readme = f"{head}{begin}{block()}\n{end}{tail}"
    return readme


def main() -> None:
    """Write what has changed, or complain about it under ``--check``."""
    wanted = {Path("README.md"): render((ROOT / "README.md").read_text(encoding="utf-8"))}
    if rows := bars():
        wanted[PICTURE] = speed_svg(rows)
    for path, text in wanted.items():
        target = ROOT / path
        if target.exists() and target.read_text(encoding="utf-8") == text:
            continue
        if "--check" in sys.argv:
            raise SystemExit(f"{path} is not what its sources render to: make readme")
        target.write_text(text, encoding="utf-8")
        print(f"rendered {path}")


if __name__ == "__main__":
    main()
