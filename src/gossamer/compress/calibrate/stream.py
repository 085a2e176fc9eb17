"""Hidden states that walk through a model block by block, so that one block at a time is at work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableSequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from gossamer._core.errors import ArgumentError, UnsupportedError
from gossamer.compress.calibrate.table import ROWS, Table
from gossamer.compress.models.source import SourceModel

CHUNK = 2048
"""Tokens that pass through a block at a time."""


class _Reached(Exception):
    """Raised by the hook on the first block once it has seen the block's arguments."""


class Stream:
    """The inputs of one block for all windows, in chunks.

    Parameters
    ----------
    source : SourceModel
        The model; kind ``"llama"`` or ``"bert"``.
    ids : ndarray of int64, shape (windows, length)
        Tokens, kept for the loss.
    chunks : list of tensor, shapes (windows of the chunk, length, width)
        Hidden states.
    calls : list of (tuple, dict)
        The other arguments with which the model calls its blocks (positions, masks), one a chunk.
    """

    def __init__(self, source: SourceModel, ids: np.ndarray, chunks: MutableSequence, calls: list) -> None:
        self.source, self.ids, self.chunks, self.calls = source, ids, chunks, calls

    def run(self, block: torch.nn.Module, index: int, hidden: torch.Tensor | None = None) -> torch.Tensor:
        """The output of ``block`` for chunk ``index`` (or for another ``hidden`` of the same shape)."""
        args, kwargs = self.calls[index]
        out = block(self.chunks[index] if hidden is None else hidden, *args, **kwargs)
        return out[0] if isinstance(out, tuple) else out

    def advance(self, block: torch.nn.Module) -> None:
        """Replace every chunk by the block's output."""
        for index in range(len(self.chunks)):
            self.chunks[index] = self.run(block, index)

    def fork(self) -> Stream:
        """Another stream at the same place; hidden states are shared until either advances."""
        return Stream(self.source, self.ids, list(self.chunks), self.calls)

    def loss(self, tables: Mapping[str, Table] | None = None) -> float:
        """Mean negative log-likelihood of the predicted tokens, once the stream has passed every block.

        ``tables`` may replace the output matrix, by path; decoders only.
        """
        return float(self.losses(tables).mean())

    def losses(self, tables: Mapping[str, Table] | None = None) -> np.ndarray:
        """The same mean for every window, an array of float64 of shape (windows,).

        The vocabulary is passed in pieces, so that neither all logits nor a dense copy of the head are ever in
        memory.
        """
        norm = final_norm(self.source)
        path = self.source.embeddings[-1]
        pieces = (
            tables[path].pieces() if tables and path in tables else output_weight(self.source).split(ROWS)
        )
        states = torch.cat([norm(hidden)[:, :-1].reshape(-1, hidden.shape[-1]) for hidden in self.chunks])
        targets = torch.from_numpy(np.ascontiguousarray(self.ids[:, 1:])).reshape(-1)
        largest = torch.full((len(targets),), -torch.inf)
        total, picked = torch.zeros(len(targets), dtype=torch.float64), torch.zeros(len(targets))
        start = 0
        for piece in pieces:
            for begin in range(0, len(targets), 1024):
                part = slice(begin, begin + 1024)
                logits = states[part] @ piece.T
                top = torch.maximum(largest[part], logits.amax(dim=1))
                total[part] *= (largest[part] - top).exp()
                total[part] += (logits - top[:, None]).exp_().sum(dim=1)
                largest[part] = top
                here = ((targets[part] >= start) & (targets[part] < start + len(piece))).nonzero()[:, 0]
                picked[begin + here] = logits[here, targets[begin + here] - start]
            start += len(piece)
        return (largest + total.log() - picked).reshape(len(self.ids), -1).mean(dim=1).numpy()


def open_stream(
    source: SourceModel,
    ids: np.ndarray,
    table: Table | None = None,
    *,
    batch: int = 0,
    chunks: MutableSequence | None = None,
    mask: np.ndarray | None = None,
) -> Stream:
    """Run everything before the first block and keep what the first block is called with.

    Parameters
    ----------
    source : SourceModel
        A decoder or encoder.
    ids : ndarray of int64, shape (windows, length)
        Tokens.
    table : Table, optional
        Replaces the token embedding.
    batch : int
        Windows of a chunk; 0 for as many as ``CHUNK`` tokens.
    chunks : MutableSequence, optional
        An empty list that holds the hidden states.
    mask : ndarray, shape (windows, length), optional
        0 where a token is padding.
    """
    if source.kind == "module":
        raise UnsupportedError(f"{source.name}: expected a Llama or BERT model, whose blocks are known")
    vocabulary = int(source.config.get("vocab_size", 0))
    if ids.size and (ids.min() < 0 or (vocabulary and ids.max() >= vocabulary)):
        raise ArgumentError(
            f"token ids reach from {ids.min()} to {ids.max()}: the vocabulary has {vocabulary}"
        )
    if source.context and ids.shape[1] > source.context:
        raise ArgumentError(f"windows of {ids.shape[1]} tokens: the model takes at most {source.context}")
    first = source.module.get_submodule(source.blocks[0])
    runner = source.module.model if source.kind == "llama" else source.module
    seen: list[tuple[tuple, dict]] = []

    def catch(module: Any, args: tuple, kwargs: dict) -> None:
        seen.append((args, kwargs))
        raise _Reached

    weights, feed = {}, ids
    if table is not None:  # only the rows that occur, and tokens counted among them
        used, feed = np.unique(ids, return_inverse=True)
        feed, weights = feed.reshape(ids.shape), {source.embeddings[0]: table.rows(used)}
    chunks = [] if chunks is None else chunks
    calls: list[tuple] = []
    step = batch or max(1, CHUNK // ids.shape[1])
    hook = first.register_forward_pre_hook(catch, with_kwargs=True)
    try:
        with source.evaluating(), swapped(source, weights):
            for start in range(0, len(ids), step):
                tokens = torch.from_numpy(np.ascontiguousarray(feed[start : start + step]))
                options: dict[str, Any] = {"use_cache": False} if source.kind == "llama" else {}
                if mask is not None:
                    options["attention_mask"] = torch.from_numpy(mask[start : start + step].astype(np.int64))
                try:
                    runner(input_ids=tokens, **options)
                except _Reached:
                    args, kwargs = seen.pop()
                    kwargs = dict(kwargs)
                    hidden = args[0] if args else kwargs.pop("hidden_states")
                    chunks.append(hidden)
                    calls.append((args[1:], kwargs))
    finally:
        hook.remove()
    return Stream(source, ids, chunks, calls)


@contextmanager
def swapped(source: SourceModel, weights: Mapping[str, Any]) -> Iterator[None]:
    """Give layers other weights, by path, and their own ones back afterwards; nothing is copied."""
    originals: list[tuple[torch.nn.Parameter, torch.Tensor]] = []
    try:
        for path, weight in weights.items():
            parameter = source.weight(path)
            originals.append((parameter, parameter.data))
            parameter.data = weight if isinstance(weight, torch.Tensor) else torch.from_numpy(weight)
        yield
    finally:
        for parameter, data in originals:
            parameter.data = data


def final_norm(source: SourceModel) -> torch.nn.Module:
    """The normalisation between the last block and the head of a decoder."""
    if source.kind != "llama":
        raise UnsupportedError(
            f"{source.name}: perplexity is defined for decoders, not for kind {source.kind!r}"
        )
    return source.module.model.norm


def output_weight(source: SourceModel) -> torch.Tensor:
    """The output matrix (V, width) of a decoder, which is its embedding where they are tied."""
    return source.weight(source.embeddings[-1])
