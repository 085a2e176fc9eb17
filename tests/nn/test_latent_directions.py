"""Editing directions of generators: the projector in place, what is measured, and what it is compared with."""

import itertools

import numpy as np
import pytest
import scipy.linalg
import torch

from gossamer._core.errors import ArgumentError, ShapeError, UnsupportedError
from gossamer.nn import (
    FactorReader,
    HouseholderProjector,
    StyleDiscriminator,
    StyleGenerator,
    StyleTraining,
    factor_changes,
    finetune_directions,
    frechet_distance,
    hessian_penalty,
    latent_directions,
    one_factorness,
    orojar_penalty,
    orthogonality_penalty,
    orthogonalize_modulation,
    pipl,
    ppl,
    random_directions,
    sefa_directions,
    traverse,
    vp_score,
)
from gossamer.nn.generative.finetune import _penalty
from gossamer.nn.generative.modulation import affine_map
from gossamer.nn.generative.path_length import draw_shifts


class Plane(torch.nn.Module):
    """A generator whose picture is a linear function of its code: everything about it is known."""

    def __init__(self, A):
        super().__init__()
        self.affine = torch.nn.Linear(A.shape[1], A.shape[0], bias=False)
        with torch.no_grad():
            self.affine.weight.copy_(A)

    def forward(self, w):
        return self.affine(w)


def plane(seed=0):
    return Plane(torch.randn(12, 6, generator=torch.Generator().manual_seed(seed)))


def squares(a, b):
    return (a - b).square().flatten(1).sum(dim=1)


def small(seed=0):
    torch.manual_seed(seed)
    options = {"resolution": 8, "channels": (8, 6)}
    return StyleGenerator(**options, features=12, mapping_layers=2), StyleDiscriminator(**options)


