"""Why a document was found: the terms or pairs of tokens that make its score."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gossamer.retrieve.multivector.token_encoder import TokenEncoder
from gossamer.retrieve.sparse.inverted_index import InvertedIndex
from gossamer.retrieve.sparse.word_pieces import WordPieces


class Match(NamedTuple):
    """A part of a score.

    Attributes
    ----------
    query : str
        A token of the query.
    text : str
        The token of the document that answers it.
    score : float
        What they add to the score.
    """

    query: str
    text: str
    score: float


def term_matches(index: InvertedIndex, queries: Any, query: str, document: int) -> list[Match]:
    """The tokens that a query and a document of an inverted index share, the heaviest first.

    Parameters
    ----------
    index : InvertedIndex
        Of the documents.
    queries : object
        With ``encode(texts)`` and ``pieces``, as :class:`IDFQueryEncoder`.
    query : str
        What was looked for.
    document : int
        Id of the document in the index.

    Returns
    -------
    list of Match
        Their scores sum to the document's.

    Raises
    ------
    ArgumentError
        If the index has no such document.
    """
    tokens, parts = index.explain(queries.encode([query]), document)
    names = [queries.pieces.token(token) for token in tokens]
    return [Match(name, name, float(part)) for name, part in zip(names, parts, strict=True)]


def token_matches(encoder: TokenEncoder, query: str, text: str) -> list[Match]:
    """For every token of a query the token of a text that is most like it, in the order of the query.

    Parameters
    ----------
    encoder : TokenEncoder
        Makes one vector a token.
    query, text : str
        With at least one token each.

    Returns
    -------
    list of Match
        Their scores, inner products, sum to the Chamfer similarity.
    """
    pieces, around = WordPieces(encoder.tokenizer), set(encoder.token_ids([""])[0])
    vectors = encoder.encode([query, text])
    own, other = (
        [pieces.token(i) for i in ids if i not in around] for ids in encoder.token_ids([query, text])
    )
    likeness = vectors.of(0) @ vectors.of(1).T
    best = np.argmax(likeness, axis=1)
    return [Match(own[i], other[j], float(likeness[i, j])) for i, j in enumerate(best)]
