"""What MUVERA is measured on: token vectors of package descriptions and of paragraphs, encoded once."""

from __future__ import annotations

import gzip
import json
from functools import cache
from typing import NamedTuple

import numpy as np

from benchmarks.artifacts import CACHE
from benchmarks.encoder_models import engine as load
from gossamer.datasets.locate import data_file
from gossamer.retrieve import TokenEncoder, TokenVectors
from gossamer.retrieve.multivector.token_store import TokenStore

DESCRIPTIONS = "debian-descriptions/descriptions.jsonl.gz"
PARAGRAPHS = "xquad-en/xquad.en.json"


class Texts(NamedTuple):
    """Documents, queries, and for each query the document that it belongs to."""

    documents: list[str]
    queries: list[str]
    relevant: np.ndarray


@cache
def descriptions() -> Texts:
    """Every fifth description of a Debian package; the first 300 titles of every tenth are queries for their own."""
    with gzip.open(
        data_file(DESCRIPTIONS, "the descriptions of Debian packages"), "rt", encoding="utf-8"
    ) as lines:
        records = [json.loads(line) for i, line in enumerate(lines) if i % 5 == 0]
    asked = range(0, len(records), 2)[:300]
    return Texts([r["text"] for r in records], [records[i]["title"] for i in asked], np.array(asked))


@cache
def paragraphs() -> Texts:
    """The 240 paragraphs of XQuAD in English; every third of its 1,190 questions asks for the paragraph it is about."""
    articles = json.loads(data_file(PARAGRAPHS, "XQuAD in English").read_text(encoding="utf-8"))["data"]
    all_of_them = [p for article in articles for p in article["paragraphs"]]
    asked = [(qa["question"], i) for i, p in enumerate(all_of_them) for qa in p["qas"]][::3]
    return Texts([p["context"] for p in all_of_them], [q for q, _ in asked], np.array([i for _, i in asked]))


@cache
def model(pooled: bool = False) -> TokenEncoder:
    """all-MiniLM-L6-v2 on our engine in eight bits, 384 dimensions, texts cut to 128 tokens."""
    engine = load("w8")
    return TokenEncoder(engine.encoder, engine.tokenizer, max_length=128, pooled=pooled)


@cache
def encoded(texts: str, part: str, pooled: bool = False) -> TokenVectors:
    """Vectors of the ``documents`` or ``queries`` of ``descriptions`` or ``paragraphs``, kept under build/bench."""
    path = CACHE / f"muvera-{texts}-{part}{'-pooled' if pooled else ''}.npz"
    if not path.exists():
        print(f"encoding: {part} of {texts} (once)", flush=True)
        source = descriptions() if texts == "descriptions" else paragraphs()
        vectors, offsets = model(pooled).encode(getattr(source, part))
        CACHE.mkdir(parents=True, exist_ok=True)
        np.savez(path, vectors=vectors, offsets=offsets)
    with np.load(path) as held:
        return TokenVectors(held["vectors"], held["offsets"])


@cache
def exact(texts: str) -> np.ndarray:
    """Chamfer similarity (queries, documents) of all pairs, kept under build/bench."""
    path = CACHE / f"muvera-{texts}-chamfer.npy"
    if not path.exists():
        queries, store = encoded(texts, "queries"), TokenStore(384, "float32")
        store.add(encoded(texts, "documents"))
        everything = np.broadcast_to(np.arange(len(store)), (len(queries), len(store)))
        np.save(path, store.score([queries.of(i) for i in range(len(queries))], everything))
    return np.load(path)
