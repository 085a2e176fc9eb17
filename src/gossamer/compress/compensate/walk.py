"""The walk through a model and its compressed twin: what each layer meets, its error, and what is put in its place."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from gossamer._core.checks import check_choice
from gossamer.compress.calibrate.covariance import MomentRecorder
from gossamer.compress.calibrate.stream import Stream, open_stream, swapped
from gossamer.compress.compensate.pair import Pair
from gossamer.linalg import Moment, WeightedLowRank

INPUTS = ("sequential", "dense", "true-sequential")


@dataclass(frozen=True)
class Layer:
    """A layer as a fit sees it.

    Attributes
    ----------
    path : str
    error : ndarray of float32, shape (O, K)
        The weight minus its compressed value.
    moment : Moment
        Of its inputs, shared with the layers that have the same ones.
    scale : ndarray, shape (K,)
        Mean of ``|x|``.
    tokens : int
        How many were averaged.
    held_out : ndarray or None
        The second moment on windows that were set aside.
    """

    path: str
    error: np.ndarray
    moment: Moment
    scale: np.ndarray
    tokens: int
    held_out: np.ndarray | None = None


Fit = Callable[[Layer], WeightedLowRank | None]
Tokens = tuple[np.ndarray, np.ndarray | None]


def walk(
    pair: Pair,
    ids: np.ndarray,
    mask: np.ndarray | None,
    fit: Fit,
    *,
    inputs: str = "sequential",
    legacy: bool = False,
    held_out: Tokens | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Call ``fit`` for every linear layer, block by block; what it returns stands beside the compressed weight then.

    Parameters
    ----------
    pair : Pair
        The model and its compressed twin.
    ids, mask : ndarray, shape (windows, length)
        Calibration tokens, and 0 where one is padding.
    fit : callable
        Takes a :class:`Layer`; returns an adapter or None.
    inputs : {"sequential", "dense", "true-sequential"}
        See :func:`eora`.
    legacy : bool
        Weigh later sequences more.
    held_out : (ids, mask), optional
        Windows that walk along and are never fitted on.
    progress : callable, optional
        Hears (blocks done, blocks).
    """
    check_choice("inputs", inputs, INPUTS)
    source = pair.source
    with source.evaluating(), torch.no_grad(), ExitStack() as stack:
        stack.enter_context(swapped(source, {} if inputs == "dense" else pair.embeddings()))
        streams = [_Windows(pair, ids, mask, legacy)]
        if held_out is not None:
            streams.append(_Windows(pair, *held_out, False))
        for done, block in enumerate(source.blocks, 1):
            layers = list(source.linears(block))
            replaced: dict[str, Any] = {}
            groups: Iterable[list[str]] = [layers]
            if inputs == "true-sequential":
                groups = streams[0].groups(block, layers)
            for group in groups:
                with swapped(source, replaced):
                    recorders = [stream.record(block, group, advance=inputs == "dense") for stream in streams]
                moments: dict[str, Moment] = {}
                for path in group:
                    leader = recorders[0].leader[path]
                    moment = moments.setdefault(leader, Moment(recorders[0].second(path)))
                    compressed = pair.compressed(path)
                    adapter = fit(
                        Layer(
                            path=path,
                            error=pair.base(path) - compressed,
                            moment=moment,
                            scale=recorders[0].absolute(path),
                            tokens=recorders[0].count(path),
                            held_out=recorders[1].second(path) if held_out is not None else None,
                        )
                    )
                    if adapter is not None:
                        compressed = compressed + (adapter.B @ adapter.A).astype(np.float32)
                    replaced[path] = compressed
            if inputs != "dense":
                with swapped(source, replaced):
                    for stream in streams:
                        stream.advance(block)
            if progress is not None:
                progress(done, len(source.blocks))


class _Windows:
    """Windows on their way through the model, with what of them is padding."""

    def __init__(self, pair: Pair, ids: np.ndarray, mask: np.ndarray | None, legacy: bool) -> None:
        self._source, self._legacy = pair.source, len(ids) if legacy else 0
        self._stream: Stream = open_stream(pair.source, ids, mask=mask)
        self._masks: list[torch.Tensor | None] = []
        start = 0
        for chunk in self._stream.chunks:
            part = None if mask is None else torch.from_numpy(mask[start : start + len(chunk)] != 0)
            self._masks.append(part)
            start += len(chunk)

    def record(self, block: str, layers: list[str], *, advance: bool) -> MomentRecorder:
        module, known = self._source.module.get_submodule(block), self._source.linears(block)
        with MomentRecorder({path: known[path] for path in layers}, legacy=self._legacy) as recorder:
            for index, mask in enumerate(self._masks):
                recorder.keep = mask
                out = self._stream.run(module, index)
                if advance:
                    self._stream.chunks[index] = out
        return recorder

    def groups(self, block: str, layers: list[str]) -> list[list[str]]:
        """Layers with the same input, in the order in which the block calls them."""
        recorder = self.record(block, layers, advance=False)
        found: dict[str, list[str]] = {}
        for path, leader in recorder.leader.items():
            found.setdefault(leader, []).append(path)
        return list(found.values())

    def advance(self, block: str) -> None:
        self._stream.advance(self._source.module.get_submodule(block))
