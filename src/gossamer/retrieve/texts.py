"""Indexes over texts, as a :class:`Collection` takes them: BM25, learned sparse vectors, and MUVERA."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gossamer.retrieve.collection import Corpus
from gossamer.retrieve.matches import Match, term_matches, token_matches
from gossamer.retrieve.multivector.fde import FDEConfig
from gossamer.retrieve.multivector.muvera import MuveraIndex
from gossamer.retrieve.multivector.token_encoder import TokenEncoder
from gossamer.retrieve.sparse.bm25 import BM25DocEncoder
from gossamer.retrieve.sparse.inverted_index import InvertedIndex
from gossamer.retrieve.sparse.query_encoder import IDFQueryEncoder


class MuveraTexts:
    """Search texts by :class:`MuveraIndex`.

    Parameters
    ----------
    encoder : TokenEncoder
        Makes token vectors.
    config : FDEConfig, optional
        Of the encodings; by default 10,240 dimensions for the encoder's vectors.
    n_candidates : int
        Scored exactly, for each query.
    **options
        As for :class:`MuveraIndex`.
    """

    def __init__(
        self,
        encoder: TokenEncoder,
        config: FDEConfig | None = None,
        *,
        n_candidates: int = 200,
        **options: Any,
    ) -> None:
        self.encoder, self.config, self.n_candidates = encoder, config, n_candidates
        self._options = {"token_dtype": "float16", **options}
        self.index: MuveraIndex | None = None

    def change(self, gone: np.ndarray, ids: np.ndarray, texts: Sequence[str], corpus: Corpus) -> None:
        """Encode what is new; mark what is gone."""
        if len(texts):
            vectors = self.encoder.encode(texts)
            if self.index is None:
                config = self.config or FDEConfig(vectors.vectors.shape[1])
                self.index = MuveraIndex(config, **self._options)
            self.index.add(vectors, ids=ids)
        if len(gone) and self.index is not None:
            self.index.delete(gone)

    def search(self, queries: Sequence[str], k: int) -> tuple[np.ndarray, np.ndarray]:
        """Ids and Chamfer similarities."""
        assert self.index is not None
        found = self.index.search(self.encoder.encode(queries), k, self.n_candidates)
        return found.ids, found.scores

    def explain(self, query: str, id: int, text: str) -> list[Match]:
        """For every token of the query the token of the text that is most like it."""
        return token_matches(self.encoder, query, text)

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """What :meth:`restore` takes."""
        return ({}, {}) if self.index is None else self.index.state()

    def restore(self, meta: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        """Become the index that was saved."""
        self.index = (
            MuveraIndex.from_state(meta, arrays, threads=self._options.get("threads")) if meta else None
        )

    @property
    def nbytes(self) -> int:
        """Bytes of the index."""
        return 0 if self.index is None else self.index.nbytes


class SparseTexts:
    """Search texts by sparse vectors in an :class:`InvertedIndex`.

    Parameters
    ----------
    documents, queries : object
        With ``encode(texts)``, which returns sparse rows over one vocabulary: :class:`SparseDocEncoder` and
        :class:`IDFQueryEncoder`.
    bits : {32, 16, 8}
        How weights are stored.
    """

    def __init__(self, documents: Any, queries: Any, bits: int = 32) -> None:
        self.documents, self.queries, self.index = documents, queries, InvertedIndex(bits)
        self._ids, self._alive = np.zeros(0, np.int64), np.zeros(0, bool)

    def change(self, gone: np.ndarray, ids: np.ndarray, texts: Sequence[str], corpus: Corpus) -> None:
        """Encode what is new; mark what is gone."""
        if len(texts):
            self.index.add(self.documents.encode(texts))
        self._ids = np.concatenate([self._ids, ids])
        self._alive = np.concatenate([self._alive, np.ones(len(ids), bool)])
        self._alive[np.isin(self._ids, gone)] = False

    def search(self, queries: Sequence[str], k: int) -> tuple[np.ndarray, np.ndarray]:
        """Ids and inner products."""
        dead = int((~self._alive).sum())
        at, scores = self.index.search(self.queries.encode(queries), k + dead)
        there = (at >= 0) & self._alive[at]
        order = np.argsort(~there, axis=1, kind="stable")[:, :k]
        at, scores, there = (np.take_along_axis(a, order, 1) for a in (at, scores, there))
        return np.where(there, self._ids[at], -1), np.where(there, scores, 0)

    def explain(self, query: str, id: int, text: str) -> list[Match]:
        """Tokens that both have."""
        return term_matches(self.index, self.queries, query, int(np.flatnonzero(self._ids == id)[0]))

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """What :meth:`restore` takes."""
        meta, arrays = self.index.state()
        return meta, {**arrays, "ids": self._ids, "alive": self._alive}

    def restore(self, meta: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        """Become the index that was saved."""
        held = dict(arrays)
        self._ids, self._alive = held.pop("ids"), np.array(held.pop("alive"))
        self.index = InvertedIndex.from_state(meta, held)

    @property
    def nbytes(self) -> int:
        """Bytes of the index."""
        return self.index.nbytes


class BM25Texts:
    """Search texts by BM25 over word pieces; rebuilt at each change, as all weights depend on the corpus.

    Parameters
    ----------
    tokenizer : object
        Of ``tokenizers``, ``transformers`` or ``gossamer.engine``.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self._queries: IDFQueryEncoder | None = None
        self._index, self._ids = InvertedIndex(), np.zeros(0, np.int64)

    def change(self, gone: np.ndarray, ids: np.ndarray, texts: Sequence[str], corpus: Corpus) -> None:
        """Count tokens of all documents again."""
        self._ids, texts = corpus.living()
        self._index, self._queries = InvertedIndex(), None
        if len(texts):
            self._queries = IDFQueryEncoder.from_corpus(self.tokenizer, texts)
            self._index.build(BM25DocEncoder(self.tokenizer).fit(texts).encode(texts))

    def search(self, queries: Sequence[str], k: int) -> tuple[np.ndarray, np.ndarray]:
        """Ids and BM25 scores."""
        assert self._queries is not None
        at, scores = self._index.search(self._queries.encode(queries), k)
        return np.where(at >= 0, self._ids[at], -1), scores

    def explain(self, query: str, id: int, text: str) -> list[Match]:
        """Tokens that both have."""
        return term_matches(self._index, self._queries, query, int(np.flatnonzero(self._ids == id)[0]))

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """What :meth:`restore` takes."""
        if self._queries is None:
            return {}, {}
        meta, arrays = self._index.state()
        return meta, {**arrays, "ids": self._ids, "idf": np.asarray(self._queries.idf, np.float32)}

    def restore(self, meta: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        """Become the index that was saved."""
        if meta:
            held = dict(arrays)
            self._ids = held.pop("ids")
            self._queries = IDFQueryEncoder(self.tokenizer, np.array(held.pop("idf")))
            self._index = InvertedIndex.from_state(meta, held)

    @property
    def nbytes(self) -> int:
        """Bytes of the index."""
        return self._index.nbytes
