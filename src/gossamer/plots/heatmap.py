"""Heat maps over blocks and matrices: where a model lost what."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gossamer.plots import canvas, svg


@dataclass(frozen=True)
class Grid:
    """Values over blocks x matrices; NaN where a block has no such matrix.

    Attributes
    ----------
    blocks : tuple of str
        Names of the rows of ``values``.
    matrices : tuple of str
        Names of its columns.
    values : ndarray, shape (len(blocks), len(matrices))
    """

    blocks: tuple[str, ...]
    matrices: tuple[str, ...]
    values: np.ndarray


def grid_by_block(values: Mapping[str, float]) -> Grid:
    """Arrange module paths by the first number in them (the block) and by what follows it (the matrix).

    Modules without a number in their path, such as an embedding, have no place in the grid and are left out.

    Examples
    --------
    >>> grid_by_block({"model.layers.0.mlp.up_proj": 0.1, "model.layers.1.mlp.up_proj": 0.2}).matrices
    ('mlp.up_proj',)
    """
    placed: dict[tuple[int, str], float] = {}
    for path, value in values.items():
        parts = path.split(".")
        at = next((i for i, part in enumerate(parts) if part.isdigit()), None)
        if at is not None:
            name = ".".join(parts[at + 1 :]) or parts[max(0, at - 1)]
            placed[int(parts[at]), name] = float(value)
    blocks = sorted({block for block, _ in placed})
    matrices = list(dict.fromkeys(name for _, name in placed))
    table = np.array([[placed.get((b, m), math.nan) for m in matrices] for b in blocks], dtype=float)
    return Grid(tuple(map(str, blocks)), tuple(matrices), table.reshape(len(blocks), len(matrices)))


def heatmap_svg(
    grid: Grid, title: str, unit: str = "", *, log: bool = False, tall: bool = False, width: float = 760.0
) -> str:
    """Draw a grid as cells whose strength is the value.

    Parameters
    ----------
    grid : Grid
        At least one finite value.
    title, unit : str
        What the values are.
    log : bool
        Colour by the logarithm (for errors, whose range is wide).
    tall : bool
        Blocks run downwards (for narrow screens) instead of to the right.
    width : float
        Of the drawing in CSS pixels.
    """
    values = grid.values if tall else grid.values.T
    rows, columns = (grid.blocks, grid.matrices) if tall else (grid.matrices, grid.blocks)
    shade = _shades(values, log)
    short = [name.split(".")[-1].removesuffix("_proj") for name in rows]
    left = max(28.0, max(svg.text_width(name) for name in short) + 10)
    cell_w = min((width - left - 2) / len(columns), 64.0)
    cell_h = 15.0 if tall else max(16.0, min(24.0, cell_w))
    top = 22.0
    parts = []
    for j, name in enumerate(columns):
        text = name.split(".")[-1].removesuffix("_proj")
        if cell_w >= svg.text_width(text) + 2 or j % 5 == 0:
            x = left + (j + 0.5) * cell_w
            parts.append(svg.label(x, top - 7, text, class_="small", text_anchor="middle"))
    for i, name in enumerate(short):
        y = top + i * cell_h
        if not tall or i % 2 == 0:
            parts.append(svg.label(left - 8, y + cell_h / 2 + 4, name, class_="small", text_anchor="end"))
        for j in range(len(columns)):
            value = values[i, j]
            if math.isnan(value):
                continue
            block, matrix = (rows[i], columns[j]) if tall else (columns[j], rows[i])
            said = f"block {block}, {matrix}: {svg.number(value)} {unit}".rstrip()
            parts.append(
                svg.tag(
                    "rect",
                    svg.tag("title", svg.escape(said)),
                    x=left + j * cell_w + 0.75,
                    y=y + 0.75,
                    width=cell_w - 1.5,
                    height=cell_h - 1.5,
                    rx=2,
                    class_="cell",
                    fill_opacity=float(shade[i, j]),
                )
            )
    base = top + len(rows) * cell_h
    parts += _legend(values, unit, left, base + 12, log)
    finite = values[np.isfinite(values)]
    said = f"From {svg.number(float(finite.min()))} to {svg.number(float(finite.max()))} {unit}".rstrip()
    return svg.drawing(width, base + 40, title, f"{said}, {len(grid.blocks)} blocks", parts, class_="heat")


def draw_grid(grid: Grid, title: str, *, log: bool = False, axes: Any = None) -> Any:
    """Draw a grid with matplotlib, blocks to the right, and return the figure.

    Parameters
    ----------
    grid : Grid
        At least one finite value.
    title : str
        Above the axes.
    log : bool
        Colour by the logarithm.
    axes : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.
    """
    if axes is None:
        axes = canvas.new_figure(height=2.6)[1][0]
    from matplotlib.colors import LogNorm

    values = np.ma.masked_invalid(grid.values.T)
    norm = LogNorm() if log and values.count() and values.min() > 0 else None
    image = axes.imshow(values, aspect="auto", cmap="GnBu", norm=norm, interpolation="nearest")
    axes.grid(False)
    axes.set_yticks(range(len(grid.matrices)), [m.split(".")[-1] for m in grid.matrices], fontsize=8)
    axes.set_xlabel("block")
    axes.set_title(title, fontsize=10, loc="left")
    axes.figure.colorbar(image, ax=axes, pad=0.01)
    return axes.figure


def _shades(values: np.ndarray, log: bool) -> np.ndarray:
    """Opacity of each cell in [0.08, 1]; 0.5 where all values are the same."""
    finite = values[np.isfinite(values)]
    if log:
        positive = finite[finite > 0]
        floor = positive.min() if positive.size else 1.0
        values, finite = np.log(np.maximum(values, floor)), np.log(np.maximum(finite, floor))
    low, high = finite.min(), finite.max()
    if high - low <= 1e-12 * max(1.0, abs(high)):
        return np.full(values.shape, 0.5)
    return np.round(0.08 + 0.92 * np.clip((values - low) / (high - low), 0, 1), 3)


def _legend(values: np.ndarray, unit: str, x: float, y: float, log: bool) -> list[str]:
    finite = values[np.isfinite(values)]
    low, high = float(finite.min()), float(finite.max())
    if low == high:
        return [
            svg.label(x, y + 12, f"{svg.number(low)} {unit} everywhere".replace("  ", " "), class_="small")
        ]
    start = svg.number(low)
    at = x + svg.text_width(start) + 8
    parts = [svg.label(x, y + 12, start, class_="small")]
    for k in range(12):
        step = 0.08 + 0.92 * k / 11
        parts.append(
            svg.tag("rect", x=at + 9 * k, y=y + 3, width=9, height=10, class_="cell", fill_opacity=step)
        )
    scale = ", log scale" if log else ""
    parts.append(
        svg.label(at + 116, y + 12, f"{svg.number(high)} {unit}{scale}".replace(" ,", ","), class_="small")
    )
    return parts
