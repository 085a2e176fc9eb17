"""Observed entries in files, for as many as do not fit into memory: read where a regression needs them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from gossamer._core.checks import check_choice, check_finite
from gossamer._core.errors import ArgumentError, FormatError, ShapeError, UnsupportedError
from gossamer._core.files import read_json, write_json
from gossamer._kernels.completion import Observed
from gossamer.solve.completion.entries import Entries, check_places, check_shape

PIECE = 1 << 21  # entries that are in memory at a time
FORMAT = 1
SIDES = ("rows", "columns")


class StoredEntries(Entries):
    """Entries of a matrix in a folder, by rows and by columns, mapped into memory; :func:`store_entries` writes them.

    Goes into :func:`complete_matrix` in place of a sparse matrix. The operating system reads pages of the files as
    lines are regressed, and drops them when memory is short; factors, and a few numbers a line, are in memory.

    Parameters
    ----------
    folder : path
        What :func:`store_entries` has written.

    Raises
    ------
    FormatError
        Files that are missing, or do not fit together.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        head = read_json(self.folder / "entries.json")
        if not isinstance(head, dict) or head.get("format") != FORMAT:
            raise FormatError(f"{self.folder}: expected entries of format {FORMAT}")
        try:
            self.shape = check_shape(head["shape"])
            arrays = {
                f"{side}_{part}": np.load(
                    self.folder / f"{side}_{part}.npy", mmap_mode="r", allow_pickle=False
                )
                for side in SIDES
                for part in ("start", "index", "value")
            }
            lines = [
                _StoredLines(arrays[f"{side}_start"], arrays[f"{side}_index"], arrays[f"{side}_value"], width)
                for side, width in zip(SIDES, self.shape[::-1], strict=True)
            ]
        except (KeyError, OSError, ValueError) as error:
            raise FormatError(f"{self.folder}: {error}") from None
        self.rows, self.columns = lines
        self.count = len(self.rows.value)
        if (self.rows.count, self.columns.count) != self.shape or len(self.columns.value) != self.count:
            raise FormatError(f"{self.folder}: rows and columns do not fit the shape {self.shape}")
        for line in lines:
            line.folder = self.folder

    def part(self, chosen: np.ndarray) -> Entries:
        """Refused: a part would be in memory."""
        raise UnsupportedError("sample_splitting: expected entries in memory, and these are in files")


class _StoredLines(Observed):
    folder: Path

    def empty_values(self) -> np.ndarray:
        """Room for as many values, in a file that vanishes with the array."""
        with tempfile.TemporaryFile(dir=self.folder) as handle:
            return np.memmap(handle, self.value.dtype, "w+", shape=(max(len(self.value), 1),))[
                : len(self.value)
            ]


def store_entries(
    folder: str | os.PathLike[str], chunks: Iterable[Any], shape: tuple[int, int], *, dtype: Any = "float64"
) -> StoredEntries:
    """Write observed entries to a folder, by rows and by columns, a chunk at a time.

    Parameters
    ----------
    folder : path
        Made if it does not exist; entries that are there are replaced.
    chunks : iterable of (rows, cols, vals)
        Each three arrays of equal length, which may be memory maps. Every place once.
    shape : (int, int)
        (m, n).
    dtype : "float64" or "float32"
        Of the values.

    Returns
    -------
    StoredEntries

    Raises
    ------
    ArgumentError, ShapeError
        An index outside the shape, values that are not finite, or a place that comes twice.

    Notes
    -----
    ``2 (b + 8)`` bytes an entry on disk with b of its value, or ``2 (b + 4)`` where 32 bits hold an index; while
    writing ``16 + b`` more. Two million entries are in memory at a time, and two numbers a line.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from gossamer.solve import complete_matrix, incoherent_low_rank, store_entries
    >>> s = incoherent_low_rank(200, 150, 4, p=0.3, random_state=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     parts = zip(*(np.array_split(a, 5) for a in (s.rows, s.cols, s.vals)))
    ...     entries = store_entries(folder, parts, s.shape)
    ...     result = complete_matrix(entries, 4, random_state=0)
    ...     bool(s.relative_error(result.U, result.V) < 1e-6)
    True
    """
    kind = np.dtype(check_choice("dtype", np.dtype(dtype).name, ("float32", "float64")))
    shape = check_shape(shape)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "entries.json").unlink(missing_ok=True)  # what is there is whole, or has no head
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        spool = [Path(scratch) / name for name in ("i", "j", "v")]
        degrees = [np.zeros(count, np.int64) for count in shape]
        count = _spool(chunks, shape, kind, spool, degrees)
        if not count:
            raise ArgumentError("chunks: expected at least one entry")
        wide = np.int64 if max(*shape, count) > np.iinfo(np.int32).max else np.int32
        for side, own, other in (("rows", 0, 1), ("columns", 1, 0)):
            start = np.concatenate([[0], np.cumsum(degrees[own])])
            index, value = (
                np.lib.format.open_memmap(folder / f"{side}_{part}.npy", "w+", dtype, (count,))
                for part, dtype in (("index", wide), ("value", kind))
            )
            _scatter(_pieces(spool, kind, count), own, other, start, index, value)
            _sort(start, index, value, side)
            np.save(folder / f"{side}_start.npy", start.astype(wide))
            index.flush()
            value.flush()
    write_json(folder / "entries.json", {"format": FORMAT, "shape": list(shape), "count": count})
    return StoredEntries(folder)


