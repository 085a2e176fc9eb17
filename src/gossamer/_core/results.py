"""What long computations return: frozen, printable, serialisable."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Result:
    """Base of every result object.

    Attributes
    ----------
    success : bool
        Whether the computation reached what it was asked for.
    message : str
        Why it stopped, in words.
    history : dict of str to list
        Per-iteration records, equal lengths.
    """

    success: bool = True
    message: str = ""
    history: dict[str, list[Any]] = field(default_factory=dict, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain Python values (arrays become lists), fit for JSON."""
        return _plain(asdict(self))

    def plot(self, **options: Any) -> Any:
        """Draw the result with :mod:`gossamer.plots` (needs matplotlib)."""
        # plots lies above _core: it registers its drawers on import, so the arrow points down
        from gossamer._core.lazy import require

        return require("gossamer.plots", "plot").draw(self, **options)

    def __repr__(self) -> str:
        shown = [
            f"{f.name}={getattr(self, f.name)!r}"
            for f in fields(self)
            if f.repr and isinstance(getattr(self, f.name), (bool, int, float, str))
        ]
        return f"{type(self).__name__}({', '.join(shown)})"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    if hasattr(value, "tolist"):
        return value.tolist()
    return value
