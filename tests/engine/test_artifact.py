"""An artifact comes back as it was written; whatever else stands on the disk is refused in words."""

import errno
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.engine.tiny_models import BERT, LLAMA, dense, random_artifact

from gossamer._core import tensorfile
from gossamer._core.errors import ArgumentError, FormatError
from gossamer.engine import Engine, load_artifact, save_artifact
from gossamer.linalg import Dense, Unstructured


def edit_header(folder, change):
    header = json.loads((folder / "gossamer.json").read_text())
    change(header)
    (folder / "gossamer.json").write_text(json.dumps(header))


def rewrite_tensors(folder, change):
    """Change the tensors and make the checksum fit again: a hostile writer, not a damaged disk."""
    from gossamer._core.files import sha256

    tensors = tensorfile.read_tensors(folder / "model.safetensors")
    change(tensors)
    tensorfile.write_tensors(folder / "model.safetensors", tensors)
    file = folder / "model.safetensors"
    edit_header(
        folder,
        lambda h: h["files"].update({file.name: {"bytes": file.stat().st_size, "sha256": sha256(file)}}),
    )


@pytest.fixture
def saved(tmp_path):
    artifact = random_artifact("llama", LLAMA)
    q = "model.layers.0.self_attn.q_proj"
    artifact.matrices[q] = Unstructured(0.5).project(artifact.weight(q))
    artifact.metadata = {"recipe": "test", "bits": 3.5}
    save_artifact(tmp_path / "model", artifact)
    return artifact, tmp_path / "model"


def same(a, b):
    assert a.kind == b.kind
    assert a.config == b.config
    assert a.metadata == b.metadata
    assert a.arrays.keys() == b.arrays.keys()
    assert a.matrices.keys() == b.matrices.keys()
    for name in a.arrays:
        np.testing.assert_array_equal(a.arrays[name], b.arrays[name])
        assert a.arrays[name].dtype == b.arrays[name].dtype
    for path, matrix in a.matrices.items():
        assert matrix.structure == b.matrices[path].structure
        for factor, value in matrix.factors.items():
            np.testing.assert_array_equal(value, b.matrices[path].factors[factor])
            assert value.dtype == b.matrices[path].factors[factor].dtype


def test_round_trip(saved):
    artifact, folder = saved
    same(artifact, load_artifact(folder))


def test_round_trip_with_tokenizer(tmp_path, bert, byte_tokenizer):
    save_artifact(tmp_path / "m", bert, byte_tokenizer)
    loaded = load_artifact(tmp_path / "m")
    same(bert, loaded)
    assert loaded.tokenizer.encode("naïve") == byte_tokenizer.encode("naïve")
    assert loaded.tokenizer.chat("hi") == byte_tokenizer.chat("hi")


def test_bfloat16_is_kept_bit_by_bit(tmp_path, llama):
    raw = (np.arange(64 * 64, dtype=np.uint16) % 0x7F00).reshape(64, 64)
    path = "model.layers.1.self_attn.o_proj"
    llama.matrices[path] = Dense("bfloat16").matrix(Dense("bfloat16"), raw.shape, {"weight": raw})
    save_artifact(tmp_path / "m", llama)
    matrix = load_artifact(tmp_path / "m").matrices[path]
    assert matrix.structure == Dense("bfloat16")
    np.testing.assert_array_equal(matrix.factors["weight"], raw)


def test_same_model_gives_the_same_bytes(tmp_path, saved):
    artifact, folder = saved
    save_artifact(tmp_path / "again", artifact)
    for file in folder.iterdir():
        assert file.read_bytes() == (tmp_path / "again" / file.name).read_bytes()


def test_file_is_as_large_as_its_tensors(saved):
    artifact, folder = saved
    size = (folder / "model.safetensors").stat().st_size
    assert artifact.nbytes < size < artifact.nbytes + 8192


def test_embedding_may_be_a_matrix(tmp_path, llama):
    llama.matrices["model.embed_tokens"] = dense(llama.arrays.pop("model.embed_tokens.weight"))
    save_artifact(tmp_path / "m", llama)
    same(llama, load_artifact(tmp_path / "m"))


def test_other_modules_are_stored_without_a_layout(tmp_path, llama):
    llama.kind, llama.config = "module", {"anything": 1}
    llama.arrays["extra.table"] = np.arange(7)
    save_artifact(tmp_path / "m", llama)
    same(llama, load_artifact(tmp_path / "m"))


def test_replacing_keeps_files_that_are_not_the_artifacts(saved):
    artifact, folder = saved
    (folder / "report.html").write_text("kept")
    artifact.metadata = {"second": True}
    save_artifact(folder, artifact)
    assert load_artifact(folder).metadata == {"second": True}
    assert (folder / "report.html").read_text() == "kept"
    assert [p.name for p in folder.parent.iterdir()] == ["model"]


