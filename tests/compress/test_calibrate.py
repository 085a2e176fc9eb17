"""Windows, streams, second moments, perplexity and sensitivities against transformers and autograd."""

import contextlib
from dataclasses import replace

import numpy as np
import pytest
from tests.compress.tiny import recipe_of, tiny_bert, tiny_llama

from gossamer._core.errors import ArgumentError, FormatError, UnsupportedError
from gossamer.compress import Training, calibration_windows, load_model, perplexity, written_text
from gossamer.compress.allocate import output_sensitivity
from gossamer.compress.calibrate import collect, evaluation_windows, open_stream, split_windows
from gossamer.compress.calibrate.stream import swapped
from gossamer.compress.pipeline import _windows

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("make", [tiny_llama, tiny_bert])
def test_a_stream_through_all_blocks_is_the_model(make, tokens):
    source = load_model(make(), example_inputs=None)
    ids = evaluation_windows(tokens, None, 16, 5)
    with source.evaluating():
        stream = open_stream(source, ids)
        for block in source.blocks:
            stream.advance(source.module.get_submodule(block))
        runner = source.module.model if source.kind == "llama" else source.module
        expected = runner(input_ids=torch.from_numpy(ids)).last_hidden_state
        got = torch.cat(stream.chunks)
    if source.kind == "llama":
        got = source.module.model.norm(got)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


def test_chunks_of_unequal_size_are_the_same_as_one(llama, tokens, monkeypatch):
    source = load_model(llama)
    whole = perplexity(source, tokens, 16, 7)
    monkeypatch.setattr("gossamer.compress.calibrate.stream.CHUNK", 48)
    assert perplexity(source, tokens, 16, 7) == pytest.approx(whole, rel=1e-6)


def test_perplexity_is_the_exponential_of_the_models_own_loss(llama, tokens):
    ids = torch.from_numpy(evaluation_windows(tokens, None, 32, 6))
    with torch.no_grad():
        losses = [float(llama(input_ids=row[None], labels=row[None]).loss) for row in ids]
    assert perplexity(llama, tokens, 32, 6) == pytest.approx(np.exp(np.mean(losses)), rel=1e-5)
    with pytest.raises(ArgumentError, match="need 8000"):
        perplexity(llama, tokens, 80, 100)


def test_layers_with_the_same_input_share_one_second_moment(llama, tokens):
    source = load_model(llama)
    ids = calibration_windows(tokens, None, 16, 6)
    block = source.blocks[0]
    seen = {}
    hooks = [
        layer.register_forward_pre_hook(lambda m, args, path=path: seen.__setitem__(path, args[0].double()))
        for path, layer in source.linears(block).items()
    ]
    with source.evaluating():
        stream = open_stream(source, ids)
        statistics = collect(source, block, stream)
        stream.advance(source.module.get_submodule(block))
    for hook in hooks:
        hook.remove()
    assert len(statistics.second) == 4
    for path, x in seen.items():
        flat = x.reshape(-1, x.shape[-1]).numpy()
        np.testing.assert_allclose(statistics.of(path), flat.T @ flat / len(flat), rtol=1e-5, atol=1e-6)
    assert statistics.tokens == ids.size


def test_statistics_survive_the_disk(llama, tokens, tmp_path):
    source = load_model(llama)
    with source.evaluating():
        statistics = collect(
            source, source.blocks[0], open_stream(source, calibration_windows(tokens, None, 16, 4))
        )
    statistics.save(tmp_path / "s.safetensors")
    again = type(statistics).load(tmp_path / "s.safetensors")
    assert again.leader == statistics.leader
    assert again.tokens == statistics.tokens
    assert all(np.array_equal(again.second[k], v) for k, v in statistics.second.items())


