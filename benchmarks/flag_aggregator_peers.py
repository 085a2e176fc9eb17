"""The aggregators of the package byzfl, without its training framework, which wants torchvision."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from typing import Any


def byzfl_aggregators() -> Any:
    """The module ``byzfl.aggregators.aggregators``; ModuleNotFoundError where byzfl is not installed."""
    if "byzfl" not in sys.modules:
        spec = importlib.util.find_spec("byzfl")
        if spec is None:
            raise ModuleNotFoundError("No module named 'byzfl'", name="byzfl")
        package = types.ModuleType("byzfl")  # its own __init__ imports the framework
        package.__path__ = list(spec.submodule_search_locations or [])
        sys.modules["byzfl"] = package
    return importlib.import_module("byzfl.aggregators.aggregators")
