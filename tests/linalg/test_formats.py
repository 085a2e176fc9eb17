"""Files of structured matrices are written whole, read strictly, and never crash a reader."""

import json

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gossamer._core.errors import ArgumentError, FormatError, GossamerError
from gossamer.linalg import (
    DiagonalMatrix,
    LowRank,
    StructuredMatrix,
    Unstructured,
    load_matrices,
    save_matrices,
)


@pytest.fixture
def matrices():
    W = np.random.default_rng(0).standard_normal((6, 8)).astype(np.float32)
    return {
        "model.layers.0.up": (Unstructured(density=0.5) + LowRank(1, "bfloat16")).project(W),
        "head": LowRank(2).project(W).T,
        "scale": DiagonalMatrix.of(np.arange(1.0, 4)).tagged("psd"),
    }


@pytest.fixture
def path(tmp_path, matrices):
    save_matrices(tmp_path / "m.safetensors", matrices)
    return tmp_path / "m.safetensors"


def rewrite(path, change):
    """Apply ``change`` to (tensors, header) and write them back."""
    with safetensors.safe_open(path, "numpy") as handle:
        header = json.loads(handle.metadata()["gossamer"])
        tensors = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118
    change(tensors, header)
    safetensors.numpy.save_file(tensors, path, metadata={"gossamer": json.dumps(header)})


def test_what_is_saved_is_loaded(path, matrices):
    loaded = load_matrices(path)
    assert set(loaded) == set(matrices)
    for name, A in matrices.items():
        assert loaded[name].structure == A.structure
        assert loaded[name].tags == A.tags
        np.testing.assert_array_equal(loaded[name].to_dense(), A.to_dense())


def test_equal_matrices_give_equal_bytes_and_torch_factors_too(path, matrices, tmp_path):
    save_matrices(tmp_path / "again", {name: A.torch() for name, A in reversed(matrices.items())})
    assert (tmp_path / "again").read_bytes() == path.read_bytes()


def test_other_tools_read_the_tensors(path):
    tensors = safetensors.numpy.load_file(path)
    assert "model.layers.0.up.0.indptr" in tensors
    assert tensors["head.left"].shape == (8, 2)


def test_a_failed_save_leaves_the_old_file(path, matrices, monkeypatch):
    before = path.read_bytes()

    def full_disk(tensors, target, metadata):
        target.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.numpy.save_file", full_disk)
    with pytest.raises(OSError, match="No space"):
        save_matrices(path, matrices)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


CHANGES = {
    "format version 2": lambda t, h: h.update(format_version=2),
    "format version None": lambda t, h: h.pop("format_version"),
    "header has keys": lambda t, h: h.update(surplus=1),
    "tensors that belong to no matrix": lambda t, h: t.update(surplus=np.zeros(3)),
    "are missing": lambda t, h: t.pop("head.left"),
    "expected the keys": lambda t, h: h["matrices"]["head"].pop("tags"),
    "not two positive integers": lambda t, h: h["matrices"]["head"].update(shape=[8, -6]),
    "do not give": lambda t, h: h["matrices"]["head"].update(shape=[8, 7]),
    "did you mean 'low-rank'": lambda t, h: h["matrices"]["head"]["structure"].update(kind="lowrank"),
    "low-rank parameter": lambda t, h: h["matrices"]["head"]["structure"].update(ranks=2),
    "rank=0": lambda t, h: h["matrices"]["head"]["structure"].update(rank=0),
    "factors is not a list": lambda t, h: h["matrices"]["head"].update(factors="left"),
    "one of symmetric": lambda t, h: h["matrices"]["scale"].update(tags=["round"]),
    "column indices span": lambda t, h: t["model.layers.0.up.0.indices"].__setitem__(0, 99),
    "indptr must rise": lambda t, h: t["model.layers.0.up.0.indptr"].__setitem__(1, 99),
    "'head': expected the keys": lambda t, h: h["matrices"].update(head=[]),
}


@pytest.mark.parametrize("message", CHANGES)
def test_a_changed_file_is_refused_by_name(path, message):
    rewrite(path, CHANGES[message])
    with pytest.raises(FormatError, match=message) as caught:
        load_matrices(path)
    assert str(path) in str(caught.value)


def test_foreign_and_missing_files_are_refused(tmp_path, path):
    with pytest.raises(FormatError, match="no such file"):
        load_matrices(tmp_path / "absent")
    with pytest.raises(FormatError, match="not a whole safetensors"):
        load_matrices(tmp_path)
    (tmp_path / "text").write_text("hello")
    with pytest.raises(FormatError, match="not a whole safetensors"):
        load_matrices(tmp_path / "text")
    safetensors.numpy.save_file({"a": np.zeros(3)}, tmp_path / "foreign")
    with pytest.raises(FormatError, match="not of gossamer"):
        load_matrices(tmp_path / "foreign")
    with pytest.raises(FormatError, match="load_matrices"):
        StructuredMatrix.load(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_cut_or_flipped_byte_gets_past_but_as_an_error_or_other_numbers(path, data):
    whole = path.read_bytes()
    damaged = path.with_name("damaged")
    at = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        damaged.write_bytes(whole[:at])
        with pytest.raises(FormatError):
            load_matrices(damaged)
    else:
        flipped = bytearray(whole)
        flipped[at] ^= 1 << data.draw(st.integers(0, 7))
        damaged.write_bytes(bytes(flipped))
        try:
            for A in load_matrices(damaged).values():
                A @ np.ones(A.shape[1], np.float32)
        except GossamerError:
            pass


def test_a_deeply_nested_header_is_refused(path):
    deep = '{"a":' * 100_000 + "1" + "}" * 100_000
    with safetensors.safe_open(path, "numpy") as handle:
        tensors = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118
    safetensors.numpy.save_file(tensors, path, metadata={"gossamer": deep})
    with pytest.raises(FormatError, match="damaged header"):
        load_matrices(path)


def test_names_that_clash_are_refused(tmp_path, matrices):
    A = matrices["model.layers.0.up"]
    with pytest.raises(ArgumentError, match="clashes"):
        save_matrices(tmp_path / "f", {"a": A, "a.1": matrices["head"]})
    with pytest.raises(ArgumentError, match="non-empty"):
        save_matrices(tmp_path / "f", {"": A})
    with pytest.raises(ArgumentError, match="ndarray"):
        save_matrices(tmp_path / "f", {"a": np.eye(2)})
