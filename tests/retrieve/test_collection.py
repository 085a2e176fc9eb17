"""A collection finds by every method what it holds now, for all who have it open."""

import subprocess
import sys

import numpy as np
import pytest
from tests.retrieve import word_encoder
from tests.retrieve.word_encoder import word_tokenizer, word_vectors

from gossamer._core.errors import ArgumentError, ConflictError, FormatError
from gossamer.retrieve import (
    BM25DocEncoder,
    BM25Texts,
    Collection,
    FDEConfig,
    IDFQueryEncoder,
    MuveraTexts,
    SparseTexts,
    TokenEncoder,
    collection_settings,
    reciprocal_rank_fusion,
)

TEXTS = {
    "bread": "Bread is baked in an oven by the baker",
    "ships": "Ships sail over the sea with the wind",
    "cats": "Cats sleep on warm stones all day",
    "towns": "Old towns hold markets where people buy fish",
    "rivers": "Rivers flow to the sea day and night",
}


def indexes(methods=("bm25", "sparse", "muvera")):
    tokenizer = word_tokenizer()
    documents = BM25DocEncoder(tokenizer).fit(TEXTS.values())
    made = {
        "bm25": BM25Texts(tokenizer),
        "sparse": SparseTexts(documents, IDFQueryEncoder.from_corpus(tokenizer, TEXTS.values())),
        "muvera": MuveraTexts(TokenEncoder(word_vectors, tokenizer), FDEConfig(16, 10, 3, None)),
    }
    return {name: made[name] for name in methods}


@pytest.fixture
def collection():
    made = Collection(indexes())
    made.put(TEXTS)
    return made


@pytest.mark.parametrize("method", ["bm25", "sparse", "muvera", "fusion", None])
def test_every_method_finds_the_document_that_shares_words(collection, method):
    hits = collection.search(["warm cats", "the baker and his oven", "fish markets"], k=2, method=method)
    assert [row[0].key for row in hits] == ["cats", "bread", "towns"]
    assert hits[0][0].text == TEXTS["cats"]
    assert all(row[0].score >= row[-1].score for row in hits)


def test_fusion_is_that_of_the_rankings(collection):
    queries = ["sea day", "old stones"]
    rankings = [index.search(queries, 100)[0] for index in collection.indexes.values()]
    ids, scores = reciprocal_rank_fusion(rankings, 3)
    found = collection.search(queries, 3)
    np.testing.assert_allclose([[h.score for h in row] for row in found], scores, rtol=1e-6)
    assert [[h.key for h in row] for row in found] == [[list(TEXTS)[i] for i in row] for row in ids]


@pytest.mark.parametrize("method", ["bm25", "sparse", "muvera", "fusion"])
def test_what_is_changed_or_deleted_is_no_longer_found(collection, method):
    collection.put({"cats": "Cats buy bread", "new": "Warm wind over warm stones"})
    assert len(collection) == 6
    assert collection.get("cats") == "Cats buy bread"
    assert collection.search(["warm stones"], 1, method)[0][0].key == "new"
    collection.delete(["new", "bread"])
    assert "new" not in collection
    assert collection.keys() == ["ships", "towns", "rivers", "cats"]
    hits = collection.search(["warm bread stones"], 10, method)[0]
    assert hits[0].key == "cats"
    assert len({h.key for h in hits} | set(collection.keys())) == 4
    collection.delete(collection.keys())
    with pytest.raises(ArgumentError, match="the collection is empty"):
        collection.search(["cats"], 1, method)
    collection.put({"again": TEXTS["ships"]})
    assert collection.search(["ships"], 1, method)[0][0].key == "again"


def test_the_same_text_again_changes_nothing(collection):
    before = collection.indexes["muvera"].index
    vectors = before.nbytes
    collection.put(TEXTS)
    assert collection.indexes["muvera"].index.nbytes == vectors


def test_it_comes_back_from_its_folder(collection, tmp_path):
    collection.delete(["ships"])
    assert collection.save(tmp_path, {"model": "words"}) == 1
    assert collection_settings(tmp_path) == (["bm25", "sparse", "muvera"], {"model": "words"})
    again = Collection.load(tmp_path, indexes())
    for method in collection.methods:
        assert again.search(["sea day"], 5, method) == collection.search(["sea day"], 5, method)
    assert again.memory["texts"] == collection.memory["texts"]
    one = Collection.load(tmp_path, indexes(["muvera"]))
    assert one.methods == ["muvera"]
    assert one.search(["warm cats"], 1)[0][0].key == "cats"


def test_readers_see_one_whole_state_while_a_writer_changes_it(collection, tmp_path):
    collection.save(tmp_path)
    reader, other = (Collection.load(tmp_path, indexes()) for _ in range(2))
    texts = {p.name for p in tmp_path.glob("corpus.texts.*")}
    collection.put({"cats": "Cats sail"})
    collection.delete(["towns"])
    collection.save(tmp_path)
    assert texts < {p.name for p in tmp_path.glob("corpus.texts.*")}  # what was there is not written again
    assert reader.outdated
    assert not collection.outdated
    assert reader.search(["fish markets"], 1)[0][0].key == "towns"
    other.put({"late": "Late bread"})
    with pytest.raises(ConflictError, match="generation"):
        other.save(tmp_path)
    fresh = Collection.load(tmp_path, indexes())
    assert fresh.keys() == ["bread", "ships", "rivers", "cats"]
    assert fresh.search(["cats sail"], 1)[0][0].text == "Cats sail"


def test_another_process_reads_what_this_one_writes(collection, tmp_path):
    collection.save(tmp_path)
    code = (
        "import runpy, sys; from gossamer.retrieve import BM25Texts, Collection\n"
        "index = BM25Texts(runpy.run_path(sys.argv[2])['word_tokenizer']())\n"
        "print(Collection.load(sys.argv[1], {'bm25': index}).search(['warm cats'], 1)[0][0].key)"
    )
    words = [sys.executable, "-c", code, str(tmp_path), word_encoder.__file__]
    run = subprocess.run(words, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "cats"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c: c.put({"x": " "}), "document 'x' has no text"),
        (lambda c: c.put({"x": 3}), "expected a str as key"),
        (lambda c: c.delete(["bread", "none"]), "key 'none' is not in the collection"),
        (lambda c: c.delete("bread"), "keys is one str"),
        (lambda c: c.search("cats"), "queries is one str"),
        (lambda c: c.search([""]), "expected text"),
        (lambda c: c.search([]), "queries is empty"),
        (lambda c: c.search(["cats"], 0), "k=0"),
        (lambda c: c.search(["cats"], 3, "tfidf"), "method='tfidf'"),
        (lambda c: c.get("none"), "key 'none'"),
        (lambda c: Collection({}), "expected at least one"),
        (lambda c: Collection({"fusion": None}), "none called 'fusion'"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(collection, call, message):
    with pytest.raises(ArgumentError, match=message):
        call(collection)
    assert collection.keys() == list(TEXTS)


def test_damage_is_seen(collection, tmp_path):
    collection.save(tmp_path)
    with pytest.raises(FormatError, match="no 'other'"):
        Collection.load(tmp_path, {"other": indexes()["bm25"]})
    file = next(tmp_path.glob("corpus.texts.0.*"))
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))
    with pytest.raises(FormatError, match="does not match its checksum"):
        Collection.load(tmp_path, indexes())
