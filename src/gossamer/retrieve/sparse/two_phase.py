"""A search by the rare tokens of a query first, and by all of them among what those found."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from gossamer._core.checks import check_float, check_int
from gossamer._core.errors import ShapeError
from gossamer.retrieve.sparse.inverted_index import InvertedIndex
from gossamer.retrieve.sparse.rows import sparse_rows


def two_phase_search(
    index: InvertedIndex,
    docs: Any,
    queries: Any,
    k: int = 10,
    *,
    ratio: float = 0.4,
    expansion: float = 5.0,
    threads: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Find candidates by the heavy tokens of each query and score them by all tokens.

    A query's tokens of at least ``ratio`` times its largest weight choose ``expansion * k`` candidates; the long lists
    of common tokens are never walked. What shares only common tokens with the query is not found, so the result may
    differ from that of :meth:`InvertedIndex.search`; its scores are exact.

    Parameters
    ----------
    index : InvertedIndex
        Of ``docs``, maybe pruned or of fewer bits.
    docs : sparse matrix of shape (n, V)
        The documents, by which candidates are scored.
    queries : sparse matrix of shape (m, V)
        Weights >= 0.
    k : int
        Documents a query.
    ratio : float
        0: all tokens choose candidates; 1: the heaviest alone.
    expansion : float
        Candidates over k, >= 1.
    threads : int, optional
        For several queries.

    Returns
    -------
    ids : ndarray of shape (m, k)
        int64, the best first, -1 where there are fewer.
    scores : ndarray of shape (m, k)
        float32; 0 where the id is -1.

    Raises
    ------
    ArgumentError
        For k < 1, a ratio outside [0, 1] or an expansion below 1.
    ShapeError
        If index, documents and queries do not fit each other.

    Examples
    --------
    >>> from scipy.sparse import csr_matrix
    >>> docs = csr_matrix([[0.0, 2.0, 1.0], [1.0, 0.0, 0.5]])
    >>> ids, scores = two_phase_search(InvertedIndex().build(docs), docs, csr_matrix([[3.0, 0.5, 0.5]]), k=2)
    >>> ids.tolist(), scores.tolist()
    ([[1, -1]], [[3.25, 0.0]])
    """
    k = check_int("k", k, low=1)
    ratio = check_float("ratio", ratio, low=0, high=1)
    expansion = check_float("expansion", expansion, low=1)
    rows, docs = (
        sparse_rows("queries", queries, index.vocabulary),
        sparse_rows("docs", docs, index.vocabulary),
    )
    if docs.shape[0] != index.n_documents:
        raise ShapeError(f"docs has {docs.shape[0]} rows: expected {index.n_documents}, as the index has")
    found, _ = index.search(_heavy(rows, ratio), int(np.ceil(expansion * k)), threads=threads)
    ids = np.full((len(found), k), -1, np.int64)
    scores = np.zeros((len(found), k), np.float32)
    query = np.zeros(index.vocabulary, np.float32)
    for i, candidates in enumerate(found):
        candidates = np.sort(candidates[candidates >= 0])
        part = slice(rows.indptr[i], rows.indptr[i + 1])
        query[rows.indices[part]] = rows.data[part]
        exact = docs[candidates] @ query
        query[rows.indices[part]] = 0
        best = np.argsort(-exact, kind="stable")[:k]
        ids[i, : len(best)], scores[i, : len(best)] = candidates[best], exact[best]
    return ids, scores


def _heavy(rows: sparse.csr_matrix, ratio: float) -> sparse.csr_matrix:
    number = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
    largest = np.zeros(rows.shape[0], np.float32)
    np.maximum.at(largest, number, rows.data)
    keep = rows.data >= ratio * largest[number]
    ends = np.concatenate([[0], np.cumsum(keep)])[rows.indptr]
    return sparse.csr_matrix((rows.data[keep], rows.indices[keep], ends), shape=rows.shape)
