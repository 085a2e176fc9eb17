"""Graphs in files: lists of edges, Matrix Market, NumPy archives and Parquet."""

from __future__ import annotations

import gzip
import os
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.io
import scipy.sparse

from gossamer._core.errors import ArgumentError, FormatError
from gossamer._core.lazy import require

_HEADS = {("source", "target"), ("src", "dst"), ("from", "to"), ("u", "v")}
SPREAD = 20
"""Numbers of nodes may leave this many rows empty for each that is not."""
_CHUNK = 1 << 20  # edges that are read together


def read_file(path: str | os.PathLike[str], *, relabel: bool) -> tuple[Any, np.ndarray | None]:
    """What is in the file, in a form that ``as_adjacency`` takes, and the names of nodes where these are not 0 to n-1.

    Raises
    ------
    FormatError
        If the file is missing, damaged or not what its name says.
    ArgumentError
        If numbers of nodes are so far apart that most rows would be empty.
    MissingDependencyError
        For Parquet without pyarrow.
    """
    file = Path(path)
    if not file.is_file():
        raise FormatError(f"{file}: no such file")
    name = file.name.lower()
    if name.endswith((".mtx", ".mtx.gz")):
        return _read_matrix_market(file), None
    if name.endswith(".npz"):
        return _read_archive(file), None
    sources, targets, weights = _read_parquet(file) if name.endswith(".parquet") else _read_text(file)
    edges, names = _number(sources, targets, relabel, file)
    return (edges if weights is None else (edges, weights)), names


def _read_matrix_market(file: Path) -> scipy.sparse.coo_array:
    try:
        matrix = scipy.io.mmread(file)
    except (ValueError, OverflowError, UnicodeDecodeError, OSError, EOFError, zlib.error) as error:
        raise FormatError(f"{file}: not a Matrix Market file ({error})") from None
    return scipy.sparse.coo_array(matrix)


def _read_archive(file: Path) -> Any:
    try:
        with np.load(file, allow_pickle=False) as archive:
            keys = set(archive.files)
            if {"format", "shape"} <= keys:
                return scipy.sparse.load_npz(file)
            if "edge_index" in keys:
                return _edges_of(archive, keys)
            for prefix in ("", "adj_", "a_"):
                if {f"{prefix}indptr", f"{prefix}indices"} <= keys:
                    return _rows_of(archive, keys, prefix)
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise FormatError(f"{file}: not a NumPy archive of a graph ({error})") from None
    raise FormatError(
        f"{file}: holds {', '.join(sorted(keys)[:8]) or 'nothing'}: expected indptr and indices, or edge_index"
    )


def _edges_of(archive: Any, keys: set[str]) -> Any:
    edges = archive["edge_index"]
    weights = archive["edge_weight"] if "edge_weight" in keys else None
    if "num_nodes" in keys:
        return _Edges(edges, weights, int(archive["num_nodes"]))
    return edges if weights is None else (edges, weights)


class _Edges(NamedTuple):
    """Edges whose file says how many nodes there are."""

    edge_index: np.ndarray
    edge_weight: np.ndarray | None
    num_nodes: int


def _rows_of(archive: Any, keys: set[str], prefix: str) -> scipy.sparse.csr_array:
    indptr, indices = archive[f"{prefix}indptr"], archive[f"{prefix}indices"]
    data = archive[f"{prefix}data"] if f"{prefix}data" in keys else np.ones(len(indices))
    A = scipy.sparse.csr_array((data, indices, indptr), shape=(len(indptr) - 1, len(indptr) - 1))
    A.check_format(full_check=True)
    return A


