"""BM25 as sparse vectors: what every learned weight has to beat."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from scipy import sparse

from gossamer._core.checks import check_float
from gossamer._core.errors import ArgumentError
from gossamer.retrieve.sparse.word_pieces import WordPieces, as_texts


class BM25DocEncoder:
    """Encode documents by counting their tokens, so that inner products with IDF queries are BM25 scores.

    ``w_j = tf_j (k1 + 1) / (tf_j + k1 (1 - b + b length / mean length))``. With :class:`IDFQueryEncoder` of the same
    corpus on the query side, ``sum_j IDF_j w_j`` is BM25 as Robertson and Lucene have it, and :class:`InvertedIndex`
    searches it like any other sparse vectors.

    Parameters
    ----------
    tokenizer : object
        Of ``tokenizers``, ``transformers`` or ``gossamer.engine``; word pieces serve as terms.
    k1 : float
        How soon repetitions stop to count; 0: at once.
    b : float
        How much long documents are discounted, 0 to 1.

    Attributes
    ----------
    pieces : WordPieces
        The tokenizer.
    vocabulary : int
        V, its number of tokens.
    mean_length : float
        Tokens of a document of the corpus; 0 before :meth:`fit`.

    References
    ----------
    Robertson, Zaragoza, *The probabilistic relevance framework: BM25 and beyond*, 2009.

    Examples
    --------
    >>> bm25 = BM25DocEncoder(tokenizer).fit(documents)  # doctest: +SKIP
    >>> queries = IDFQueryEncoder.from_corpus(tokenizer, documents)  # doctest: +SKIP
    >>> index = InvertedIndex().build(bm25.encode(documents))  # doctest: +SKIP
    >>> index.search(queries.encode(["how to compress a file"]), k=10)  # doctest: +SKIP
    """

    def __init__(self, tokenizer: Any, k1: float = 1.2, b: float = 0.75) -> None:
        self.pieces = tokenizer if isinstance(tokenizer, WordPieces) else WordPieces(tokenizer)
        self.k1 = check_float("k1", k1, low=0)
        self.b = check_float("b", b, low=0, high=1)
        self.vocabulary, self.mean_length = self.pieces.size, 0.0

    def fit(self, texts: Iterable[str]) -> BM25DocEncoder:
        """Measure how long documents are.

        Parameters
        ----------
        texts : iterable of str
            The corpus, read once.

        Returns
        -------
        BM25DocEncoder
            Itself.

        Raises
        ------
        ArgumentError
            If no text has a token.
        """
        if isinstance(texts, str):
            raise ArgumentError("texts is one str: expected a list of texts")
        tokens, documents = 0, 0
        for text in texts:
            tokens += len(self._terms([text])[0])
            documents += 1
        if not tokens:
            raise ArgumentError(f"texts: {documents} texts without a token; expected at least one token")
        self.mean_length = tokens / documents
        return self

    def encode(self, texts: Sequence[str]) -> sparse.csr_matrix:
        """Sparse vectors of documents.

        Parameters
        ----------
        texts : sequence of str
            An empty one gives an empty row.

        Returns
        -------
        csr_matrix of shape (n, V)
            float32, tokens ascending.

        Raises
        ------
        ArgumentError
            Before :meth:`fit`.
        """
        if not self.mean_length:
            raise ArgumentError("the mean length of documents is not known: fit the encoder first")
        tokens, weights, ends = [], [], [0]
        for terms in self._terms(as_texts("texts", texts)):
            found, counts = np.unique(np.array(terms, np.int32), return_counts=True)
            tempo = self.k1 * (1 - self.b + self.b * len(terms) / self.mean_length)
            tokens.append(found)
            weights.append(counts * (self.k1 + 1) / (counts + tempo))
            ends.append(ends[-1] + len(found))
        parts = [np.concatenate(part) if part else np.zeros(0) for part in (weights, tokens)]
        return sparse.csr_matrix(
            (parts[0], parts[1], ends), shape=(len(ends) - 1, self.vocabulary), dtype=np.float32
        )

    def _terms(self, texts: Sequence[str]) -> list[list[int]]:
        special = self.pieces.special
        return [[i for i in ids if i not in special] for ids in self.pieces.ids(texts, wrap=False)]
