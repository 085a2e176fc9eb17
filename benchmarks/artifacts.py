"""Compressed models that benchmarks run, made once by a shipped recipe and kept under build/bench."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.harness import package_versions
from gossamer._core.files import read_json

CACHE = Path(__file__).parents[1] / "build" / "bench"


def compressed(recipe: str, **changes: Any) -> tuple[Path, dict[str, Any]]:
    """The bundled model under ``recipe``: its artifact directory, and the run's result as a dictionary.

    The run has a process of its own, so that its peak memory is its own. ``changes`` replace fields of the recipe,
    such as ``head="w4"``.
    """
    name = "-".join([recipe, package_versions([])["gossamer"], *map(str, changes.values())])
    out, summary = CACHE / name, CACHE / f"{name}.json"
    if not (summary.exists() and out.is_dir()):
        print(f"compressing with {name} (once)", flush=True)
        CACHE.mkdir(parents=True, exist_ok=True)
        code = "import json, sys; from benchmarks.artifacts import make; make(*json.loads(sys.argv[1]))"
        arguments = json.dumps([recipe, changes, str(out), str(summary)])
        subprocess.run([sys.executable, "-c", code, arguments], check=True, cwd=Path(__file__).parents[1])
    return out, read_json(summary)


def make(recipe: str, changes: dict[str, Any], out: str, summary: str) -> None:
    """Compress and write both files; runs in the subprocess of :func:`compressed`."""
    import dataclasses

    from gossamer._core.files import write_json
    from gossamer.compress import calibration_windows, compress, load_model, load_recipe
    from gossamer.datasets import load_wikitext2

    chosen = dataclasses.replace(load_recipe(recipe), **changes)
    model = load_model("smollm2-135m")
    windows = calibration_windows(
        load_wikitext2("valid"), model.tokenizer, chosen.calibration.length, chosen.calibration.windows
    )
    result = compress(model, chosen, windows, out=out)
    write_json(summary, result.to_dict())
