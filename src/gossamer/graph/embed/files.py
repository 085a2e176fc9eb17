"""Vectors of nodes in files: filled where they lie, and complete or absent."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from gossamer._core.errors import bad_argument
from gossamer._core.files import atomic_path, write_text
from gossamer._core.lazy import require

_GROUP = 1 << 16  # rows that Parquet keeps together


class Vectors:
    """A file of vectors in the making; :func:`open_vectors` makes it."""

    def __init__(self, path: Path, array: Path, table: Path | None) -> None:
        self._path, self._array, self._table = path, array, table

    def room(self, shape: tuple[int, int]) -> np.ndarray:
        """An array of float32 to fill, on the disk."""
        return np.lib.format.open_memmap(self._array, mode="w+", dtype=np.float32, shape=shape)

    def finish(self, X: np.ndarray, names: Any = None) -> Path | None:
        """Write what was filled; names of rows become a column, or lines of a file beside, which is returned."""
        if isinstance(X, np.memmap):
            X.flush()
        if self._table is not None:
            _write_table(self._table, X, np.arange(len(X)) if names is None else names)
        elif names is not None:
            beside = self._path.with_name(f"{self._path.name}.names.txt")
            write_text(beside, "".join(f"{name}\n" for name in names))
            return beside
        return None


@contextmanager
def open_vectors(path: str | os.PathLike[str]) -> Iterator[Vectors]:
    """Write ``.npy``, an array (n, d), or ``.parquet``, columns ``node`` and ``vector``; nothing is left on an error.

    Raises
    ------
    ArgumentError
        If the name has another ending.
    MissingDependencyError
        For Parquet without pyarrow, before anything is computed.
    """
    target = Path(path)
    kind = target.suffix.lower()
    if kind not in (".npy", ".parquet"):
        raise bad_argument("out", str(target), "a name that ends in .npy or .parquet")
    if kind == ".npy":
        with atomic_path(target) as array:
            yield Vectors(target, array, None)
        return
    require("pyarrow.parquet", "graph")
    with atomic_path(target) as table:
        array = table.with_suffix(".npy")
        try:
            yield Vectors(target, array, table)
        finally:
            array.unlink(missing_ok=True)


def _write_table(path: Path, X: np.ndarray, names: Any) -> None:
    arrow, parquet = require("pyarrow", "graph"), require("pyarrow.parquet", "graph")
    n, d = X.shape
    names = arrow.array(
        names.tolist() if isinstance(names, np.ndarray) and names.dtype.kind == "U" else names
    )
    vector = arrow.list_(arrow.float32(), d)
    schema = arrow.schema([("node", names.type), ("vector", vector)])
    with parquet.ParquetWriter(path, schema) as writer:
        for start in range(0, n, _GROUP):
            part = np.ascontiguousarray(X[start : start + _GROUP])
            column = arrow.FixedSizeListArray.from_arrays(arrow.array(part.ravel()), type=vector)
            writer.write_table(arrow.table([names[start : start + _GROUP], column], schema=schema))
