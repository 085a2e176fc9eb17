"""Adapters go to peft and come back."""

import json

import numpy as np
import pytest
from tests.compress.tiny import tiny_bert, tiny_llama, torch

from gossamer._core.errors import ArgumentError, FormatError
from gossamer.compress import eora, load_model, load_peft, save_peft
from gossamer.linalg import GroupQuant


def _compensated(model, **options):
    source = load_model(model)
    compressed = {p: GroupQuant(2, 32).project(source.weight(p).numpy()) for p in source.linears()}
    ids = np.random.default_rng(0).integers(0, 96, (16, 32))
    return eora(model, compressed, ids, **{"rank": 8, **options})


@pytest.mark.parametrize("make", [tiny_llama, tiny_bert])
@pytest.mark.parametrize("rank", [8, {"*": 8, "*1.*": 4, "*.0.*q*": 0}])
def test_peft_computes_the_same_logits(make, rank, tmp_path):
    peft = pytest.importorskip("peft")
    model = make()
    result = _compensated(model, rank=rank)
    result.save_peft(tmp_path / "adapter")
    ids = torch.randint(0, 96, (2, 20), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = result.model(ids)[0]
        frozen = make()
        for path in result.pair.paths:
            frozen.get_submodule(path).weight.copy_(torch.from_numpy(result.pair.compressed(path)))
        loaded = peft.PeftModel.from_pretrained(frozen, tmp_path / "adapter").eval()
        torch.testing.assert_close(loaded(input_ids=ids)[0], expected, atol=1e-5, rtol=1e-5)


def test_layout_and_round_trip(tmp_path):
    result = _compensated(tiny_llama())
    result.save_peft(tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["peft_type"]) == (8, 8, "LORA")
    found = load_peft(tmp_path)
    assert set(found) == set(result.adapters)
    for path, (B, A) in found.items():
        np.testing.assert_array_equal(B, result.adapters[path].B)
        np.testing.assert_array_equal(A, result.adapters[path].A)
    config["lora_alpha"] = 16
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    np.testing.assert_array_equal(load_peft(tmp_path)[path][0], 2 * B)


def test_what_is_no_plain_adapter_is_refused(tmp_path):
    with pytest.raises(ArgumentError, match="adapters is empty"):
        save_peft(tmp_path, {})
    _compensated(tiny_llama(layers=1)).save_peft(tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    for change, words in (({"peft_type": "IA3"}, "plain LoRA"), ({"r": 4}, "expected rank 4")):
        (tmp_path / "adapter_config.json").write_text(json.dumps({**config, **change}))
        with pytest.raises(FormatError, match=words):
            load_peft(tmp_path)
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    (tmp_path / "adapter_model.safetensors").write_bytes(b"x" * 20)
    with pytest.raises(FormatError, match="damaged"):
        load_peft(tmp_path)
