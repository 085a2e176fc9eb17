"""Patterns as lists of groups: entries that are kept or removed together."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer._core.errors import bad_argument, unknown_choice
from gossamer.linalg import NM, Block

NAMES = ("unstructured", "row", "column")


def pattern_groups(pattern: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Number the groups of a weight: entries with the same number are pruned together.

    Parameters
    ----------
    pattern : str or Structure
        ``"unstructured"``, ``"row"`` (an output), ``"column"`` (an input), a :class:`gossamer.linalg.Block` or a
        :class:`gossamer.linalg.NM` (runs of m entries of a row, of which a member keeps n).
    shape : tuple of int
        Of the weight; trailing axes of convolutions are folded into columns, but ``"column"`` is an input channel.

    Returns
    -------
    ndarray of int64, shape ``shape``
        Group numbers from 0.
    """
    rows, cols = shape[0], int(np.prod(shape[1:], dtype=int))
    if isinstance(pattern, (NM, Block)):
        r, c = (1, pattern.m) if isinstance(pattern, NM) else pattern.shape
        across = -(-cols // c)
        return ((np.arange(rows) // r)[:, None] * across + np.arange(cols) // c).reshape(shape)
    if pattern == "unstructured":
        return np.arange(rows * cols).reshape(shape)
    if pattern == "row":
        return np.repeat(np.arange(rows), cols).reshape(shape)
    if pattern == "column":
        inner = cols // (shape[1] if len(shape) > 1 else 1)
        return np.tile(np.arange(cols) // inner, rows).reshape(shape)
    if isinstance(pattern, str):
        raise unknown_choice("pattern", pattern, NAMES)
    raise bad_argument("pattern", pattern, f"one of {', '.join(NAMES)}, a Block or an NM structure")
