"""Curves of what a result recorded at each iteration."""

from __future__ import annotations

from numbers import Real
from typing import Any

from gossamer._core.errors import UnsupportedError
from gossamer.plots.canvas import new_figure


def draw_history(result: Any, *, log: bool | None = None) -> Any:
    """Draw each numeric series of ``result.history`` over the iterations, one panel a series.

    Parameters
    ----------
    result : Result
        With a non-empty ``history``.
    log : bool, optional
        Logarithmic vertical axis; None takes it where every value is positive and they span a factor of 100.

    Returns
    -------
    matplotlib.figure.Figure
    """
    series = {
        name: values
        for name, values in result.history.items()
        if values and all(isinstance(v, Real) and not isinstance(v, bool) for v in values)
    }
    if not series:
        raise UnsupportedError(f"history of {type(result).__name__} holds no series of numbers")
    figure, panels = new_figure(rows=len(series), height=1.9)
    for panel, (name, values) in zip(panels, series.items()):
        panel.plot(range(1, len(values) + 1), values, marker="o" if len(values) < 30 else "", markersize=3)
        panel.set_ylabel(name.replace("_", " "))
        if log or (log is None and min(values) > 0 and max(values) > 100 * min(values)):
            panel.set_yscale("log")
    panels[-1].set_xlabel("iteration")
    return figure
