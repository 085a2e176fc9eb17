"""What a search returns."""

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
