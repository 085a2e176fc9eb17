"""Two or more quantities as thin bars over one another: before and after, at a glance."""

from __future__ import annotations

from collections.abc import Sequence

from gossamer.plots import svg


def bars_svg(title: str, rows: Sequence[tuple[str, float, str, bool]], *, width: float = 250.0) -> str:
    """Draw labelled horizontal bars from zero on one common scale.

    Parameters
    ----------
    title : str
        What is compared.
    rows : sequence of (label, value, shown value, is accented)
        From top to bottom; values are finite and not negative.
    width : float
        Of the drawing in CSS pixels.

    Returns
    -------
    str
        An ``<svg>`` element with classes ``bar``, ``bar accent`` and ``small`` for the page's CSS.
    """
    top = max((value for _, value, _, _ in rows), default=0.0) or 1.0
    parts = []
    for i, (name, value, shown, accent) in enumerate(rows):
        y = 34.0 * i
        parts.append(svg.label(0.0, y + 12, name, class_="small"))
        parts.append(svg.label(width, y + 12, shown, class_="small strong", text_anchor="end"))
        parts.append(svg.tag("rect", x=0, y=y + 18, width=width, height=6, rx=3, class_="track"))
        length = max(3.0, width * value / top)
        parts.append(
            svg.tag(
                "rect", x=0, y=y + 18, width=length, height=6, rx=3, class_="bar accent" if accent else "bar"
            )
        )
    said = "; ".join(f"{name}: {shown}" for name, _, shown, _ in rows)
    return svg.drawing(width, 34.0 * len(rows) - 6, title, said, parts, class_="bars")
