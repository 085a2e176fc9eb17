"""Matrix completion in the processes of a torch.distributed group: each regresses its own lines."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np

from gossamer._core.lazy import require
from gossamer._kernels.completion import Observed
from gossamer.solve import CompletionResult, all_reduce_sum
from gossamer.solve.completion.completion import complete
from gossamer.solve.completion.entries import Entries, check_entries
from gossamer.solve.shards import Reduce


def complete_matrix(
    M: Any, rank: int, *, group: Any = None, dtype: Any = None, random_state: int = 0, **options: Any
) -> CompletionResult:
    """:func:`gossamer.solve.complete_matrix`, its regressions shared out among the processes of a group.

    To be called in every process, with the same arguments: row i and column j belong to one process each. With
    :class:`~gossamer.solve.StoredEntries` on a disk that all see, a process reads the entries of its own lines only,
    except to check their places when it opens them.

    Parameters
    ----------
    M : sparse matrix, array with NaN, or StoredEntries, shape (m, n)
        The same in all processes.
    rank : int
        k.
    group : torch.distributed process group, optional
        The default group by default. Works with gloo.
    dtype : "float64" or "float32", optional
        As in one process.
    random_state : int
        The same in all processes.
    **options
        As in one process.

    Returns
    -------
    CompletionResult
        In every process: factors as in one process to the bit (but for ``method="sketch"``), errors to rounding.

    Raises
    ------
    MissingDependencyError
        torch is not installed.
    ArgumentError, ShapeError, UnsupportedError
        As in one process.

    Notes
    -----
    A half sweep sums the factor that was solved for over the processes, ``(m + n) (k + 2)`` numbers a sweep.
    """
    dist = require("torch.distributed", "torch")
    rank_here, size = dist.get_rank(group), dist.get_world_size(group)
    entries = _SharedEntries(check_entries("M", M, dtype), rank_here, size, all_reduce_sum(group))
    return complete(entries, rank, random_state=random_state, **options)


class _SharedEntries(Entries):
    def __init__(self, entries: Entries, rank: int, size: int, reduce: Reduce) -> None:
        self.__dict__.update(entries.__dict__)
        self._reduce, self._parted = reduce, entries.part
        self.rows = _Shared(entries.rows, rank, size, reduce)
        self.columns = _Shared(entries.columns, rank, size, reduce)

    def part(self, chosen: np.ndarray) -> Entries:
        """A part is not shared out: every process regresses all of it."""
        return self._parted(chosen)

    def total(self, f: Any) -> float:
        """Over all processes."""
        return float(self._reduce(np.array([super().total(f)]))[0])


class _Shared(Observed):
    """Lines of which this process regresses a range."""

    def __init__(self, lines: Observed, rank: int, size: int, reduce: Reduce) -> None:
        self.__dict__.update(lines.__dict__)
        self._whole, self._reduce = lines, reduce
        ends = np.searchsorted(lines.start, lines.start[-1] * np.arange(1, size) / size)
        cuts = [0, *ends.tolist(), lines.count]
        self._lo, self._hi = cuts[rank], cuts[rank + 1]
        span = slice(lines.start[self._lo], lines.start[self._hi])
        self._own = Observed(
            lines.start[self._lo : self._hi + 1] - lines.start[self._lo],
            lines.index[span],
            lines.value[span],
            lines.width,
        )

    def spans(self) -> Iterator[tuple[int, int]]:
        """Of the lines of this process only."""
        for a, b in self._own.spans():
            yield self._lo + a, self._lo + b

    def empty_values(self) -> np.ndarray:
        """As of the lines themselves."""
        return self._whole.empty_values()

    def with_values(self, value: np.ndarray) -> Observed:
        """The same places with other values, of which those of other processes are not looked at."""
        other = copy.copy(self)
        other.value = value
        other._own = self._own.with_values(value[self.start[self._lo] : self.start[self._hi]])
        return other

    def times(self, X: np.ndarray, threads: int | None = None) -> np.ndarray:
        """The product with X, every process its lines."""
        out = np.zeros((self.count, X.shape[1]), self.value.dtype)
        out[self._lo : self._hi] = self._own.times(X, threads)
        return self._reduce(out).astype(out.dtype)

    def regress(
        self,
        factor: np.ndarray,
        ridge: np.ndarray,
        x: np.ndarray,
        *,
        ids: np.ndarray | None = None,
        **options: Any,
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """As of the lines themselves; every process solves for its own."""
        wanted = self.order if ids is None else ids
        own, span = self.owned(wanted), slice(self._lo, self._hi)
        taken = np.zeros(self.count, np.int64)
        losses = np.zeros(self.count) if options.get("loss") else None
        part = np.ascontiguousarray(x[span])
        taken[span], loss = self._own.regress(factor, ridge[span], part, ids=own - self._lo, **options)
        x[span] = part
        if losses is not None and loss is not None:
            losses[span] = loss
        self.share(wanted, own, x, taken, losses)
        return taken, losses

    def owned(self, ids: np.ndarray) -> np.ndarray:
        """Those of some lines that this process has."""
        return ids[(ids >= self._lo) & (ids < self._hi)]

    def share(self, ids: np.ndarray, mine: np.ndarray, *arrays: np.ndarray | None) -> None:
        """Give numbers of own lines to the other processes, and take theirs."""
        here = np.isin(ids, mine)
        columns = [a[ids].reshape(len(ids), -1) for a in arrays if a is not None]
        both = np.concatenate([np.asarray(c, np.float64) for c in columns], axis=1)
        both[~here] = 0.0
        both, at = self._reduce(both), 0
        for array in arrays:
            if array is not None:
                wide = array[0].size
                array[ids] = both[:, at : at + wide].reshape(len(ids), *array.shape[1:]).astype(array.dtype)
                at += wide
