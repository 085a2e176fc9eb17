"""Small SVG drawings as text: colours come from the page's CSS, so one drawing serves light and dark."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable


def escape(text: object) -> str:
    """Text made safe inside elements and inside double-quoted attributes."""
    return html.escape(str(text), quote=True)


def tag(name: str, *children: str, **attributes: object) -> str:
    """One element; ``class_`` becomes ``class``, underscores become hyphens, floats are rounded to 0.01.

    Attribute values are escaped here; children are taken as markup: text goes through :func:`escape` first.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_short(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{written}>{''.join(children)}</{name}>" if children else f"<{name}{written}/>"


def label(x: float, y: float, text: object, **attributes: object) -> str:
    """A ``<text>`` element with its baseline starting at ``(x, y)``; the text is escaped."""
    return tag("text", escape(text), x=x, y=y, **attributes)


def drawing(
    width: float, height: float, title: str, description: str, parts: Iterable[str], **extra: object
) -> str:
    """A whole ``<svg>`` that scales with its box and tells a screen reader what it shows.

    Parameters
    ----------
    width, height : float
        Of the coordinate system; one unit is one CSS pixel at that width.
    title, description : str
        What the picture is, and what one sees in it.
    parts : iterable of str
        Markup of the content.
    """
    return tag(
        "svg",
        tag("title", escape(title)),
        tag("desc", escape(description)),
        *parts,
        viewBox=f"0 0 {_short(width)} {_short(height)}",
        role="img",
        aria_label=f"{title}. {description}",
        style=f"max-width:{_short(width * 1.15)}px",
        **extra,
    )


def text_width(text: str, size: float = 12.0) -> float:
    """Estimated width of a line of sans-serif text (no font is at hand when the page is written)."""
    narrow = sum(character in " .,:;il|!'()[]tfjI1" for character in text)
    return size * (0.63 * (len(text) - narrow) + 0.36 * narrow)


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers inside ``[low, high]``, about ``count`` of them."""
    if not high > low:
        return [low]
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = power * next(m for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 12) for k in range(first, math.floor(high / step + 1e-9) + 1)]


def number(value: float, digits: int = 3) -> str:
    """A number for people: ``digits`` significant digits, thousands set apart, no exponent below 1e6."""
    if not math.isfinite(value):
        return "not finite" if math.isnan(value) else ("∞" if value > 0 else "−∞")
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    if size >= 6 or size <= -5:
        mantissa, exponent = f"{value:.{max(0, digits - 2)}e}".split("e")
        return f"{mantissa} × 10{str(int(exponent)).translate(_SUPERSCRIPT)}"
    return f"{value:,.{max(0, digits - 1 - size)}f}".replace(",", "\u202f")


_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def _short(value: object) -> object:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else value
