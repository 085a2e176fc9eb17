"""The trade-off curve: what is paid in quality for each size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from gossamer.plots import canvas, svg

_FLOOR = 1e-3  # losses below 0.1 % are drawn on the bottom line
_TICKS = (1.001, 1.01, 1.03, 1.1, 1.3, 2, 4, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e8, 1e10)


@dataclass(frozen=True)
class TradeoffPoint:
    """One compressed model.

    Attributes
    ----------
    label : str
        What it is, in a few words.
    megabytes : float
        Its size (10^6 bytes).
    loss : float
        Its perplexity divided by the base model's.
    chosen : bool
        Whether it is the model that was written.
    series : str
        Points of one non-empty series are joined by a line.
    """

    label: str
    megabytes: float
    loss: float
    chosen: bool = False
    series: str = ""


def tradeoff_svg(
    points: Sequence[TradeoffPoint],
    *,
    budget: float | None = None,
    width: float = 760.0,
    height: float = 400.0,
) -> str:
    """Draw size against perplexity relative to the base model.

    The vertical axis is logarithmic in the distance from 1, so that a loss of 1 % and a loss of 10,000 times
    are both seen. A point whose loss is not finite is named below the picture, not dropped.

    Parameters
    ----------
    points : sequence of TradeoffPoint
        In any order.
    budget : float, optional
        Allowed relative perplexity, drawn as a line.
    width, height : float
        Of the drawing in CSS pixels.
    """
    finite = [p for p in points if math.isfinite(p.loss)]
    frame = _Frame(finite, budget, width, height)
    parts = [*frame.axes(), *frame.budget_line(), *_series_lines(finite, frame)]
    boxes = [(frame.x(p.megabytes) - 6, frame.y(p.loss) - 6, 12.0, 12.0) for p in finite]
    boxes += frame.budget_boxes() + _line_boxes(finite, frame)
    for point in sorted(finite, key=lambda p: not p.chosen):
        parts.append(_mark(point, frame))
        parts.append(_placed_label(point, frame, boxes))
    lost = [p.label for p in points if not math.isfinite(p.loss)]
    if lost:
        parts.append(svg.label(frame.left, height - 2, "not finite: " + ", ".join(lost), class_="small"))
    said = "; ".join(f"{p.label}: {svg.number(p.megabytes)} MB, {svg.number(p.loss)} times" for p in points)
    return svg.drawing(width, height, "Size against perplexity relative to the base model", said, parts)


def draw_tradeoff(points: Sequence[TradeoffPoint], *, budget: float | None = None, axes: Any = None) -> Any:
    """Draw the trade-off curve with matplotlib and return the figure.

    Parameters
    ----------
    points : sequence of TradeoffPoint
        In any order; those whose loss is not finite are left out.
    budget : float, optional
        Allowed relative perplexity, drawn as a line.
    axes : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.
    """
    figure, panel = (axes.figure, axes) if axes is not None else _single()
    finite = [p for p in points if math.isfinite(p.loss)]
    for line in _by_series(finite):
        panel.plot([p.megabytes for p in line], [_excess(p.loss) for p in line], color=canvas.MUTED, lw=1)
    for p in finite:
        panel.plot(p.megabytes, _excess(p.loss), "o", color=canvas.ACCENT if p.chosen else canvas.MUTED)
        panel.annotate(
            p.label, (p.megabytes, _excess(p.loss)), (5, 4), textcoords="offset points", fontsize=8
        )
    if budget is not None and budget > 1:
        panel.axhline(_excess(budget), color=canvas.WARM, lw=1, ls="--")
    panel.set_yscale("log")
    panel.yaxis.set_major_locator(_fixed([_excess(t) for t in _TICKS if t <= 2 * _highest(finite, budget)]))
    panel.yaxis.set_major_formatter(lambda value, _: f"{_tick_text(1 + value)}")
    panel.minorticks_off()
    panel.set_xlabel("file size, MB")
    panel.set_ylabel("perplexity relative to the base model")
    return figure


class _Frame:
    """Scales, axes and the area of the plot."""

    def __init__(
        self, points: Sequence[TradeoffPoint], budget: float | None, width: float, height: float
    ) -> None:
        sizes = [p.megabytes for p in points] or [1.0]
        slack = 0.12 * ((max(sizes) - min(sizes)) or max(sizes))
        self.low, self.high = max(0.0, min(sizes) - slack), max(sizes) + slack
        self.top_loss = max(1.2, _highest(points, budget))
        self.width, self.height, self.budget = width, height, budget
        self.left, self.right, self.top, self.bottom = 54.0, width - 14.0, 34.0, height - 48.0

    def x(self, megabytes: float) -> float:
        return self.left + (self.right - self.left) * (megabytes - self.low) / (self.high - self.low)

    def y(self, loss: float) -> float:
        low, high = math.log10(_FLOOR), math.log10(_excess(self.top_loss)) + 0.15
        return self.bottom - (self.bottom - self.top) * (math.log10(_excess(loss)) - low) / (high - low)

    def axes(self) -> list[str]:
        parts = []
        previous = math.inf
        for loss in (t for t in _TICKS if t <= self.top_loss * 1.3):
            y = self.y(loss)
            if y < self.top - 1 or previous - y < 20:
                continue
            previous = y
            parts.append(svg.tag("line", x1=self.left, x2=self.right, y1=y, y2=y, class_="grid"))
            text = "≤ 1.001" if loss == _TICKS[0] else _tick_text(loss)
            parts.append(svg.label(self.left - 8, y + 4, text, class_="small", text_anchor="end"))
        for size in svg.nice_ticks(self.low, self.high, max(3, int((self.right - self.left) / 90))):
            x = self.x(size)
            parts.append(svg.tag("line", x1=x, x2=x, y1=self.bottom, y2=self.bottom + 5, class_="axis"))
            parts.append(svg.label(x, self.bottom + 20, f"{size:g}", class_="small", text_anchor="middle"))
        parts.append(
            svg.tag("line", x1=self.left, x2=self.right, y1=self.bottom, y2=self.bottom, class_="axis")
        )
        parts.append(
            svg.label(self.right, self.bottom + 38, "file size, MB", class_="small", text_anchor="end")
        )
        parts.append(
            svg.label(0, 14, "perplexity ÷ base model's  (distance from 1, log scale)", class_="small")
        )
        return parts

    def budget_line(self) -> list[str]:
        if self.budget is None or self.budget <= 1:
            return []
        y = self.y(self.budget)
        return [
            svg.tag("line", x1=self.left, x2=self.right, y1=y, y2=y, class_="budget"),
            svg.label(
                self.right, y - 6, f"budget {_tick_text(self.budget)}", class_="small warm", text_anchor="end"
            ),
        ]

    def budget_boxes(self) -> list[tuple[float, float, float, float]]:
        """What the budget's line and its words cover."""
        if self.budget is None or self.budget <= 1:
            return []
        y = self.y(self.budget)
        return [(self.left, y - 1, self.right - self.left, 2.0), (self.right - 80, y - 18, 80.0, 16.0)]


