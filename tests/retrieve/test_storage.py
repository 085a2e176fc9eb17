"""Index folders: whole generations, checked bytes, one writer."""

import json
import subprocess
import sys
import threading

import numpy as np
import pytest
import safetensors.numpy

from gossamer._core.errors import ArgumentError, ConflictError, FormatError
from gossamer.retrieve import storage
from gossamer.retrieve.storage import generation_of, load_index, save_index

ARRAYS = {
    "ids": np.arange(5, dtype=np.int64),
    "tokens.half": np.linspace(0, 1, 12).astype(np.float16).reshape(4, 3),
    "flags": np.array([True, False]),
    "empty": np.zeros((0, 3), np.float32),
    "single": np.array(2.5),
}


def test_an_index_comes_back_as_it_was_saved(tmp_path):
    assert generation_of(tmp_path / "x") == 0
    assert save_index(tmp_path / "x", "kind", {"a": [1, "b"], "c": None}, ARRAYS) == 1
    found = load_index(tmp_path / "x", "kind")
    assert found.kind == "kind"
    assert found.generation == 1 == generation_of(tmp_path / "x")
    assert found.meta == {"a": [1, "b"], "c": None}
    assert set(found.arrays) == set(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found.arrays[name], array, strict=True)


def test_arrays_are_mapped_read_only_and_their_files_are_safetensors(tmp_path):
    save_index(tmp_path, "kind", {}, ARRAYS)
    array = load_index(tmp_path, "kind").arrays["ids"]
    base = array
    while not isinstance(base, np.memmap):
        base = base.base
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1
    (file,) = tmp_path.glob("ids.*.safetensors")
    np.testing.assert_array_equal(safetensors.numpy.load_file(file)["data"], ARRAYS["ids"])


def test_big_endian_and_strided_arrays_are_written_as_plain_ones(tmp_path):
    wide = np.arange(24, dtype=">i4").reshape(4, 6)
    save_index(tmp_path, "kind", {}, {"x": wide[::2, ::3]})
    found = load_index(tmp_path, "kind").arrays["x"]
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, wide[::2, ::3])


def test_a_reader_keeps_its_generation_while_writers_go_on(tmp_path):
    save_index(tmp_path, "kind", {"n": 1}, {"x": np.full(1000, 1)})
    old = load_index(tmp_path, "kind")
    save_index(tmp_path, "kind", {"n": 2}, {"x": np.full(1000, 2)})
    assert (old.arrays["x"] == 1).all()
    assert (load_index(tmp_path, "kind").arrays["x"] == 2).all()
    assert len(list(tmp_path.glob("x.*"))) == 1  # what nothing names is gone


def test_kept_arrays_are_not_written_again(tmp_path):
    save_index(tmp_path, "kind", {}, {"a": np.arange(3), "b": np.arange(4)})
    (file,) = tmp_path.glob("a.*")
    save_index(tmp_path, "kind", {}, {"c": np.arange(5)}, keep=["a"])
    assert file.exists()
    assert set(load_index(tmp_path, "kind").arrays) == {"a", "c"}
    with pytest.raises(ArgumentError, match="cannot be kept"):
        save_index(tmp_path, "kind", {}, {}, keep=["b"])
    with pytest.raises(ArgumentError, match="both written and kept"):
        save_index(tmp_path, "kind", {}, {"a": np.arange(2)}, keep=["a"])


def test_a_save_that_fails_leaves_the_old_index_and_no_files(tmp_path, monkeypatch):
    save_index(tmp_path, "kind", {}, {"x": np.arange(3)})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(FormatError, match="complex128"):
        save_index(tmp_path, "kind", {}, {"x": np.arange(9), "y": np.ones(2, complex)})
    with pytest.raises(ArgumentError, match="JSON"):
        save_index(tmp_path, "kind", {"x": float("nan")}, {"x": np.arange(9)})

    def full_disk(path, value):
        raise OSError("no space")

    monkeypatch.setattr(storage, "write_json", full_disk)
    with pytest.raises(OSError, match="no space"):
        save_index(tmp_path, "kind", {}, {"x": np.arange(9)})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_next_save_removes_what_a_crash_left(tmp_path):
    save_index(tmp_path, "kind", {}, {"x": np.arange(3)})
    left = [
        tmp_path / "x.0123456789ab.safetensors",
        tmp_path / ".x.0123456789ab.safetensors.0123456789ab.part",
        tmp_path / ".manifest.json.0123456789ab.part",
    ]
    for path in left:
        path.write_bytes(b"half")
    foreign = tmp_path / "notes.txt"
    foreign.write_text("mine")
    save_index(tmp_path, "kind", {}, {"x": np.arange(3)})
    assert not any(path.exists() for path in left)
    assert foreign.exists()


