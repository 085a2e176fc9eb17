"""prune_unstructured sets the asked fraction to zero and writes what the engine runs."""

import numpy as np
import pytest
from tests.compress.tiny import tiny_llama, torch

from gossamer.compress import load_recipe, prune_unstructured
from gossamer.engine.artifact import load_artifact
from gossamer.engine.decoder import Decoder


@pytest.mark.parametrize("method", ["magnitude", "wanda", "sparsegpt"])
def test_a_model_is_pruned_and_runs(method, tmp_path):
    model = tiny_llama()
    tokens = np.random.default_rng(0).integers(3, 96, 64 * 256 + 64)
    result = prune_unstructured(
        model, 0.7, method, tokens, out=tmp_path / "out", dtype="float32", head="keep"
    )
    rows = [row for row in result.layers if row.kind == "tiled-bitmap"]
    assert len(rows) == 3 * 7
    assert all(abs(row.sparsity - 0.7) < 1 / 64 for row in rows)  # whole weights of rows of 64
    artifact = load_artifact(tmp_path / "out")
    if method == "magnitude":
        W = model.model.layers[1].mlp.up_proj.weight.numpy()
        kept = artifact.matrices["model.layers.1.mlp.up_proj"].to_dense() != 0
        assert np.abs(W[~kept]).max() <= np.abs(W[kept]).min()
    decoder = Decoder.from_artifact(artifact, act="fp32", kv="float32", threads=1)
    with torch.no_grad():
        for path in artifact.matrices:  # the pruned model in transformers says the same
            model.get_submodule(path).weight.copy_(torch.from_numpy(np.array(artifact.weight(path))))
        logits = model(torch.tensor([[5, 6, 7]])).logits[0, -1].numpy()
    np.testing.assert_allclose(decoder.new_session().prefill([5, 6, 7]), logits, rtol=1e-3, atol=1e-4)


def test_what_cannot_be_is_refused(tmp_path):
    with pytest.raises(ValueError, match="sparsity=1"):
        prune_unstructured(tiny_llama(), 1, out=tmp_path / "out")
    with pytest.raises(ValueError, match="method='random'"):
        prune_unstructured(tiny_llama(), 0.5, "random", out=tmp_path / "out")
    with pytest.raises(ValueError, match="dtype='int8'"):
        prune_unstructured(tiny_llama(), 0.5, dtype="int8", out=tmp_path / "out")


def test_the_recipes_are_tiles():
    for name, density in (("wanda-50-lscd", 0.5), ("wanda-70-lscd", 0.3)):
        structure = load_recipe(name).default.structure
        assert (structure.kind, structure.density, structure.scope) == ("tiled-bitmap", density, "row")
