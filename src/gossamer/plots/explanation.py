"""Error against size of every family: what a matrix is made of, at a glance."""

from __future__ import annotations

from typing import Any

from gossamer.plots.canvas import ACCENT, INK, MUTED, WARM, new_figure

_COLOURS = (ACCENT, WARM, INK, "#7c3aed", "#0369a1", "#be185d", "#4d7c0f", MUTED)
_MARKS = "os^vDP"
_FLOOR = 1e-8


def draw_explanation(result: Any) -> Any:
    """Draw one line a family through its members, both axes logarithmic; exact members stand on the bottom.

    Parameters
    ----------
    result : gossamer.linalg.Explanation

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, (panel,) = new_figure(width=8.6, height=4.8)
    floor = min([max(fit.error, _FLOOR) for fit in result.fits if not fit.exact] or [1.0]) / 4
    for index, family in enumerate(dict.fromkeys(fit.family for fit in result.fits)):
        fits = sorted((f for f in result.fits if f.family == family), key=lambda fit: fit.bits_per_weight)
        panel.plot(
            [fit.bits_per_weight for fit in fits],
            [floor if fit.exact else fit.error for fit in fits],
            color=_COLOURS[index % len(_COLOURS)],
            marker=_MARKS[(index // len(_COLOURS) + index) % len(_MARKS)],
            markersize=5,
            linewidth=1.1,
            alpha=0.85,
            label=family,
        )
    best = result.best()
    if best.exact:
        panel.annotate(
            f"exact: {best.structure}",
            (best.bits_per_weight, floor),
            xytext=(6, 10),
            textcoords="offset points",
            color=ACCENT,
            fontsize=9,
        )
    panel.set_xscale("log", base=2)
    panel.set_yscale("log")
    panel.set_xlabel("bits an entry, all overhead counted")
    panel.set_ylabel("relative error" + ("" if result.metric == "none" else " of the outputs"))
    panel.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    return figure
