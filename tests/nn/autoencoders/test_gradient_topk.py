"""Selection by activation and first-order effect against a direct sort of the score."""

import numpy as np
import pytest
import torch

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.nn import GradientTopK, SAETrainer, SparseAutoencoder, TokenChoice, top_per_token


def setting(n=140, d=12, f=90, dtype=torch.float64, seed=0):
    g = torch.Generator().manual_seed(seed)
    W = torch.nn.functional.normalize(torch.randn(f, d, generator=g, dtype=dtype), dim=1)
    return torch.randn(n, f, generator=g, dtype=dtype), torch.randn(n, d, generator=g, dtype=dtype), W


def by_sort(z, score, k):
    order = torch.sort(score, dim=1, descending=True, stable=True).indices[:, :k]
    mask = torch.zeros_like(z, dtype=torch.bool).scatter_(1, order, True)
    return mask & (score > 0) & (z > 0)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("beta", [0.3, 3.0, float("inf")])
def test_it_takes_the_best_scores_and_keeps_the_activations(beta, signed):
    z, g, W = setting()
    a = g @ W.T
    effect = (-a).clamp(min=0) if signed else a.abs()
    s = a.abs().mean(dim=1, keepdim=True)
    score = z.clamp(min=0) * (effect if np.isinf(beta) else 1 + beta * effect / s)
    codes = GradientTopK(7, beta, signed=signed).select(z, g, W)
    assert torch.equal(codes.mask(), by_sort(z, score, 7))
    assert torch.equal(codes.to_dense(), z * codes.mask())


def test_raw_and_running_scales():
    z, g, W = setting()
    a = (g @ W.T).abs()
    raw = GradientTopK(5, 0.4, grad_norm=None).select(z, g, W)
    assert torch.equal(raw.mask(), by_sort(z, z.clamp(min=0) * (1 + 0.4 * a), 5))
    running = GradientTopK(5, 0.4, grad_norm="batch", clip_quantile=0.9)
    codes = running.select(z, g, W)
    assert float(running.scale) == pytest.approx(float(a.mean()))
    clipped = a.clamp(max=float(a.flatten().sort().values[int(np.ceil(0.9 * a.numel())) - 1]))
    assert torch.equal(codes.mask(), by_sort(z, z.clamp(min=0) * (1 + 0.4 * clipped / a.mean()), 5))
    running.select(z, 2 * g, W)
    assert float(running.scale) == pytest.approx(1.01 * float(a.mean()))
    running.eval().select(z, 9 * g, W)
    assert float(running.scale) == pytest.approx(1.01 * float(a.mean()))


def test_the_scale_of_gradients_does_not_matter_per_token():
    z, g, W = setting()
    size = torch.rand(len(g), 1, dtype=g.dtype) * 100 + 1e-3
    first, second = (GradientTopK(6, 1.0).select(z, x, W) for x in (g, g * size))
    assert torch.equal(first.indices, second.indices)


@pytest.mark.parametrize("options", [{}, {"select": "abs_effect"}, {"grad_norm": None}, {"grad_norm": "batch"},
                                     {"select": "abs_effect", "grad_norm": None}])  # fmt: skip
def test_zero_gradients_fall_back_to_plain_choice(options):
    z, g, W = setting()
    assert torch.equal(
        GradientTopK(6, 1.0, **options).select(z, 0 * g, W).indices, top_per_token(z, 6).indices
    )
    if options.get("grad_norm") != "batch":
        g[3] = 0
        row = GradientTopK(6, 1.0, **options).select(z, g, W).mask()[3]
        assert torch.equal(row, top_per_token(z, 6).mask()[3])


def test_without_gradients_it_is_plain_choice():
    z, _, _ = setting()
    assert torch.equal(GradientTopK(6).select(z).indices, top_per_token(z, 6).indices)
    assert torch.equal(GradientTopK(6).select_alone(z).indices, top_per_token(z, 6).indices)


def test_few_positive_activations_make_short_codes():
    z, g, W = setting(4)
    z = -z.abs()
    z[0, 3] = 1.0
    assert GradientTopK(5, 1.0).select(z, g, W).indices.tolist() == [[0, 3]]


def test_beta_0_trains_the_same_bits_as_token_choice():
    torch.manual_seed(0)
    x, g = torch.randn(600, 16), torch.randn(600, 16)
    runs = []
    for choice in (TokenChoice(4), GradientTopK(4, beta=0)):
        sae = SparseAutoencoder(16, 64, choice)
        runs.append(SAETrainer(sae, aux="k", steps=50, batch_size=64, seed=3).fit(x, grads=g))
    assert runs[0].history == runs[1].history
    for a, b in zip(runs[0].sae.parameters(), runs[1].sae.parameters(), strict=True):
        assert torch.equal(a, b)


def test_no_gradient_reaches_the_gradients():
    x, g = torch.randn(20, 16), torch.randn(20, 16, requires_grad=True)
    sae = SparseAutoencoder(16, 40, GradientTopK(4, 1.0)).train()
    (sae(x, g).recon - x).square().sum().backward()
    assert g.grad is None
    assert sae.W_enc.grad is not None


def test_both_modes_of_inference():
    x, g = torch.randn(50, 16), torch.randn(50, 16)
    sae = SparseAutoencoder(16, 64, GradientTopK(4, 5.0)).eval()
    plain, informed = sae.encode(x), sae.encode(x, g)
    assert torch.equal(plain.indices, top_per_token(sae.pre_activations(x), 4).indices)
    assert not torch.equal(plain.indices, informed.indices)


def test_features_that_matter_are_chosen_over_those_that_are_large():
    d, n, k, rng = 32, 2000, 4, np.random.default_rng(0)
    readout = np.zeros(d)
    readout[16:] = rng.standard_normal(16)
    atoms = np.zeros((64, d))
    atoms[:32, :16] = rng.standard_normal((32, 16))  # large, and out of the readout's sight
    atoms[32:, 16:] = rng.standard_normal((32, 16)) + 2 * readout[16:]
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    z = np.zeros((n, 64))
    for row in z:
        row[rng.choice(32, k, replace=False)] = 1.0
        row[32 + rng.choice(32, k, replace=False)] = 0.5
    W, g = torch.from_numpy(atoms), torch.from_numpy(np.tile(readout, (n, 1)))
    shares, errors = [], []
    for codes in (
        GradientTopK(k, 3.0).select(torch.from_numpy(z), g, W),
        top_per_token(torch.from_numpy(z), k),
    ):
        shares.append((codes.features >= 32).mean())
        errors.append(np.abs((z - codes.to_dense().numpy()) @ atoms @ readout).mean())
    assert shares[0] >= 0.9
    assert shares[1] <= 0.3
    assert errors[0] <= errors[1] / 3


def test_bad_input_is_refused():
    z, g, W = setting(5)
    choice = GradientTopK(3)
    with pytest.raises(ArgumentError, match="beta=-1"):
        GradientTopK(3, -1)
    with pytest.raises(ArgumentError, match="beta"):
        GradientTopK(3, float("nan"))
    with pytest.raises(ShapeError, match="grads has shape"):
        choice.select(z, g[:4], W)
    with pytest.raises(ArgumentError, match="W_dec"):
        choice.select(z, g)
    with pytest.raises(TypeError, match="int64"):
        choice.select(z, g.long(), W)
    bad = g.clone()
    bad[2, 1] = torch.nan
    with pytest.raises(ArgumentError, match="row 2"):
        choice.select(z, bad, W)
    with pytest.raises(ArgumentError, match="grad_norm='row'"):
        GradientTopK(3, grad_norm="row")
