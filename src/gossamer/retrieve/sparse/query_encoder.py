"""Queries without a model: a table of inverse document frequencies."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from scipy import sparse

from gossamer._core.checks import check_choice, check_int
from gossamer._core.errors import ArgumentError, FormatError, ShapeError
from gossamer._core.files import read_json, write_json
from gossamer.retrieve.sparse.word_pieces import WordPieces, as_texts, distinct


def idf_table(
    corpus_token_ids: Iterable[Sequence[int]], vocab_size: int, *, unseen: str = "formula"
) -> np.ndarray:
    """Inverse document frequencies ``ln(1 + (N - n_j + 0.5) / (n_j + 0.5))`` of every token.

    Parameters
    ----------
    corpus_token_ids : iterable of sequences of int
        Token ids of N passages, read once; how often a token stands in a passage does not matter.
    vocab_size : int
        V.
    unseen : {"formula", "one"}
        What tokens get that no passage has: the formula's ``ln(1 + (N + 0.5) / 0.5)``, the largest value of all, or 1
        as in published tables.

    Returns
    -------
    ndarray of shape (V,)
        float32, above 0.

    Raises
    ------
    ArgumentError
        For no passages, or ids outside the vocabulary.

    References
    ----------
    Geng, Ru, Yang, *Towards competitive search relevance for inference-free learned sparse retrievers*,
    arXiv 2411.04403, 2024.

    Examples
    --------
    >>> idf_table([[0, 1, 1], [1]], 3).round(3).tolist()
    [0.693, 0.182, 1.792]
    """
    vocab_size = check_int("vocab_size", vocab_size, low=1)
    check_choice("unseen", unseen, ("formula", "one"))
    n, passages = np.zeros(vocab_size, np.int64), 0
    for ids in corpus_token_ids:
        found = np.unique(np.asarray(ids, dtype=np.int64))
        if len(found) and (found[0] < 0 or found[-1] >= vocab_size):
            raise ArgumentError(
                f"corpus_token_ids[{passages}] spans {found[0]}..{found[-1]}: expected 0..{vocab_size - 1}"
            )
        n[found] += 1
        passages += 1
    if not passages:
        raise ArgumentError("corpus_token_ids is empty: expected at least one passage")
    idf = np.log1p((passages - n + 0.5) / (n + 0.5))
    if unseen == "one":
        idf[n == 0] = 1.0
    return idf.astype(np.float32)


class IDFQueryEncoder:
    """Encode queries by looking up their tokens: weight ``IDF_j`` if token j occurs, else 0. No network runs.

    Parameters
    ----------
    tokenizer : object
        As the document encoder has it: of ``tokenizers``, ``transformers`` or ``gossamer.engine``.
    idf : array of shape (V,)
        Weights >= 0 of tokens, as :func:`idf_table` computes them. All ones: binary queries.

    Attributes
    ----------
    idf : ndarray of shape (V,)
        float32; 0 for special tokens.
    pieces : WordPieces
        The tokenizer.

    Raises
    ------
    ArgumentError
        For NaN, infinite or negative weights.
    ShapeError
        If the table has fewer entries than the tokenizer has tokens.

    Examples
    --------
    >>> encoder = IDFQueryEncoder.from_json(tokenizer, "idf.json")  # doctest: +SKIP
    >>> encoder.encode(["how to compress a file"]).shape  # doctest: +SKIP
    (1, 30522)
    """

    def __init__(self, tokenizer: Any, idf: Any) -> None:
        self.pieces = tokenizer if isinstance(tokenizer, WordPieces) else WordPieces(tokenizer)
        table = np.array(idf, dtype=np.float32)
        if table.ndim != 1 or len(table) < self.pieces.size:
            raise ShapeError(f"idf has shape {table.shape}: expected ({self.pieces.size},), one a token")
        if not np.isfinite(table).all() or (table < 0).any():
            raise ArgumentError("idf has entries that are negative, NaN or infinite")
        table[[i for i in self.pieces.special if i < len(table)]] = 0
        self.idf = table

    @classmethod
    def from_corpus(cls, tokenizer: Any, texts: Iterable[str], *, unseen: str = "formula") -> IDFQueryEncoder:
        """Count the tokens of a corpus.

        Parameters
        ----------
        tokenizer : object
            As for the class.
        texts : iterable of str
            The passages, read once.
        unseen : {"formula", "one"}
            As for :func:`idf_table`.
        """
        pieces = WordPieces(tokenizer)
        ids = (pieces.ids([text], wrap=False)[0] for text in texts)
        return cls(pieces, idf_table(ids, pieces.size, unseen=unseen))

    @classmethod
    def from_json(cls, tokenizer: Any, path: str | os.PathLike[str]) -> IDFQueryEncoder:
        """Read a table of tokens with their weights; tokens that it lacks get 1.

        Parameters
        ----------
        tokenizer : object
            As for the class.
        path : path
            A JSON object of numbers.

        Raises
        ------
        FormatError
            If the file is damaged, or names a token that the tokenizer does not have.
        """
        pieces = WordPieces(tokenizer)
        table, known = read_json(path), pieces.vocabulary()
        if not isinstance(table, dict) or not all(isinstance(v, (int, float)) for v in table.values()):
            raise FormatError(f"{path}: expected an object of tokens with their weights")
        unknown = [token for token in table if token not in known]
        if unknown:
            raise FormatError(
                f"{path}: the tokenizer has no token {unknown[0]!r}, and {len(unknown) - 1} more"
            )
        idf = np.ones(pieces.size, np.float32)
        idf[[known[token] for token in table]] = list(table.values())
        return cls(pieces, idf)

    def to_json(self, path: str | os.PathLike[str]) -> None:
        """Write the table as :meth:`from_json` reads it.

        Parameters
        ----------
        path : path
            Replaced whole.
        """
        write_json(path, {token: float(self.idf[i]) for token, i in self.pieces.vocabulary().items()})

    def encode(self, texts: Sequence[str]) -> sparse.csr_matrix:
        """Weights of the tokens of every query.

        Parameters
        ----------
        texts : sequence of str
            Of any length; one without known tokens gives an empty row.

        Returns
        -------
        csr_matrix of shape (n, V)
            float32, tokens ascending.
        """
        found = [distinct(ids) for ids in self.pieces.ids(as_texts("texts", texts), wrap=False)]
        tokens = np.concatenate(found) if found else np.zeros(0, np.int32)
        weights = self.idf[tokens]
        ends = np.array([0, *accumulate(map(len, found))], np.int32)
        kept = weights > 0
        if not kept.all():
            ends = np.concatenate([[0], np.cumsum(kept)])[ends].astype(np.int32)
            tokens, weights = tokens[kept], weights[kept]
        rows = sparse.csr_matrix((weights, tokens, ends), shape=(len(found), len(self.idf)))
        rows.has_canonical_format = True
        return rows
