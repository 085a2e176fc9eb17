"""The best of many scores."""

from __future__ import annotations

import numpy as np


def best(scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Columns and values of the k largest entries a row, falling; of equal ones the first. Fewer than k: column -1.

    Entries of minus infinity are no candidates.
    """
    rows, count = scores.shape
    kept = min(k, count)
    columns = np.full((rows, k), -1, np.int64)
    values = np.full((rows, k), -np.inf, np.float32)
    if not kept:
        return columns, values
    if kept < count:
        bar = np.partition(scores, count - kept, axis=1)[:, count - kept]
    for i, row in enumerate(scores):
        at = np.arange(count) if kept == count else np.flatnonzero(row >= bar[i])
        at = at[row[at] > -np.inf]
        at = at[np.argsort(-row[at], kind="stable")][:kept]
        columns[i, : len(at)], values[i, : len(at)] = at, row[at]
    return columns, values
