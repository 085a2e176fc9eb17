"""The training loop of both stages: AdamW without decay, a schedule of rates, gradients clipped."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import torch


def cosine(step: int, steps: int, warmup: float = 0.0, floor: float = 0.05) -> float:
    """Factor of the learning rate at ``step`` of ``steps``: linear up, then half a cosine down to ``floor``."""
    rising = math.ceil(warmup * steps)
    if step < rising:
        return (step + 1) / rising
    along = (step - rising) / max(steps - rising - 1, 1)
    return floor + (1 - floor) * (1 + math.cos(math.pi * min(along, 1.0))) / 2


class Descent:
    """Gradient steps on groups of parameters.

    Parameters
    ----------
    groups : sequence of (parameters, rate)
        Parameters with their learning rates; groups of rate 0 stay as they are.
    steps : int
        Length of the schedule.
    clip : float
        Largest norm of the gradient over all groups.
    warmup : float
        Fraction of the steps in which rates rise.
    least : sequence of (parameter, tensor)
        Parameters that a step must not push below a bound, such as scales.
    """

    def __init__(
        self,
        groups: Sequence[tuple[Sequence[torch.Tensor], float]],
        steps: int,
        *,
        clip: float,
        warmup: float = 0.0,
        least: Sequence[tuple[torch.Tensor, torch.Tensor]] = (),
    ) -> None:
        self._rates = [rate for parameters, rate in groups if parameters]
        self.parameters = [parameter for parameters, _ in groups for parameter in parameters]
        self._steps, self._clip, self._warmup, self._least = steps, clip, warmup, list(least)
        self._optimizer = torch.optim.AdamW(
            [{"params": list(parameters)} for parameters, _ in groups if parameters], weight_decay=0.0
        )
        self.done = 0

    def step(self, losses: Iterable[Callable[[], torch.Tensor]], idle: Sequence[torch.Tensor] = ()) -> float:
        """One step down the sum of ``losses``, each computed and differentiated on its own; returns the sum.

        ``idle`` parameters do not move in this step.
        """
        self._optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for loss in losses:
            value = loss()
            value.backward()
            total += float(value.detach())
        for parameter in idle:
            parameter.grad = None
        torch.nn.utils.clip_grad_norm_([p for p in self.parameters if p.grad is not None], self._clip)
        factor = cosine(self.done, self._steps, self._warmup)
        for group, rate in zip(self._optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor
        self._optimizer.step()
        with torch.no_grad():
            for parameter, bound in self._least:
                torch.maximum(parameter, bound, out=parameter)
        self.done += 1
        return total

    def state(self) -> dict[str, torch.Tensor]:
        """Parameters and moments by name: all that the next step depends on."""
        found = {}
        for i, parameter in enumerate(self.parameters):
            found[f"{i}.value"] = parameter.detach()
            for key, value in self._optimizer.state.get(parameter, {}).items():
                found[f"{i}.{key}"] = value
        return found

    def restore(self, state: dict[str, torch.Tensor], done: int) -> None:
        """Go on behind step ``done`` with what :meth:`state` gave there."""
        with torch.no_grad():
            for i, parameter in enumerate(self.parameters):
                parameter.copy_(state[f"{i}.value"])
                moments = {
                    key.partition(".")[2]: value for key, value in state.items() if key.startswith(f"{i}.")
                }
                moments.pop("value")
                if moments:
                    self._optimizer.state[parameter] = moments
        self.done = done


def order(windows: int, batch: int, steps: int, seed: int) -> list[list[int]]:
    """Which windows each step takes: every window once before any comes again, shuffled by ``seed``."""
    generator = torch.Generator().manual_seed(seed)
    stream: list[int] = []
    while len(stream) < batch * steps:
        stream += torch.randperm(windows, generator=generator).tolist()
    return [stream[i * batch : (i + 1) * batch] for i in range(steps)]
