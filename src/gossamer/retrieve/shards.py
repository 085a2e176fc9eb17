"""Several indexes searched as one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gossamer._core.checks import check_int
from gossamer._core.errors import ArgumentError, FormatError
from gossamer._core.files import read_json, write_json
from gossamer._core.ranking import best
from gossamer.retrieve.multivector.muvera import MuveraIndex
from gossamer.retrieve.ranking import SearchResult

_NAME = "shards.json"


class ShardedIndex:
    """Indexes of parts of a corpus, searched one after the other and merged by score.

    Document j of shard s is called ``first[s] + j`` where the shard calls it j. Exact scores of different shards are
    comparable, estimates too where the shards' configurations are equal.

    Parameters
    ----------
    shards : sequence of MuveraIndex
        Of one configuration.
    room : sequence of int, optional
        How many ids each shard may use; by default one more than the largest that it holds.

    Raises
    ------
    ArgumentError
        Without shards, or for shards of different configurations.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.retrieve import FDEConfig, MuveraIndex, ShardedIndex
    >>> rng = np.random.default_rng(0)
    >>> documents = [rng.normal(size=(n, 32)) for n in (5, 9, 7, 4)]
    >>> halves = [MuveraIndex(FDEConfig(dim=32)).add(documents[i : i + 2]) for i in (0, 2)]
    >>> ShardedIndex(halves).search(documents[3], k=1).ids.tolist()
    [[3]]
    """

    def __init__(self, shards: Sequence[MuveraIndex], room: Sequence[int] | None = None) -> None:
        self.shards = list(shards)
        if not self.shards:
            raise ArgumentError("shards is empty: expected at least one index")
        if any(shard.config != self.shards[0].config for shard in self.shards):
            raise ArgumentError("shards have different configurations: their estimates cannot be compared")
        spans = [shard.highest_id + 1 for shard in self.shards]
        if room is not None:
            if len(room) != len(spans):
                raise ArgumentError(f"room has {len(room)} entries: expected {len(spans)}, one a shard")
            spans = [check_int("room", r, low=span) for r, span in zip(room, spans, strict=True)]
        self.first = np.concatenate([[0], np.cumsum(spans)]).astype(np.int64)

    def __len__(self) -> int:
        return sum(len(shard) for shard in self.shards)

    def search(
        self, queries: Any, k: int = 10, n_candidates: int | None = 200, offsets: Any = None
    ) -> SearchResult:
        """The k best of all shards, each of which looks at ``n_candidates``; as :meth:`MuveraIndex.search`."""
        found = [
            (shard.search(queries, k, n_candidates, offsets), first)
            for shard, first in zip(self.shards, self.first, strict=False)
            if len(shard)
        ]
        if not found:
            raise ArgumentError("the index is empty: add documents first")
        ids = np.concatenate([np.where(part.ids >= 0, part.ids + first, -1) for part, first in found], axis=1)
        columns, scores = best(np.concatenate([part.scores for part, _ in found], axis=1), k)
        ids = np.where(columns >= 0, np.take_along_axis(ids, columns, 1), -1)
        stages = {stage: sum(part.timings[stage] for part, _ in found) for stage in found[0][0].timings}
        return SearchResult(ids=ids, scores=scores, timings=stages)

    @property
    def nbytes(self) -> int:
        """Bytes of all shards."""
        return sum(shard.nbytes for shard in self.shards)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write every shard into a folder of its own under ``folder``, then their list."""
        for number, shard in enumerate(self.shards):
            shard.save(shard_folder(folder, number))
        write_list(folder, np.diff(self.first).tolist())

    @classmethod
    def load(
        cls, folder: str | os.PathLike[str], *, verify: bool = True, threads: int | None = None
    ) -> ShardedIndex:
        """Open shards that :meth:`save` or :func:`gossamer.distributed.index_shards` wrote, mapped into memory.

        Raises
        ------
        FormatError
            If one of them is missing or damaged.
        """
        room = read_json(Path(folder) / _NAME)
        if not isinstance(room, list) or not room or not all(type(r) is int and r >= 0 for r in room):
            raise FormatError(f"{Path(folder) / _NAME}: expected a list of numbers of ids")
        shards = [
            MuveraIndex.load(shard_folder(folder, i), verify=verify, threads=threads)
            for i in range(len(room))
        ]
        try:
            return cls(shards, room)
        except ArgumentError as error:
            raise FormatError(f"{folder}: {error}") from None


def shard_folder(folder: str | os.PathLike[str], number: int) -> Path:
    """Where a shard lies."""
    return Path(folder) / f"shard-{number:05d}"


def write_list(folder: str | os.PathLike[str], room: list[int]) -> None:
    """Write how many ids each shard may use: what makes the shards of a folder one index."""
    write_json(Path(folder) / _NAME, room)
