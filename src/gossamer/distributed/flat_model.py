"""A model as one vector of numbers, and a worker that turns such vectors into gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch

from gossamer._core.errors import ArgumentError, UnsupportedError


class FlatModel:
    """The numbers of a model that change in training: trainable parameters, then floating-point buffers.

    Parameters
    ----------
    model : torch.nn.Module
        Trainable parameters and floating buffers (running statistics) of one dtype, on any device.

    Raises
    ------
    UnsupportedError
        No trainable parameter, or several dtypes.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self.model = model
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.buffers = [b for b in model.buffers() if b.is_floating_point()]
        dtypes = {str(t.dtype) for t in (*self.parameters, *self.buffers)}
        if not self.parameters or len(dtypes) > 1:
            raise UnsupportedError(
                f"model has {len(self.parameters)} trainable parameters, of {', '.join(sorted(dtypes)) or 'no dtype'}: "
                "expected at least one, and one dtype for all and for floating buffers"
            )
        self.dtype = self.parameters[0].dtype
        self.n = sum(p.numel() for p in self.parameters)
        self.size = self.n + sum(b.numel() for b in self.buffers)

    def state(self) -> torch.Tensor:
        """Parameters and buffers, a new tensor (size,) on the CPU."""
        return _joined([*self.parameters, *self.buffers])

    def message(self) -> torch.Tensor:
        """Gradients and buffers (size,); a parameter that the loss did not reach has gradient 0."""
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters]
        return _joined([*grads, *self.buffers])

    @torch.no_grad()
    def write(self, state: torch.Tensor) -> None:
        """Take parameters and buffers from a state."""
        _spread(state, [*self.parameters, *self.buffers])

    @torch.no_grad()
    def write_gradient(self, gradient: torch.Tensor) -> None:
        """Make a vector (n,) the gradient of the parameters."""
        for p in self.parameters:
            p.grad = torch.empty_like(p)
        _spread(gradient, [p.grad for p in self.parameters])

    @torch.no_grad()
    def write_buffers(self, values: torch.Tensor) -> None:
        """Take the buffers from a vector (size - n,)."""
        _spread(values, self.buffers)


class Worker:
    """One worker's share of the data, and the gradient of its next batch.

    Parameters
    ----------
    flat : FlatModel
        Its model.
    loss_fn : callable
        Of outputs and targets.
    batches : iterable of (inputs, targets)
        Begun anew when it ends.
    number : int
        Of this worker, from 0.
    seed : int
        Random numbers of torch on the CPU (dropout, augmentation, shuffling) are those of seed, step and worker.
    """

    def __init__(
        self,
        flat: FlatModel,
        loss_fn: Callable[..., torch.Tensor],
        batches: Iterable[Any],
        number: int,
        seed: int,
    ) -> None:
        self._flat, self._loss_fn, self._number, self._seed = flat, loss_fn, number, seed
        self._batches = _forever(batches, number)
        self._device = flat.parameters[0].device

    def answer(self, step: int, state: torch.Tensor) -> tuple[float, torch.Tensor]:
        """Loss of the next batch at a state, and the message: its gradient and the buffers after it."""
        self._flat.write(state)
        key = np.random.SeedSequence((self._seed, step, self._number)).generate_state(1, np.uint64)[0]
        before = torch.get_rng_state()
        torch.default_generator.manual_seed(int(key >> 1))
        try:
            inputs, targets = next(self._batches)
            for p in self._flat.parameters:
                p.grad = None
            loss = self._loss_fn(self._flat.model(inputs.to(self._device)), targets.to(self._device))
            loss.backward()
        finally:
            torch.set_rng_state(before)
        return float(loss.detach()), self._flat.message()


def _forever(batches: Iterable[Any], number: int) -> Iterator[Any]:
    while True:
        batch = None
        for batch in batches:
            yield batch
        if batch is None:
            raise ArgumentError(
                f"worker_loader_fn({number}) gives no batch (more): expected a loader that can be re-read"
            )


def _joined(parts: list[torch.Tensor]) -> torch.Tensor:
    return torch.cat([part.detach().reshape(-1) for part in parts]).cpu()


def _spread(vector: torch.Tensor, parts: Iterable[Any]) -> None:
    at = 0
    for part in parts:
        part.copy_(vector[at : at + part.numel()].view_as(part))
        at += part.numel()
