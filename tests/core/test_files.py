"""Files are written whole or not at all, and read with suspicion."""

import errno
import hashlib
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer._core import files
from gossamer._core.errors import FormatError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_json_round_trips(tmp_path_factory, value):
    path = tmp_path_factory.mktemp("json") / "value.json"
    files.write_json(path, value)
    assert files.read_json(path) == value


def test_nan_never_reaches_a_json_file(tmp_path):
    path = tmp_path / "value.json"
    files.write_json(path, 1)
    with pytest.raises(ValueError, match="nan"):
        files.write_json(path, float("nan"))
    assert files.read_json(path) == 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"a": 1', "damaged JSON"),
        (b"", "damaged JSON"),
        (b"\xff\xfe", "not a JSON text file"),
        (b'{"a": 1, "a": 2}', "the key 'a' stands twice"),
        (b"[" * 100_000, "damaged JSON"),
    ],
)
def test_damaged_json_is_named_and_does_not_crash(tmp_path, data, message):
    path = tmp_path / "bad.json"
    path.write_bytes(data)
    with pytest.raises(FormatError, match=message) as caught:
        files.read_json(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_and_a_directory_are_format_errors(tmp_path):
    with pytest.raises(FormatError, match="no such file"):
        files.read_json(tmp_path / "absent.json")
    with pytest.raises(FormatError):
        files.read_json(tmp_path)


def test_an_interrupted_write_leaves_the_old_file_and_no_remains(tmp_path):
    path = tmp_path / "model.bin"
    files.write_bytes(path, b"old")

    def interrupted():
        with files.atomic_path(path) as temporary:
            temporary.write_bytes(b"half of the n")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["model.bin"]


def test_a_full_disk_leaves_the_old_file_and_no_remains(tmp_path, monkeypatch):
    path = tmp_path / "model.bin"
    files.write_bytes(path, b"old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        files.write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["model.bin"]


def test_parents_are_made_and_the_hash_is_sha256(tmp_path):
    path = tmp_path / "a" / "b" / "data"
    files.write_bytes(path, b"x" * 3_000_000)
    assert files.sha256(path) == hashlib.sha256(b"x" * 3_000_000).hexdigest()
