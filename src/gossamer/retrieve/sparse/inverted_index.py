"""An inverted index of sparse vectors with exact search."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from scipy import sparse

from gossamer._core.checks import check_choice, check_int
from gossamer._core.errors import ArgumentError, FormatError, ShapeError
from gossamer._kernels import inverted
from gossamer.retrieve.sparse.rows import sparse_rows
from gossamer.retrieve.storage import load_index, save_index

_KIND = "inverted-index"


class InvertedIndex:
    """Sparse documents by token, and an exact search for those with the largest inner products.

    The score of document d for query q is ``sum_j q_j w_dj``. Three searches find the same documents with the same
    scores, to the last bit: of equal scores the smaller id comes first.

    Parameters
    ----------
    bits : {32, 16, 8}
        How a weight is stored: float32, float16, or 8 bits with one scale a token and segment; then a score is off by
        at most ``sum_j q_j scale_j / 2``. A posting takes 2 bytes more for the document.
    block : int
        Postings that share a bound of their weights.

    Attributes
    ----------
    n_documents, vocabulary : int
        Documents, and tokens a document may have; 0 before :meth:`build`.
    bits, block : int
        As given.

    Notes
    -----
    Choosing a search: ``"taat"`` reads every posting of the query's tokens, in order, which modern memory likes; it is
    the default. ``"maxscore"`` accumulates in windows the lists that matter and looks the others up: faster for queries
    with several tokens that most documents have beside selective ones. ``"bmw"`` (block-max WAND) goes document by
    document. All take ``O(postings of the query)`` at most. Documents lie in segments of 65,536; :meth:`add` opens a
    new one.

    References
    ----------
    Turtle, Flood, *Query evaluation: strategies and optimizations*, 1995 (MaxScore). Ding, Suel, *Faster top-k document
    retrieval using block-max indexes*, SIGIR 2011. Geng, Ru, Yang, arXiv 2411.04403, 2024 (the documents).

    Examples
    --------
    >>> from scipy.sparse import csr_matrix
    >>> index = InvertedIndex().build(csr_matrix([[0.0, 2.0, 1.0], [1.0, 0.0, 0.5]]))
    >>> ids, scores = index.search(csr_matrix([[1.0, 0.0, 1.0]]), k=2)
    >>> ids.tolist(), scores.tolist()
    ([[1, 0]], [[1.5, 1.0]])
    """

    def __init__(self, bits: int = 32, block: int = 64) -> None:
        self.bits = check_choice("bits", bits, tuple(inverted.WEIGHTS))
        self.block = check_int("block", block, low=1, high=65_536)
        self.vocabulary = 0
        self._segments: list[inverted.Postings] = []

    def build(self, docs: Any) -> InvertedIndex:
        """Index ``docs``, in place of what was there.

        Parameters
        ----------
        docs : sparse matrix of shape (n, V)
            Weights >= 0. A row may be empty.

        Returns
        -------
        InvertedIndex
            Itself.

        Raises
        ------
        ArgumentError
            For no documents, negative, NaN or infinite weights.
        """
        rows = sparse_rows("docs", docs)
        if not rows.shape[0] or not rows.shape[1]:
            raise ArgumentError(f"docs has shape {rows.shape}: expected at least one document and one token")
        self._segments, self.vocabulary = [], rows.shape[1]
        self._append(rows)
        return self

    def add(self, docs: Any) -> InvertedIndex:
        """Index more documents; their ids follow those that are there.

        Many small additions make many small segments, each of which costs a search some microseconds: then build anew,
        which is one counting sort.

        Parameters
        ----------
        docs : sparse matrix of shape (n, V)
            As for :meth:`build`; the vocabulary must be the same.

        Returns
        -------
        InvertedIndex
            Itself.

        Raises
        ------
        ShapeError
            For another vocabulary.
        """
        if not self._segments:
            return self.build(docs)
        self._append(sparse_rows("docs", docs, self.vocabulary))
        return self

    def _append(self, rows: sparse.csr_matrix) -> None:
        if self.n_documents + rows.shape[0] >= 2**31:
            raise ArgumentError(f"{self.n_documents + rows.shape[0]} documents: expected fewer than 2**31")
        step = inverted.MOST_DOCUMENTS
        for first in range(0, rows.shape[0], step):
            row = rows.indptr[first : min(first + step, rows.shape[0]) + 1]
            where = slice(row[0], row[-1])
            self._segments.append(
                inverted.invert(
                    row, rows.indices[where], rows.data[where], self.vocabulary, self.bits, self.block
                )
            )

    @property
    def n_documents(self) -> int:
        """Documents in the index."""
        return sum(segment.documents for segment in self._segments)

    @property
    def n_postings(self) -> int:
        """Stored weights."""
        return sum(len(segment.document) for segment in self._segments)

    @property
    def nbytes(self) -> int:
        """Bytes of postings, bounds and tables."""
        return sum(array.nbytes for segment in self._segments for array in segment.arrays().values())

    def search(
        self, queries: Any, k: int = 10, method: str = "taat", threads: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k documents of each query with the largest scores above 0.

        Parameters
        ----------
        queries : sparse matrix of shape (m, V)
            Weights >= 0.
        k : int
            Documents a query.
        method : {"taat", "maxscore", "bmw"}
            How; the result is the same.
        threads : int, optional
            For several queries.

        Returns
        -------
        ids : ndarray of shape (m, k)
            int64, the best first; -1 where fewer documents share a token with the query.
        scores : ndarray of shape (m, k)
            float32; 0 where the id is -1.

        Raises
        ------
        ArgumentError
            For k < 1, an unknown method, bad weights, or an index without documents.
        ShapeError
            If the queries have another vocabulary.
        """
        if not self._segments:
            raise ArgumentError("the index is empty: build it first")
        k = check_int("k", k, low=1)
        check_choice("method", method, inverted.METHODS)
        rows = sparse_rows("queries", queries, self.vocabulary)
        best = inverted.empty(rows.shape[0], min(k, self.n_documents))
        first = 0
        for segment in self._segments:
            inverted.search(segment, rows.indptr, rows.indices, rows.data, best, first, method, threads)
            first += segment.documents
        ids, scores = inverted.finish(best)
        missing = ((0, 0), (0, k - ids.shape[1]))
        return np.pad(ids, missing, constant_values=-1), np.pad(scores, missing)

    def explain(self, query: Any, document: int) -> tuple[np.ndarray, np.ndarray]:
        """What each token of a query adds to the score of a document.

        Parameters
        ----------
        query : sparse matrix of shape (1, V)
            Weights >= 0.
        document : int
            Its id.

        Returns
        -------
        tokens : ndarray of shape (m,)
            int64, those that both have, the largest contribution first.
        contributions : ndarray of shape (m,)
            float32; they sum to the score.

        Raises
        ------
        ArgumentError
            If there is no such document.
        ShapeError
            If it is not one query, or has another vocabulary.
        """
        rows = sparse_rows("query", query, self.vocabulary)
        if rows.shape[0] != 1:
            raise ShapeError(f"query has shape {rows.shape}: expected (1, {self.vocabulary})")
        at = check_int("document", document, low=0, high=self.n_documents - 1)
        segments = iter(self._segments)
        segment = next(segments)
        while at >= segment.documents:
            at -= segment.documents
            segment = next(segments)
        tokens, parts = [], []
        for token, weight in zip(rows.indices, rows.data):
            low, high = segment.start[token], segment.start[token + 1]
            place = low + int(np.searchsorted(segment.document[low:high], at))
            if place < high and segment.document[place] == at:
                tokens.append(token)
                parts.append(weight * segment.scale[token] * np.float32(segment.weight[place]))
        order = np.argsort(-np.array(parts), kind="stable")
        return np.array(tokens, np.int64)[order], np.array(parts, np.float32)[order]

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Plain values and arrays from which :meth:`from_state` makes the same index."""
        meta = {
            "bits": self.bits,
            "block": self.block,
            "vocabulary": self.vocabulary,
            "documents": [segment.documents for segment in self._segments],
        }
        arrays = {
            f"segment{number}.{name}": array
            for number, segment in enumerate(self._segments)
            for name, array in segment.arrays().items()
        }
        return meta, arrays

    @classmethod
    def from_state(cls, meta: dict[str, Any], arrays: dict[str, np.ndarray]) -> InvertedIndex:
        """The index that :meth:`state` described; everything is checked, as it may come from a file.

        Parameters
        ----------
        meta : dict
            Plain values.
        arrays : dict of str to ndarray
            May be mapped into memory.

        Raises
        ------
        FormatError
            If they do not describe an index.
        """
        try:
            index = cls(meta["bits"], meta["block"])
            index.vocabulary = check_int("vocabulary", meta["vocabulary"], low=0)
            for number, documents in enumerate(meta["documents"]):
                names = [name for name in inverted.Postings._fields if name not in ("documents", "block")]
                parts = {name: arrays[f"segment{number}.{name}"] for name in names}
                postings = inverted.Postings(check_int("documents", documents, low=1), index.block, **parts)
                inverted.check(postings)
                if postings.vocabulary != index.vocabulary:
                    raise ArgumentError(f"segment {number} has {postings.vocabulary} tokens")
                if postings.weight.dtype != inverted.WEIGHTS[index.bits]:
                    raise ArgumentError(
                        f"segment {number} holds {postings.weight.dtype} for {index.bits} bits"
                    )
                index._segments.append(postings)
        except (KeyError, TypeError, ArgumentError) as error:
            raise FormatError(f"not the state of an inverted index: {error}") from error
        return index

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the index into a folder, whole or not at all.

        Parameters
        ----------
        folder : path
            Made if it is not there; an index that it holds is replaced.
        """
        save_index(folder, _KIND, *self.state())

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> InvertedIndex:
        """Open an index that :meth:`save` wrote, its arrays mapped into memory.

        Parameters
        ----------
        folder : path
            Of the index.

        Raises
        ------
        FormatError
            If it is damaged or no inverted index.
        """
        stored = load_index(folder, _KIND)
        return cls.from_state(stored.meta, stored.arrays)

    def __repr__(self) -> str:
        return (
            f"InvertedIndex({self.n_documents:,} documents, {self.n_postings:,} postings, {self.bits} bits, "
            f"{self.nbytes / 1e6:.1f} MB)"
        )
