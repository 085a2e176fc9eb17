"""The picture of a results file: for every claim, how far ours is from its target."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

from benchmarks.harness.claims import parse_target

REACHED, MISSED = "#2a7f62", "#b3552e"


def draw(record: dict[str, Any], path: Path) -> None:
    """Draw one bar a claim, scaled so that the target is 1, and save it as SVG with the same bytes each time.

    A bar beyond the line has reached an "at least" target; a bar short of it an "at most" target: colour says so.
    """
    import matplotlib as mpl

    mpl.use("Agg", force=False)
    import matplotlib.pyplot as plt

    claims = record["claims"]
    with mpl.rc_context({"svg.hashsalt": record["slug"], "svg.fonttype": "none", "font.size": 9}):
        figure, axes = plt.subplots(figsize=(7.5, 0.7 + 0.55 * max(len(claims), 1)), layout="constrained")
        for row, claim in enumerate(claims):
            value, target, label = _scaled(claim)
            axes.barh(row, value / target, color=REACHED if claim["reached"] else MISSED, height=0.6)
            axes.text(value / target, row, f" {label}", va="center")
        axes.axvline(1, color="black", linewidth=0.8)
        axes.set_yticks(range(len(claims)), [textwrap.fill(claim["name"], 40) for claim in claims])
        axes.invert_yaxis()
        axes.margins(x=0.3)
        axes.set_xlabel("measured, as a multiple of the target (green: reached)")
        axes.spines[["top", "right"]].set_visible(False)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)


def _scaled(claim: dict[str, Any]) -> tuple[float, float, str]:
    _, bound, of_ratio = parse_target(claim["target"])
    if of_ratio:
        return claim["ratio"], bound or 1.0, f"{claim['ratio']:.3g}x (target {claim['target']})"
    return claim["ours"], bound or 1.0, f"{claim['ours']:.4g} {claim['unit']} (target {claim['target']})"
