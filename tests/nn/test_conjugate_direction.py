"""The network of conjugate directions: its loss against dense algebra, its weights, its training."""

import numpy as np
import pytest
import safetensors.torch
import scipy.sparse.linalg
import torch

from gossamer._core.errors import ArgumentError, FormatError, ShapeError
from gossamer.nn import ConjugateDirectionNet, load_conjugate_direction_net, save_conjugate_direction_net
from gossamer.science import fluid_scene, open_box, poisson_system
from gossamer.solve import (
    DeepConjugateDirection,
    GridStencil,
    TrainingSystem,
    dcdm,
    direction_loss,
    ritz_rhs_dataset,
    train_direction,
)
from gossamer.solve.linear.learned.training import torch_product

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("levels", [2, 3, 5, None])
@pytest.mark.parametrize(("dim", "grid"), [(2, (16, 10)), (2, (7, 9)), (2, (1, 12)), (3, (6, 5, 4))])
def test_any_grid_goes_through(dim, grid, levels):
    torch.manual_seed(0)
    net = ConjugateDirectionNet(dim, channels=4, n_fine=2, n_coarse=1, n_up=0, levels=levels)
    r = torch.randn(3, 1, *grid)
    z = net(r)
    assert z.shape == r.shape
    z.sum().backward()
    assert all(weight.grad is not None for weight in net.parameters())
    blocks = {"n_fine": 2, "n_coarse": 1, "n_up": 0, "n_back": 1}
    assert net.sizes == {"dim": dim, "channels": 4, **blocks, "levels": levels, "bias": True, "relu": True}


def test_the_layers_are_the_published_ones():
    torch.manual_seed(0)
    net = ConjugateDirectionNet(2, n_fine=1, n_coarse=2, n_up=1).double()
    r = torch.randn(1, 1, 8, 8, dtype=torch.float64)
    W = net.state_dict()

    def conv(name, x):
        return torch.nn.functional.conv2d(x, W[f"{name}.weight"], W[f"{name}.bias"], padding=1)

    def block(name, u):
        return conv(f"{name}.second", conv(f"{name}.first", u).clamp_min(0)).clamp_min(0) + u

    h = conv("first", conv("lift", r)).clamp_min(0)
    s = conv("last", block("fine.0", h)).clamp_min(0)
    g = s.reshape(1, 16, 4, 2, 4, 2).mean((3, 5))
    g = block("coarse.1", block("coarse.0", g))
    u = block("up.0", g.repeat_interleave(2, 2).repeat_interleave(2, 3) + s)
    z = torch.einsum("bchw,oc->bohw", u, W["head.weight"][:, :, 0, 0]) + W["head.bias"]
    assert (net(r) - z).abs().max() < 1e-12


def test_coarser_levels_share_the_weights_of_the_second():
    torch.manual_seed(0)
    net = ConjugateDirectionNet(
        2, 3, n_fine=0, n_coarse=1, n_up=0, n_back=1, levels=None, bias=False
    ).double()
    r = torch.randn(1, 1, 16, 16, dtype=torch.float64)
    W = net.state_dict()

    def conv(name, x):
        return torch.nn.functional.conv2d(x, W[f"{name}.weight"], padding=1)

    def block(name, u):
        return conv(f"{name}.second", conv(f"{name}.first", u).clamp_min(0)).clamp_min(0) + u

    def halved(x):
        n = x.shape[2] // 2
        return x.reshape(1, 3, n, 2, n, 2).mean((3, 5))

    def doubled(x):
        return x.repeat_interleave(2, 2).repeat_interleave(2, 3)

    s = conv("last", conv("first", conv("lift", r)).clamp_min(0)).clamp_min(0)
    h8 = block("coarse.0", halved(s))
    h4 = block("coarse.0", halved(h8))
    h2 = block("coarse.0", halved(h4))
    bridge = W["bridge.weight"][:, :, 0, 0]
    h4 = block("back.0", h4 + doubled(torch.einsum("bchw,oc->bohw", h2, bridge)))
    h8 = block("back.0", h8 + doubled(torch.einsum("bchw,oc->bohw", h4, bridge)))
    z = torch.einsum("bchw,oc->bohw", s + doubled(h8), W["head.weight"][:, :, 0, 0])
    assert (net(r) - z).abs().max() < 1e-12
    assert (net(3e-5 * r) - 3e-5 * z).abs().max() < 1e-16  # no biases: the length of a residual is no matter
    torch.manual_seed(0)
    linear = ConjugateDirectionNet(2, levels=None, bias=False, relu=False).double()
    x, y = torch.randn(2, 1, 1, 9, 12, dtype=torch.float64)
    assert (linear(2 * x - y) - 2 * linear(x) + linear(y)).abs().max() < 1e-12
    torch.manual_seed(0)
    four = ConjugateDirectionNet(2, 3, n_fine=0, n_coarse=1, n_up=0, n_back=1, levels=4, bias=False).double()
    assert torch.equal(four(r), net(r))


