"""Reading, replacing and steering the activations of a small language model."""

import numpy as np
import pytest
import torch
from torch import nn

from gossamer._core.errors import ArgumentError, FormatError
from gossamer.nn import (
    ActivationCache,
    GradientTopK,
    MutualChoice,
    SparseAutoencoder,
    TokenChoice,
    collect_activations_and_gradients,
    load_activations,
    sae_metrics,
    splice,
    steering,
    top_per_token,
)
from gossamer.nn.autoencoders.hooks import clean_run, next_token_losses
from gossamer.nn.autoencoders.splice import replaceable

VOCABULARY, D = 23, 16


class Block(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.attention = nn.MultiheadAttention(d, 2, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(d, 2 * d), nn.GELU(), nn.Linear(2 * d, d))

    def forward(self, x):
        causal = nn.Transformer.generate_square_subsequent_mask(x.shape[1], dtype=x.dtype)
        x = x + self.attention(x, x, x, attn_mask=causal, need_weights=False)[0]
        return x + self.mlp(x)


class Transformer(nn.Module):
    def __init__(self, dropout=0.0):
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, D)
        self.drop = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(D) for _ in range(2))
        self.head = nn.Linear(D, VOCABULARY)

    def forward(self, tokens):
        x = self.drop(self.embed(tokens))
        for block in self.blocks:
            x = block(x)
        return self.head(x)


