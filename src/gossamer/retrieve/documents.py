"""Which documents an index holds: their ids by position, and which of them are deleted."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer._core.arrays import to_numpy
from gossamer._core.errors import ArgumentError, FormatError, ShapeError


class Documents:
    """Ids by position, in the order in which documents came. A deleted one keeps its position."""

    def __init__(self) -> None:
        self.ids, self.alive = np.zeros(0, np.int64), np.zeros(0, bool)

    def __len__(self) -> int:
        return int(self.alive.sum())

    @property
    def deleted(self) -> int:
        """Positions that hold nothing any more."""
        return len(self.ids) - len(self)

    def new_ids(self, ids: Any, count: int) -> np.ndarray:
        """Ids for ``count`` more documents, checked: those given, or the integers that follow the largest so far."""
        if ids is None:
            first = int(self.ids.max(initial=-1)) + 1
            return np.arange(first, first + count)
        chosen = _integers(ids)
        if chosen.shape != (count,):
            raise ShapeError(f"ids have shape {chosen.shape}: expected ({count},), one a document")
        taken = np.intersect1d(chosen, self.ids[self.alive])
        values, repeats = np.unique(chosen, return_counts=True)
        if (chosen < 0).any() or len(taken) or len(values) < count:
            bad = np.concatenate([chosen[chosen < 0], taken, values[repeats > 1]])[0]
            raise ArgumentError(f"ids: {bad} is negative, twice there, or in the index already")
        return chosen

    def append(self, ids: np.ndarray) -> None:
        """Take ids of :meth:`new_ids` as those of the next positions."""
        self.ids = np.concatenate([self.ids, ids])
        self.alive = np.concatenate([self.alive, np.ones(len(ids), bool)])

    def delete(self, ids: Any) -> None:
        """Mark documents as deleted; all of them must be there."""
        gone = np.unique(_integers(ids).reshape(-1))
        at = np.flatnonzero(self.alive & np.isin(self.ids, gone))
        if len(at) < len(gone):
            missing = np.setdiff1d(gone, self.ids[at])
            raise ArgumentError(
                f"ids: {missing[0]} is not in the index, nor are {len(missing) - 1} others"
                if len(missing) > 1
                else f"ids: {missing[0]} is not in the index"
            )
        self.alive = self.alive.copy()  # what was read from a file is not ours to change
        self.alive[at] = False

    def state(self) -> dict[str, np.ndarray]:
        """Arrays that :meth:`restore` takes."""
        return {"ids": self.ids, "alive": self.alive}

    def restore(self, arrays: dict[str, np.ndarray], count: int) -> None:
        """Take arrays of :meth:`state` for ``count`` positions."""
        ids, alive = arrays.get("ids"), arrays.get("alive")
        if ids is None or alive is None or ids.dtype != np.int64 or alive.dtype != bool:
            raise FormatError("ids and alive: expected int64 and bool")
        if ids.shape != (count,) or alive.shape != (count,) or len(np.unique(ids[alive])) < int(alive.sum()):
            raise FormatError(f"ids and alive: expected {count} positions, and no id twice")
        self.ids, self.alive = ids, alive


def _integers(ids: Any) -> np.ndarray:
    array = to_numpy(ids)
    if array.dtype.kind not in "iu":
        raise ArgumentError(f"ids are {array.dtype}: expected integers")
    return array.astype(np.int64)