def test_weights_serve_on_every_grid_and_know_no_places():
    torch.manual_seed(0)
    net = ConjugateDirectionNet(2)
    r = torch.zeros(1, 1, 128, 128)
    r[..., 50:60, 50:60] = torch.randn(10, 10)
    moved = torch.roll(r, (8, 4), (2, 3))
    assert (torch.roll(net(r), (8, 4), (2, 3)) - net(moved))[..., 40:90, 40:90].abs().max() < 1e-5


def test_the_loss_is_zero_at_the_solution_whatever_its_length():
    system = poisson_system(fluid_scene("ball", (10, 10)))
    A = system.A.toarray()
    rng = np.random.default_rng(0)
    b = np.where(system.fluid, rng.standard_normal((4, 100)), 0)
    b /= np.linalg.norm(b, axis=1, keepdims=True)
    z = b @ np.linalg.pinv(A)
    product = torch_product(system)
    loss = lambda z: float(direction_loss(torch.from_numpy(z), torch.from_numpy(b), product))  # noqa: E731
    assert loss(z) < 1e-24
    assert loss(-3e-7 * z) < 1e-24
    z = np.where(system.fluid, rng.standard_normal((4, 100)), 0)
    alpha = (z * b).sum(1) / np.einsum("bi,ij,bj->b", z, A, z)
    by_hand = (np.linalg.norm(b - alpha[:, None] * (z @ A), axis=1) ** 2).mean()
    assert loss(z) == pytest.approx(by_hand, rel=1e-12)
    assert loss(z * 17.0) == pytest.approx(by_hand, rel=1e-12)
    variable = torch.from_numpy(z).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: direction_loss(z, torch.from_numpy(b), product), variable)
    one_step = dcdm(system, b[0], M=lambda r: z[0], maxiter=1, rtol=0, safeguard=False)
    alone = direction_loss(torch.from_numpy(z[:1]), torch.from_numpy(b[:1]), product)
    assert one_step.residual**2 == pytest.approx(float(alone), rel=1e-10)


def test_training_lowers_the_loss_and_goes_on_as_if_never_interrupted(tmp_path):
    A = GridStencil((12, 12))
    data = ritz_rhs_dataset(A, n_ritz=72, random_state=0)

    def trained(*runs, file=None):
        torch.manual_seed(0)
        direction = DeepConjugateDirection(ConjugateDirectionNet(2, channels=8, n_coarse=1), (12, 12))
        for steps in runs:
            result = direction.fit(
                A, steps=steps, data=data, batch_size=8, lr=3e-3, every=20, checkpoint=file
            )
        return direction, result

    direction, whole = trained(60)
    assert whole.success
    assert whole.steps == 60
    assert whole.history["step"] == [20, 40, 60]
    assert whole.loss < 0.8 * whole.history["loss"][0]
    assert direction.loss(data.draw(8, 5), A) == pytest.approx(whole.loss, rel=0.7)

    class Power(Exception):
        pass

    def cut(line):
        if line.startswith("step 40"):
            raise Power

    torch.manual_seed(0)
    second = DeepConjugateDirection(ConjugateDirectionNet(2, channels=8, n_coarse=1), (12, 12))
    options = {"steps": 60, "data": data, "batch_size": 8, "lr": 3e-3, "every": 20}
    options["checkpoint"] = tmp_path / "state"
    with pytest.raises(Power):
        second.fit(A, log=cut, **options)
    torch.manual_seed(99)
    third = DeepConjugateDirection(ConjugateDirectionNet(2, channels=8, n_coarse=1), (12, 12))
    resumed = third.fit(A, **options)
    assert resumed.history["step"] == [60]
    for a, b in zip(direction.net.parameters(), third.net.parameters()):
        assert torch.equal(a, b)
    other = DeepConjugateDirection(ConjugateDirectionNet(2, channels=4), (12, 12))
    with pytest.raises(FormatError, match="not a checkpoint of this network"):
        other.fit(A, **options)
    with pytest.raises(ArgumentError, match="steps=0"):
        train_direction(direction, A, steps=0)


