"""The walk through a model, block by block: statistics, fit, save, go on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

import numpy as np

from gossamer.compress.calibrate.statistics import Statistics, collect, collect_examples
from gossamer.compress.calibrate.stream import Stream, open_stream, swapped
from gossamer.compress.calibrate.table import Table
from gossamer.compress.methods.groups import share_density
from gossamer.compress.methods.layer import Fitted, fit_layer
from gossamer.compress.models.source import SourceModel
from gossamer.compress.recipe import Recipe
from gossamer.compress.rule import Rule
from gossamer.compress.work import WorkDirectory

_MOMENTS = 1 << 25
"""Entries of second moments that a module without known blocks may hold at a time (256 MB of doubles)."""

Fit = Callable[[str, np.ndarray, Rule, "Statistics | None"], Fitted]


class BlockFit(Protocol):
    """What fits the layers of a block together."""

    def fit(
        self, index: int, rules: Mapping[str, Rule], moments: Statistics | None, tell: Callable[[str], None]
    ) -> dict[str, Fitted]:
        """Fit block ``index``; blocks are asked for in order, but for those that an earlier run finished."""

    def passed(self, index: int, weights: Mapping[str, np.ndarray]) -> None:
        """Block ``index`` is finished, now or in an earlier run: these are its dense weights."""


class StatisticsSource(Protocol):
    """Where the second moments of a part's inputs come from."""

    def get(self, index: int) -> Statistics | None:
        """Second moments for part ``index``; parts are asked for in order."""

    def passed(self, index: int, weights: Mapping[str, np.ndarray]) -> None:
        """Part ``index`` is finished: these are its dense weights now."""


class StreamStatistics:
    """Statistics of windows that walk along, behind compressed blocks or behind the base model's."""

    def __init__(
        self,
        source: SourceModel,
        ids: np.ndarray,
        compressed: bool,
        table: Table | None = None,
        stream: Stream | None = None,
    ) -> None:
        self._source, self._compressed, self._at = source, compressed, -1
        self._stream = stream or open_stream(source, ids, table if compressed else None)

    def get(self, index: int) -> Statistics:
        self._at = index
        return collect(self._source, self._source.blocks[index], self._stream, advance=not self._compressed)

    def passed(self, index: int, weights: Mapping[str, np.ndarray]) -> None:
        if index + 1 == len(self._source.blocks) or (self._at == index and not self._compressed):
            return
        with swapped(self._source, weights if self._compressed else {}):
            self._stream.advance(self._source.module.get_submodule(self._source.blocks[index]))


class ExampleStatistics:
    """Statistics of the example inputs of any module, as many layers at a time as memory allows."""

    def __init__(self, source: SourceModel) -> None:
        self._source, self._parts = source, parts(source)

    def get(self, index: int) -> Statistics:
        layers = self._source.linears()
        return collect_examples(self._source, {path: layers[path] for path in self._parts[index]})

    def passed(self, index: int, weights: Mapping[str, np.ndarray]) -> None:
        return


class NoStatistics:
    """For recipes that look at weights only."""

    def get(self, index: int) -> None:
        return None

    def passed(self, index: int, weights: Mapping[str, np.ndarray]) -> None:
        return


def parts(source: SourceModel) -> list[list[str]]:
    """The layers that are worked on together: those of a block, or as many as memory allows elsewhere."""
    if source.kind != "module":
        return [list(source.linears(block)) for block in source.blocks]
    groups: list[list[str]] = []
    room = 0
    for path, layer in source.linears().items():
        need = layer.in_features**2
        if not groups or need > room:
            groups.append([])
            room = _MOMENTS
        groups[-1].append(path)
        room -= need
    return groups


def needs_statistics(source: SourceModel, recipe: Recipe) -> bool:
    """Whether any layer's rule weighs its fit by the inputs."""
    rules = [recipe.rule(path) for path in source.linears()]
    return any(rule.needs_statistics for rule in rules)


def compress_blocks(
    source: SourceModel,
    recipe: Recipe,
    statistics: StatisticsSource,
    work: WorkDirectory,
    step: Callable[..., None],
    *,
    base: Stream | None = None,
    compressed: Stream | None = None,
    fit: Fit = fit_layer,
    trainer: BlockFit | None = None,
) -> None:
    """Fit every linear layer by a concrete recipe, part by part, and keep each finished part on disk.

    Parameters
    ----------
    source : SourceModel
        The model; its weights are exchanged while a block runs and put back.
    recipe : Recipe
        With a rule for every layer.
    statistics : StatisticsSource
        Second moments of the layers' inputs.
    work : WorkDirectory
        Finished parts are read from it instead of being fitted again.
    step : callable
        ``step(done, detail)`` after every part.
    base, compressed : Stream, optional
        Evaluation windows that walk through the base model and through the compressed one.
    fit : callable
        What fits a layer.
    trainer : BlockFit, optional
        Fits whole blocks instead.

    Notes
    -----
    Nothing is returned: the fitted layers are on disk, and only those of one part are in memory.
    """
    for index, paths in enumerate(parts(source)):
        if index >= work.done:
            moments = statistics.get(index)
            weights = {path: source.weight(path).detach().numpy() for path in paths}
            rules = share_density({path: recipe.rule(path) for path in paths}, weights, moments)
            if trainer is not None:
                fitted = trainer.fit(index, rules, moments, partial(step, index))
            else:
                fitted = {path: fit(path, weights[path], rules[path], moments) for path in paths}
            work.save_block(index, fitted)
        block = work.load_block(index)
        weights = {path: block[path].matrix.to_dense() for path in paths}
        statistics.passed(index, weights)
        if trainer is not None:
            trainer.passed(index, weights)
        if base is not None:
            base.advance(source.module.get_submodule(source.blocks[index]))
        if compressed is not None:
            with swapped(source, weights):
                compressed.advance(source.module.get_submodule(source.blocks[index]))
        source.release(paths)
        step(index + 1, paths[0].rpartition(".")[0] if paths else "")
