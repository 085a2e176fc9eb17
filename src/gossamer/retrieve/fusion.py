"""One ranking from several: by ranks, or by scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gossamer._core.checks import check_choice, check_float, check_int
from gossamer._core.errors import ArgumentError, ShapeError


def reciprocal_rank_fusion(
    rankings: Sequence[Any], k: int = 10, *, constant: float = 60.0, weights: Sequence[float] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Order documents by ``sum_r weight_r / (constant + rank_r)``, ranks from 1.

    Scores of the searches need not be comparable: only ranks count.

    Parameters
    ----------
    rankings : sequence of arrays of shape (n, m_r)
        Ids of the same n queries, the best first; -1 is no document. What one search repeats counts once, where it
        stands first.
    k : int
        Documents a query.
    constant : float
        Large: how many searches found a document counts more than where.
    weights : sequence of float, optional
        Of the searches, >= 0; 1 each by default.

    Returns
    -------
    ids : ndarray of shape (n, k)
        int64; -1 where there are fewer. Of equal scores the smaller id comes first.
    scores : ndarray of shape (n, k)
        float32; 0 where the id is -1.

    Raises
    ------
    ShapeError
        If rankings have different numbers of queries, or weights do not fit.
    ArgumentError
        For no rankings, k < 1 or a weight below 0.

    References
    ----------
    Cormack, Clarke, Buettcher, *Reciprocal rank fusion outperforms Condorcet and individual rank learning methods*,
    SIGIR 2009.

    Examples
    --------
    >>> reciprocal_rank_fusion([[[1, 2]], [[2, 3]]], k=3)[0].tolist()
    [[2, 1, 3]]
    """
    constant = check_float("constant", constant, low=0)
    found = [_ids(f"rankings[{r}]", ranking) for r, ranking in enumerate(rankings)]
    gains = [np.broadcast_to(1 / (constant + 1 + np.arange(ids.shape[1])), ids.shape) for ids in found]
    return _fuse(found, gains, weights, k)


def score_fusion(
    results: Sequence[tuple[Any, Any]],
    k: int = 10,
    *,
    weights: Sequence[float] | None = None,
    normalize: str = "minmax",
) -> tuple[np.ndarray, np.ndarray]:
    """Order documents by the weighted sum of their scores, each search's scores brought to one scale per query.

    Parameters
    ----------
    results : sequence of (ids, scores), each of shape (n, m_r)
        What searches gave for the same n queries; -1 is no document.
    k : int
        Documents a query.
    weights : sequence of float, optional
        Of the searches, >= 0; 1 each by default.
    normalize : {"minmax", "zscore", "none"}
        ``(s - min) / (max - min)``, or ``(s - mean) / deviation`` above that of the worst, or scores as they are. A
        document that a search did not find gets 0 from it.

    Returns
    -------
    ids : ndarray of shape (n, k)
        int64; -1 where there are fewer. Of equal scores the smaller id comes first.
    scores : ndarray of shape (n, k)
        float32; 0 where the id is -1.

    Raises
    ------
    ShapeError
        If shapes or weights do not fit.
    ArgumentError
        For no results, k < 1, a weight below 0, NaN or infinite scores.

    Examples
    --------
    >>> score_fusion([([[1, 2]], [[9.0, 8.0]]), ([[2, 1]], [[0.7, 0.2]])], k=2, weights=[1, 2])[0].tolist()
    [[2, 1]]
    """
    check_choice("normalize", normalize, ("minmax", "zscore", "none"))
    found, gains = [], []
    for r, (ids, scores) in enumerate(results):
        found.append(_ids(f"results[{r}]", ids))
        values = np.asarray(scores, np.float64)
        if values.shape != found[-1].shape:
            raise ShapeError(
                f"results[{r}] has ids {found[-1].shape} and scores {values.shape}: expected one shape"
            )
        there = found[-1] >= 0
        if not np.isfinite(values[there]).all():
            raise ArgumentError(f"results[{r}] has NaN or infinite scores")
        gains.append(_scaled(np.where(there, values, np.nan), normalize))
    return _fuse(found, gains, weights, k)


def _ids(name: str, ids: Any) -> np.ndarray:
    found = np.asarray(ids)
    if found.ndim != 2 or found.dtype.kind not in "iu":
        raise ShapeError(f"{name} is {found.dtype} of shape {found.shape}: expected integers of shape (n, m)")
    return found.astype(np.int64)


def _scaled(values: np.ndarray, normalize: str) -> np.ndarray:
    """Rows on one scale; NaN is no document."""
    if normalize == "none" or not values.size:
        return np.nan_to_num(values)
    low = np.nanmin(np.where(np.isnan(values), np.inf, values), 1, keepdims=True)
    above = values - np.where(np.isfinite(low), low, 0)
    if normalize == "minmax":
        span = np.max(np.nan_to_num(above), 1, keepdims=True)
        # where all are equal, all of them were found: as good as the best
        return np.nan_to_num(np.where(span > 0, above / np.where(span > 0, span, 1), 1.0 * ~np.isnan(above)))
    count = np.maximum((~np.isnan(above)).sum(1, keepdims=True), 1)
    mean = np.nansum(above, 1, keepdims=True) / count
    deviation = np.sqrt(np.nansum((above - mean) ** 2, 1, keepdims=True) / count)
    return np.nan_to_num(above / np.where(deviation > 0, deviation, 1))


def _fuse(
    found: list[np.ndarray], gains: list[np.ndarray], weights: Sequence[float] | None, k: int
) -> tuple[np.ndarray, np.ndarray]:
    k = check_int("k", k, low=1)
    if not found:
        raise ArgumentError("expected the results of at least one search")
    if len({len(ids) for ids in found}) != 1:
        raise ShapeError(
            f"results of {[len(ids) for ids in found]} queries: expected the same queries in each"
        )
    share = np.ones(len(found)) if weights is None else np.asarray(weights, np.float64)
    if share.shape != (len(found),):
        raise ShapeError(f"weights have shape {share.shape}: expected ({len(found)},), one a search")
    if not (np.isfinite(share).all() and (share >= 0).all()):
        raise ArgumentError(f"weights={share.tolist()}: expected numbers >= 0")
    ids = np.full((len(found[0]), k), -1, np.int64)
    scores = np.zeros((len(found[0]), k), np.float32)
    for q in range(len(ids)):
        names, values = [], []
        for part, gain, weight in zip(found, gains, share):
            name, first = np.unique(part[q], return_index=True)
            names.append(name[name >= 0])
            values.append(weight * gain[q][first[name >= 0]])
        name, place = np.unique(np.concatenate(names), return_inverse=True)
        total = np.bincount(place, np.concatenate(values), len(name))
        best = np.argsort(-total, kind="stable")[:k]
        ids[q, : len(best)], scores[q, : len(best)] = name[best], total[best]
    return ids, scores