def test_changed_missing_and_cut_files_are_refused(tmp_path):
    save_index(tmp_path, "kind", {}, {"x": np.arange(1000)})
    (file,) = tmp_path.glob("x.*")
    whole = file.read_bytes()
    file.write_bytes(whole[:-8] + b"\x01" * 8)
    with pytest.raises(FormatError, match="checksum"):
        load_index(tmp_path, "kind")
    assert len(load_index(tmp_path, "kind", verify=False).arrays["x"]) == 1000
    file.write_bytes(whole[:-8])
    with pytest.raises(FormatError, match="damaged"):
        load_index(tmp_path, "kind", verify=False)
    safetensors.numpy.save_file({"data": np.arange(999)}, file)
    with pytest.raises(FormatError, match="manifest says"):
        load_index(tmp_path, "kind", verify=False)
    safetensors.numpy.save_file({"other": np.arange(1000)}, file)
    with pytest.raises(FormatError, match="expected data"):
        load_index(tmp_path, "kind")
    file.unlink()
    with pytest.raises(FormatError, match="no such file"):
        load_index(tmp_path, "kind")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(format_version=2), "version 2"),
        (lambda m: m.update(generation=7), "own checksum"),
        (lambda m: m.update(extra=1), "keys"),
        (lambda m: m.pop("meta"), "keys"),
    ],
)
def test_an_edited_manifest_is_refused(tmp_path, change, message):
    save_index(tmp_path, "kind", {}, {"x": np.arange(3)})
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    change(manifest)
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(FormatError, match=message):
        load_index(tmp_path, "kind")


def test_a_manifest_cannot_name_files_elsewhere(tmp_path):
    save_index(tmp_path / "i", "kind", {}, {"x": np.arange(3)})
    manifest = json.loads((tmp_path / "i" / "manifest.json").read_text())
    manifest["arrays"]["x"]["file"] = "../x.0123456789ab.safetensors"
    manifest.pop("checksum")
    (tmp_path / "i" / "manifest.json").write_text(json.dumps(storage._signed(manifest)))
    with pytest.raises(FormatError, match="table of arrays"):
        load_index(tmp_path / "i", "kind")


def test_another_kind_is_neither_read_nor_overwritten(tmp_path):
    save_index(tmp_path, "one", {}, {})
    with pytest.raises(FormatError, match="kind 'one'"):
        load_index(tmp_path, "two")
    with pytest.raises(ArgumentError, match="kind 'one'"):
        save_index(tmp_path, "two", {}, {})
    with pytest.raises(FormatError, match="no such file"):
        load_index(tmp_path / "nothing", "one")


@pytest.mark.parametrize("name", ["", "../x", "A", "a/b", ".a", "a..b"])
def test_names_that_are_no_file_names_are_refused(tmp_path, name):
    with pytest.raises(ArgumentError, match="array name"):
        save_index(tmp_path / "i", "kind", {}, {name: np.arange(2)})


def test_a_writer_that_read_an_older_generation_is_told_so(tmp_path):
    save_index(tmp_path, "kind", {}, {"x": np.arange(3)}, replaces=0)
    with pytest.raises(ConflictError, match="generation 1"):
        save_index(tmp_path, "kind", {}, {"x": np.arange(4)}, replaces=0)
    assert save_index(tmp_path, "kind", {}, {"x": np.arange(4)}, replaces=1) == 2


def test_a_second_writer_is_refused_until_the_first_has_ended(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from gossamer.retrieve import storage\n"
        f"with storage._writer(Path({str(tmp_path)!r})):\n    print('held', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(ConflictError, match="another process"):
            save_index(tmp_path, "kind", {}, {})
    finally:
        other.kill()  # a crash: the system drops the lock
        other.communicate()
    assert save_index(tmp_path, "kind", {}, {}) == 1


def test_readers_beside_a_writer_always_see_one_whole_generation(tmp_path):
    def save(n):
        save_index(tmp_path, "kind", {"n": n}, {"a": np.full(300, n), "b": np.full(200, n)})

    save(0)
    stop, seen, wrong = threading.Event(), set(), []

    def read():
        while not stop.is_set():
            found = load_index(tmp_path, "kind")
            seen.add(found.meta["n"])
            if any((array != found.meta["n"]).any() for array in found.arrays.values()):
                wrong.append(found.generation)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        for n in range(1, 40):
            save(n)
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert not wrong
    assert len(seen) > 1