def test_full_disk_leaves_the_old_artifact_and_nothing_else(saved, monkeypatch):
    artifact, folder = saved
    before = {file.name: file.read_bytes() for file in folder.iterdir()}

    def full(path, tensors):
        Path(path).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("gossamer.engine.artifact.write_tensors", full)
    with pytest.raises(OSError, match="No space left"):
        save_artifact(folder, artifact)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    assert [p.name for p in folder.parent.iterdir()] == ["model"]


def test_directory_that_is_no_artifact_is_not_overwritten(tmp_path, llama):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ArgumentError, match="no artifact"):
        save_artifact(tmp_path, llama)
    with pytest.raises(ArgumentError, match="is a file"):
        save_artifact(tmp_path / "thesis.tex", llama)


def test_metadata_that_is_not_json_is_refused(tmp_path, llama):
    llama.metadata = {"figure": float("nan")}
    with pytest.raises(ArgumentError, match="metadata"):
        save_artifact(tmp_path / "m", llama)
    assert not list(tmp_path.iterdir())


def test_nan_is_refused_before_anything_is_written(tmp_path, llama):
    llama.arrays["model.norm.weight"][3] = np.nan
    with pytest.raises(FormatError, match=r"model\.norm\.weight has 1 NaN"):
        save_artifact(tmp_path / "m", llama)
    assert not list(tmp_path.iterdir())


def test_path_is_a_file_or_missing(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(FormatError, match="is a file"):
        load_artifact(tmp_path / "file")
    with pytest.raises(FormatError, match="does not exist"):
        load_artifact(tmp_path / "nothing")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "gossamer.json"])
def test_missing_file_is_named(saved, name):
    (saved[1] / name).unlink()
    with pytest.raises(FormatError, match=name):
        load_artifact(saved[1])


@pytest.mark.parametrize("verify", [True, False])
def test_truncated_weights_are_refused_with_and_without_checksums(saved, verify):
    file = saved[1] / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(FormatError, match="truncated"):
        load_artifact(saved[1], verify=verify)


def test_one_flipped_bit_is_found_by_the_checksum(saved):
    file = saved[1] / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-5] ^= 1
    file.write_bytes(data)
    with pytest.raises(FormatError, match="SHA-256"):
        load_artifact(saved[1])


def test_another_version_is_refused(saved):
    edit_header(saved[1], lambda h: h.update(format_version=2))
    with pytest.raises(FormatError, match="format_version 2: this gossamer reads 1"):
        load_artifact(saved[1])


Q = "model.layers.0.self_attn.q_proj"
HEADER_CHANGES = {
    "unknown key": lambda h: h.update(surprise=1),
    "unknown kind": lambda h: h.update(kind="mamba"),
    "unknown structure": lambda h: h["matrices"][Q].update(structure={"kind": "magic"}),
    "structure with an unknown key": lambda h: h["matrices"][Q]["structure"].update(oops=1),
    "structure out of range": lambda h: h["matrices"][Q]["structure"].update(density=7),
    "structure of another type": lambda h: h["matrices"][Q]["structure"].update(density="half"),
    "structure is a list": lambda h: h["matrices"][Q].update(structure=[1]),
    "another family": lambda h: h["matrices"][Q].update(structure={"kind": "dense"}),
    "negative shape": lambda h: h["matrices"][Q].update(shape=[-64, 64]),
    "huge shape": lambda h: h["matrices"][Q].update(shape=[2**30, 2**30]),
    "absurd shape": lambda h: h["matrices"][Q].update(shape=[10**40, 1]),
    "fractional shape": lambda h: h["matrices"][Q].update(shape=[64.5, 64]),
    "shape of another module": lambda h: h["matrices"][Q].update(shape=[64, 32]),
    "matrix is missing": lambda h: h["matrices"].pop(Q),
    "matrix is unknown": lambda h: h["matrices"].update(extra=h["matrices"].pop(Q)),
    "array is missing": lambda h: h["arrays"].pop("model.norm.weight"),
    "array of another dtype": lambda h: h["arrays"]["model.norm.weight"].update(dtype="float16"),
    "array of another shape": lambda h: h["arrays"]["model.norm.weight"].update(shape=[63]),
    "file outside": lambda h: h["files"].update({"../x": {"bytes": 1, "sha256": ""}}),
    "no file list": lambda h: h.update(files=[]),
    "no weights listed": lambda h: h["files"].pop("model.safetensors"),
    "wrong size": lambda h: h["files"]["config.json"].update(bytes="many"),
    "metadata is a list": lambda h: h.update(metadata=[]),
}


@pytest.mark.parametrize("change", HEADER_CHANGES.values(), ids=HEADER_CHANGES)
def test_hostile_header_is_refused(saved, change):
    edit_header(saved[1], change)
    with pytest.raises(FormatError):
        load_artifact(saved[1])


def _set(name, index, value):
    def change(tensors):
        tensors[name][index] = value

    return change


