"""Texts named on the command line."""

import numpy as np
import pytest
from tests.compress.tiny import tiny_llama

from gossamer._core.errors import ArgumentError, MissingDataError
from gossamer.cli.texts import calibration_texts
from gossamer.compress import load_model, load_recipe


def named(source, model=None, seen=None):
    return calibration_texts(
        source, model, load_recipe("gptq-w4"), 0, (seen if seen is not None else []).append
    )


def test_one_file_is_one_text_even_with_a_comma_in_its_name(tmp_path):
    path = tmp_path / "a,b.txt"
    path.write_text("words")
    assert named(str(path)) == ("words", "a,b.txt")


def test_several_texts_keep_their_names(tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.txt").write_text(name * 3)
    texts, title = named(f"{tmp_path / 'a.txt'},{tmp_path / 'b.txt'}")
    assert texts == {"a.txt": "aaa", "b.txt": "bbb"}
    assert title == "a.txt, b.txt"


def test_the_model_writes_what_its_share_needs(tmp_path):
    (tmp_path / "a.txt").write_text("aaa")
    seen, model, recipe = [], load_model(tiny_llama()), load_recipe("gptq-w4")
    texts, title = named(f"self,{tmp_path / 'a.txt'}", model, seen)
    own = texts["text of its own"]
    assert isinstance(own, np.ndarray)
    assert len(own) * 2 >= recipe.calibration_tokens
    assert seen[-1].done == seen[-1].total
    assert title == "text of its own, a.txt"


def test_a_text_twice_and_a_missing_one_are_errors(tmp_path):
    (tmp_path / "a.txt").write_text("aaa")
    with pytest.raises(ArgumentError, match="different texts"):
        named(f"{tmp_path / 'a.txt'},{tmp_path / 'a.txt'}")
    with pytest.raises(MissingDataError, match=r"none\.txt"):
        named(f"{tmp_path / 'a.txt'},none.txt")
