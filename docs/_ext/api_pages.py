"""Write one page a public room and let autosummary write one a name; both follow ``__all__``."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

ROOMS = (
    "gossamer.linalg",
    "gossamer.solve",
    "gossamer.nn",
    "gossamer.learn",
    "gossamer.learn.bars",
    "gossamer.graph",
    "gossamer.retrieve",
    "gossamer.sparsify",
    "gossamer.sparsify.graph_lottery",
    "gossamer.science",
    "gossamer.compress",
    "gossamer.engine",
    "gossamer.distributed",
    "gossamer.datasets",
    "gossamer.plots",
    "gossamer.testing",
)


def write_pages(app: Sphinx, config: Any) -> None:
    """Write docs/api/generated/<room>.rst for every public room."""
    folder = Path(app.srcdir) / "api" / "generated"
    folder.mkdir(parents=True, exist_ok=True)
    for room in ROOMS:
        page = folder / f"{room}.rst"
        text = _page(room)
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            page.write_text(text, encoding="utf-8")


def _page(room: str) -> str:
    module = importlib.import_module(room)
    names = {name: getattr(module, name) for name in module.__all__}
    groups = {
        "Classes": [name for name, thing in names.items() if inspect.isclass(thing)],
        "Functions": [name for name, thing in names.items() if inspect.isroutine(thing)],
    }
    lines = [
        room,
        "=" * len(room),
        "",
        inspect.cleandoc(module.__doc__ or ""),
        "",
        f".. currentmodule:: {room}",
    ]
    for title, members in groups.items():
        if members:
            lines += [
                "",
                f".. rubric:: {title}",
                "",
                ".. autosummary::",
                "   :toctree: .",
                "   :nosignatures:",
                "",
            ]
            lines += [f"   {name}" for name in members]
    return "\n".join([*lines, ""])


def setup(app: Sphinx) -> dict[str, Any]:
    """Write the pages before autosummary looks for what to generate."""
    app.connect("config-inited", write_pages)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
