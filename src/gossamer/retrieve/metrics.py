"""How good a ranking is, and what a sparse search costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gossamer._core.checks import check_int
from gossamer._core.errors import ArgumentError, ShapeError

Relevant = Sequence[Any]
"""For each query the relevant ids: one id, a collection of ids, or a mapping of ids to grades."""


def ndcg(ids: Any, relevant: Relevant, k: int = 10) -> float:
    """Mean normalised discounted gain of the first k: ``sum_i (2^g_i - 1) / log2(i + 1)`` over the ideal one.

    Parameters
    ----------
    ids : array of shape (n, m)
        Ranked ids, the best first; -1 is no document.
    relevant : sequence of n
        One id, a collection of ids, or a mapping of ids to grades > 0 for each query.
    k : int
        How far to look.

    Returns
    -------
    float
        Between 0 and 1. A query without relevant documents counts 0.

    Raises
    ------
    ShapeError
        If there is not one entry of ``relevant`` a query.
    """
    total = 0.0
    for row, grades in _pairs(ids, relevant, k):
        gain = np.array([2.0 ** grades.get(i, 0) - 1 for i in row])
        ideal = np.sort([2.0**grade - 1 for grade in grades.values()])[::-1][:k]
        if len(ideal):
            total += float((gain * _discount(len(gain))).sum() / (ideal * _discount(len(ideal))).sum())
    return total / len(relevant)


def mrr(ids: Any, relevant: Relevant, k: int = 10) -> float:
    """Mean of one over the rank of the first relevant document among the first k, 0 where there is none.

    Parameters
    ----------
    ids, relevant, k
        As for :func:`ndcg`.

    Returns
    -------
    float
        Between 0 and 1.
    """
    total = 0.0
    for row, grades in _pairs(ids, relevant, k):
        ranks = [rank for rank, i in enumerate(row, 1) if i in grades]
        total += 1 / ranks[0] if ranks else 0.0
    return total / len(relevant)


def recall(ids: Any, relevant: Relevant, k: int = 10) -> float:
    """Mean share of the relevant documents that are among the first k.

    Parameters
    ----------
    ids, relevant, k
        As for :func:`ndcg`.

    Returns
    -------
    float
        Between 0 and 1. A query without relevant documents counts 0.
    """
    total = 0.0
    for row, grades in _pairs(ids, relevant, k):
        total += len(grades.keys() & set(row)) / len(grades) if grades else 0.0
    return total / len(relevant)


def average_flops(queries: Any, docs: Any) -> float:
    """``sum_j p_j(query) p_j(document)``: expected products of a query and a document, p_j the share with token j.

    Parameters
    ----------
    queries, docs : sparse matrix of shape (n, V)
        Of one vocabulary.

    Returns
    -------
    float
        A measure of what a search costs that no machine changes.

    Raises
    ------
    ShapeError
        For different vocabularies, or no rows.
    """
    if queries.shape[1] != docs.shape[1] or not queries.shape[0] or not docs.shape[0]:
        raise ShapeError(f"queries {queries.shape} and docs {docs.shape}: expected rows of one vocabulary")
    shares = [np.asarray((part != 0).mean(axis=0)).ravel() for part in (queries, docs)]
    return float(shares[0] @ shares[1])


def latency_percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Mean, median, 95th and 99th percentile of query times.

    Parameters
    ----------
    seconds : sequence of float
        One a query.

    Returns
    -------
    dict of str to float
        ``mean``, ``p50``, ``p95``, ``p99``, in seconds.
    """
    times = np.asarray(seconds, np.float64)
    if not times.size:
        raise ArgumentError("seconds is empty: expected one time a query")
    p50, p95, p99 = (float(value) for value in np.percentile(times, (50, 95, 99)))
    return {"mean": float(times.mean()), "p50": p50, "p95": p95, "p99": p99}


def _pairs(ids: Any, relevant: Relevant, k: int) -> list[tuple[list[int], dict[int, float]]]:
    ranked, k = np.asarray(ids), check_int("k", k, low=1)
    if ranked.ndim != 2 or len(ranked) != len(relevant) or not len(ranked):
        raise ShapeError(f"ids of shape {ranked.shape} for {len(relevant)} queries: expected one row a query")
    return [([int(i) for i in row[:k] if i >= 0], _grades(wanted)) for row, wanted in zip(ranked, relevant)]


def _grades(wanted: Any) -> dict[int, float]:
    if isinstance(wanted, Mapping):
        return {int(i): float(grade) for i, grade in wanted.items() if grade > 0}
    return {int(i): 1.0 for i in (wanted if np.iterable(wanted) else [wanted])}


def _discount(count: int) -> np.ndarray:
    return 1 / np.log2(np.arange(2, count + 2))
