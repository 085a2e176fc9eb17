"""Training a compensation touches nothing but its factors, and lowers the loss it is given."""

import numpy as np
import pytest
from tests.compress.tiny import tiny_bert, tiny_llama, torch

from gossamer.compress import LowRankCompensation, eora, finetune_compensation, load_model
from gossamer.linalg import GroupQuant


@pytest.fixture
def result():
    model = tiny_llama(layers=2)
    source = load_model(model)
    compressed = {p: GroupQuant(2, 32).project(source.weight(p).numpy()) for p in source.linears()}
    return eora(model, compressed, np.random.default_rng(0).integers(0, 96, (16, 32)), rank=8)


@pytest.mark.parametrize("init", ["eora", "zero", "svd"])
def test_every_start_learns_a_batch(result, init, tokens):
    batch = tokens[: 4 * 32].reshape(4, 32)
    before = {path: adapter.A.copy() for path, adapter in result.adapters.items()}
    trained = finetune_compensation(result, [batch], init=init, steps=12, lr=5e-3, warmup=2)
    losses = trained.history["loss"]
    assert len(losses) == 12
    assert losses[-1] < losses[0] - 0.1
    assert all(np.array_equal(before[path], result.adapters[path].A) for path in before)
    assert all(trained.adapters[path].rank == 8 for path in before)
    matrix, base = trained.matrices()[path := next(iter(before))], result.pair.matrix(path)
    np.testing.assert_array_equal(matrix.parts[0].factors["qweight"], base.factors["qweight"])


def test_the_gradient_is_that_of_the_dense_layer():
    rng = np.random.default_rng(1)
    base = GroupQuant(4, 32).project(rng.standard_normal((24, 64)).astype(np.float32))
    layer = LowRankCompensation(base, rng.standard_normal((24, 3)), rng.standard_normal((3, 64)))
    x = torch.randn(5, 64, requires_grad=True)
    layer(x).square().sum().backward()
    B, A = (p.detach().clone().requires_grad_() for p in (layer.lora_B, layer.lora_A))
    y = x.detach().clone().requires_grad_()
    (y @ (torch.from_numpy(base.to_dense()) + B @ A).T).square().sum().backward()
    for own, expected in ((layer.lora_B.grad, B.grad), (layer.lora_A.grad, A.grad), (x.grad, y.grad)):
        torch.testing.assert_close(own, expected, rtol=1e-3, atol=1e-2)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), x @ layer.weight.T, rtol=1e-4, atol=1e-3)
    assert {name for name, _ in layer.named_parameters()} == {"lora_A", "lora_B"}


def test_padding_counts_for_nothing_and_bad_calls_are_refused(result):
    ids = np.random.default_rng(2).integers(0, 96, (2, 20))
    padded = np.concatenate([ids, np.zeros((2, 4), int)], axis=1)
    mask = (np.arange(24) < 20).astype(int)[None].repeat(2, 0)
    plain = finetune_compensation(result, [ids], lr=1e-9)
    masked = finetune_compensation(result, [{"input_ids": padded, "attention_mask": mask}], lr=1e-9)
    assert masked.history["loss"][0] == pytest.approx(plain.history["loss"][0], rel=1e-4)
    with pytest.raises(ValueError, match="did you mean 'zero'"):
        finetune_compensation(result, [ids], init="zeros")
    with pytest.raises(ValueError, match="0 batches"):
        finetune_compensation(result, [])
    bert = tiny_bert()
    source = load_model(bert)
    plain = {p: GroupQuant(2, 32).project(source.weight(p).numpy()) for p in source.linears()}
    with pytest.raises(TypeError, match="expected a decoder"):
        finetune_compensation(eora(bert, plain, ids, rank=2), [ids])
