"""Sparse rows as the index and its searches take them."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from gossamer._core.checks import check_float, check_int
from gossamer._core.errors import ArgumentError, ShapeError, UnsupportedError


def sparse_rows(name: str, value: Any, width: int | None = None) -> sparse.csr_matrix:
    """A float32 CSR of ``value`` without zeros and repetitions, tokens ascending; a copy where that changes it.

    Raises
    ------
    ArgumentError
        For NaN, infinite or negative weights (bounds of what a document can score need weights >= 0).
    ShapeError
        If it is no matrix, or not ``width`` tokens wide.
    UnsupportedError
        If it is neither sparse nor an array.
    """
    if not sparse.issparse(value):
        try:
            value = np.asarray(value, dtype=np.float32)
        except (TypeError, ValueError):
            raise UnsupportedError(f"{name} is {type(value).__name__}: expected a sparse matrix") from None
    if value.ndim != 2 or (width is not None and value.shape[1] != width):
        raise ShapeError(
            f"{name} has shape {value.shape}: expected (n, {'vocabulary' if width is None else width})"
        )
    if np.dtype(value.dtype).kind not in "biuf":
        raise UnsupportedError(f"{name} holds {value.dtype}: expected real numbers")
    rows = sparse.csr_matrix(value, dtype=np.float32)
    if not (rows.has_canonical_format and (rows.data > 0).all()):
        rows = rows.copy()  # it may share the arrays of `value`
        rows.sum_duplicates()
        if not np.isfinite(rows.data).all():
            raise ArgumentError(f"{name} has {int((~np.isfinite(rows.data)).sum())} NaN or infinite weights")
        if len(rows.data) and rows.data.min() < 0:
            raise ArgumentError(
                f"{name} has negative weights, the least {rows.data.min():.4g}: expected >= 0"
            )
        rows.eliminate_zeros()
    elif not np.isfinite(rows.data).all():
        raise ArgumentError(f"{name} has {int((~np.isfinite(rows.data)).sum())} NaN or infinite weights")
    return rows


def prune_rows(rows: Any, *, top_n: int | None = None, ratio: float | None = None) -> sparse.csr_matrix:
    """Drop small weights of sparse documents: static pruning.

    Parameters
    ----------
    rows : sparse matrix of shape (n, V)
        Weights >= 0.
    top_n : int, optional
        Keep the largest ``top_n`` weights of a row; of equal ones those of the smaller tokens.
    ratio : float, optional
        Then drop weights below ``ratio`` times the largest of their row.

    Returns
    -------
    csr_matrix of shape (n, V)
        float32.

    Raises
    ------
    ArgumentError
        For ``top_n < 1`` or a ratio outside [0, 1].
    """
    rows = sparse_rows("rows", rows)
    number = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
    keep = np.ones(rows.nnz, bool)
    if top_n is not None:
        check_int("top_n", top_n, low=1)
        order = np.lexsort((rows.indices, -rows.data, number))
        place = np.arange(rows.nnz) - rows.indptr[:-1].repeat(np.diff(rows.indptr))
        keep[order[place >= top_n]] = False
    if ratio is not None:
        check_float("ratio", ratio, low=0, high=1)
        largest = np.zeros(rows.shape[0], np.float32)
        np.maximum.at(largest, number, rows.data)
        keep &= rows.data >= ratio * largest[number]
    kept = np.concatenate([[0], np.cumsum(keep)])[rows.indptr]
    return sparse.csr_matrix((rows.data[keep], rows.indices[keep], kept), shape=rows.shape)