class Readout(nn.Module):
    """Logits are linear in the activation at each position."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, D)
        self.head = nn.Linear(D, VOCABULARY, bias=False)

    def forward(self, tokens):
        return self.head(self.embed(tokens))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return Transformer().double().eval().requires_grad_(False)


def batches(count=3, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, VOCABULARY, (4, 10)) for _ in range(count)]


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_gradients_are_those_of_an_added_perturbation(model, reduction):
    tokens = torch.from_numpy(batches(1)[0])
    _, g, logits = clean_run(model, "blocks.0", tokens, gradients=True, reduction=reduction)
    zero = torch.zeros(4, 10, D, dtype=torch.float64, requires_grad=True)
    with splice(model, "blocks.0", lambda rows: rows + zero.flatten(0, 1), skip_first=False, max_norm=None):
        losses = next_token_losses(model(tokens), tokens)
    (wanted,) = torch.autograd.grad(losses.sum() if reduction == "sum" else losses.mean(), zero)
    assert torch.allclose(g, wanted, atol=1e-10)
    assert torch.equal(logits, model(tokens))
    assert not g[:, -1].any()


def test_the_effect_of_a_latent_is_first_order(model):
    tokens = torch.from_numpy(batches(1)[0])
    x, g, _ = clean_run(model, "blocks.0", tokens, gradients=True)
    sae = SparseAutoencoder(D, 40, TokenChoice(5), dtype=torch.float64, seed=1).eval()
    z = sae.pre_activations(x).detach().clamp(min=0).view(4, 10, 40)
    clean = float(next_token_losses(model(tokens), tokens).sum())
    where = (1, 3)
    latent = int(z[where].argmax())
    errors = []
    for share in (0.02, 0.01):

        def ablate(rows, share=share):
            out = rows.clone().view(4, 10, D)
            out[where] -= share * z[where][latent] * sae.W_dec[latent]
            return out.view(-1, D)

        with torch.no_grad(), splice(model, "blocks.0", ablate, skip_first=False, max_norm=None):
            loss = float(next_token_losses(model(tokens), tokens).sum())
        predicted = -share * float(z[where][latent] * (sae.W_dec[latent].detach() @ g[where]))
        errors.append(abs(loss - clean - predicted))
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.2)


def test_an_exact_reconstruction_changes_nothing_and_zeros_recover_nothing(model):
    exact = SparseAutoencoder(D, 2 * D, TokenChoice(2 * D), dtype=torch.float64).eval()
    with torch.no_grad():
        basis = torch.eye(D, dtype=torch.float64)
        exact.W_enc.copy_(torch.cat([basis, -basis]))
        exact.W_dec.copy_(torch.cat([basis, -basis]))
    found = sae_metrics.downstream(model, "blocks.0", exact, batches(2), ("plain",))
    assert found["delta_ce_plain"] == pytest.approx(0, abs=1e-12)
    assert found["kl_plain"] == pytest.approx(0, abs=1e-12)
    assert found["recovered_plain"] == pytest.approx(1)
    silent = SparseAutoencoder(D, 8, TokenChoice(2), dtype=torch.float64).eval()
    with torch.no_grad():
        silent.b_enc.fill_(-1e6)
    found = sae_metrics.downstream(model, "blocks.0", silent, batches(2), ("plain", "grad"))
    assert found["recovered_plain"] == pytest.approx(0, abs=1e-12)
    assert found["recovered_grad"] == pytest.approx(0, abs=1e-12)


def test_only_replaceable_tokens_are_replaced(model):
    tokens = torch.from_numpy(batches(1)[0])
    seen = []
    with torch.no_grad(), splice(model, "blocks.0", lambda rows: seen.append(rows) or rows):
        model(tokens)
    assert seen[0].shape == (4 * 9, D)
    first = model.embed(tokens) * torch.where(torch.arange(10) == 4, 100.0, 1.0)[None, :, None]
    keep = replaceable(first)
    assert not keep[:, 0].any()
    assert not keep[:, 4].any()
    assert keep.sum() == 4 * 8


def test_the_cache_holds_what_the_model_computes(model, tmp_path):
    data = batches(4)
    cache = collect_activations_and_gradients(
        model, "blocks.0", data, out=tmp_path, max_norm=None, shard_tokens=60
    )
    assert len(cache) == 4 * 4 * 8
    assert len(list(tmp_path.glob("x-*.npy"))) == 2
    tokens = torch.from_numpy(np.concatenate(data))
    x, g, _ = clean_run(model, "blocks.0", tokens, gradients=True)
    at = (torch.from_numpy(cache.sequences).long(), torch.from_numpy(cache.positions).long())
    assert np.array_equal(tokens[at], cache.tokens)
    assert np.allclose(cache.x[:], x[at], rtol=1e-3, atol=1e-3)
    assert np.allclose(cache.g[:], g[at], rtol=2e-3, atol=1e-3 * float(g.abs().max()))
    assert np.array_equal(cache.x[np.array([100, 3, 3])], cache.x[:][[100, 3, 3]])
    assert np.log2(cache.scale) % 1 == 0
    sae = SparseAutoencoder(D, 64, GradientTopK(6, 3.0), dtype=torch.float64)
    z = sae.pre_activations(x[at])
    chosen = [
        sae.allocation.select(z, grads, sae.W_dec) for grads in (g[at], torch.from_numpy(cache.g[:]).double())
    ]
    assert float((chosen[0].mask() & chosen[1].mask()).sum()) / chosen[0].nnz >= 0.995


def test_a_killed_collection_goes_on_where_it_stood(model, tmp_path):
    whole = load_activations(model, "blocks.0", batches(5), out=tmp_path / "whole", shard_tokens=40)

    def broken():
        yield from batches(3)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_activations(model, "blocks.0", broken(), out=tmp_path / "part", shard_tokens=40)
    assert not ActivationCache(tmp_path / "part").complete
    runs = []
    hook = model.blocks[0].register_forward_hook(lambda *_: runs.append(1))
    again = load_activations(model, "blocks.0", batches(5), out=tmp_path / "part", shard_tokens=40)
    hook.remove()
    assert len(runs) < 5
    assert again.complete
    assert np.array_equal(again.x[:], whole.x[:])
    assert np.array_equal(again.sequences, whole.sequences)
    assert whole.g is None


def test_a_cache_of_something_else_is_refused(model, tmp_path):
    load_activations(model, "blocks.0", batches(1), out=tmp_path)
    with pytest.raises(ArgumentError, match="another model"):
        load_activations(model, "blocks.1", batches(1), out=tmp_path)
    with pytest.raises(ArgumentError, match="another model"):
        load_activations(Transformer().double().eval(), "blocks.0", batches(1), out=tmp_path)
    with pytest.raises(ArgumentError, match="batch 0 differs"):
        load_activations(model, "blocks.0", batches(1, seed=5), out=tmp_path)
    (tmp_path / "x-00000.npy").write_bytes(b"damaged")
    with pytest.raises(FormatError, match="damaged"):
        ActivationCache(tmp_path)
    with pytest.raises(FormatError, match="no activations"):
        ActivationCache(tmp_path / "nowhere")


def test_massive_activations_are_left_out(model, tmp_path):
    loud = torch.nn.Embedding(VOCABULARY, D).double()
    loud.weight.data.mul_(0.1)
    loud.weight.data[3] += 50

    net = Readout().double().eval()
    net.embed = loud
    data = batches(2)
    cache = load_activations(net, "embed", data, out=tmp_path)
    assert 3 not in cache.tokens
    assert len(cache) == sum(int((b[:, 1:] != 3).sum()) for b in data)


def test_steering_a_linear_readout_moves_its_logits_as_computed():
    torch.manual_seed(0)
    net = Readout().double().eval()
    W = torch.nn.functional.normalize(torch.randn(6, D, dtype=torch.float64), dim=1)
    contexts = steering.random_contexts(batches(1)[0], 12)
    found = steering.latent_effects(net, "embed", 3 * W, contexts, alpha=2.0, latents=[1, 4], batch_size=5)
    push = 2 * (net.head.weight.detach() @ W.T)
    push = (push - push.mean(dim=0)).norm(dim=0)
    assert found.logit == pytest.approx(push[[1, 4]].numpy(), rel=1e-6)
    assert found.consistency == pytest.approx(1)
    assert (found.kl > 0).all()
    tokens = torch.from_numpy(contexts.tokens)
    norm = net.embed(tokens).norm(dim=-1)[:, 1:].median()
    assert steering.latent_effects(net, "embed", W, contexts, latents=[0]).alpha == pytest.approx(
        0.5 * float(norm), rel=0.1
    )
    assert set(found.summary()) > {"kl_mean", "logit_median", "consistency_mean"}


def test_quantiles_of_active_values():
    z = torch.tensor([[1.0, 0.0], [3.0, 0.0], [2.0, -1.0]])
    assert steering.active_quantiles(top_per_token(z, 1), 0.5).tolist() == [2.0, 0.0]


def test_metrics_of_a_code_are_what_they_say():
    torch.manual_seed(0)
    x = torch.randn(500, D, dtype=torch.float64) + 2
    sae = SparseAutoencoder(D, 50, MutualChoice(4), dtype=torch.float64).initialise(x)
    found = sae_metrics.evaluate(sae, x, mode="batch", batch_size=500)
    codes = sae.encode(x, mode="batch")
    recon = sae.decode(codes).detach()
    spread = (x - x.mean(dim=0)).square().sum()
    assert found["normalised_mse"] == pytest.approx(float((recon - x).square().sum() / spread))
    assert found["explained_variance"] == pytest.approx(1 - found["normalised_mse"])
    assert found["l0"] == 4
    assert found["density"].sum() == pytest.approx(4)
    assert found["dead"] == pytest.approx(float((codes.per_feature == 0).mean()))
    assert sum(found["density_histogram"]["counts"]) == int((codes.per_feature > 0).sum())
    sae.calibrate(x).eval()
    assert sae_metrics.evaluate(sae, x)["l0"] == pytest.approx(4, abs=0.01)


def test_bad_input_is_refused(model, tmp_path):
    sae = SparseAutoencoder(D, 30, GradientTopK(4), dtype=torch.float64).eval()
    with pytest.raises(ArgumentError, match=r"nearest: blocks\.\d"):
        load_activations(model, "blocks.7", batches(1), out=tmp_path)
    with pytest.raises(ArgumentError, match="not part of the model"):
        load_activations(model, nn.Linear(2, 2), batches(1), out=tmp_path)
    with pytest.raises(ArgumentError, match=r"drop has dropout p=0\.1"):
        load_activations(Transformer(0.1).double().train(), "blocks.0", batches(1), out=tmp_path)
    with pytest.raises(ArgumentError, match="expected integer tokens"):
        load_activations(model, "blocks.0", [np.ones((2, 3))], out=tmp_path)
    with pytest.raises(ArgumentError, match="no batch"):
        load_activations(model, "blocks.0", [], out=tmp_path)
    with pytest.raises(ArgumentError, match="needs grads"), splice(model, "blocks.0", sae, "grad"):
        pass
    with pytest.raises(ArgumentError, match="training mode"):
        sae_metrics.downstream(model, "blocks.0", SparseAutoencoder(D, 8, TokenChoice(1)).train(), batches(1))
    with pytest.raises(ArgumentError, match="alpha='large'"):
        steering.latent_effects(
            model, "blocks.0", sae.W_dec, steering.random_contexts(batches(1)[0], 2), alpha="large"
        )
