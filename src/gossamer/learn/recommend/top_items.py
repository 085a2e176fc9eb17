"""The best items of many users."""

from __future__ import annotations

import numpy as np

from gossamer._core.ranking import best
from gossamer._kernels import topk


def top_items(scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Items and scores (m, k) of the best of each user, falling; of equal scores the first, -1 where too few are left.

    One pass where a user has k scores above zero, which is what trained models give; a partition otherwise.

    Parameters
    ----------
    scores : array of float32, shape (m, n_items)
        Minus infinity is no candidate.
    k : int
        At most n_items.
    """
    users = len(scores)
    if not users:
        return np.empty((0, k), np.int64), np.empty((0, k), np.float32)
    scores = np.ascontiguousarray(scores)
    kept = topk.rows(scores, k)
    whole = np.diff(kept.start) == k
    items = np.empty((users, k), np.int64)
    values = np.empty((users, k), np.float32)
    places = kept.start[:-1][whole, None] + np.arange(k)
    found = kept.value[places]
    order = np.argsort(-found, axis=1, kind="stable")
    items[whole] = np.take_along_axis(kept.where[places], order, axis=1)
    values[whole] = np.take_along_axis(found, order, axis=1)
    if not whole.all():
        items[~whole], values[~whole] = best(scores[~whole], k)
    return items, values