def _line_boxes(points: Sequence[TradeoffPoint], frame: _Frame) -> list[tuple[float, float, float, float]]:
    """Small boxes along the curves, so that labels keep off them."""
    boxes = []
    for line in _by_series(points):
        for a, b in pairwise(line):
            for k in range(41):
                t = k / 40
                x = frame.x(a.megabytes) * (1 - t) + frame.x(b.megabytes) * t
                y = frame.y(a.loss) * (1 - t) + frame.y(b.loss) * t
                boxes.append((x - 1, y - 1, 2.0, 2.0))
    return boxes


def _by_series(points: Sequence[TradeoffPoint]) -> list[list[TradeoffPoint]]:
    names = sorted({p.series for p in points if p.series})
    return [sorted((p for p in points if p.series == name), key=lambda p: p.megabytes) for name in names]


def _series_lines(points: Sequence[TradeoffPoint], frame: _Frame) -> list[str]:
    parts = []
    for line in _by_series(points):
        path = " ".join(f"{frame.x(p.megabytes):.1f},{frame.y(p.loss):.1f}" for p in line)
        parts.append(svg.tag("polyline", points=path, class_="curve"))
    return parts


def _mark(point: TradeoffPoint, frame: _Frame) -> str:
    said = f"{point.label}: {svg.number(point.megabytes)} MB, perplexity {svg.number(point.loss, 4)} × base"
    return svg.tag(
        "circle",
        svg.tag("title", svg.escape(said)),
        cx=frame.x(point.megabytes),
        cy=frame.y(point.loss),
        r=7 if point.chosen else 4.5,
        class_="dot accent" if point.chosen else "dot",
    )


def _placed_label(point: TradeoffPoint, frame: _Frame, boxes: list[tuple[float, float, float, float]]) -> str:
    """Write the label at that of twelve places around the point where it meets least."""
    x, y, w, h = (
        frame.x(point.megabytes),
        frame.y(point.loss),
        svg.text_width(point.label, 13.0 if point.chosen else 12.0) + 4,
        15.0,
    )
    shifts = [(10.0, -7.0), (-w - 10, -7.0), (-w / 2, -24.0), (-w / 2, 10.0)]
    shifts += [(10.0, -22.0), (-w - 10, -22.0), (10.0, 8.0), (-w - 10, 8.0)]
    shifts += [(12.0, -38.0), (-w - 12, -38.0), (12.0, 24.0), (-w - 12, 24.0)]
    places = [(x + dx, y + dy, w, h) for dx, dy in shifts]
    right, floor = frame.width, frame.bottom
    inside = [b for b in places if b[0] >= 2 and b[0] + w <= right and b[1] >= 18 and b[1] + h <= floor]
    # min takes the first of equals, so a free place nearer the point wins over one further away
    box = min(inside or places, key=lambda place: sum(_meet(place, other) for other in boxes))
    boxes.append(box)
    return svg.label(
        box[0] + 2, box[1] + 12, point.label, class_="strong halo" if point.chosen else "small halo"
    )


def _meet(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[0] + b[2] and b[0] < a[0] + a[2] and a[1] < b[1] + b[3] and b[1] < a[1] + a[3]


def _excess(loss: float) -> float:
    return max(loss - 1.0, _FLOOR)


def _highest(points: Sequence[TradeoffPoint], budget: float | None) -> float:
    return max([p.loss for p in points] + [budget or 1.0])


def _tick_text(loss: float) -> str:
    return f"{loss:g}" if loss < 1e4 else svg.number(loss, 2)


def _single() -> tuple[Any, Any]:
    figure, panels = canvas.new_figure()
    return figure, panels[0]


def _fixed(places: list[float]) -> Any:
    from matplotlib.ticker import FixedLocator

    return FixedLocator(places)
