"""The autoencoder in kernels equals the dense masked one; training keeps what it promises."""

import numpy as np
import pytest
import torch

from gossamer._core.errors import ArgumentError, FormatError, ShapeError, UnsupportedError
from gossamer.datasets import planted_features
from gossamer.nn import (
    FeatureChoice,
    GradientTopK,
    LazyAdam,
    MutualChoice,
    SAETrainer,
    SparseAutoencoder,
    TokenChoice,
    ZipfSchedule,
    aux_k_loss,
    aux_zipf_loss,
)


def planted(*sizes):
    return map(torch.from_numpy, planted_features(*sizes))


def made(choice, d=20, f=60, dtype=torch.float64, seed=0, tied=True):
    sae = SparseAutoencoder(d, f, choice, dtype=dtype, tied_init=tied, seed=seed)
    with torch.no_grad():
        sae.b_enc.add_(0.1 * torch.randn(f, generator=torch.Generator().manual_seed(1)))
    return sae.train()


def draw(n, d=20, dtype=torch.float64, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def slopes(sae):
    found = {name: p.grad.clone() for name, p in sae.named_parameters() if p.grad is not None}
    sae.zero_grad(set_to_none=True)
    return found


CHOICES = [
    lambda: TokenChoice(5),
    lambda: MutualChoice(5),
    lambda: FeatureChoice(6),
    lambda: GradientTopK(5, 1.0),
]


@pytest.mark.filterwarnings("ignore:batches of")
@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_kernels_give_what_the_dense_products_give(choice, dtype, tolerance):
    x, g, results = draw(30, dtype=dtype), draw(30, dtype=dtype, seed=1), []
    dead = np.arange(60) % 3 == 0
    for sparse in (True, False):
        sae = made(choice(), dtype=dtype)
        sae.initialise(x)
        sae.sparse = sparse
        own = x.clone().requires_grad_()
        out = sae(own, g)
        loss = (out.recon - own).square().sum() + 0.5 * aux_k_loss(sae, own, out, dead, 4)
        loss.backward()
        results.append({"recon": out.recon.detach(), "x": own.grad, "loss": loss.detach(), **slopes(sae)})
    for name, value in results[0].items():
        other = results[1][name]
        assert torch.allclose(value, other, rtol=tolerance, atol=tolerance * float(other.abs().max())), name


def test_the_output_is_the_formula():
    x = draw(12)
    sae = made(TokenChoice(4), tied=False).initialise(x)
    out = sae(x)
    z = ((x / sae.scale - sae.b_pre) @ sae.W_enc.T + sae.b_enc).clamp(min=0)
    kept = z * out.mask
    assert torch.allclose(out.codes.to_dense(), kept)
    assert torch.allclose(out.recon, (kept @ sae.W_dec + sae.b_pre) * sae.scale)


def test_gradients_are_those_of_finite_differences_with_the_choice_frozen():
    x, sae = draw(6), made(MutualChoice(4))
    codes = sae.encode(x, mode="batch")
    mask = codes.mask()

    def frozen(W_enc, W_dec, b_enc, b_pre):
        z = ((x / sae.scale - b_pre) @ W_enc.T + b_enc) * mask
        return (z @ W_dec + b_pre - x).square().sum()

    (sae(x).recon - x).square().sum().backward()
    for name, p in sae.named_parameters():
        direction = torch.randn_like(p)
        values = [
            frozen(**{n: q.detach() + (h * direction if n == name else 0) for n, q in sae.named_parameters()})
            for h in (1e-5, -1e-5)
        ]
        assert float((p.grad * direction).sum()) == pytest.approx(
            float(values[0] - values[1]) / 2e-5, rel=1e-6
        )


def test_scale_and_centre_come_from_the_data():
    x = 7 * draw(500) + 3
    x[:5] += 1000
    sae = made(TokenChoice(4)).initialise(x)
    spread = (x - x.mean(dim=0)).square().sum(dim=1).mean()
    assert float(sae.scale**2 * 20) == pytest.approx(float(spread))
    median = sae.b_pre.detach() * sae.scale
    assert float((median - 3).norm()) < float((x.mean(dim=0) - 3).norm()) / 3
    steps = [(x - median - e).norm(dim=1).sum() for e in 0.05 * torch.eye(20, dtype=x.dtype)]
    assert min(steps) > (x - median).norm(dim=1).sum() * (1 - 1e-4)


def test_leading_dimensions_are_flattened_and_come_back():
    sae = made(TokenChoice(3)).eval()
    x = draw(12).view(3, 4, 20)
    assert sae(x).recon.shape == (12, 20)
    assert sae.reconstruct(x).shape == x.shape
    assert torch.equal(sae.decode(sae.encode(x)).view(3, 4, 20), sae.reconstruct(x))


def test_auxiliary_losses_agree_where_only_the_dead_fall_short():
    x, sae = draw(40), made(TokenChoice(5))
    law = ZipfSchedule.of(1.0, 2.0, 60, 5.0)
    out = sae(x)
    density = law.density.copy()
    assert float(aux_zipf_loss(sae, x, out, density, law)) == 0
    assert float(aux_k_loss(sae, x, out, np.zeros(60, bool))) == 0
    density[50:] = 0
    dead = density == 0
    k, zipf = aux_k_loss(sae, x, out, dead).detach(), aux_zipf_loss(sae, x, out, density, law).detach()
    assert float(k) == pytest.approx(float(zipf), abs=1e-6)
    assert float(k) > 0


def test_auxiliary_loss_by_law_moves_only_what_is_used_too_little():
    x, sae = draw(40), made(TokenChoice(5))
    law = ZipfSchedule.of(1.0, 2.0, 60, 5.0)
    density = law.density.copy()
    density[30:] *= 0.5
    aux_zipf_loss(sae, x, sae(x), density, law).backward()
    found = slopes(sae)
    assert not found["W_enc"][:30].any()
    assert not found["W_dec"][:30].any()
    assert found["W_enc"][30:].abs().sum(dim=1).count_nonzero() > 20
    assert "b_pre" not in found


def test_auxiliary_loss_is_its_formula():
    x, sae = draw(25), made(TokenChoice(5))
    dead = np.arange(60) % 4 == 0
    out = sae(x)
    z = sae.pre_activations(x).clamp(min=0) * torch.from_numpy(dead)
    top = z.topk(3, dim=1)
    c = torch.zeros_like(z).scatter_(1, top.indices, top.values)
    e = x - out.recon
    wanted = (e - c @ sae.W_dec * sae.scale).square().sum() / (25 * 20 * sae.scale**2)
    assert float(aux_k_loss(sae, x, out, dead, 3).detach()) == pytest.approx(float(wanted.detach()))


@pytest.mark.filterwarnings("ignore:batches of")
@pytest.mark.parametrize(
    "options", [{}, {"lazy_adam": True}, {"aux": "k"}, {"resample": True, "refresh": 20}]
)
def test_features_keep_norm_1_and_the_loss_falls(options):
    _, x = planted(4000, 16, 48, 5)
    sae = SparseAutoencoder(16, 48, FeatureChoice(3))
    trainer = SAETrainer(sae, steps=100, batch_size=128, lr=2e-3, **options).fit(x)
    assert (sae.W_dec.norm(dim=1) - 1).abs().max() < 1e-6
    assert np.mean(trainer.history["loss"][-10:]) < 0.7 * np.mean(trainer.history["loss"][:5])
    assert trainer.history["l0"][-1] == pytest.approx(3, abs=0.3)
    assert not sae.training


@pytest.mark.filterwarnings("ignore:batches of")
def test_same_seed_same_bits():
    _, x = planted(2000, 16, 48, 5)
    runs = [
        SAETrainer(SparseAutoencoder(16, 48, FeatureChoice(3)), steps=40, batch_size=128, seed=s).fit(x)
        for s in (1, 1, 2)
    ]
    assert runs[0].history == runs[1].history != runs[2].history
    assert torch.equal(runs[0].sae.W_dec, runs[1].sae.W_dec)


def test_the_phases_lead_to_the_allocation():
    sae = SparseAutoencoder(8, 16, FeatureChoice(2))
    assert [(s, a.name) for s, a in SAETrainer(sae, steps=100).phases] == [
        (0, "token"), (10, "mutual"), (60, "feature"),
    ]  # fmt: skip
    own = SparseAutoencoder(8, 16, TokenChoice(2))
    assert SAETrainer(own).phases == [(0, own.allocation)]
    with pytest.raises(ArgumentError, match=r"add up to 0\.9"):
        SAETrainer(sae, phases=[("token", 0.9)])
    with pytest.raises(ArgumentError, match="phase='tokn'"):
        SAETrainer(sae, phases=[("tokn", 1.0)])


def test_lazy_adam_is_adam_where_every_row_has_a_gradient():
    torch.manual_seed(0)
    a, b = (torch.nn.Parameter(torch.ones(6, 3)) for _ in range(2))
    lazy, dense = LazyAdam([a]), torch.optim.Adam([b], lr=0.01, eps=6.25e-10)
    for _ in range(20):
        g = torch.randn(6, 3)
        a.grad, b.grad = g.clone(), g.clone()
        lazy.step(0.01)
        dense.step()
    assert torch.allclose(a, b, atol=1e-6)
    a.grad = torch.zeros(6, 3)
    before = a.detach().clone()
    lazy.step(0.01)
    assert torch.equal(a, before)
    a.grad[2] = 1.0
    moment = lazy._first[0][2].clone()
    lazy.step(0.01)
    assert torch.allclose(lazy._first[0][2], moment * 0.9**2 + 0.1)
    assert torch.equal(a[:2], before[:2])


@pytest.mark.filterwarnings("ignore:batches of")
@pytest.mark.parametrize("choice", [MutualChoice, FeatureChoice])
def test_codes_without_a_batch_match_codes_by_batch(choice):
    _, x = planted(14_000, 32, 96, 8)
    sae = SparseAutoencoder(32, 96, choice(4))
    SAETrainer(sae, steps=100, batch_size=256, lr=2e-3).fit(x[:2000])
    sae.calibrate(x[2000:8000])
    test = x[8000:]
    codes = sae.encode(test)
    assert codes.nnz / len(test) == pytest.approx(
        4, rel=0.04
    )  # of two samples of 6,000 tokens: two standard errors
    errors = [float((sae.decode(c) - test).square().mean()) for c in (codes, sae.encode(test, mode="batch"))]
    assert errors[0] == pytest.approx(errors[1], rel=0.05)
    assert torch.equal(sae.encode(test[:9]).to_dense(), codes.to_dense()[:9])


@pytest.mark.parametrize(
    ("features", "steps", "rate"),
    [(2**14, 30_000, 3e-4), (2**12, 10**6, 6e-4), (2**14, 7500, 6e-4), (64, 10, 4e-3)],
)
def test_the_automatic_rate_is_higher_for_short_training(features, steps, rate):
    trainer = SAETrainer(SparseAutoencoder(4, features, TokenChoice(2)), steps=steps)
    assert trainer.lr == pytest.approx(rate, rel=1e-12)


@pytest.mark.filterwarnings("ignore:batches of")
@pytest.mark.parametrize("choice", [*CHOICES, lambda: FeatureChoice(6, zipf=ZipfSchedule.of(1, 2, 60, 6.0)),
                                    lambda: FeatureChoice(6, m=np.full(60, 3)),
                                    lambda: GradientTopK(5, float("inf"), grad_norm=None)])  # fmt: skip
def test_a_saved_autoencoder_comes_back_whole(choice, tmp_path):
    x, sae = draw(50), made(choice())
    sae.initialise(x)
    sae.allocation.observe(sae.encode(x, mode="batch"))
    sae.eval().save(tmp_path / "sae.safetensors")
    back = SparseAutoencoder.load(tmp_path / "sae.safetensors")
    assert torch.equal(back(x).recon, sae(x).recon)
    assert back.allocation.settings() == sae.allocation.settings()
    (tmp_path / "bad").write_bytes(b"not a model")
    with pytest.raises(FormatError, match="bad"):
        SparseAutoencoder.load(tmp_path / "bad")


def test_odd_batches_are_taken():
    sae = made(MutualChoice(1), d=20, f=8).initialise(draw(30))
    same = draw(1).expand(9, 20)
    assert sae(same).codes.nnz <= 9
    assert torch.isfinite(sae(torch.zeros(5, 20, dtype=torch.float64)).recon).all()
    assert sae(draw(3).to(torch.bfloat16)).recon.dtype == torch.float64


def test_bad_input_is_refused():
    sae = made(TokenChoice(3))
    bad = draw(6)
    bad[4, 2] = torch.nan
    with pytest.raises(ArgumentError, match="row 4"):
        sae(bad)
    with pytest.raises(ShapeError, match=r"\(\.\.\., 20\)"):
        sae(draw(6, 19))
    with pytest.raises(TypeError, match="int64"):
        sae(torch.ones(2, 20, dtype=torch.int64))
    with pytest.raises(ArgumentError, match="N=0"):
        sae(draw(6)[:0])
    with pytest.raises(ArgumentError, match="number of features"):
        SparseAutoencoder(4, 8, TokenChoice(9))
    with pytest.raises(UnsupportedError, match="Allocation"):
        SparseAutoencoder(4, 8, "token")
    with pytest.raises(ArgumentError, match="no spread"):
        sae.initialise(torch.ones(5, 20))
    with pytest.raises(ShapeError, match="activations"):
        SAETrainer(sae).fit(draw(9, 19))
    with pytest.raises(ArgumentError, match="needs grads"):
        SAETrainer(sae, loss="taylor").fit(draw(9))
    with pytest.raises(ShapeError, match="grads has shape"):
        sae(draw(5), draw(4))
