"""Projection onto the ball of few non-zero numbers, against brute force."""

import itertools

import numpy as np
import pytest
import torch

from gossamer._core.errors import ArgumentError, UnsupportedError
from gossamer.sparsify import L0Projection
from gossamer.sparsify.pruners.l0_projection import smallest_entries


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("sparsity", [0.1, 0.5, 0.8])
def test_the_projection_is_the_nearest_point_of_the_ball(seed, sparsity):
    theta = torch.randn(8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    kept = 8 - int(np.ceil(sparsity * 8))
    nearest = min(
        float((theta - theta * torch.tensor([i in support for i in range(8)])).norm())
        for support in itertools.combinations(range(8), kept)
    )
    parts = [theta[:3].clone(), theta[3:].reshape(5, 1).clone()]
    projection = L0Projection(parts, sparsity)
    projection.step()
    found = torch.cat([p.reshape(-1) for p in parts])
    assert projection.nonzeros() == kept
    assert float((theta - found).norm()) == pytest.approx(nearest)
    assert all(torch.equal(mask, p != 0) for mask, p in zip(projection.mask().values(), parts))
    again = found.clone()
    projection.step()
    assert torch.equal(torch.cat([p.reshape(-1) for p in parts]), again)


def test_counts_are_exact_where_magnitudes_are_equal_and_the_first_ones_go():
    theta = torch.tensor([1.0, -1.0, 1.0, 1.0, 0.0, 2.0])
    L0Projection([theta], 0.5).step()
    assert theta.tolist() == [0.0, 0.0, 1.0, 1.0, 0.0, 2.0]
    whole = torch.ones(10)
    for sparsity, zeros in ((0.0, 0), (0.1, 1), (0.3, 3), (0.65, 7), (0.99, 10)):
        part = whole.clone()
        L0Projection([part], sparsity).step()
        assert int((part == 0).sum()) == zeros


def test_layers_compete_only_if_the_scope_is_global():
    def small_and_large():
        return [torch.full((4,), 0.1), torch.full((4,), 10.0)]

    whole, apart = small_and_large(), small_and_large()
    L0Projection(whole, 0.5).step()
    L0Projection(apart, 0.5, scope="layer").step()
    assert [int(p.count_nonzero()) for p in whole] == [0, 4]
    assert [int(p.count_nonzero()) for p in apart] == [2, 2]


def test_a_module_gives_its_trainable_parameters_and_excluded_ones_stay():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.Linear(4, 2))
    model[1].weight.requires_grad_(False)
    projection = L0Projection(model, 0.5, exclude=["0.bias"])
    assert list(projection.params) == ["0.weight", "1.bias"]
    before = model[0].bias.clone(), model[1].weight.clone()
    projection.step()
    assert projection.nonzeros() == 26 - 13
    assert torch.equal(model[0].bias, before[0])
    assert torch.equal(model[1].weight, before[1])


def test_zeros_come_back_and_the_count_holds_after_every_step_of_the_optimiser():
    torch.manual_seed(0)
    model = torch.nn.Linear(10, 3)
    x, y = torch.randn(40, 10), torch.randint(3, (40,))
    optimizer = torch.optim.Adam(model.parameters(), 0.05)
    projection = L0Projection(model, 0.6)
    handle = projection.attach(optimizer)
    returned = 0
    for _ in range(50):
        before = projection.mask()
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
        assert projection.nonzeros() <= 33 - 20
        returned += sum(int((now & ~before[name]).sum()) for name, now in projection.mask().items())
    assert returned > 0
    handle.remove()
    optimizer.step()
    assert projection.nonzeros() > 13


def test_bad_input_is_refused():
    theta = torch.ones(4)
    for sparsity in (1.0, -0.1, float("nan")):
        with pytest.raises(ArgumentError, match="sparsity="):
            L0Projection([theta], sparsity)
    with pytest.raises(ArgumentError, match="scope="):
        L0Projection([theta], 0.5, scope="row")
    with pytest.raises(ArgumentError, match="exclude"):
        L0Projection({"a": theta}, 0.5, exclude=["b"])
    with pytest.raises(ArgumentError, match="at least one"):
        L0Projection({"a": theta}, 0.5, exclude=["a"])
    with pytest.raises(UnsupportedError, match="params"):
        L0Projection(theta, 0.5)
    with pytest.raises(UnsupportedError, match="floating"):
        L0Projection([torch.ones(3, dtype=torch.int64)], 0.5)
    for place in (0, 3):
        bad = theta.clone()
        bad[place] = float("nan")
        with pytest.raises(ArgumentError, match="NaN"):
            L0Projection([bad], 0.5).step()
    with pytest.raises(ArgumentError, match="count="):
        smallest_entries([theta], 5)
