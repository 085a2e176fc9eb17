"""Postings by token of up to 65,536 sparse documents, and exact searches for the k best of them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gossamer._core.checks import check_choice
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._core.threads import get_threads
from gossamer._kernels import _native
from gossamer._kernels.views import check_ascending, check_pointers, expect_array, ready

MOST_DOCUMENTS: int = _native.inverted.most_documents
METHODS = ("taat", "maxscore", "bmw")
WEIGHTS: dict[int, np.dtype[Any]] = {
    32: np.dtype(np.float32),
    16: np.dtype(np.float16),
    8: np.dtype(np.uint8),
}
_SEEDS = 4


class Postings(NamedTuple):
    """Documents by token: token t has the postings ``start[t]:start[t + 1]``, in blocks."""

    documents: int
    block: int
    start: np.ndarray
    document: np.ndarray
    weight: np.ndarray
    scale: np.ndarray
    block_start: np.ndarray
    block_last: np.ndarray
    block_most: np.ndarray
    seed: np.ndarray

    @property
    def vocabulary(self) -> int:
        """Number of tokens that a document may have."""
        return len(self.scale)

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays by name."""
        return {name: value for name, value in self._asdict().items() if isinstance(value, np.ndarray)}


class Best(NamedTuple):
    """The best documents so far of each query, as heaps that :func:`search` fills and :func:`finish` sorts."""

    items: np.ndarray
    held: np.ndarray


def invert(
    row: np.ndarray, token: np.ndarray, weight: np.ndarray, vocabulary: int, bits: int, block: int
) -> Postings:
    """Postings of a checked CSR (sorted tokens without repetition, weights above 0), by a counting sort."""
    documents = len(row) - 1
    if documents > MOST_DOCUMENTS:
        raise ShapeError(f"{documents} documents: expected at most {MOST_DOCUMENTS}")
    check_pointers("indptr", row - row[0], documents, len(token))
    if len(token) and (token.min() < 0 or token.max() >= vocabulary):
        raise ArgumentError(f"tokens span {token.min()}..{token.max()}: expected 0..{vocabulary - 1}")
    start, document = np.empty(vocabulary + 1, np.int64), np.empty(len(token), np.uint16)
    value, largest = np.empty(len(token), np.float32), np.empty(vocabulary, np.float32)
    _native.inverted.invert(
        ready(row - row[0], np.int64), ready(token, np.int32), ready(weight, np.float32), start, document,
        value, largest,
    )  # fmt: skip
    stored, scale = _stored(value, largest, np.diff(start), bits)
    block_start = _block_start(start, block)
    last, most = np.empty(block_start[-1], np.uint16), np.empty(block_start[-1], np.float32)
    seed = np.empty((vocabulary, _SEEDS), np.float32)
    getattr(_native.inverted, f"bound_{stored.dtype}")(
        block, start, document, _raw(stored), block_start, last, most, seed
    )
    return Postings(documents, block, start, document, stored, scale, block_start, last, most, seed)