def test_projectors_start_at_the_nearest_isometries_and_keep_the_bias():
    G, _ = small()
    weight, bias = affine_map(G.blocks[1].conv0.affine)
    made = orthogonalize_modulation(G, rank=4, scale="fit")
    assert list(made) == ["blocks.1.conv0.affine"]
    assert G.blocks[1].conv0.affine is made["blocks.1.conv0.affine"]
    U, s, Vt = torch.linalg.svd(weight)
    expected = s[:4].mean() * U[:, :4] @ Vt[:4]
    projector = G.blocks[1].conv0.affine
    torch.testing.assert_close(projector.weight.detach(), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(projector.bias, bias)
    V = latent_directions(G)["blocks.1.conv0.affine"]
    torch.testing.assert_close((V @ Vt[:4].T).abs(), torch.eye(4), atol=1e-5, rtol=0)
    image = G(G.mapping(torch.randn(2, 12)))
    image.sum().backward()
    assert projector.left.grad is not None


def test_layers_may_be_named_or_numbered():
    for layers in ([0], ["blocks.1.conv0.affine"], ["blocks.0.conv1.affine", "blocks.1.rgb.affine"]):
        assert len(orthogonalize_modulation(small()[0], rank=3, layers=layers)) == len(layers)
    assert orthogonalize_modulation(small()[0], rank=3, layers=[]) == {}
    G = plane()
    orthogonalize_modulation(G, rank=2, layers=["affine"])
    assert isinstance(G.affine, HouseholderProjector)


def test_sefa_takes_the_singular_vectors():
    A = torch.randn(12, 6)
    found = sefa_directions(Plane(A), 3, ["affine"])["affine"]
    torch.testing.assert_close(found, torch.linalg.svd(A)[2][:3])
    drawn = random_directions({"affine": found}, seed=1)["affine"]
    torch.testing.assert_close(drawn @ drawn.T, torch.eye(3), atol=1e-6, rtol=0)


def test_a_traversal_moves_the_input_of_one_layer_only():
    G, _ = small()
    w, v = G.mapping(torch.randn(2, 12)), torch.eye(12)[3]
    layer = "blocks.1.conv0.affine"
    walk = traverse(G, w, layer, v, [-1.0, 0.0, 2.0])
    with torch.no_grad():
        torch.testing.assert_close(walk[1], G(w))
        codes = w[:, None].repeat(1, G.n_codes, 1)
        affine = G.blocks[1].conv0.affine
        affine.bias += affine.effective_weight()[:, 3] * 2.0  # the same as moving its code by 2 v
        torch.testing.assert_close(walk[2], G(codes), atol=1e-5, rtol=1e-5)
    assert traverse(plane(), torch.zeros(1, 6), "affine", torch.eye(6)[0]).shape == (7, 1, 12)
    assert not G.blocks[1].conv0.affine._forward_pre_hooks


def test_path_lengths_of_a_plane_are_exact():
    G, identity = plane(), torch.nn.Identity()
    rng = torch.Generator().manual_seed(4)
    first, second = (torch.randn(50, 6, generator=rng) for _ in range(2))
    expected = squares(G(first), G(second)).detach().double().numpy()
    for eps in (0.1, 1.0):
        found = ppl(G, identity, distance=squares, n=50, eps=eps, features=6, seed=4)
        np.testing.assert_allclose(found.lengths, expected, rtol=1e-3)
    low, high = np.percentile(found.lengths, [1, 99])
    inside = (found.lengths >= low - 1e-9) & (found.lengths <= high + 1e-9)
    assert abs(found.value - found.lengths[inside].mean()) < 0.05 * found.value


def test_all_directions_of_an_isometry_are_equally_long():
    G = plane()
    orthogonalize_modulation(G, rank=3, layers=["affine"], scale="fit")
    alpha = float(G.affine.alpha.detach())
    found = pipl(G, torch.nn.Identity(), latent_directions(G), distance=squares, n=40, features=6)
    np.testing.assert_allclose(found.lengths, alpha**2, rtol=1e-4)
    assert found.error < 1e-3


def test_every_layer_and_direction_is_drawn():
    directions = {"a": torch.eye(4)[:2], "b": torch.eye(4)[1:]}
    shifts, label = draw_shifts(directions, 3000, 2.0, torch.Generator().manual_seed(0))
    assert np.bincount(label.numpy()).min() > 500
    rows = torch.cat([directions["a"], directions["b"]])
    torch.testing.assert_close(shifts["a"] + shifts["b"], 2 * rows[label])
    assert ((shifts["a"] == 0).all(dim=1) == (label >= 2)).all()


class Painter(torch.nn.Module):
    """Codes of four numbers to pictures of four stripes."""

    def __init__(self):
        super().__init__()
        self.affine = torch.nn.Identity()

    def forward(self, w):
        return self.affine(w)[:, None, None, :].repeat(1, 3, 16, 4)


def test_directions_that_look_different_are_told_apart_and_equal_ones_are_not():
    torch.manual_seed(0)
    options = {"n": 600, "step": 3.0, "epochs": 6, "features": 4}
    apart = vp_score(Painter(), torch.nn.Identity(), {"affine": torch.eye(4)}, **options)
    assert apart.chance == 0.25
    assert apart.value > 0.9
    alike = vp_score(Painter(), torch.nn.Identity(), {"affine": torch.ones(4, 4) / 2}, **options)
    assert alike.value < 0.5


def test_one_factorness_is_one_for_one_factor_and_zero_for_all():
    rows = np.array([[5.0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0], [1, 1, 0, 0]])
    np.testing.assert_allclose(one_factorness(rows), [1, 0, 0, 0.5], atol=1e-12)
    p = rows[3] / 2
    assert one_factorness(rows)[3] == pytest.approx(1 + (p[:2] * np.log(p[:2])).sum() / np.log(4))


def test_changes_of_factors_are_read_by_direction():
    G, reader = small()[0], FactorReader()
    directions = {"blocks.1.conv0.affine": torch.eye(12)[:2]}
    big = torch.nn.Sequential(G, torch.nn.Upsample(scale_factor=4))
    named = {"0." + name: V for name, V in directions.items()}
    found = factor_changes(big, G.mapping, named, reader, n=8, features=12)
    assert found.changes["0.blocks.1.conv0.affine"].shape == (2, 6)
    assert 0 <= found.means[found.best_layer] <= 1
    assert 1 <= found.coverage <= 2


def test_the_frechet_distance_is_that_of_normal_distributions():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, 5)) @ rng.normal(size=(5, 5)), rng.normal(size=(300, 5)) + 1
    C, D = np.cov(x.T), np.cov(y.T)
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(C + D - 2 * scipy.linalg.sqrtm(C @ D).real)
    assert frechet_distance(x, y) == pytest.approx(expected)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-9)


