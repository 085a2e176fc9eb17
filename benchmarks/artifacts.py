"""Compressed models that benchmarks run, made once by a recipe and kept under build/bench."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.harness import package_versions
from gossamer._core.files import read_json

ROOT = Path(__file__).parents[1]
CACHE = ROOT / "build" / "bench"
BASE = {"name": "base", "head": "keep", "default": {"metric": "none", "structure": {"kind": "dense"}}}
"""The model as it came, dequantised to float32."""


def compressed(recipe: str | dict[str, Any], head: str = "w8") -> tuple[Path, dict[str, Any]]:
    """The bundled model under a recipe: its artifact directory, and the run's result as a dictionary.

    The run has a process of its own, so that its peak memory is its own.

    Parameters
    ----------
    recipe : str or dict
        Name of a shipped recipe, or the tables of one.
    head : {"keep", "w8", "w4"}
        Replaces what a shipped recipe says.
    """
    name = f"{recipe['name']}" if isinstance(recipe, dict) else f"{recipe}-{head}"
    name += f"-{package_versions([])['gossamer']}"
    out, summary = CACHE / name, CACHE / f"{name}.json"
    if not (summary.exists() and out.is_dir()):
        print(f"compressing: {name} (once)", flush=True)
        CACHE.mkdir(parents=True, exist_ok=True)
        code = "import json, sys; from benchmarks.artifacts import make; make(*json.loads(sys.argv[1]))"
        arguments = json.dumps([recipe, head, str(out), str(summary)])
        subprocess.run([sys.executable, "-c", code, arguments], check=True, cwd=ROOT)
    return out, read_json(summary)


def make(recipe: str | dict[str, Any], head: str, out: str, summary: str) -> None:
    """Compress and write both files; runs in the subprocess of :func:`compressed`."""
    import dataclasses

    from gossamer._core.files import write_json
    from gossamer.compress import Recipe, compress, load_recipe
    from gossamer.datasets import load_wikitext2

    if isinstance(recipe, dict):
        chosen = Recipe.from_config(recipe)
    else:
        chosen = dataclasses.replace(load_recipe(recipe), head=head)
    result = compress("smollm2-135m", chosen, load_wikitext2("valid"), out=out, overwrite=True)
    write_json(summary, result.to_dict())
