"""Lazy re-exports (PEP 562), so that ``import gossamer`` costs nothing that is not used."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gossamer._core.errors import MissingDependencyError


def attach(
    package: str,
    *,
    submodules: Sequence[str] = (),
    attributes: Mapping[str, Sequence[str]] | None = None,
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return ``__getattr__, __dir__, __all__`` for a package that loads its parts on first use.

    Parameters
    ----------
    package : str
        The package's ``__name__``.
    submodules : sequence of str
        Submodules reachable as attributes.
    attributes : mapping of str to sequence of str
        Submodule (relative, dots allowed) to the names that it provides.
    """
    origin = {name: module for module, names in (attributes or {}).items() for name in names}
    exported = sorted({*submodules, *origin})

    def __getattr__(name: str) -> Any:
        if name in origin:
            value = getattr(importlib.import_module(f"{package}.{origin[name]}"), name)
        elif name in submodules:
            value = importlib.import_module(f"{package}.{name}")
        else:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        setattr(sys.modules[package], name, value)
        return value

    return __getattr__, lambda: list(exported), exported


def require(module: str, extra: str) -> Any:
    """Import ``module``, or say which extra of gossamer brings it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise
        raise MissingDependencyError(
            f"this needs the package {module.split('.')[0]!r}: pip install 'gossamer[{extra}]'"
        ) from error
