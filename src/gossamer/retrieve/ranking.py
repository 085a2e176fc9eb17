"""The best of many scores, and what a search returns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from gossamer._core.results import Result


@dataclass(frozen=True, kw_only=True, eq=False)
class SearchResult(Result):
    """Documents of each query, the best first; ``ids, scores = result`` takes it apart.

    Attributes
    ----------
    ids : ndarray of shape (m, k), int64
        -1 where there are fewer documents.
    scores : ndarray of shape (m, k), float32
        Minus infinity where the id is -1.
    timings : dict of str to float
        Seconds of each stage, over all queries.
    """

    ids: np.ndarray
    scores: np.ndarray
    timings: dict[str, float] = field(default_factory=dict)

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter((self.ids, self.scores))


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