TENSOR_CHANGES = {
    "column index too large": _set(f"{Q}.indices", 0, 64),
    "column index negative": _set(f"{Q}.indices", 3, -1),
    "indptr too large": _set(f"{Q}.indptr", -1, 2**30),
    "indptr falls": _set(f"{Q}.indptr", 1, 2**20),
    "indptr negative": _set(f"{Q}.indptr", 1, -5),
    "NaN weight": _set(f"{Q}.data", 0, np.nan),
    "infinite norm": _set("model.norm.weight", 0, np.inf),
    "factor is missing": lambda t: t.pop(f"{Q}.indices"),
    "factor is unknown": lambda t: t.update({f"{Q}.more": np.zeros(1)}),
    "tensor is unknown": lambda t: t.update({"stranger": np.zeros(1)}),
    "index dtype": lambda t: t.update({f"{Q}.indices": t[f"{Q}.indices"].astype(np.float32)}),
    "value dtype": lambda t: t.update({f"{Q}.data": t[f"{Q}.data"].astype(np.int8)}),
    "scalar factor": lambda t: t.update({f"{Q}.indptr": np.array(3)}),
    "empty factor": lambda t: t.update({f"{Q}.indptr": np.zeros(0, np.int32)}),
}


@pytest.mark.parametrize("change", TENSOR_CHANGES.values(), ids=TENSOR_CHANGES)
def test_hostile_tensors_are_refused(saved, change):
    rewrite_tensors(saved[1], change)
    with pytest.raises(FormatError):
        load_artifact(saved[1])


CONFIG_CHANGES = {
    "negative size": {"hidden_size": -64},
    "huge size": {"hidden_size": 2**62},
    "boolean size": {"vocab_size": True},
    "many layers": {"num_hidden_layers": 10**9},
    "another size": {"hidden_size": 128},
    "heads do not divide": {"num_key_value_heads": 3},
    "odd head": {"head_dim": 17},
    "scaled rope": {"rope_scaling": {"rope_type": "yarn"}},
    "rope is text": {"rope_parameters": "long"},
    "zero base": {"rope_theta": 0},
    "text eps": {"rms_norm_eps": "small"},
    "bias": {"attention_bias": True},
    "another activation": {"hidden_act": "relu"},
    "head without weights": {"tie_word_embeddings": False},
}


@pytest.mark.parametrize("change", CONFIG_CHANGES.values(), ids=CONFIG_CHANGES)
def test_config_that_does_not_fit_is_refused(tmp_path, change):
    artifact = random_artifact("llama", LLAMA)
    artifact.config |= change
    with pytest.raises(FormatError):
        save_artifact(tmp_path / "m", artifact)


def test_bert_config_that_does_not_fit_is_refused(tmp_path):
    for change in (
        {"num_attention_heads": 5},
        {"hidden_act": "gelu_new"},
        {"position_embedding_type": "relative_key"},
    ):
        artifact = random_artifact("bert", BERT)
        artifact.config |= change
        with pytest.raises(FormatError):
            save_artifact(tmp_path / "m", artifact)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"format_version": 1}', "[" * 100_000, '{"a": 1, "a": 2}', "9" * 5000]
)
def test_damaged_header_is_refused(saved, text):
    (saved[1] / "gossamer.json").write_text(text)
    with pytest.raises(FormatError):
        load_artifact(saved[1])


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A directory of a few kilobytes, so that random damage hits headers often."""
    tiny = LLAMA | {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "vocab_size": 8}
    artifact = random_artifact("llama", tiny)
    for path in list(artifact.matrices)[::2]:
        artifact.matrices[path] = Unstructured(0.5).project(artifact.weight(path))
    folder = tmp_path_factory.mktemp("fuzz") / "model"
    save_artifact(folder, artifact)
    return folder


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), name=st.sampled_from(["model.safetensors", "config.json", "gossamer.json"]))
def test_any_damage_to_any_file_is_a_format_error_or_harmless(small, tmp_path_factory, data, name):
    folder = tmp_path_factory.mktemp("damaged") / "model"
    shutil.copytree(small, folder)
    original = (folder / name).read_bytes()
    damaged = bytearray(original)
    if data.draw(st.booleans()):
        damaged = damaged[: data.draw(st.integers(0, len(damaged) - 1))]
    else:
        # half of the hits in the first bytes, where the header of safetensors is
        span = data.draw(st.sampled_from([min(600, len(damaged)), len(damaged)]))
        for _ in range(data.draw(st.integers(1, 4))):
            damaged[data.draw(st.integers(0, span - 1))] = data.draw(st.integers(0, 255))
    (folder / name).write_bytes(damaged)
    try:
        loaded = load_artifact(folder, verify=False)
    except (FormatError, ArgumentError):
        if bytes(damaged) != original:
            with pytest.raises((FormatError, ArgumentError)):
                load_artifact(folder)
    else:
        # the damage hit a number that may be any, so the model is one that can be run
        assert len(Engine(loaded, threads=1).generate([1, 2], max_new_tokens=2).ids) <= 2
    shutil.rmtree(folder.parent)
