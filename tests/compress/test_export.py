"""Exports, read back by the programs that they are written for."""

import json

import numpy as np
import pytest
from tests.compress.tiny import recipe_of, tiny_bert, tiny_llama, torch, transformers

from gossamer._core.errors import ArgumentError, UnsupportedError
from gossamer.compress import compress, export_compressed_tensors, export_transformers
from gossamer.engine.artifact import load_artifact
from gossamer.engine.decoder import Decoder

IDS = [[3, 1, 4, 1, 5, 9, 2, 6]]


@pytest.mark.parametrize("tied", [True, False])
def test_the_dense_export_is_the_compressed_model_in_transformers(tokens, tmp_path, tied):
    nm = {"kind": "nm-quant", "n": 2, "m": 4, "bits": 4, "group": 16}
    compress(tiny_llama(tied=tied), recipe_of(nm), tokens, out=tmp_path / "a")
    export_transformers(tmp_path / "a", tmp_path / "dense")
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "dense")
    artifact = load_artifact(tmp_path / "a")
    for path in artifact.matrices:
        np.testing.assert_array_equal(
            model.get_submodule(path).weight.detach().numpy(), artifact.weight(path)
        )
    engine = Decoder.from_artifact(artifact, act="fp32", kv="float32", threads=1)
    with torch.no_grad():
        logits = model(torch.tensor(IDS)).logits[0].numpy()
    ids = np.asarray(IDS).reshape(-1).tolist()
    np.testing.assert_allclose(logits, engine.new_session().logits(ids), rtol=1e-3, atol=1e-4)
    with pytest.raises(ArgumentError, match="exists"):
        export_transformers(tmp_path / "a", tmp_path / "dense")


def test_encoders_export_too(tokens, tmp_path):
    compress(tiny_bert(), recipe_of({"kind": "nm", "n": 2, "m": 4}), tokens, out=tmp_path / "a")
    export_transformers(tmp_path / "a", tmp_path / "dense")
    model = transformers.BertModel.from_pretrained(tmp_path / "dense", add_pooling_layer=False)
    artifact = load_artifact(tmp_path / "a")
    path = "encoder.layer.1.output.dense"
    np.testing.assert_array_equal(model.get_submodule(path).weight.detach().numpy(), artifact.weight(path))


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("group", [0, 16])
def test_compressed_tensors_decompresses_to_the_same_weights(tokens, tmp_path, bits, symmetric, group):
    package = pytest.importorskip("compressed_tensors.compressors.pack_quantized.base")
    quantization = pytest.importorskip("compressed_tensors.quantization")
    structure = {"kind": "group-quant", "bits": bits, "group": group, "symmetric": symmetric}
    compress(tiny_llama(layers=1), recipe_of(structure), tokens, out=tmp_path / "a")
    export_compressed_tensors(tmp_path / "a", tmp_path / "packed")
    from safetensors.torch import load_file

    state = load_file(tmp_path / "packed" / "model.safetensors")
    config = json.loads((tmp_path / "packed" / "config.json").read_text())["quantization_config"]
    (entry,) = config["config_groups"].values()
    scheme = quantization.QuantizationScheme(
        targets=entry["targets"], weights=quantization.QuantizationArgs(**entry["weights"])
    )
    artifact = load_artifact(tmp_path / "a")
    for path in entry["targets"]:
        local = {k.removeprefix(path + "."): v for k, v in state.items() if k.startswith(path + ".")}
        dense = package.PackedQuantizationCompressor.decompress(local, scheme)["weight"]
        np.testing.assert_allclose(dense.numpy(), artifact.weight(path), rtol=1e-6, atol=1e-7)


def test_transformers_runs_the_packed_export(tokens, tmp_path):
    pytest.importorskip("compressed_tensors")
    structure = {"kind": "group-quant", "bits": 4, "group": 32, "symmetric": True}
    compress(tiny_llama(layers=2), recipe_of(structure), tokens, out=tmp_path / "a")
    export_compressed_tensors(tmp_path / "a", tmp_path / "packed")
    export_transformers(tmp_path / "a", tmp_path / "dense")
    packed, dense = (
        transformers.AutoModelForCausalLM.from_pretrained(tmp_path / name) for name in ("packed", "dense")
    )
    with torch.no_grad():
        torch.testing.assert_close(
            packed(torch.tensor(IDS)).logits.float(), dense(torch.tensor(IDS)).logits, rtol=1e-4, atol=1e-4
        )


def test_artifacts_that_do_not_fit_the_format_are_refused(tokens, tmp_path):
    compress(tiny_llama(layers=1), recipe_of({"kind": "nm", "n": 2, "m": 4}), tokens, out=tmp_path / "a")
    with pytest.raises(UnsupportedError, match="its layers are nm: expected some group-quant"):
        export_compressed_tensors(tmp_path / "a", tmp_path / "packed")
