"""Passages are short, in order, and hold every word of a text once."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossamer._core.errors import ArgumentError, FormatError
from gossamer.retrieve import read_passages, split_passages


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="ab .!?\n\t", max_size=300), st.integers(1, 9))
def test_words_stay_and_passages_are_short(text, words):
    passages = split_passages(text, words)
    assert " ".join(passages).split() == text.split()
    assert all(0 < len(p.split()) <= words for p in passages)


def test_sentences_and_paragraphs_stay_together_where_they_fit():
    text = "One two. Three four.\n\nFive six seven eight nine."
    assert split_passages(text, 4) == ["One two. Three four.", "Five six seven eight", "nine."]
    assert split_passages(text, 5) == ["One two. Three four.", "Five six seven eight nine."]
    with pytest.raises(ArgumentError, match="words=0"):
        split_passages(text, 0)


def test_folders_and_lines_are_read(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "a.txt").write_text("One two three four.")
    (tmp_path / "in" / "b.md").write_text("Five.")
    (tmp_path / "c.png").write_bytes(b"\xff")
    assert read_passages(tmp_path, 3) == {"a.txt": "One two three", "a.txt#2": "four.", "in/b.md": "Five."}
    lines = tmp_path / "x.jsonl"
    lines.write_text('{"id": "p", "title": "T", "text": "One two"}\n\n{"text": "Three"}\n')
    assert read_passages(lines) == {"p": "T: One two", "3": "Three"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON lines"),
        ("[1]", "line 1: expected an object with a text"),
        ('{"text": 3}', "line 1"),
        ('{"id": 1, "text": "a"}\n{"id": 1, "text": "b"}', "two documents are called '1'"),
        ("", "no text in it"),
        ("\x00\udcff", "not JSON lines"),
    ],
)
def test_what_is_no_document_is_refused(tmp_path, content, message):
    path = tmp_path / "x.jsonl"
    path.write_text(content, errors="surrogateescape")
    with pytest.raises(FormatError, match=message):
        read_passages(path)
    with pytest.raises(FormatError, match="expected a folder"):
        read_passages(tmp_path / "none")
