"""Categorical attributes of nodes, whatever they come in, as small integers; and read from a table in a file."""

from __future__ import annotations

import csv
import os
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from gossamer._core.arrays import is_torch, to_numpy
from gossamer._core.checks import check_choice
from gossamer._core.errors import ArgumentError, FormatError, ShapeError, UnsupportedError

MOST_NUMBERS = 50
"""Distinct floating values up to which a column of numbers may be meant as categories."""


def encode_attributes(attributes: Any, n: int) -> list[np.ndarray]:
    """The columns of a table as codes 0, 1, ... (n,) in the order of the values, -1 where there is none.

    None, NaN and pandas' NA are missing. Warns of a column that is an identifier, refuses one of measured numbers.
    """
    columns = _columns(attributes)
    for number, column in enumerate(columns):
        if column.ndim != 1 or len(column) != n:
            raise ShapeError(
                f"attributes has {len(column)} rows: expected {n}, as many as the graph has nodes"
            )
        columns[number] = _codes(column, number)
    return columns


def read_attributes(
    path: str | os.PathLike[str], names: Sequence[Any], *, key: str = "node", drop: Sequence[str] = ()
) -> np.ndarray:
    """Read a table of attributes for the nodes of a graph from CSV.

    Parameters
    ----------
    path : path
        A line of names, then lines of values; an empty cell is a missing value.
    names : sequence, length n
        What the nodes are called, in the order of the graph's rows, as :func:`read_graph` returns them.
    key : str
        If a column has this name, it says which node a line is about; nodes without a line have no values. Without
        such a column lines are nodes in order.
    drop : sequence of str
        Columns that are left out, such as labels.

    Returns
    -------
    ndarray of object, shape (n, M)
        Strings, floats where a whole column is numbers and some are not integers, None where there is no value.

    Raises
    ------
    FormatError
        If it is no such table, a line is about no node or about one that has a line already.
    ArgumentError
        If a column to leave out is not there.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as handle:
            header, *lines = [[cell.strip() for cell in line] for line in csv.reader(handle) if line]
    except FileNotFoundError:
        raise FormatError(f"{path}: no such file") from None
    except (UnicodeDecodeError, csv.Error, ValueError) as error:
        raise FormatError(f"{path}: not a CSV table with a line of names ({error})") from None
    for number, line in enumerate(lines):
        if len(line) != len(header):
            raise FormatError(f"{path}: row {number + 1} has {len(line)} cells: expected {len(header)}")
    row_of = {str(name): row for row, name in enumerate(names)}
    if key in header:
        at = header.index(key)
        keys = [line.pop(at) for line in lines]
        strange = [name for name in keys if name not in row_of]
        if strange:
            raise FormatError(
                f"{path}: {len(strange)} rows about nodes that the graph lacks, as {strange[0]!r}"
            )
        if len(set(keys)) < len(keys):
            raise FormatError(
                f"{path}: {len(keys) - len(set(keys))} nodes have several rows: expected one each"
            )
        rows = [row_of[name] for name in keys]
    elif len(lines) != len(names):
        raise FormatError(
            f"{path}: {len(lines)} rows for {len(names)} nodes: expected one each, or a column {key!r}"
        )
    else:
        rows = list(range(len(lines)))
    columns = [name for name in header if name != key]
    for name in drop:
        check_choice("drop", name, columns)
    kept = [number for number, name in enumerate(columns) if name not in drop]
    table = np.full((len(names), len(kept)), None, object)
    for row, line in zip(rows, lines):
        table[row] = [line[number] or None for number in kept]
    for column in table.T:
        column[:] = _numbers(column)
    return table


def _columns(attributes: Any) -> list[np.ndarray]:
    if hasattr(attributes, "columns") and hasattr(attributes, "iloc"):
        return [attributes.iloc[:, k].to_numpy() for k in range(attributes.shape[1])]
    if is_torch(attributes):
        attributes = to_numpy(attributes)
    table = attributes if isinstance(attributes, np.ndarray) else np.asarray(attributes, object)
    if table.dtype.kind in "cMmV":
        raise UnsupportedError(f"attributes has dtype {table.dtype}: expected categories")
    if table.dtype == object and any(isinstance(value, (list, tuple, np.ndarray)) for value in table.flat):
        raise ShapeError("attributes is a ragged list: expected a row of M values a node")
    if table.ndim not in (1, 2):
        raise ShapeError(f"attributes has shape {table.shape}: expected (n, M)")
    return [table] if table.ndim == 1 else list(table.T)


def _codes(column: np.ndarray, number: int) -> np.ndarray:
    there = np.array([not _missing(value) for value in column.tolist()], bool)
    values = column[there]
    if len(values) and all(isinstance(value, (float, np.floating)) for value in values.tolist()):
        values = values.astype(np.float64)
    try:
        distinct, own = np.unique(values, return_inverse=True)
    except TypeError:  # values of several types have no order: that of their first occurrence
        order: dict[Any, int] = {}
        own = np.array([order.setdefault(value, len(order)) for value in values.tolist()], np.int64)
        distinct = np.arange(len(order))
    if values.dtype.kind == "f" and len(distinct) > MOST_NUMBERS:
        raise ArgumentError(
            f"attributes column {number} has {len(distinct)} distinct numbers: expected categories; bin it first"
        )
    if len(distinct) == len(column) > 1:
        warnings.warn(
            f"attributes column {number} has another value for each of {len(column)} nodes, as identifiers have",
            UserWarning,
            stacklevel=4,
        )
    codes = np.full(len(column), -1, np.int64)
    codes[there] = own.reshape(-1)
    return codes


def _missing(value: Any) -> bool:
    return value is None or type(value).__name__ in ("NAType", "NaTType") or value != value


def _numbers(column: np.ndarray) -> np.ndarray:
    """The column as floats if all that is there is numbers and not all of them are integers."""
    try:
        numbers = [None if cell is None else float(cell) for cell in column]
    except ValueError:
        return column
    if all(number is None or number.is_integer() for number in numbers):
        return column
    return np.array(numbers, object)