def _spool(
    chunks: Iterable[Any],
    shape: tuple[int, int],
    kind: np.dtype,
    spool: list[Path],
    degrees: list[np.ndarray],
) -> int:
    """Check the chunks and append them to three files; counts entries of rows and columns."""
    total = 0
    with ExitStack() as stack:
        handles = [stack.enter_context(open(path, "wb")) for path in spool]
        for chunk in chunks:
            try:
                rows, cols, vals = chunk
            except (TypeError, ValueError):
                raise ArgumentError(
                    f"chunks: expected (rows, cols, vals), not a {type(chunk).__name__}"
                ) from None
            if not len(rows) == len(cols) == len(vals):
                raise ShapeError(f"chunks: lengths {len(rows)}, {len(cols)} and {len(vals)} differ")
            for lo in range(0, len(rows), PIECE):
                hi = lo + PIECE
                places = (
                    check_places("rows", rows[lo:hi], shape[0]),
                    check_places("cols", cols[lo:hi], shape[1]),
                )
                value = np.asarray(vals[lo:hi])
                check_finite("vals", value)
                value = value.astype(kind)
                check_finite(f"vals as {kind}", value)
                for own, place in zip(degrees, places, strict=True):
                    own += np.bincount(place, minlength=len(own))
                for handle, part in zip(handles, (*(p.astype(np.int64) for p in places), value), strict=True):
                    part.tofile(handle)
                total += len(value)
    return total


def _pieces(spool: list[Path], kind: np.dtype, count: int) -> Iterator[list[np.ndarray]]:
    for lo in range(0, count, PIECE):
        size = min(PIECE, count - lo)
        kinds = np.dtype(np.int64), np.dtype(np.int64), kind
        yield [
            np.fromfile(path, dtype, size, offset=lo * dtype.itemsize)
            for path, dtype in zip(spool, kinds, strict=True)
        ]


def _scatter(
    pieces: Iterator[list[np.ndarray]], own: int, other: int, start: np.ndarray, index: Any, value: Any
) -> None:
    """Put entries into their lines, in the order in which they come."""
    free = start[:-1].copy()
    for piece in pieces:
        order = np.argsort(piece[own], kind="stable")
        lines = piece[own][order]
        first = np.flatnonzero(np.concatenate([[True], lines[1:] != lines[:-1]]))
        length = np.diff(np.append(first, len(lines)))
        place = free[lines] + np.arange(len(lines)) - np.repeat(first, length)
        index[place], value[place] = piece[other][order], piece[2][order]
        free[lines[first]] += length


def _sort(start: np.ndarray, index: Any, value: Any, side: str) -> None:
    """Sort entries within lines, and refuse a place that is there twice."""
    line = 0
    while line < len(start) - 1:
        end = max(int(np.searchsorted(start, start[line] + PIECE, "right")) - 1, line + 1)
        span = slice(int(start[line]), int(start[end]))
        lines = np.repeat(np.arange(line, end), np.diff(start[line : end + 1]))
        order = np.lexsort((index[span], lines))
        sorted_index = index[span][order]
        twice = np.flatnonzero((sorted_index[1:] == sorted_index[:-1]) & (lines[1:] == lines[:-1]))
        if len(twice):
            raise ArgumentError(
                f"chunks: the {side[:-1]} {lines[twice[0]]} has two entries at {sorted_index[twice[0]]}: expected one"
            )
        index[span], value[span] = sorted_index, value[span][order]
        line = end
