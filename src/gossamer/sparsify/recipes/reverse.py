"""Reverse sparsification: train structured for most of the steps, then dense for the rest."""

from __future__ import annotations

import math
from typing import Any

import torch

from gossamer._core.checks import check_float, check_int
from gossamer._core.errors import ArgumentError
from gossamer.nn import StructuredLinear, densify

WARMUP = 0.02  # of all steps, where the second moments start from zero


class ReverseSparsification:
    r"""Multiply the factors of a model out after a share of the training, and go on with dense weights.

    At step ``ceil(densify_at total_steps)`` every structured layer becomes a :class:`torch.nn.Linear` with the same
    product, so the loss does not move; the optimiser then trains the dense weights with the schedule that it had.

    Parameters
    ----------
    model : torch.nn.Module
        With :class:`gossamer.nn.StructuredLinear` layers, such as :class:`gossamer.nn.MonarchLinear`, inside.
    optimizer : torch.optim.Optimizer
        Of the factors; a dense weight takes the place of its first factor, in that factor's group.
    total_steps : int
        Of the whole training.
    densify_at : float
        Share of the steps before the switch.
    carry_state : bool
        Start the second moment of a dense weight from the mean of its factors' (Adam's ``exp_avg_sq``). Otherwise it
        starts from zero, and the learning rate rises from zero over the next 2 % of the steps.

    Raises
    ------
    ArgumentError
        If the model has no structured layer inside, or the optimiser trains none of its factors.

    References
    ----------
    Dao et al., "Monarch: Expressive structured matrices for efficient and accurate training", ICML 2022.

    Examples
    --------
    >>> import torch
    >>> from gossamer.nn import MonarchLinear
    >>> from gossamer.sparsify import ReverseSparsification
    >>> model = torch.nn.Sequential(MonarchLinear(16, 16))
    >>> switch = ReverseSparsification(model, torch.optim.Adam(model.parameters()), total_steps=10)
    >>> [switch.step() for _ in range(10)].index(True)
    8
    """

    def __init__(
        self,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        total_steps: int,
        densify_at: float = 0.9,
        carry_state: bool = False,
    ) -> None:
        self.model, self.optimizer = model, optimizer
        self.total_steps = check_int("total_steps", total_steps, low=1)
        self.switch_at = math.ceil(check_float("densify_at", densify_at, low=0, high=1) * total_steps)
        self.carry_state = bool(carry_state)
        self.steps = 0
        self.dense = False
        trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
        layers = [m for m in model.modules() if isinstance(m, StructuredLinear)]
        if isinstance(model, StructuredLinear) or not layers:
            raise ArgumentError(
                "model: expected structured layers inside it, which are exchanged where they stand"
            )
        if not any(id(p) in trained for layer in layers for p in _factors(layer)):
            raise ArgumentError("optimizer: expected one that trains the factors of the model")

    def step(self) -> bool:
        """Count a step of the optimiser; True at the one after which the model is dense."""
        self.steps += 1
        if self.dense or self.steps < self.switch_at:
            return False
        self._switch()
        self.dense = True
        return True

    def _switch(self) -> None:
        layers = {name: m for name, m in self.model.named_modules() if isinstance(m, StructuredLinear)}
        factors = {name: _factors(layer) for name, layer in layers.items()}
        densify(self.model)
        for name, old in factors.items():
            weight = self.model.get_submodule(name).weight
            assert isinstance(weight, torch.nn.Parameter)
            states = [self.optimizer.state.pop(p, {}) for p in old]
            for group in self.optimizer.param_groups:
                _exchange(group, old, weight)
            if self.carry_state and all("exp_avg_sq" in state for state in states):
                means = [float(state["exp_avg_sq"].mean()) for state in states]
                self.optimizer.state[weight] = {
                    **{k: _like(v, weight) for k, v in states[0].items()},
                    "exp_avg_sq": torch.full_like(weight, sum(means) / len(means)),
                }
        if not self.carry_state:
            _warm_up(self.optimizer, max(round(WARMUP * self.total_steps), 1))


def _factors(layer: StructuredLinear) -> list[torch.nn.Parameter]:
    return [p for p in layer.parameters() if p is not layer.bias]


def _exchange(group: dict[str, Any], old: list[torch.nn.Parameter], weight: torch.nn.Parameter) -> None:
    gone = {id(p) for p in old}
    places = [i for i, p in enumerate(group["params"]) if id(p) in gone]
    if places:
        group["params"][places[0]] = weight
        group["params"] = [p for p in group["params"] if id(p) not in gone]


def _like(value: Any, weight: torch.Tensor) -> Any:
    """The count of steps as it is; moments of another shape from zero."""
    if not isinstance(value, torch.Tensor):
        return value
    return value.clone() if value.ndim == 0 else torch.zeros_like(weight)


def _warm_up(optimizer: torch.optim.Optimizer, steps: int) -> None:
    """Scale the rates of the next steps, around each step only: a scheduler never sees the scaled ones."""
    done = 0
    rates: list[Any] = []

    def before(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        nonlocal done
        done += 1
        rates[:] = [group["lr"] for group in optimizer.param_groups]
        for group in optimizer.param_groups:
            group["lr"] = group["lr"] * done / steps

    def after(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        if done >= steps:
            first.remove()
            last.remove()

    first = optimizer.register_step_pre_hook(before)
    last = optimizer.register_step_post_hook(after)
