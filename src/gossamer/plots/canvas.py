"""A matplotlib figure in the house's quiet look, without a window and without global state."""

from __future__ import annotations

from typing import Any

from gossamer._core.lazy import require

INK, MUTED, ACCENT, WARM = "#24292e", "#7d858c", "#0f766e", "#b45309"


def new_figure(
    rows: int = 1, columns: int = 1, *, width: float = 6.4, height: float = 4.0
) -> tuple[Any, list[Any]]:
    """Return a figure and its axes in reading order; ``height`` is inches a row."""
    require("matplotlib", "plot")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height * rows), layout="constrained")
    FigureCanvasAgg(figure)
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for panel in panels:
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(True, alpha=0.25, linewidth=0.6)
        panel.set_axisbelow(True)
        panel.set_prop_cycle(color=[ACCENT, WARM, INK, MUTED])
    return figure, panels
