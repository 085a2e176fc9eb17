"""Indexes built shard by shard on the workers of a Dask cluster."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gossamer._core.errors import ArgumentError
from gossamer._core.lazy import require
from gossamer.retrieve import FDEConfig, MuveraIndex, ShardedIndex
from gossamer.retrieve.shards import shard_folder, write_list


def map_shards(f: Callable[[Any, int], Any], shards: Sequence[Any]) -> list[Any]:
    """``f(shard, number)`` of every shard, on the workers of the current Dask client, or on local threads without one.

    Parameters
    ----------
    f : callable
        Sent to the workers.
    shards : sequence
        Sent to the workers; small descriptions of data that lie where workers can read them travel best.

    Returns
    -------
    list
        In the order of shards.

    Raises
    ------
    ArgumentError
        If f is not callable, or there are no shards.
    """
    if not callable(f):
        raise ArgumentError(f"f is a {type(f).__name__}: expected a callable")
    shards = list(shards)
    if not shards:
        raise ArgumentError("shards is empty: expected at least one")
    dask = require("dask", "distributed")
    return list(dask.compute(*(dask.delayed(f, pure=False)(shard, i) for i, shard in enumerate(shards))))


def index_shards(
    shards: Sequence[Any], folder: str | os.PathLike[str], config: FDEConfig, **options: Any
) -> ShardedIndex:
    """Build a MUVERA index of each shard on a worker, write it there, and open all of them as one.

    Parameters
    ----------
    shards : sequence
        Of each the documents, as :meth:`MuveraIndex.add` takes them, or a function without arguments that returns them:
        it runs on the worker, which can so read or encode its own part.
    folder : path
        Seen by all workers and from here; shard s is written to ``folder/shard-0000s``.
    config : FDEConfig
        Of the encodings.
    **options
        As for :class:`MuveraIndex`.

    Returns
    -------
    ShardedIndex
        Mapped into memory. Documents are numbered through all shards, in their order.

    Raises
    ------
    ArgumentError
        Without shards, or for what :class:`MuveraIndex` refuses.

    Notes
    -----
    A document is encoded on its own, so encodings do not depend on how a corpus is cut. Centroids of "faiss-pq" are
    those of each shard.
    """
    MuveraIndex(config, **options)  # refuses what it refuses here, not on a worker
    where = Path(folder).resolve()
    where.mkdir(parents=True, exist_ok=True)
    build = _Build(where, config, options)
    write_list(where, map_shards(build, shards))
    return ShardedIndex.load(where, verify=False)


class _Build:
    """Builds and writes one shard; says how many ids it uses."""

    def __init__(self, folder: Path, config: FDEConfig, options: dict[str, Any]) -> None:
        self.folder, self.config, self.options = folder, config, options

    def __call__(self, shard: Any, number: int) -> int:
        documents = shard() if callable(shard) else shard
        index = MuveraIndex(self.config, **self.options).add(documents)
        index.save(shard_folder(self.folder, number))
        return len(index)