def test_penalties_vanish_where_they_should_and_are_what_their_formulas_say():
    rng = torch.Generator().manual_seed(0)
    Q = torch.linalg.qr(torch.randn(12, 6, dtype=torch.float64))[0]
    w = torch.randn(3, 6, dtype=torch.float64)
    assert float(orojar_penalty(lambda w: w @ Q.T, w, rng)) < 1e-20
    assert float(hessian_penalty(lambda w: (w**2).sum(dim=1), w, rng)) < 1e-16
    J = torch.randn(5, 4, dtype=torch.float64)
    gram = J.T @ J
    off = 2 * float((gram - gram.diag().diag()).square().sum())
    every = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=4)), dtype=torch.float64)
    assert float((every @ J.T).square().sum(dim=1).var(unbiased=False)) == pytest.approx(off)
    flat = torch.zeros(1, 4, dtype=torch.float64)
    mean = np.mean([float(orojar_penalty(lambda w: w @ J.T, flat, rng, k=8)) for _ in range(150)])
    assert mean == pytest.approx(off, rel=0.15)
    H = torch.tensor([[1.0, 2.0], [2.0, -1.0]], dtype=torch.float64)
    values = [
        float(hessian_penalty(lambda w: torch.einsum("bi,ij,bj->b", w, H, w) / 2, flat[:, :2], rng, k=8))
        for _ in range(150)
    ]
    assert np.mean(values) == pytest.approx(2 * 2 * 4, rel=0.15)


def test_the_orthogonality_penalty_is_zero_for_isometries_only():
    G, _ = small()
    assert float(orthogonality_penalty(G).detach()) > 0
    with torch.no_grad():
        layer = G.blocks[1].conv0.affine
        layer.weight.copy_(torch.eye(8, 12) / layer.gain)
    assert float(orthogonality_penalty(G).detach()) < 1e-10


@pytest.mark.parametrize("method", ["projector", "none", "orthogonality", "hessian", "orojar"])
def test_fine_tuning_leaves_the_original_alone(method):
    G, D = small()
    before = {name: value.clone() for name, value in G.state_dict().items()}
    images = torch.rand(20, 3, 8, 8) * 2 - 1
    settings = StyleTraining(batch=4)
    done = finetune_directions(G, D, images, method=method, rank=4, steps=2, settings=settings)
    assert all(torch.equal(value, before[name]) for name, value in G.state_dict().items())
    V = done.directions["blocks.1.conv0.affine"]
    torch.testing.assert_close(V @ V.T, torch.eye(4), atol=1e-5, rtol=0)
    s = torch.linalg.svdvals(affine_map(done.generator.blocks[1].conv0.affine)[0])
    assert (float(s[3] / s[0]) > 0.999 and float(s[4]) < 1e-5) == (method == "projector")


@pytest.mark.parametrize("method", ["hessian", "orojar"])
def test_penalties_take_differences_in_float32(method):
    """Though the rest is trained in bfloat16, whose rounding would swamp them."""
    G, _ = small()
    penalty = _penalty(method, 1.0)
    codes = torch.randn(4, G.n_codes, 12)
    exact = float(penalty(G, codes, torch.Generator().manual_seed(0)).detach())
    G.precision = torch.bfloat16
    assert float(penalty(G, codes, torch.Generator().manual_seed(0)).detach()) == exact
    assert G.precision == torch.bfloat16


def test_frames_alone_may_be_trained():
    G, D = small()
    images = torch.rand(20, 3, 8, 8) * 2 - 1
    done = finetune_directions(
        G, D, images, rank=4, steps=2, trainable="frames", settings=StyleTraining(batch=4)
    )
    assert torch.equal(done.generator.blocks[0].constant, G.blocks[0].constant)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: orthogonalize_modulation(small()[0], rank=9), ArgumentError, "rank=9"),
        (lambda: orthogonalize_modulation(small()[0], 2, ["blocks.7"]), ArgumentError, "blocks.7"),
        (lambda: orthogonalize_modulation(small()[0], 2, [5]), ArgumentError, "layers=5"),
        (lambda: orthogonalize_modulation(small()[0], 2, "affine"), ArgumentError, "sequence"),
        (lambda: orthogonalize_modulation(plane()), UnsupportedError, "layers="),
        (lambda: sefa_directions(small()[0], 2, ["blocks.1"]), UnsupportedError, "no linear map"),
        (lambda: traverse(plane(), torch.zeros(1, 6), "affin", torch.zeros(6)), ArgumentError, "affine"),
        (lambda: traverse(plane(), torch.zeros(1, 6), "affine", torch.eye(6)), ShapeError, "one vector"),
        (lambda: ppl(plane(), torch.nn.Identity(), distance=squares, eps=0), ArgumentError, "eps=0"),
        (lambda: one_factorness(-np.ones((2, 3))), ShapeError, "non-negative"),
        (lambda: frechet_distance(np.ones((3, 2)), np.ones((3, 4))), ShapeError, "features"),
        (
            lambda: finetune_directions(*small(), torch.zeros(4, 3, 8, 8), method="sefa"),
            ArgumentError,
            "projector, none",
        ),
    ],
)
def test_bad_input_is_named(call, error, words):
    with pytest.raises(error, match=words):
        call()