def test_several_systems_teach_one_network(tmp_path):
    torch.manual_seed(0)
    net = ConjugateDirectionNet(2, channels=4, n_coarse=1, n_up=0, levels=None, bias=False)

    def of(net, name, edge, **options):
        system = poisson_system(fluid_scene(name, (edge, edge)))
        direction = DeepConjugateDirection(net, system.grid, mask=system.fluid)
        data = ritz_rhs_dataset(system, n_ritz=40, random_state=0)
        return TrainingSystem(direction=direction, A=system, data=data, batch_size=4, **options)

    first, small, around = of(net, "plume", 12), of(net, "plume", 8), of(net, "ball", 12, share=0.5)
    before = {s: s.direction.loss(s.data.draw(64, 9), s.A) for s in (first, small, around)}
    options = {"data": first.data, "batch_size": 4, "lr": 3e-3, "every": 40}
    result = first.direction.fit(first.A, steps=80, others=[small, around], **options)
    after = {s: s.direction.loss(s.data.draw(64, 9), s.A) for s in (first, small, around)}
    assert all(after[s] < 0.8 * before[s] for s in before)
    mean = (after[first] + after[small] + 0.5 * after[around]) / 2.5
    assert result.loss == pytest.approx(mean, rel=0.3)  # the same laws, other draws
    # a share of nothing is never drawn: the same bits as without it
    torch.manual_seed(0)
    alone, beside = (ConjugateDirectionNet(2, channels=4, n_coarse=1, n_up=0) for _ in range(2))
    beside.load_state_dict(alone.state_dict())
    for net, others in ((alone, []), (beside, [of(beside, "ball", 8, share=0.0)])):
        of(net, "plume", 12).direction.fit(first.A, steps=5, others=others, **options)
    for a, b in zip(alone.parameters(), beside.parameters()):
        assert torch.equal(a, b)
    with pytest.raises(ArgumentError, match="another network"):
        first.direction.fit(first.A, steps=5, others=[of(alone, "ball", 8)], **options)
    with pytest.raises(ArgumentError, match="share=-1"):
        first.direction.fit(
            first.A, steps=5, others=[of(first.direction.net, "ball", 8, share=-1)], **options
        )


def test_directions_are_scaled_masked_and_taken_in_blocks():
    torch.manual_seed(0)
    net, mask = ConjugateDirectionNet(2, channels=4), np.random.default_rng(0).random((9, 8)) < 0.7
    direction = DeepConjugateDirection(net, (9, 8), mask=mask)
    R = np.random.default_rng(1).standard_normal((72, 3))
    D = direction(R)
    assert D.shape == (72, 3)
    assert D.dtype == np.float64
    assert not D[~mask.ravel()].any()
    assert np.abs(direction(1e-9 * R) - D).max() < 1e-5
    assert np.abs(np.stack([direction(r) for r in R.T], axis=1) - D).max() < 1e-5
    assert np.isfinite(direction(np.zeros(72))).all()
    assert np.abs(DeepConjugateDirection(net, (9, 8), normalize=False)(1e-9 * R[:, 0]) - D[:, 0]).max() > 1e-4
    with pytest.raises(ShapeError, match="r has shape"):
        direction(np.ones(71))
    with pytest.raises(ShapeError, match="mask has"):
        DeepConjugateDirection(net, (9, 8), mask=np.ones(5))