def check(postings: Postings) -> None:
    """Refuse postings that native code could not walk safely, as from a file. O(postings)."""
    documents, block, count = postings.documents, postings.block, len(postings.document)
    vocabulary = len(postings.scale)
    if not 0 <= documents <= MOST_DOCUMENTS or block < 1:
        raise ArgumentError(
            f"documents={documents}, block={block}: expected 0..{MOST_DOCUMENTS}, and 1 or more"
        )
    if postings.weight.dtype not in WEIGHTS.values():
        raise ArgumentError(f"weights are {postings.weight.dtype}: expected float32, float16 or uint8")
    expect_array("start", postings.start, np.int64, (vocabulary + 1,))
    check_pointers("start", postings.start, vocabulary, count)
    expect_array("document", postings.document, np.uint16, (count,))
    expect_array("weight", postings.weight, postings.weight.dtype, (count,))
    check_ascending("document", postings.document, postings.start, documents)
    block_start = _block_start(postings.start, block)
    expect_array("block_start", postings.block_start, np.int64, block_start.shape)
    if not np.array_equal(block_start, postings.block_start):
        raise ArgumentError("block_start is not what start says")
    blocks = int(block_start[-1])
    for name, array, dtype, shape in (
        ("scale", postings.scale, np.float32, (vocabulary,)),
        ("block_last", postings.block_last, np.uint16, (blocks,)),
        ("block_most", postings.block_most, np.float32, (blocks,)),
        ("seed", postings.seed, np.float32, (vocabulary, _SEEDS)),
    ):
        expect_array(name, array, dtype, shape)
        if not (np.isfinite(array).all() and (array >= 0).all()):
            raise ArgumentError(f"{name} has entries that are negative or not finite")
    per = np.diff(block_start)
    within = np.arange(blocks) - np.repeat(block_start[:-1], per)
    ends = np.repeat(postings.start[:-1], per) + (within + 1) * block
    last = np.minimum(ends, np.repeat(postings.start[1:], per)) - 1
    if not np.array_equal(postings.document[last], postings.block_last):
        raise ArgumentError("block_last is not what the postings say")


def empty(queries: int, k: int) -> Best:
    """Heaps without documents."""
    return Best(np.zeros((queries, k), np.int64), np.zeros(queries, np.int64))


def search(
    postings: Postings,
    row: np.ndarray,
    token: np.ndarray,
    weight: np.ndarray,
    best: Best,
    first: int,
    method: str,
    threads: int | None = None,
) -> None:
    """Let the documents of ``postings``, with ids from ``first`` on, compete for the heaps of ``best``.

    Queries are rows of a CSR with distinct tokens and weights above 0. Segments come in ascending order of ids.
    """
    number = METHODS.index(check_choice("method", method, METHODS))
    if len(row) != len(best.held) + 1 or len(token) != len(weight):
        raise ShapeError(f"{len(row) - 1} queries for {len(best.held)} heaps: expected as many")
    check_pointers("indptr", row, len(row) - 1, len(token))
    if len(token) and (token.min() < 0 or token.max() >= postings.vocabulary):
        raise ArgumentError(
            f"tokens span {token.min()}..{token.max()}: expected 0..{postings.vocabulary - 1}"
        )
    getattr(_native.inverted, f"search_{postings.weight.dtype}")(
        postings.documents, postings.block, postings.start, postings.document, _raw(postings.weight),
        postings.scale, postings.block_start, postings.block_last, postings.block_most, postings.seed,
        ready(row, np.int64), ready(token, np.int32), ready(weight, np.float32), number, first, best.items,
        best.held, get_threads(threads),
    )  # fmt: skip


def finish(best: Best) -> tuple[np.ndarray, np.ndarray]:
    """Ids (int64) and scores of the heaps, the best first; -1 and 0 where there are fewer."""
    ids, scores = np.empty(best.items.shape, np.int64), np.empty(best.items.shape, np.float32)
    _native.inverted.finish(best.items, best.held, ids, scores)
    return ids, scores


def _stored(
    value: np.ndarray, largest: np.ndarray, counts: np.ndarray, bits: int
) -> tuple[np.ndarray, np.ndarray]:
    """Weights as stored, and by what each token's are multiplied."""
    if bits == 8:
        scale = largest / np.float32(255)
        per = np.where(scale > 0, scale, 1).astype(np.float32)
        codes = np.minimum(np.rint(value / np.repeat(per, counts)), 255)
        return codes.astype(np.uint8), scale
    return value.astype(WEIGHTS[bits], copy=False), np.ones(len(largest), np.float32)


def _raw(weight: np.ndarray) -> np.ndarray:
    return weight.view(np.uint16) if weight.dtype == np.float16 else weight


def _block_start(start: np.ndarray, block: int) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(-(-np.diff(start) // block))]).astype(np.int64)
