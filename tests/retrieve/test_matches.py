"""Why documents are found: parts of a score that sum to it."""

import numpy as np
import pytest
from tests.retrieve.word_encoder import word_tokenizer, word_vectors

from gossamer._core.errors import ArgumentError
from gossamer.retrieve import (
    BM25DocEncoder,
    BM25Texts,
    Collection,
    FDEConfig,
    IDFQueryEncoder,
    InvertedIndex,
    MuveraTexts,
    TokenEncoder,
    term_matches,
    token_matches,
)

TEXTS = {
    "bread": "Bread is baked in an oven by the baker",
    "ships": "Ships sail over the sea with the wind",
    "cats": "Cats sleep on warm stones all day",
}


def test_terms_are_those_that_both_have():
    tokenizer, texts = word_tokenizer(), list(TEXTS.values())
    queries = IDFQueryEncoder.from_corpus(tokenizer, texts)
    index = InvertedIndex().build(BM25DocEncoder(tokenizer).fit(texts).encode(texts))
    asked = "the ships and the cats"
    ids, scores = index.search(queries.encode([asked]), 3)
    for i, score in zip(ids[0], scores[0]):
        found = term_matches(index, queries, asked, int(i))
        assert {match.query for match in found} == set(asked.split()) & set(texts[i].lower().split())
        assert all(match.query == match.text for match in found)
        assert sum(match.score for match in found) == pytest.approx(float(score), rel=1e-5)
    with pytest.raises(ArgumentError, match="document=3"):
        term_matches(index, queries, asked, 3)


def test_every_token_of_a_query_meets_the_one_most_like_it():
    encoder = TokenEncoder(word_vectors, word_tokenizer())
    found = token_matches(encoder, "warm cats fish", TEXTS["cats"])
    assert [match.query for match in found] == ["warm", "cats", "fish"]
    assert [match.text for match in found[:2]] == ["warm", "cats"]
    assert found[0].score == pytest.approx(1, abs=1e-5)
    own, other = encoder.encode(["warm cats fish"]).vectors, encoder.encode([TEXTS["cats"]]).vectors
    assert sum(match.score for match in found) == pytest.approx(float((own @ other.T).max(1).sum()), rel=1e-5)


def test_a_collection_explains_what_it_found_also_after_changes():
    tokenizer = word_tokenizer()
    muvera = MuveraTexts(TokenEncoder(word_vectors, tokenizer), FDEConfig(16, 10, 3, None))
    collection = Collection({"bm25": BM25Texts(tokenizer), "muvera": muvera})
    collection.put(TEXTS)
    collection.delete(["bread"])
    collection.put({"rivers": "Rivers flow to the sea"})
    for method in (None, "bm25", "muvera", "fusion"):
        hit = collection.search(["rivers"], 1, method)[0][0]
        (match,) = collection.explain("rivers", hit.key, method)
        assert hit.key == "rivers"
        assert (match.query, match.text) == ("rivers", "rivers")
        if method in ("bm25", "muvera"):
            assert np.isclose(match.score, hit.score, rtol=1e-2)  # muvera keeps vectors in 16 bits
    for key, method in (("bread", None), ("rivers", "guess")):
        with pytest.raises(ArgumentError, match=r"bread|guess"):
            collection.explain("rivers", key, method)
