"""Encodings of sets of vectors, and sums of best inner products between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._core.threads import get_threads
from gossamer._kernels import _native
from gossamer._kernels.views import check_pointers, expect_array, ready

MAX_BITS = 20
_NAMES = {"float32": "float32", "float16": "float16", "uint16": "bfloat16"}  # uint16: raw bfloat16
_PAIRS = 16  # documents that a thread scores at a time


@dataclass(frozen=True)
class Encoding:
    """What native code encodes with; made by :func:`encoding`."""

    reps: int
    bits: int
    width: int
    directions: np.ndarray
    thresholds: np.ndarray
    projection: np.ndarray | None
    places: np.ndarray | None
    out_width: int


def encoding(
    directions: np.ndarray,
    thresholds: np.ndarray,
    projection: np.ndarray | None = None,
    places: np.ndarray | None = None,
    final_dim: int = 0,
) -> Encoding:
    """Check matrices of an encoding.

    Parameters
    ----------
    directions : float32, shape (reps, bits, dim)
        Hyperplanes.
    thresholds : float32, shape (reps, bits)
        A bit is set if the inner product is above.
    projection : float32, shape (reps, dim, width), optional
        Without it sums stay as wide as vectors.
    places : int32, shape (reps * 2**bits * width,), optional
        Where entries are added to an encoding of ``final_dim`` entries; ``~place`` subtracts.
    final_dim : int
        Entries of the result, with ``places``.
    """
    if directions.ndim != 3 or directions.dtype != np.float32:
        raise ShapeError(f"directions are {directions.dtype} {directions.shape}: expected (reps, bits, dim)")
    reps, bits, dim = directions.shape
    if not reps or not dim or bits > MAX_BITS:
        raise ShapeError(
            f"directions have shape {directions.shape}: expected up to {MAX_BITS} bits, no empty axis"
        )
    expect_array("thresholds", thresholds, np.float32, (reps, bits))
    width = dim
    if projection is not None:
        width = projection.shape[-1]
        expect_array("projection", projection, np.float32, (reps, dim, width))
        projection = ready(projection)
    full = reps * (1 << bits) * width
    if places is not None:
        expect_array("places", places, np.int32, (full,))
        target = np.where(places < 0, ~places, places)
        if len(target) and target.max() >= final_dim:
            raise ArgumentError(f"places reach {target.max()}: expected below {final_dim}")
        places = ready(places)
    columns = np.zeros((dim, -(-reps * bits // 16) * 16), np.float32)
    columns[:, : reps * bits] = directions.reshape(reps * bits, dim).T
    return Encoding(
        reps, bits, width, columns, ready(thresholds.reshape(-1)), projection, places,
        full if places is None else final_dim,
    )  # fmt: skip


def encode(
    vectors: np.ndarray,
    offsets: np.ndarray,
    plan: Encoding,
    *,
    mean: bool,
    fill: bool,
    threads: int | None = None,
) -> np.ndarray:
    """Encodings (n, plan.out_width) of n sets: sums or means by cell; with ``fill`` no cell is empty."""
    vectors, offsets = _sets("vectors", vectors, offsets, len(plan.directions))
    out = np.empty((len(offsets) - 1, plan.out_width), np.float32)
    getattr(_native.maxsim, f"encode_{_NAMES[vectors.dtype.name]}")(
        _bits(vectors), offsets, plan.reps, plan.bits, plan.width, plan.directions, plan.thresholds,
        plan.projection, plan.places, bool(mean), bool(fill), out, get_threads(threads),
    )  # fmt: skip
    return out


def chamfer(
    queries: np.ndarray,
    query_offsets: np.ndarray,
    documents: np.ndarray,
    offsets: np.ndarray,
    starts: np.ndarray,
    pairs: np.ndarray,
    threads: int | None = None,
) -> np.ndarray:
    """Scores (len(pairs),): query i has the documents ``pairs[starts[i]:starts[i + 1]]``. Queries are float32."""
    if queries.dtype != np.float32:
        raise ShapeError(f"queries are {queries.dtype}: expected float32")
    queries, query_offsets = _sets("queries", queries, query_offsets, None)
    documents, offsets = _sets("documents", documents, offsets, queries.shape[1])
    starts, pairs = ready(starts, np.int64), ready(pairs, np.int64)
    check_pointers("starts", starts, len(query_offsets) - 1, len(pairs))
    if len(pairs) and (pairs.min() < 0 or pairs.max() >= len(offsets) - 1):
        raise ArgumentError(f"pairs span {pairs.min()}..{pairs.max()}: expected 0..{len(offsets) - 2}")
    pieces = -(-np.diff(starts) // _PAIRS)
    query = np.repeat(np.arange(len(pieces)), pieces)
    first = (
        starts[:-1][query] + (np.arange(len(query)) - np.repeat(np.cumsum(pieces) - pieces, pieces)) * _PAIRS
    )
    last = np.minimum(first + _PAIRS, starts[1:][query])
    out = np.empty(len(pairs), np.float32)
    getattr(_native.maxsim, f"chamfer_{_NAMES[documents.dtype.name]}")(
        queries,
        query_offsets,
        _bits(documents),
        offsets,
        query,
        first,
        last,
        pairs,
        out,
        get_threads(threads),
    )
    return out


def _sets(
    name: str, vectors: np.ndarray, offsets: np.ndarray, dim: int | None
) -> tuple[np.ndarray, np.ndarray]:
    if vectors.ndim != 2 or vectors.dtype.name not in _NAMES or not vectors.shape[1]:
        raise ShapeError(f"{name} are {vectors.dtype} {vectors.shape}: expected float32 or half (rows, dim)")
    if dim is not None and vectors.shape[1] != dim:
        raise ShapeError(f"{name} have {vectors.shape[1]} dimensions: expected {dim}")
    offsets = ready(offsets, np.int64)
    if offsets.ndim != 1 or not len(offsets):
        raise ShapeError(f"offsets of {name} have shape {offsets.shape}: expected (n + 1,)")
    check_pointers(f"offsets of {name}", offsets, len(offsets) - 1, len(vectors))
    if (offsets[1:] == offsets[:-1]).any():
        raise ArgumentError(f"{name}: set {int(np.argmin(np.diff(offsets)))} is empty")
    return ready(vectors), offsets


def _bits(vectors: np.ndarray) -> np.ndarray:
    return vectors if vectors.dtype == np.float32 else vectors.view(np.uint16)
