"""The figure of a compression: the trade-off curve where one was measured, and the error of every layer."""

from __future__ import annotations

import math
from typing import Any

from gossamer._core.errors import UnsupportedError
from gossamer.plots import canvas
from gossamer.plots.heatmap import draw_grid, grid_by_block
from gossamer.plots.tradeoff import TradeoffPoint, draw_tradeoff


def draw_compression(result: Any) -> Any:
    """Draw a :class:`gossamer.compress.CompressResult` and return the figure."""
    grid = grid_by_block({row.module: row.error for row in result.layers if math.isfinite(row.error)})
    panels_wanted = bool(result.curve) + bool(grid.values.size)
    if not panels_wanted:
        raise UnsupportedError("this result has neither a trade-off curve nor errors of layers to draw")
    figure, panels = canvas.new_figure(rows=panels_wanted, height=3.0)
    if result.curve:
        points = [
            TradeoffPoint(p.name, p.nbytes / 1e6, p.relative, p.name == result.recipe, p.name.split("-")[0])
            for p in result.curve
        ]
        allowed = result.allocation.get("max_loss")
        draw_tradeoff(points, budget=None if allowed is None else 1 + allowed, axes=panels[0])
    if grid.values.size:
        draw_grid(grid, "error of each layer's output", log=True, axes=panels[-1])
    return figure
