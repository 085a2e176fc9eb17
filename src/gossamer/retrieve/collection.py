"""A folder of documents and the indexes over them: searched by one or several methods, changed while others read."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from gossamer._core.checks import check_choice, check_int
from gossamer._core.errors import ArgumentError, FormatError
from gossamer.retrieve.documents import Documents
from gossamer.retrieve.fusion import reciprocal_rank_fusion
from gossamer.retrieve.matches import Match
from gossamer.retrieve.storage import generation_of, load_index, save_index

_KIND = "collection"
FUSION = "fusion"
_DEPTH = 100  # documents of each method that fusion looks at, at least


class Hit(NamedTuple):
    """One document that a search found.

    Attributes
    ----------
    key : str
        What the document is called.
    score : float
        The method's; of fusion, the sum over methods of ``1 / (60 + rank)``.
    text : str
        The document.
    """

    key: str
    score: float
    text: str


class TextIndex(Protocol):
    """What a method offers to a collection. Ids are integers that the collection gives out and never twice."""

    def change(self, gone: np.ndarray, ids: np.ndarray, texts: Sequence[str], corpus: Corpus) -> None:
        """Take out ``gone``, add ``texts`` as ``ids``; ``corpus`` is what there is afterwards."""
        ...

    def search(self, queries: Sequence[str], k: int) -> tuple[np.ndarray, np.ndarray]:
        """Ids and scores (n, k), -1 where there are no more."""
        ...

    def explain(self, query: str, id: int, text: str) -> list[Match]:
        """What makes the score of a document, given by id and text."""
        ...

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Plain values and arrays for :meth:`restore`."""
        ...

    def restore(self, meta: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        """Become the index that :meth:`state` described."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes of the index."""
        ...


class Corpus:
    """Keys and texts of documents, in segments that never change, as UTF-8."""

    def __init__(self) -> None:
        self.segments: list[dict[str, np.ndarray]] = []
        self.documents = Documents()

    def append(self, keys: Sequence[str], texts: Sequence[str]) -> np.ndarray:
        """Add documents; returns their ids."""
        ids = self.documents.new_ids(None, len(keys))
        self.segments.append({**_packed("keys", keys), **_packed("texts", texts), "ids": ids})
        self.documents.append(ids)
        return ids

    def living(self) -> tuple[np.ndarray, list[str]]:
        """Ids and texts of all documents that are not deleted."""
        alive = self.documents.alive
        return self.documents.ids[alive], [self.text(int(p)) for p in np.flatnonzero(alive)]

    def key(self, position: int) -> str:
        """Key of the document at a position."""
        return self._string("keys", position)

    def text(self, position: int) -> str:
        """Text of the document at a position."""
        return self._string("texts", position)

    def _string(self, what: str, position: int) -> str:
        for segment in self.segments:
            if position < len(segment["ids"]):
                a, b = segment[f"{what}.offsets"][position : position + 2]
                return segment[what][a:b].tobytes().decode()
            position -= len(segment["ids"])
        raise IndexError(position)

    def state(self) -> dict[str, np.ndarray]:
        """Arrays that :meth:`restore` takes; those of segments are named after them."""
        arrays = {f"{name}.{i}": a for i, part in enumerate(self.segments) for name, a in part.items()}
        return {**arrays, "alive": self.documents.alive}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Take arrays of :meth:`state`, as they are."""
        names = ("keys", "keys.offsets", "texts", "texts.offsets", "ids")
        for i in range((len(arrays) - 1) // len(names)):
            part = {name: arrays[f"{name}.{i}"] for name in names}
            count = len(part["ids"])
            for what in ("keys", "texts"):
                offsets = part[f"{what}.offsets"]
                good = offsets.dtype == np.int64 and offsets.shape == (count + 1,) and count > 0
                if not good or part[what].dtype != np.uint8 or part[what].ndim != 1:
                    raise FormatError(f"{what}.{i}: expected bytes and int64 offsets of {count} documents")
                if offsets[0] != 0 or offsets[-1] != len(part[what]) or (np.diff(offsets) < 0).any():
                    raise FormatError(f"{what}.offsets.{i}: expected to rise from 0 to {len(part[what])}")
            self.segments.append(part)
        ids = np.concatenate([np.zeros(0, np.int64), *(part["ids"] for part in self.segments)])
        self.documents.restore({"ids": ids, "alive": arrays["alive"]}, len(ids))


class Collection:
    """Documents with keys, and one or several indexes over their texts, in one folder.

    Changes are made in memory and become visible to readers at once, all of them, by :meth:`save`. Any number of
    readers may have the folder open while one process writes: each sees the state that it has loaded. When
    :attr:`outdated` says that there is a later one, load it.

    Parameters
    ----------
    indexes : mapping of str to index
        By method, for example ``{"bm25": BM25Texts(tokenizer), "muvera": MuveraTexts(encoder)}``. Empty ones; what they
        need to encode texts is not written to the folder, so :meth:`load` takes the same again.

    Raises
    ------
    ArgumentError
        Without indexes, or for a method called "fusion".

    Examples
    --------
    >>> collection = Collection({"muvera": MuveraTexts(encoder)})  # doctest: +SKIP
    >>> collection.put({"a.txt": "How bread is baked.", "b.txt": "Of ships."})  # doctest: +SKIP
    >>> collection.search(["ovens"], k=1)[0][0].key  # doctest: +SKIP
    'a.txt'
    """

    def __init__(self, indexes: Mapping[str, TextIndex]) -> None:
        if not indexes or FUSION in indexes:
            raise ArgumentError(
                f"indexes are {sorted(indexes)}: expected at least one, none called {FUSION!r}"
            )
        self.indexes = dict(indexes)
        self._corpus, self._positions = Corpus(), dict[str, int]()
        self._seen: tuple[str, int] | None = None

    def __len__(self) -> int:
        return len(self._corpus.documents)

    def __contains__(self, key: str) -> bool:
        return key in self._positions

    @property
    def methods(self) -> list[str]:
        """What :meth:`search` takes: the indexes, and their fusion where there are several."""
        return [*self.indexes, *([FUSION] if len(self.indexes) > 1 else [])]

    def keys(self) -> list[str]:
        """Keys of all documents, in the order in which they came."""
        return list(self._positions)

    def get(self, key: str) -> str:
        """Text of a document.

        Raises
        ------
        ArgumentError
            If there is none of this key.
        """
        if key not in self._positions:
            raise ArgumentError(f"key {key!r} is not in the collection")
        return self._corpus.text(self._positions[key])

    def put(self, documents: Mapping[str, str]) -> None:
        """Add documents, in place of those that have their keys.

        Parameters
        ----------
        documents : mapping of str to str
            Texts by key; what has the same text already is left alone.

        Raises
        ------
        ArgumentError
            For keys or texts that are not text, or a text without words; nothing changes then, unless an encoder fails.
        """
        for key, text in documents.items():
            if not isinstance(key, str) or not isinstance(text, str):
                raise ArgumentError(f"document {key!r}: expected a str as key and a str as text")
            if not text.strip():
                raise ArgumentError(f"document {key!r} has no text")
        new = {k: t for k, t in documents.items() if k not in self._positions or self.get(k) != t}
        if new:
            self._change([key for key in new if key in self._positions], new)

    def delete(self, keys: Sequence[str]) -> None:
        """Take documents out.

        Raises
        ------
        ArgumentError
            If one of them is not there; nothing is deleted then.
        """
        if isinstance(keys, str):
            raise ArgumentError("keys is one str: expected a list of keys")
        for key in keys:
            self.get(key)
        if keys:
            self._change(list(dict.fromkeys(keys)), {})

    def _change(self, gone: Sequence[str], new: Mapping[str, str]) -> None:
        documents = self._corpus.documents
        old = documents.ids[[self._positions.pop(key) for key in gone]] if gone else np.zeros(0, np.int64)
        documents.delete(old)
        first, ids = len(documents.ids), np.zeros(0, np.int64)
        if new:
            ids = self._corpus.append(list(new), list(new.values()))
            self._positions.update({key: first + i for i, key in enumerate(new)})
        for index in self.indexes.values():
            index.change(old, ids, list(new.values()), self._corpus)

    def search(self, queries: Sequence[str], k: int = 10, method: str | None = None) -> list[list[Hit]]:
        """The k best documents of each query, the best first.

        Parameters
        ----------
        queries : sequence of str
            What is looked for.
        k : int
            Documents a query.
        method : str, optional
            One of :attr:`methods`; by default the last of them, which is fusion where there are several indexes.

        Returns
        -------
        list of list of Hit

        Raises
        ------
        ArgumentError
            For an unknown method, ``k < 1``, a query without words, or an empty collection.
        """
        if isinstance(queries, str):
            raise ArgumentError("queries is one str: expected a list of queries")
        for i, query in enumerate(queries):
            if not isinstance(query, str) or not query.strip():
                raise ArgumentError(f"queries[{i}]={query!r}: expected text")
        method = check_choice("method", self.methods[-1] if method is None else method, self.methods)
        k = check_int("k", k, low=1)
        if not len(self) or not queries:
            raise ArgumentError("the collection is empty" if queries else "queries is empty")
        if method == FUSION:
            found = [index.search(queries, max(k, _DEPTH))[0] for index in self.indexes.values()]
            ids, scores = reciprocal_rank_fusion(found, k)
        else:
            ids, scores = self.indexes[method].search(queries, k)
        at = {int(id): p for p, id in enumerate(self._corpus.documents.ids)}
        return [
            [
                Hit(self._corpus.key(at[int(i)]), float(score), self._corpus.text(at[int(i)]))
                for i, score in zip(row, values, strict=True)
                if i >= 0
            ]
            for row, values in zip(ids, scores, strict=True)
        ]

    def explain(self, query: str, key: str, method: str | None = None) -> list[Match]:
        """Terms, or pairs of tokens, that make a document's score; of fusion, those of the first method."""
        first = next(iter(self.indexes))
        name = check_choice("method", first if method in (None, FUSION) else method, list(self.indexes))
        text = self.get(key)
        id = int(self._corpus.documents.ids[self._positions[key]])
        return self.indexes[name].explain(query, id, text)

    @property
    def memory(self) -> dict[str, int]:
        """Bytes of the texts and of each index."""
        texts = sum(a.nbytes for a in self._corpus.state().values())
        return {"texts": texts, **{name: index.nbytes for name, index in self.indexes.items()}}

    def save(self, folder: str | os.PathLike[str], settings: Mapping[str, Any] | None = None) -> int:
        """Write the collection, whole or not at all; returns its generation.

        Parameters
        ----------
        folder : path
            Made if it is not there. What it holds of this collection already is not written again.
        settings : mapping, optional
            Plain values that :func:`collection_settings` gives back: how to make encoders, for example.

        Raises
        ------
        ConflictError
            If another process is writing, or has written since this collection was loaded or saved.
        """
        meta: dict[str, Any] = {
            "methods": list(self.indexes),
            "indexes": {},
            "settings": dict(settings or {}),
        }
        arrays = {f"corpus.{name}": array for name, array in self._corpus.state().items()}
        for name, index in self.indexes.items():
            meta["indexes"][name], held = index.state()
            arrays |= {f"{name}.{part}": array for part, array in held.items()}
        where, keep, replaces = os.path.realpath(folder), set[str](), None
        if self._seen is not None and self._seen[0] == where:
            replaces = self._seen[1]
            stored = load_index(folder, _KIND, verify=False)
            if stored.generation == replaces:
                keep = {name for name in stored.arrays if name in arrays and _lasts(name)}
        written = {name: array for name, array in arrays.items() if name not in keep}
        generation = save_index(folder, _KIND, meta, written, keep=keep, replaces=replaces)
        self._seen = where, generation
        return generation

    @classmethod
    def load(
        cls, folder: str | os.PathLike[str], indexes: Mapping[str, TextIndex], *, verify: bool = True
    ) -> Collection:
        """Open what :meth:`save` wrote, mapped into memory.

        Parameters
        ----------
        folder : path
            Of the collection.
        indexes : mapping of str to index
            Empty ones of the methods that the folder holds, all or some; without all of them it cannot be changed well,
            so only readers leave some out.
        verify : bool
            Compare checksums, which reads everything once.

        Raises
        ------
        FormatError
            If it is damaged, no collection, or lacks a method.
        """
        stored = load_index(folder, _KIND, verify=verify)
        collection = cls(indexes)
        try:
            collection._corpus.restore(_under("corpus.", stored.arrays))
            for name, index in indexes.items():
                index.restore(stored.meta["indexes"][name], _under(f"{name}.", stored.arrays))
        except KeyError as error:
            raise FormatError(f"{folder}: the collection has no {error}") from None
        alive = np.flatnonzero(collection._corpus.documents.alive)
        collection._positions = {collection._corpus.key(int(p)): int(p) for p in alive}
        collection._seen = os.path.realpath(folder), stored.generation
        return collection

    @property
    def outdated(self) -> bool:
        """Whether another process has saved a later state into the folder; cheap to ask."""
        return self._seen is not None and generation_of(self._seen[0]) != self._seen[1]


def collection_settings(folder: str | os.PathLike[str]) -> tuple[list[str], dict[str, Any]]:
    """Methods of a collection's folder, and the settings that :meth:`Collection.save` was given.

    Raises
    ------
    FormatError
        If it is no collection.
    """
    meta = load_index(folder, _KIND, verify=False).meta
    return list(meta["methods"]), meta["settings"]


def _lasts(name: str) -> bool:
    """Whether an array of this name never changes once it is written."""
    return name.startswith("corpus.") and name != "corpus.alive"


def _packed(name: str, strings: Sequence[str]) -> dict[str, np.ndarray]:
    parts = [s.encode("utf-8", "surrogatepass") for s in strings]
    offsets = np.cumsum([0] + [len(p) for p in parts], dtype=np.int64)
    return {name: np.frombuffer(b"".join(parts), np.uint8), f"{name}.offsets": offsets}


def _under(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
