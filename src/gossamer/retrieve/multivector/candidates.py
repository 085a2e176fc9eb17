"""How many candidates a first stage needs, so that what an exact search finds is among them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gossamer._core.checks import check_float, check_int
from gossamer._core.errors import ShapeError


def candidate_recall(candidates: Any, relevant: Any, sizes: Sequence[int]) -> np.ndarray:
    """Mean share of the relevant documents among the first n candidates, for several n.

    Parameters
    ----------
    candidates : array of shape (queries, N)
        Ids in order, -1 where there are no more; a document may stand there more than once.
    relevant : array of shape (queries, r)
        What exact search finds.
    sizes : sequence of int
        Values of n.

    Returns
    -------
    ndarray of float64, shape (len(sizes),)

    Raises
    ------
    ShapeError
        If there are not as many rows of one as of the other.

    Examples
    --------
    >>> from gossamer.retrieve import candidate_recall
    >>> candidate_recall([[3, 1, 2], [0, 4, 1]], [[1, 2], [0, 9]], sizes=[1, 3])
    array([0.25, 0.75])
    """
    found, wanted = _pair(candidates, relevant)
    first = _first(found, wanted)
    return np.array([(first < check_int("sizes", n, low=1)).mean() for n in sizes])


def candidates_needed(candidates: Any, nearest: Any, share: float) -> int | None:
    """The smallest n such that the nearest document is among the first n candidates for a share of the queries.

    Parameters
    ----------
    candidates : array of shape (queries, N)
        Ids in order, -1 where there are no more.
    nearest : array of shape (queries,)
        The best document of each query.
    share : float
        In (0, 1].

    Returns
    -------
    int or None
        None if N are not enough.

    Raises
    ------
    ShapeError
        If there are not as many rows of one as of the other.
    """
    check_float("share", share, low=0, high=1, closed="right")
    found, wanted = _pair(candidates, np.asarray(nearest).reshape(-1, 1))
    rank = np.sort(_first(found, wanted)[:, 0])[int(np.ceil(share * len(found))) - 1]
    return int(rank) + 1 if rank < found.shape[1] else None


def _first(found: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Where each wanted document stands first (queries, r); N where it does not."""
    first = np.full(wanted.shape, found.shape[1])
    for column in range(wanted.shape[1]):
        hit = found == wanted[:, [column]]
        first[:, column] = np.where(hit.any(1), hit.argmax(1), found.shape[1])
    return first


def _pair(candidates: Any, relevant: Any) -> tuple[np.ndarray, np.ndarray]:
    found, wanted = np.asarray(candidates), np.asarray(relevant)
    if found.ndim != 2 or wanted.ndim != 2 or len(found) != len(wanted) or not len(found):
        raise ShapeError(
            f"candidates {found.shape} and relevant {wanted.shape}: expected one row a query in both"
        )
    return found, wanted
