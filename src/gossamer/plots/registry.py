"""``draw(result)``: the figure that belongs to a result, found by the name of its class."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from gossamer._core.errors import UnsupportedError

# Results live in rooms above this one, so they are known here by name; drawers are loaded when needed.
_DRAWERS: dict[str, str | Callable[..., Any]] = {
    "CompressResult": "gossamer.plots.compression:draw_compression",
    "Explanation": "gossamer.plots.explanation:draw_explanation",
}


def register(result_class: str, drawer: Callable[..., Any]) -> None:
    """Draw every result whose class (or base class) has this name with ``drawer(result, **options)``.

    Parameters
    ----------
    result_class : str
        The name of the class.
    drawer : callable
        Returns a matplotlib figure.
    """
    _DRAWERS[result_class] = drawer


def draw(result: Any, **options: Any) -> Any:
    """Draw a result as a matplotlib figure.

    The most derived class of ``result`` that has a drawer decides. A result without one, but with a
    ``history`` of numbers, is drawn as curves over its iterations.

    Parameters
    ----------
    result : Result
        What a gossamer function returned.
    **options
        Passed to the drawer.

    Returns
    -------
    matplotlib.figure.Figure
        Not shown and not saved: call ``.savefig(path)``, or end a notebook cell with it.

    Raises
    ------
    UnsupportedError
        If there is neither a drawer nor a history.
    MissingDependencyError
        If matplotlib is not installed.
    """
    for base in type(result).__mro__:
        drawer = _DRAWERS.get(base.__name__)
        if drawer is not None:
            return (_load(drawer) if isinstance(drawer, str) else drawer)(result, **options)
    if getattr(result, "history", None):
        from gossamer.plots.history import draw_history

        return draw_history(result, **options)
    known = ", ".join(sorted(_DRAWERS))
    raise UnsupportedError(
        f"result is a {type(result).__name__} without a history: "
        f"expected a result with one, or one of {known}; gossamer.plots.register adds a drawer"
    )


def _load(place: str) -> Callable[..., Any]:
    module, name = place.split(":")
    return getattr(importlib.import_module(module), name)
