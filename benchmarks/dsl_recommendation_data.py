"""MovieLens-100k, ratings of 4 and 5: each user's last tenth to test, the tenth before to choose by."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.sparse

CACHE = Path(__file__).parents[1] / ".cache" / "dsl-recommendation"


class Split(NamedTuple):
    """Interactions of the same users and items: to train on, to choose settings by, to report."""

    train: scipy.sparse.csr_array
    choose: scipy.sparse.csr_array
    test: scipy.sparse.csr_array


@cache
def movielens() -> Split:
    """Users with at least five ratings of 4 or more, split by time: first 80 %, next 10 %, last 10 %."""
    from gossamer.datasets import load_movielens_100k

    data = load_movielens_100k()
    liked = data.ratings >= 4
    users, items, times = data.users[liked], data.items[liked], data.timestamps[liked]
    ids, counts = np.unique(users, return_counts=True)
    kept = np.isin(users, ids[counts >= 5])
    users, items, times = users[kept], items[kept], times[kept]
    ids, u = np.unique(users, return_inverse=True)
    films, i = np.unique(items, return_inverse=True)
    order = np.lexsort((i, times, u))
    u, i = u[order], i[order]
    counts = np.bincount(u)
    place = np.arange(len(u)) - np.repeat(np.cumsum(counts) - counts, counts)
    tenth = (counts // 10)[u]
    later = counts[u] - place  # 1 is the last one
    parts = later > 2 * tenth, (later <= 2 * tenth) & (later > tenth), later <= tenth
    shape = len(ids), len(films)
    train, choose, test = (
        scipy.sparse.csr_array((np.ones(int(m.sum()), np.float32), (u[m], i[m])), shape=shape) for m in parts
    )
    return Split(train, choose, test)
