"""BQPO: each block is trained, rounding and pruning in place, to give the original block's outputs."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gossamer._core.errors import ArgumentError, UnsupportedError
from gossamer._core.files import read_json, write_json
from gossamer.compress.calibrate.activations import MappedChunks
from gossamer.compress.calibrate.statistics import Statistics, collect
from gossamer.compress.calibrate.stream import Stream, open_stream, swapped
from gossamer.compress.calibrate.table import Table
from gossamer.compress.finetune.descent import Descent
from gossamer.compress.finetune.forms import FakeQuantLinear, beside, frozen, replaced
from gossamer.compress.finetune.settings import Training
from gossamer.compress.finetune.starts import Start, begin, trainable
from gossamer.compress.methods.layer import Fitted, compensation, fit_layer, measured
from gossamer.compress.models.source import SourceModel
from gossamer.compress.rule import Rule
from gossamer.linalg import StructuredMatrix

_FLOOR = 2.0**-24


class BlockTrainer:
    r"""Fits and trains the blocks of a model in order.

    Two streams of the same windows walk along: ``targets`` through the original blocks, ``inputs`` through the
    compressed ones, so that a block also repairs what those before it did wrong. For each block

    .. math:: \min_{W, s, z}\; \| \mathrm{block}(X_q; \hat W) - \mathrm{block}(X_{fp}; W_0) \|^2

    over its weights, scales and zeros, with the mask frozen. After every epoch the block is judged on windows that
    it was not trained on, with its weights as they would be stored; the best epoch is kept, and the start counts
    as epoch 0. A compensating term is found once, from the start, and stays as it is.

    Parameters
    ----------
    source : SourceModel
        A Llama or BERT model in evaluation mode; never modified for good.
    ids : ndarray of int64, shape (windows, length)
        Windows to train on.
    held_out : ndarray of int64, shape (windows, length)
        Windows to judge on.
    settings : Training
    folder : Path
        Where notes on finished blocks and, above ``max_cache_bytes``, activations are kept.
    table : Table, optional
        The compressed embedding, where the compressed stream starts.
    seed : int
        Of the order of steps.

    Notes
    -----
    About ``6 P T E`` operations a block of P parameters for T tokens and E epochs; one block in training form and
    two activations a token are alive.

    References
    ----------
    Zeng et al., "GQSA", 2024; Chen et al., "EfficientQAT: Efficient quantization-aware training for large
    language models", 2024, whose defaults are taken where these are not.
    """

    def __init__(
        self,
        source: SourceModel,
        ids: np.ndarray,
        held_out: np.ndarray | None,
        settings: Training,
        *,
        folder: Path,
        table: Table | None = None,
        seed: int = 0,
    ) -> None:
        if source.kind == "module":
            raise UnsupportedError(
                f"{source.name}: stage 'bqpo' needs a Llama or BERT model, whose blocks are known"
            )
        if held_out is None or not len(held_out):
            raise ArgumentError(
                "calibration held_out=0: stage 'bqpo' judges epochs on windows that were set aside"
            )
        if ids.size < source.config["hidden_size"]:
            warnings.warn(
                f"{ids.size} calibration tokens, fewer than the {source.config['hidden_size']} columns of a layer: "
                "second moments are singular and training will fit these tokens only",
                stacklevel=2,
            )
        self._source, self._settings, self._folder, self._seed = source, settings, folder, seed
        self._at = -1
        self._mapped: list[MappedChunks] = []
        size = 8 * int(ids.size) * int(source.config["hidden_size"])
        if size > settings.max_cache_bytes:
            self._mapped = [
                MappedChunks(folder / f"activations-{name}.bin") for name in ("inputs", "targets")
            ]
        places: Sequence[MappedChunks | None] = self._mapped or (None, None)
        self.inputs = open_stream(source, ids, table, batch=settings.batch, chunks=places[0])
        self.targets = open_stream(source, ids, batch=settings.batch, chunks=places[1])
        self._held_inputs = open_stream(source, held_out, table)
        self._held_targets = open_stream(source, held_out)

    def fit(
        self, index: int, rules: Mapping[str, Rule], moments: Statistics | None, tell: Callable[[str], None]
    ) -> dict[str, Fitted]:
        """Project and train block ``index``; both streams stand before it, ``tell`` hears what is going on."""
        source, name = self._source, self._source.blocks[index]
        block = source.module.get_submodule(name)
        self.targets.advance(block)
        self._held_targets.advance(block)
        self._at = index
        cache: list[Statistics] = []

        def held_second(path: str) -> np.ndarray:
            if not cache:
                cache.append(collect(source, name, self._held_inputs))
            return cache[0].of(path)

        original = {path: source.weight(path).detach().numpy() for path in rules}
        starts: dict[str, Start] = {}
        fixed: dict[str, Fitted] = {}
        for path, rule in rules.items():
            rule.check_fit(path, original[path].shape)
            if not trainable(rule):
                fixed[path] = fit_layer(path, original[path], rule, moments)
                continue
            second = moments.of(path) if moments is not None else None
            judge = partial(held_second, path) if self._settings.init == "auto" else None
            start = begin(original[path], rule, second, self._settings.init, judge)
            if rule.compensate:
                error = original[path] - start.matrix.to_dense()
                start = replace(start, term=compensation(path, error, rule, moments))
            starts[path] = start
        matrices: dict[str, StructuredMatrix] = {}
        notes: dict[str, Any] = {}
        if starts:
            frozen_weights = {path: item.matrix.to_dense() for path, item in fixed.items()}
            with swapped(source, frozen_weights):
                matrices, notes = self._best(index, starts, frozen_weights, tell)
        write_json(self._note(index), notes)
        return {
            path: fixed[path]
            if path in fixed
            else measured(path, original[path], rule, matrices[path], moments)
            for path, rule in rules.items()
        }

    def passed(self, index: int, weights: Mapping[str, Any]) -> None:
        """Block ``index`` is finished and has these weights; the compressed training windows are moved elsewhere."""
        block = self._source.module.get_submodule(self._source.blocks[index])
        if self._at != index:  # finished in an earlier run
            self.targets.advance(block)
            self._held_targets.advance(block)
        with swapped(self._source, weights):
            self._held_inputs.advance(block)

    def history(self) -> list[dict[str, Any]]:
        """What was noted of every block: learning rate, validation loss of the start and of each epoch, the best."""
        return [read_json(self._note(index)) for index in range(len(self._source.blocks))]

    def close(self) -> None:
        """Remove activations from the disk."""
        for chunks in self._mapped:
            chunks.close()

    def _note(self, index: int) -> Path:
        return self._folder / f"bqpo-{index:03d}.json"

    def _best(
        self,
        index: int,
        starts: Mapping[str, Start],
        fixed: Mapping[str, np.ndarray],
        tell: Callable[[str], None],
    ) -> tuple[dict[str, StructuredMatrix], dict[str, Any]]:
        rates = self._settings.weight_rates
        if index and len(rates) > 1:
            rates = (read_json(self._note(0))["weight_rate"],)
        at_start = {path: start.stored for path, start in starts.items()}
        before = self._judge(index, at_start, fixed)
        best, least, notes = at_start, before, {"weight_rate": rates[0], "losses": [before], "kept": 0}
        lowest = np.inf
        for rate in rates:
            losses = [before]
            for epoch, matrices in enumerate(self._epochs(index, starts, rate), 1):
                losses.append(self._judge(index, matrices, fixed))
                tell(
                    f"block {index}, rate {rate:g}, epoch {epoch}: loss {losses[-1]:.4g} (start {before:.4g})"
                )
                if losses[-1] < least:
                    best, least = matrices, losses[-1]
            reached = min(losses[1:], default=before)
            if reached < lowest:
                lowest = reached
                kept = int(np.argmin(losses))
                notes = {"weight_rate": rate, "losses": losses, "kept": kept}
        return best, notes

    def _epochs(
        self, index: int, starts: Mapping[str, Start], rate: float
    ) -> Iterator[dict[str, StructuredMatrix]]:
        """Train from the start with one rate; yields the block as it would be stored after every epoch."""
        s, source = self._settings, self._source
        name = source.blocks[index]
        modules = {path: source.module.get_submodule(path) for path in starts}
        layers = {
            path: FakeQuantLinear(start.matrix, start.latent, modules[path].bias)
            for path, start in starts.items()
        }
        members = list(layers.values())
        smallest = [
            max(float(np.abs(start.latent).max(initial=0)), 1.0) * _FLOOR for start in starts.values()
        ]
        descent = Descent(
            [
                ([layer.latent for layer in members], rate),
                ([layer.scale for layer in members], s.scale_rate),
                ([layer.zero for layer in members if layer.zero is not None], s.zero_rate),
            ],
            s.epochs * len(self.inputs.chunks),
            clip=s.clip,
            least=[
                (layer.scale, torch.tensor(floor)) for layer, floor in zip(members, smallest, strict=True)
            ],
        )
        generator = torch.Generator().manual_seed(self._seed * 100_003 + index)
        for _ in range(s.epochs):
            forms = {path: beside(layer, starts[path].term) for path, layer in layers.items()}
            with self._training(name, forms) as block:
                for i in torch.randperm(len(self.inputs.chunks), generator=generator).tolist():
                    descent.step([partial(self._loss, self.inputs, self.targets, block, i)])
            yield {
                path: replace(starts[path], matrix=layer.export()).stored for path, layer in layers.items()
            }

    @contextmanager
    def _training(self, name: str, layers: Mapping[str, torch.nn.Module]) -> Iterator[torch.nn.Module]:
        block, low = self._source.module.get_submodule(name), self._settings.low_precision
        with (
            frozen(block),
            replaced(self._source.module, layers),
            torch.enable_grad(),
            torch.autocast("cpu", torch.bfloat16, enabled=low),
        ):
            yield block

    def _judge(
        self, index: int, matrices: Mapping[str, StructuredMatrix], fixed: Mapping[str, np.ndarray]
    ) -> float:
        block = self._source.module.get_submodule(self._source.blocks[index])
        weights = {path: matrix.to_dense() for path, matrix in matrices.items()}
        with swapped(self._source, weights):
            count = len(self._held_inputs.chunks)
            sizes = [chunk.numel() for chunk in self._held_inputs.chunks]
            losses = [
                float(self._loss(self._held_inputs, self._held_targets, block, i)) for i in range(count)
            ]
        return float(np.average(losses, weights=sizes))

    def _loss(self, inputs: Stream, targets: Stream, block: torch.nn.Module, index: int) -> torch.Tensor:
        target = targets.chunks[index]
        error = (inputs.run(block, index).float() - target).square()
        if self._settings.loss == "relative":
            return (error.mean(-1) / (target.square().mean(-1) + 1e-12)).mean()
        return error.mean()