def test_sensitivities_are_squared_gradients_at_the_outputs(tokens):
    source = load_model(tiny_llama(layers=2))
    ids = calibration_windows(tokens, None, 12, 4)
    got = output_sensitivity(source, ids, seed=3)
    # oracle: the same sampled labels, one ordinary backward pass through the whole model for each window
    generator = torch.Generator().manual_seed(3)
    expected = {path: np.zeros(layer.out_features) for path, layer in source.linears().items()}
    for start in range(4):
        kept, hooks = _keep_outputs(source)
        embedded = source.module.model.embed_tokens(torch.from_numpy(ids[start : start + 1])).requires_grad_(
            True
        )
        logits = source.module(inputs_embeds=embedded).logits.reshape(-1, 96)
        labels = torch.multinomial(torch.softmax(logits.detach(), -1), 1, generator=generator)[:, 0]
        torch.nn.functional.cross_entropy(logits, labels, reduction="sum").backward()
        for hook in hooks:
            hook.remove()
        for path, out in kept.items():
            expected[path] += out.grad.reshape(-1, out.shape[-1]).double().square().sum(0).numpy() / ids.size
    for path in expected:
        np.testing.assert_allclose(got[path], expected[path], rtol=1e-3, atol=1e-9)


def _keep_outputs(source):
    kept = {}

    def keep(path):
        def hook(module, args, out):
            out.retain_grad()
            kept[path] = out

        return hook

    return kept, [layer.register_forward_hook(keep(path)) for path, layer in source.linears().items()]


def test_exchanged_weights_come_back_even_after_an_error(llama):
    source = load_model(llama)
    path = "model.layers.0.mlp.up_proj"
    before = source.weight(path).data.clone()
    with contextlib.suppress(RuntimeError), swapped(source, {path: torch.zeros_like(before)}):
        assert not source.weight(path).any()
        raise RuntimeError
    assert torch.equal(source.weight(path), before)


def test_windows_do_not_overlap_and_short_text_is_refused_with_counts(tokens):
    windows = calibration_windows(np.arange(100), None, 10, 7)
    assert windows.shape == (7, 10)
    assert len(np.unique(windows)) == 70
    with pytest.raises(ArgumentError, match=r"has 100 tokens.*11 windows of 10 need 110"):
        calibration_windows(np.arange(100), None, 10, 11)
    with pytest.raises(FormatError, match="no such file"):
        calibration_windows("missing.txt", object(), 10, 1)
    with pytest.raises(ArgumentError, match="no tokenizer"):
        calibration_windows("some text", None, 10, 1)
    kept, held = split_windows(np.arange(12)[:, None], 3)
    assert sorted([*kept[:, 0], *held[:, 0]]) == list(range(12))
    assert len(held) == 3


def test_tokens_outside_the_vocabulary_are_refused(llama):
    with pytest.raises(ArgumentError, match="vocabulary has 96"):
        perplexity(llama, np.full(64, 96), 32, 2)
    with pytest.raises(ArgumentError, match="at most 128"):
        perplexity(llama, np.zeros(1000, dtype=int), 500, 2)


def test_what_a_model_writes_has_its_own_statistics():
    model = tiny_llama()
    ids = written_text(model, 6000, temperature=1.0, top_p=1.0, seed=3)
    assert len(ids) >= 6000
    assert ids.min() >= 0
    assert ids.max() < 96
    np.testing.assert_array_equal(ids, written_text(model, 6000, temperature=1.0, top_p=1.0, seed=3))
    # a document begins with token 1; what comes next is drawn from the model's own probabilities
    starts = np.flatnonzero(ids[:-1] == 1)
    with torch.no_grad():
        own = model(torch.tensor([[1]])).logits[0, 0].softmax(-1).numpy()
    seen = np.bincount(ids[starts + 1], minlength=96) / len(starts)
    assert abs(seen - own).max() < 5 * np.sqrt(0.25 / len(starts))
    mean = -np.log(own[ids[starts + 1]]).mean()
    entropy = -(own * np.log(own)).sum()
    assert mean == pytest.approx(entropy, abs=0.35)


def test_only_decoders_write():
    with pytest.raises(UnsupportedError, match="decoder"):
        written_text(tiny_bert(), 10)


def test_every_part_of_mixed_calibration_holds_all_sources(tmp_path):
    low, high = np.zeros(4000, int), np.full(4000, 50)
    training = Training(tune_windows=24)
    recipe = replace(recipe_of({"kind": "dense"}), stages=("e2e-oqp",), training=training)
    recipe = recipe.with_calibration(windows=12, held_out=4)
    for part in _windows(load_model(tiny_llama()), recipe, {"low": low, "high": high}):
        assert 0.4 < (part == 50).mean() < 0.6
