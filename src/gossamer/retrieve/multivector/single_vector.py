"""The single-vector heuristic: candidates for a set of vectors from nearest neighbours of each of its vectors."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from gossamer._core.arrays import widen
from gossamer._core.checks import check_int
from gossamer._core.errors import ArgumentError
from gossamer._core.ranking import best
from gossamer.retrieve.dense.backends import Vectors, check_backend, make_vectors
from gossamer.retrieve.multivector.ragged import TokenVectors, as_ragged
from gossamer.retrieve.multivector.token_store import TokenStore
from gossamer.retrieve.ranking import SearchResult


class SingleVectorHeuristic:
    """Search documents of token vectors through one index of all tokens: what MUVERA is compared with.

    Every query vector fetches its nearest document vectors. Their documents are candidates in the order seen: the first
    neighbours of all query vectors, then the second ones, and so on.

    Parameters
    ----------
    dim : int
        Of the vectors.
    backend : {"exact", "faiss-hnsw", "faiss-pq", "hnswlib", "usearch", "scann"}
        What searches token vectors.
    pq : int, optional
        Coordinates that share a byte, for "faiss-pq".
    options : mapping, optional
        Of the backend.
    threads : int, optional
        Of search and scores.

    Raises
    ------
    ArgumentError, MissingDependencyError
        As :class:`MuveraIndex`.

    References
    ----------
    Dhulipala et al., arXiv 2405.19504, section 3; Santhanam et al., "PLAID", CIKM 2022, arXiv 2205.09707.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.retrieve import SingleVectorHeuristic
    >>> rng = np.random.default_rng(0)
    >>> documents = [rng.normal(size=(n, 32)) for n in (5, 9, 7)]
    >>> index = SingleVectorHeuristic(32).add(documents)
    >>> index.search(documents[1][:4], k=1).ids.tolist()
    [[1]]
    """

    def __init__(
        self,
        dim: int,
        backend: str = "exact",
        *,
        pq: int | None = None,
        options: Mapping[str, Any] | None = None,
        threads: int | None = None,
    ) -> None:
        self.dim, self.threads = check_int("dim", dim, low=1), threads
        self.backend = check_backend(backend, pq)
        self._vectors: Vectors = make_vectors(backend, dim, pq, options)
        self._tokens, self._owner = TokenStore(dim, "float32"), np.zeros(0, np.int64)

    def __len__(self) -> int:
        return len(self._tokens)

    def add(self, X: Any, offsets: Any = None) -> SingleVectorHeuristic:
        """Add documents, arguments as of :meth:`MuveraIndex.add`; their ids are counted on. Returns itself."""
        sets = as_ragged("X", X, offsets, dim=self.dim)
        vectors = np.ascontiguousarray(widen(sets.vectors), np.float32)
        self._vectors.add(vectors, self.threads)
        owners = np.repeat(np.arange(len(self), len(self) + len(sets)), np.diff(sets.offsets))
        self._tokens.add(TokenVectors(vectors, sets.offsets))
        self._owner = np.concatenate([self._owner, owners])
        return self

    def candidates(
        self, queries: Any, n: int = 200, offsets: Any = None, *, deduplicate: bool = True
    ) -> np.ndarray:
        """Candidates (m, n) of every query in the order seen, -1 where there are no more.

        Parameters
        ----------
        queries : one (m, dim), list of (m_i, dim), array (sum m, dim) with ``offsets``, or TokenVectors
            Token vectors.
        n : int
            Candidates a query.
        offsets : array of shape (n + 1,), optional
            Where queries begin.
        deduplicate : bool
            Count a document once, or every time that it is seen.

        Returns
        -------
        ndarray of int64, shape (number of queries, n)
        """
        sets, n = as_ragged("queries", queries, offsets, dim=self.dim), check_int("n", n, low=1)
        if not len(self):
            raise ArgumentError("the index is empty: add documents first")
        found = np.full((len(sets), n), -1, np.int64)
        for i in range(len(sets)):
            terms = np.ascontiguousarray(widen(sets.of(i)), np.float32)
            each = -(-n // len(terms))
            while True:
                each = min(each, len(self._owner))
                positions, _ = self._vectors.search(terms, each, self.threads)
                seen = positions.T.reshape(-1)
                documents = self._owner[seen[seen >= 0]]
                if deduplicate:
                    _, first = np.unique(documents, return_index=True)
                    documents = documents[np.sort(first)]
                if len(documents) >= n or each == len(self._owner):
                    break
                each *= 4
            found[i, : len(documents[:n])] = documents[:n]
        return found

    def search(self, queries: Any, k: int = 10, n_candidates: int = 200, offsets: Any = None) -> SearchResult:
        """The k documents with the largest Chamfer similarity among candidates, as :meth:`MuveraIndex.search`."""
        sets, k = as_ragged("queries", queries, offsets, dim=self.dim), check_int("k", k, low=1)
        begun = time.perf_counter()
        found = self.candidates(sets, max(n_candidates, k))
        middle = time.perf_counter()
        terms = [np.ascontiguousarray(widen(sets.of(i)), np.float32) for i in range(len(sets))]
        columns, scores = best(self._tokens.score(terms, found, self.threads), k)
        ids = np.where(columns >= 0, np.take_along_axis(found, columns, 1), -1)
        seconds = {"candidates": middle - begun, "rerank": time.perf_counter() - middle}
        return SearchResult(ids=ids, scores=scores, timings=seconds)

    @property
    def nbytes(self) -> int:
        """Bytes of the index of tokens and of the token vectors."""
        return self._vectors.nbytes + self._tokens.nbytes + self._owner.nbytes
