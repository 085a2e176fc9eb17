"""Reverse sparsification: the switch does not move the loss, and training goes on."""

import pytest
import torch

from gossamer._core.errors import ArgumentError
from gossamer.nn import MonarchLinear, StructuredLinear
from gossamer.sparsify import ReverseSparsification


def setup(optimizer=torch.optim.Adam, **options):
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        MonarchLinear(16, 24), torch.nn.Tanh(), MonarchLinear(24, 8), torch.nn.Linear(8, 2)
    )
    x, y = torch.randn(64, 16), torch.randn(64, 2)
    trainer = optimizer(model.parameters(), 1e-2)
    return model, trainer, x, y, ReverseSparsification(model, trainer, total_steps=50, **options)


def loss_of(model, x, y):
    return ((model(x) - y) ** 2).mean()


@pytest.mark.parametrize("carry_state", [False, True])
@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.SGD])
def test_the_switch_leaves_the_loss_and_training_lowers_it_further(optimizer, carry_state):
    model, trainer, x, y, switch = setup(optimizer, densify_at=0.8, carry_state=carry_state)
    switched = []
    for step in range(50):
        trainer.zero_grad()
        loss_of(model, x, y).backward()
        trainer.step()
        before = float(loss_of(model, x, y).detach())
        if switch.step():
            switched.append(step)
            at = float(loss_of(model, x, y).detach())
            assert abs(at - before) <= 1e-5 * before
    assert switched == [39]
    assert not any(isinstance(m, StructuredLinear) for m in model.modules())
    assert float(loss_of(model, x, y).detach()) < at
    held = {id(p) for group in trainer.param_groups for p in group["params"]}
    assert held == {id(p) for p in model.parameters()}


def test_the_second_moment_is_the_mean_of_the_factors():
    model, trainer, x, y, switch = setup(densify_at=0.02, carry_state=True)
    loss_of(model, x, y).backward()
    trainer.step()
    states = [trainer.state[p]["exp_avg_sq"].mean() for p in model[0].matrix.factors.values()]
    bias = trainer.state[model[0].bias]["exp_avg"].clone()
    assert switch.step()
    state = trainer.state[model[0].weight]
    assert torch.allclose(state["exp_avg_sq"], torch.full((24, 16), float(sum(states) / 2)))
    assert float(state["exp_avg"].abs().max()) == 0
    assert torch.equal(trainer.state[model[0].bias]["exp_avg"], bias)


def test_rates_rise_after_the_switch_and_schedulers_do_not_see_it():
    model, trainer, x, y, switch = setup(torch.optim.SGD, densify_at=0.02)
    switch = ReverseSparsification(model, trainer, total_steps=200, densify_at=0.005)
    assert switch.step()
    moves = []
    for _ in range(6):
        trainer.zero_grad()
        (model[0].weight.sum() + 0 * loss_of(model, x, y)).backward()
        before = model[0].weight.detach().clone()
        trainer.step()
        moves.append(float((before - model[0].weight.detach()).mean()))
        assert trainer.param_groups[0]["lr"] == 1e-2
    assert moves == pytest.approx([0.0025, 0.005, 0.0075, 0.01, 0.01, 0.01], rel=1e-4)


def test_bad_input_is_refused():
    model, trainer, *_ = setup()
    with pytest.raises(ArgumentError, match="densify_at"):
        ReverseSparsification(model, trainer, 10, densify_at=1.5)
    with pytest.raises(ArgumentError, match="total_steps"):
        ReverseSparsification(model, trainer, 0)
    with pytest.raises(ArgumentError, match="structured layers inside"):
        ReverseSparsification(torch.nn.Linear(2, 2), trainer, 10)
    with pytest.raises(ArgumentError, match="trains the factors"):
        ReverseSparsification(model, torch.optim.SGD(model[3].parameters(), 1e-2), 10)
