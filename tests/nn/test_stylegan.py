"""The small style-based generator, its discriminator, and their training."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from gossamer._core.errors import ArgumentError, FormatError, ShapeError
from gossamer.nn import StyleDiscriminator, StyleGenerator, StyleTrainer, StyleTraining
from gossamer.nn.generative.style_blocks import (
    EqualConv,
    EqualLinear,
    ModulatedConv,
    blurring,
    resample,
    upsampling,
)
from gossamer.nn.generative.stylegan import sample_codes
from gossamer.testing import check_module

SMALL = {"resolution": 8, "channels": (8, 6)}


def small(seed=0, features=12):
    torch.manual_seed(seed)
    return StyleGenerator(**SMALL, features=features, mapping_layers=2), StyleDiscriminator(**SMALL)


def pictures(n=40, side=8):
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_modulation_equals_a_kernel_for_each_sample():
    torch.manual_seed(0)
    layer = ModulatedConv(5, 4, 7).double()
    torch.nn.init.normal_(layer.bias)
    x, w = torch.randn(3, 5, 6, 6).double(), torch.randn(3, 7).double()
    style = w @ (layer.affine.weight / 7**0.5).T + layer.affine.bias
    kernels = (layer.kernel.weight / 45**0.5)[None] * style[:, None, :, None, None]
    kernels = kernels / (kernels.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8).sqrt()
    expected = torch.cat([F.conv2d(x[i : i + 1], kernels[i], padding=1) for i in range(3)])
    torch.testing.assert_close(layer(x, w), expected + layer.bias[:, None, None])


def test_upsampling_before_a_convolution_is_a_transposed_one_that_is_filtered_after():
    x, kernel = torch.randn(2, 3, 8, 8).double(), torch.randn(4, 3, 3, 3).double()
    taps = torch.tensor([1.0, 3, 3, 1]).double() / 4
    spread = F.conv_transpose2d(x, kernel.flip(2, 3).transpose(0, 1), stride=2)
    filtered = F.conv2d(spread.reshape(8, 1, 17, 17), taps.outer(taps)[None, None], padding=1)
    ours = F.conv2d(resample(x, upsampling(8)), kernel, padding=1)
    torch.testing.assert_close(ours[:, :, 3:-3, 3:-3], filtered.reshape(2, 4, 16, 16)[:, :, 3:-3, 3:-3])


def test_resampling_is_what_torch_interpolates():
    x = torch.randn(2, 3, 6, 6)
    expected = F.interpolate(x, scale_factor=2, mode="bilinear")
    torch.testing.assert_close(resample(x, upsampling(6)), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(resample(torch.ones(1, 1, 6, 6), blurring(6)), torch.ones(1, 1, 6, 6))


def test_equalised_layers_have_unit_gain_whatever_their_rate():
    torch.manual_seed(0)
    x = torch.randn(200, 64)
    for rate in (1.0, 0.01):
        layer = EqualLinear(64, 300, rate=rate)
        assert float((x @ layer.effective_weight().detach().T).std()) == pytest.approx(1, rel=0.05)
        torch.testing.assert_close(layer(x), x @ layer.effective_weight().T + layer.effective_bias())
    y = EqualConv(32, 32)(torch.randn(2, 32, 12, 12))[:, :, 1:-1, 1:-1]
    assert float(y.detach().std()) == pytest.approx(1, rel=0.1)


class Whole(torch.nn.Module):
    """Noise to pictures."""

    def __init__(self, G):
        super().__init__()
        self.G = G

    def forward(self, z):
        return self.G(self.G.mapping(z))


def test_the_networks_keep_the_contract_of_a_module():
    G, D = small()
    check_module(Whole(G), torch.randn(4, 12), half=False, learning_rate=1e-3)
    check_module(D, pictures(4), half=False, learning_rate=1e-3)


def test_one_code_for_all_layers_is_the_code_repeated():
    G, _ = small()
    w = torch.randn(3, 12)
    assert torch.equal(G(w), G(w[:, None].expand(3, G.n_codes, 12)))
    changed = w[:, None].repeat(1, G.n_codes, 1)
    changed[:, -1] += 1  # the code of the last colours
    assert not torch.equal(G(changed), G(w))


def test_truncation_draws_codes_towards_their_mean():
    G, _ = small()
    G.mapping.mean.fill_(2.0)
    z = torch.randn(5, 12)
    torch.testing.assert_close(G.mapping(z, truncation=0.7), 2 + 0.7 * (G.mapping(z) - 2))
    assert torch.equal(G.mapping(z, truncation=0.0), torch.full((5, 12), 2.0))


def test_mixed_codes_take_two_sources_in_layers_that_follow_each_other():
    G, _ = small()
    codes = sample_codes(G, 200, torch.Generator().manual_seed(0), mixing=0.5)
    same = (codes == codes[:, :1]).all(dim=2)
    assert (same[:, :-1] >= same[:, 1:]).all()
    assert 0.3 < float((~same.all(dim=1)).float().mean()) < 0.6
    plain = sample_codes(G, 5, torch.Generator().manual_seed(0))
    assert (plain == plain[:, :1]).all()


def test_training_resumes_with_the_same_bits(tmp_path):
    settings = StyleTraining(batch=4, r1_every=2, path_every=2, ema=20)
    whole = StyleTrainer(*small(), pictures(), settings)
    whole.run(3)
    whole.save(tmp_path / "state.safetensors")
    whole.run(3)
    other = StyleTrainer(*small(seed=9), pictures(), settings)
    other.load(tmp_path / "state.safetensors")
    assert other.step == 3
    other.run(3)
    for name in ("generator", "discriminator", "average"):
        ours, theirs = getattr(whole, name).state_dict(), getattr(other, name).state_dict()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    with pytest.raises(FormatError, match="no such file"):
        other.load(tmp_path / "none")
    with pytest.raises(FormatError, match="not those of these networks"):
        StyleTrainer(StyleGenerator(), StyleDiscriminator(), pictures(4, 32)).load(
            tmp_path / "state.safetensors"
        )


def test_the_gradient_penalty_is_exact_for_a_linear_discriminator():
    G, _ = small()
    trainer = StyleTrainer(G, small()[1], pictures())
    plane = torch.randn(3 * 64)
    trainer.discriminator = lambda x: x.flatten(1) @ plane
    torch.testing.assert_close(trainer._r1(pictures(5)), plane.square().sum())


def test_path_lengths_of_an_isometry_do_not_vary():
    """For a linear generator with orthonormal columns ``|J^T y|`` concentrates; its mean over layers is what counts."""
    G, D = small()
    trainer = StyleTrainer(G, D, pictures(), StyleTraining(batch=8))
    first = trainer._path_length()
    assert float(first.detach()) >= 0
    first.backward()  # a second derivative of the generator
    assert all(p.grad is not None and p.grad.isfinite().all() for p in G.blocks[1].conv0.parameters())
    expected = trainer.mean_path.clone()
    trainer.step = 1
    trainer._path_length()
    assert abs(float(trainer.mean_path - expected)) < 0.05 * float(expected)


def test_training_moves_what_it_may_and_nothing_else():
    G, D = small()
    G.requires_grad_(False)
    G.blocks[1].requires_grad_(True)
    before = copy.deepcopy(G.state_dict())
    trainer = StyleTrainer(G, D, pictures(), StyleTraining(batch=4, precision="bfloat16"))
    average = trainer.run(2)
    changed = {name for name, value in G.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert all(name.startswith("blocks.1") or name == "mapping.mean" for name in changed)
    assert G.precision == torch.float32
    assert average is not G
    assert len(trainer.history["generator"]) == trainer.step == 2


def test_a_penalty_is_added_when_its_turn_comes():
    calls = []

    def penalty(generator, codes, rng):
        calls.append(codes.shape)
        return generator.blocks[0].constant.square().sum()

    settings = StyleTraining(batch=4, penalty_every=2)
    StyleTrainer(*small(), pictures(), settings, penalty).run(4)
    assert calls == [(4, 4, 12)] * 2


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: StyleGenerator(resolution=32, channels=(8, 8)), ArgumentError, "one number for each"),
        (lambda: StyleGenerator(resolution=4, channels=(8,)), ArgumentError, "resolution=4"),
        (lambda: small()[0](torch.zeros(2, 5)), ShapeError, r"\(B, 12\)"),
        (lambda: small()[1](torch.zeros(2, 3, 16, 16)), ShapeError, "8, 8"),
        (lambda: StyleTrainer(*small(), pictures(4, 16)), ShapeError, "images"),
        (lambda: StyleTraining(batch=0), ArgumentError, "batch=0"),
        (lambda: StyleTraining(precision="float16"), ArgumentError, "bfloat16"),
        (lambda: StyleTraining(r1=-1), ArgumentError, "r1=-1"),
    ],
)
def test_bad_input_is_named(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_the_same_seed_gives_the_same_networks():
    runs = [StyleTrainer(*small(), pictures(), StyleTraining(batch=4)).run(2) for _ in range(2)]
    for a, b in zip(runs[0].parameters(), runs[1].parameters(), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