def test_files_are_read_with_suspicion(tmp_path):
    net, file = ConjugateDirectionNet(2, channels=4, n_coarse=1), tmp_path / "net.safetensors"
    save_conjugate_direction_net(net, file, trained_on="nothing")
    again = load_conjugate_direction_net(2, file)
    assert again.sizes == net.sizes
    assert not again.training
    for a, b in zip(net.parameters(), again.parameters()):
        assert torch.equal(a, b)
    with pytest.raises(FormatError, match="expected dim=3"):
        load_conjugate_direction_net(3, file)
    with pytest.raises(FormatError, match="no such file"):
        load_conjugate_direction_net(2, tmp_path / "nothing")
    (tmp_path / "cut").write_bytes(file.read_bytes()[:-50])
    with pytest.raises(FormatError, match="not a whole file"):
        load_conjugate_direction_net(2, tmp_path / "cut")
    sizes = {name: str(int(size)) for name, size in net.sizes.items()}
    good = {name: value.contiguous() for name, value in net.state_dict().items()}
    for change, match in (
        ({"head.bias": None}, "do not fit"),
        ({"extra": torch.ones(1)}, "do not fit"),
        ({"head.bias": torch.ones(2)}, "do not fit"),
        ({"head.bias": torch.full((1,), torch.nan)}, "NaN"),
    ):
        tensors = {name: value for name, value in {**good, **change}.items() if value is not None}
        safetensors.torch.save_file(tensors, tmp_path / "bad", metadata=sizes)
        with pytest.raises(FormatError, match=match):
            load_conjugate_direction_net(2, tmp_path / "bad")
    for change, match in (
        ({"levels": "1"}, "do not fit"),
        ({"levels": "x"}, "not a whole"),
        ({"bias": "-1"}, "holds"),
    ):
        safetensors.torch.save_file(good, tmp_path / "bad", metadata={**sizes, **change})
        with pytest.raises(FormatError, match=match):
            load_conjugate_direction_net(2, tmp_path / "bad")
    deep = ConjugateDirectionNet(2, channels=4, levels=None, bias=False)
    save_conjugate_direction_net(deep, file)
    assert load_conjugate_direction_net(2, file).sizes == deep.sizes
    with pytest.raises(ArgumentError, match="dim=4"):
        ConjugateDirectionNet(4)
    with pytest.raises(ArgumentError, match="levels=1"):
        ConjugateDirectionNet(2, levels=1)
    with pytest.raises(ShapeError, match=r"expected \(B, 1, \*grid\)"):
        net(torch.ones(2, 8, 8))


@pytest.mark.parametrize(
    ("dim", "grid", "published", "factor"),
    [
        (2, (48, 48), True, 4),
        (3, (14, 14, 14), True, 1.5),
        (2, (100, 76), False, 15),
        (3, (14, 14, 14), False, 3),
    ],
)
def test_the_networks_that_come_along_propose_good_directions_around_obstacles(dim, grid, published, factor):
    direction = DeepConjugateDirection(load_conjugate_direction_net(dim, published=published), grid)
    rng = np.random.default_rng(0)
    for name in ("plume", "ball"):
        system = poisson_system(fluid_scene(name, grid))
        b = np.where(system.fluid & (rng.random(system.shape[0]) < 0.01), 1.0, 0.0)
        result = dcdm(system, b, M=direction, rtol=1e-4)
        counted = []
        scipy.sparse.linalg.cg(system.A, b, rtol=1e-4, callback=counted.append)
        assert result.success
        assert result.nit < len(counted) / factor
        assert np.linalg.norm(b - system @ result.x) <= 1.0001e-4 * np.linalg.norm(b)
    precise = dcdm(system, b, M=direction, rtol=1e-10, maxiter=300)
    assert precise.success  # a network in single precision, a loop in double
    assert direction.loss(system @ rng.standard_normal(system.shape[0]), system) < 0.5


def test_a_larger_grid_takes_hardly_more_directions():
    net, taken = load_conjugate_direction_net(2), {}
    for edge in (32, 128):
        system = poisson_system(fluid_scene("plume", (edge, edge)))
        b = np.zeros((edge, edge))
        b[edge // 4, edge // 3] = 1.0
        result = dcdm(system, b.ravel(), M=DeepConjugateDirection(net, system.grid), rtol=1e-4)
        assert result.success
        taken[edge] = result.nit
    assert taken[128] <= 2 * taken[32]


def test_the_empty_box_is_open_at_the_top():
    mask = open_box((4, 3))
    assert (mask[-1] == 2).all()
    assert (mask[:-1] == 1).all()


def test_smoother_right_sides_have_more_of_long_waves():
    A = GridStencil((10, 10))
    law = ritz_rhs_dataset(A, n_ritz=100, random_state=0)
    smooth = law.smoother(1.0)
    assert np.allclose(smooth.deviations / law.deviations, law.values[0] / law.values, rtol=1e-6)
    assert np.array_equal(law.smoother(0.0).deviations, law.deviations)
    b = smooth.draw(4000, 1) @ smooth.vectors.T  # coefficients, as all vectors are there
    expected = smooth.deviations**2 / (smooth.deviations**2).sum()
    assert np.mean(b[:, 0] ** 2) > 5 * law.deviations[0] ** 2 / (law.deviations**2).sum()
    assert np.mean(b[:, 3] ** 2 / b[:, 0] ** 2 < expected[3] / expected[0]) == pytest.approx(0.5, abs=0.05)
    with pytest.raises(ArgumentError, match="exponent=-1"):
        law.smoother(-1)