def _read_parquet(file: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    arrow = require("pyarrow.parquet", "graph")
    try:
        table = arrow.read_table(file)
    except (OSError, ValueError) as error:  # pyarrow's errors derive from these
        raise FormatError(f"{file}: not a Parquet file ({error})") from None
    names = _edge_columns(table.column_names, file)
    columns = [table.column(name).to_numpy() for name in names]
    sources, targets = (c.astype(str) if c.dtype == object else c for c in columns[:2])
    return sources, targets, columns[2] if len(columns) == 3 else None


def _read_text(file: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    try:
        dtype, options = _layout(file)
        try:
            return _split(np.loadtxt(file, dtype=dtype, **options))
        except (ValueError, OverflowError) as error:  # nodes are words, perhaps
            table = np.loadtxt(file, dtype=str, **{**options, "ndmin": 2})
            if _integers(table[:, :2]):
                raise FormatError(f"{file}: {error}") from None
            return table[:, 0], table[:, 1], table[:, 2].astype(np.float64) if len(dtype) == 3 else None
    except FormatError:
        raise
    except (ValueError, OSError, EOFError, zlib.error) as error:
        raise FormatError(f"{file}: not a list of edges ({error})") from None


def edge_chunks(path: str | os.PathLike[str]) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Edges ``(2, E)`` and weights of a file, some million at a time; nodes must be numbers.

    Raises
    ------
    FormatError
        If the file is missing, damaged, or neither Parquet nor a list of edges between numbers.
    MissingDependencyError
        For Parquet without pyarrow.
    """
    file = Path(path)
    if not file.is_file():
        raise FormatError(f"{file}: no such file")
    name = file.name.lower()
    if name.endswith((".npz", ".mtx", ".mtx.gz")):
        raise FormatError(f"{file}: cannot be read in pieces: expected Parquet or a list of edges")
    for sources, targets, weights in (
        _parquet_chunks(file) if name.endswith(".parquet") else _text_chunks(file)
    ):
        yield np.stack([sources, targets]), weights


def _text_chunks(file: Path) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray | None]]:
    try:
        dtype, options = _layout(file)
        lines = _lines(file)
        for _ in range(options.pop("skiprows")):
            next(lines)
        while chunk := list(islice(lines, _CHUNK)):
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "loadtxt: input contained no data")
                yield _split(np.loadtxt(chunk, dtype=dtype, **options))
    except FormatError:
        raise
    except (ValueError, OverflowError, OSError, EOFError, zlib.error) as error:
        raise FormatError(f"{file}: not a list of edges between numbers ({error})") from None


def _parquet_chunks(file: Path) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray | None]]:
    arrow = require("pyarrow.parquet", "graph")
    try:
        table = arrow.ParquetFile(file)
        names = _edge_columns(table.schema_arrow.names, file)
        for batch in table.iter_batches(_CHUNK, columns=names):
            columns = [batch.column(name).to_numpy(zero_copy_only=False) for name in names]
            yield columns[0], columns[1], columns[2] if len(columns) == 3 else None
    except FormatError:
        raise
    except (OSError, ValueError) as error:
        raise FormatError(f"{file}: not a Parquet file ({error})") from None


def _edge_columns(names: list[str], file: Path) -> list[str]:
    """The columns of sources and targets, and that of weights if there is one."""
    if len(names) < 2:
        raise FormatError(f"{file}: has the columns {', '.join(names)}: expected source and target")
    ends = ["source", "target"] if {"source", "target"} <= set(names) else names[:2]
    rest = [column for column in names if column not in ends]
    return ends + (["weight"] if "weight" in rest else rest[:1])


def _layout(file: Path) -> tuple[list[tuple[str, Any]], dict[str, Any]]:
    """Types of the columns of a list of edges, and options of NumPy's reader."""
    first, skip = _first_line(file)
    mark = "," if "," in first else "\t" if "\t" in first else None
    width = len(first.split(mark))
    if width not in (2, 3):
        raise FormatError(f"{file}: its first edge is {first!r}: expected two columns, or three with weights")
    dtype = [("source", np.int64), ("target", np.int64), ("weight", np.float64)][:width]
    options = {"delimiter": mark, "comments": "#", "skiprows": skip, "ndmin": 1, "quotechar": '"'}
    return dtype, {**options, "encoding": "utf-8"}


def _split(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    return rows["source"], rows["target"], rows["weight"] if "weight" in (rows.dtype.names or ()) else None


def _first_line(file: Path) -> tuple[str, int]:
    """The first edge as text, and how many lines come before it."""
    for number, line in enumerate(_lines(file)):
        text = line.split("#")[0].split("%")[0].strip()
        words = tuple(word.strip().strip('"').lower() for word in text.replace("\t", ",").split(","))
        if text and words[:2] not in _HEADS and tuple(text.lower().split()[:2]) not in _HEADS:
            return text, number
    raise FormatError(f"{file}: has no edges")


def _lines(file: Path) -> Iterator[str]:
    opened = gzip.open if file.suffix.lower() == ".gz" else open
    with opened(file, "rt", encoding="utf-8") as handle:
        yield from handle


def _integers(table: np.ndarray) -> bool:
    try:
        table.astype(np.int64)
    except (ValueError, OverflowError):
        return False
    return True


def _number(
    sources: np.ndarray, targets: np.ndarray, relabel: bool, file: Path
) -> tuple[np.ndarray, np.ndarray | None]:
    both = np.stack([sources, targets])
    if both.dtype.kind in "iu" and not relabel:
        n = int(both.max(initial=-1)) + 1
        if n > 1000 and n > SPREAD * len(np.unique(both)):
            raise ArgumentError(
                f"{file}: nodes are numbered up to {n - 1}, but only {len(np.unique(both))} have edges; "
                f"expected row numbers, or read_graph(..., relabel=True)"
            )
        return both, None
    names, numbers = np.unique(both, return_inverse=True)
    return numbers.reshape(both.shape), names
