"""Statistics and fits kept on disk, so that every option of every layer is computed once at most."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from gossamer.compress.calibrate.statistics import Statistics, collect
from gossamer.compress.calibrate.stream import open_stream
from gossamer.compress.methods.layer import Fitted, fit_layer
from gossamer.compress.models.source import SourceModel
from gossamer.compress.progress import Reporter
from gossamer.compress.rule import Rule
from gossamer.compress.work import load_fitted, save_fitted


class StoredStatistics:
    """Second moments on the base model's stream, one file a block.

    Parameters
    ----------
    folder : Path
        Where the files are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._last: tuple[int, Statistics] | None = None

    @classmethod
    def gather(
        cls, source: SourceModel, ids: np.ndarray, folder: Path, reporter: Reporter
    ) -> StoredStatistics:
        """Run the calibration windows once through the base model; blocks already on disk are not measured again."""
        folder.mkdir(parents=True, exist_ok=True)
        stored = cls(folder)
        blocks = source.blocks
        if all(stored._path(index).exists() for index in range(len(blocks))):
            return stored
        with source.evaluating(), reporter.stage("statistics", len(blocks)) as step:
            stream = open_stream(source, ids)
            for index, block in enumerate(blocks):
                if stored._path(index).exists():
                    stream.advance(source.module.get_submodule(block))
                else:
                    collect(source, block, stream, advance=True).save(stored._path(index))
                step(index + 1, block)
        return stored

    def get(self, index: int) -> Statistics:
        """Second moments of one block's inputs."""
        if self._last is None or self._last[0] != index:
            self._last = (index, Statistics.load(self._path(index)))
        return self._last[1]

    def passed(self, index: int, weights: Mapping[str, np.ndarray]) -> None:
        """Nothing to do: the statistics are those of the base model."""

    def _path(self, index: int) -> Path:
        return self._folder / f"block-{index:03d}.safetensors"


class FitStore:
    """Fitted layers on disk by layer and rule.

    Parameters
    ----------
    folder : Path
        Where the files are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def __call__(self, path: str, W: np.ndarray, rule: Rule, statistics: Statistics | None) -> Fitted:
        """As :func:`fit_layer`, but each layer and rule only once."""
        key = hashlib.sha256(json.dumps([path, rule.to_config()], sort_keys=True).encode()).hexdigest()[:24]
        file = self._folder / f"{key}.safetensors"
        if file.exists():
            return load_fitted(file)[path]
        fitted = fit_layer(path, W, rule, statistics)
        save_fitted(file, {path: fitted})
        return fitted
