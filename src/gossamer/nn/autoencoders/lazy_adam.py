"""Adam for dictionaries: rows without a gradient are left alone until they have one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch


class LazyAdam:
    """Adam that touches only the rows of a parameter whose gradient is not zero.

    Moments of a row that was left alone for t steps decay by the powers ``beta^t`` when it is touched again, as in
    Adam; the moves that Adam would have made meanwhile, by momentum alone, are left out.

    Parameters
    ----------
    parameters : iterable of Tensor
        Vectors are always touched as a whole.
    betas : pair of float
        Decays of the moments.
    eps : float
        Added to the root of the second moment.
    """

    def __init__(
        self,
        parameters: Iterable[torch.Tensor],
        betas: Sequence[float] = (0.9, 0.999),
        eps: float = 6.25e-10,
    ) -> None:
        self.parameters = list(parameters)
        self.betas, self.eps, self.steps = tuple(betas), eps, 0
        self._first = [torch.zeros_like(p) for p in self.parameters]
        self._second = [torch.zeros_like(p) for p in self.parameters]
        self._touched = [torch.zeros(len(p), dtype=torch.int64) for p in self.parameters]

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """One step with learning rate ``rate``."""
        self.steps += 1
        b1, b2 = self.betas
        for p, first, second, touched in zip(
            self.parameters, self._first, self._second, self._touched, strict=True
        ):
            if p.grad is None:
                continue
            rows = torch.arange(len(p)) if p.ndim == 1 else p.grad.abs().amax(dim=1).nonzero().flatten()
            g, waited = p.grad[rows], (self.steps - touched[rows]).to(p.dtype)
            if p.ndim > 1:
                waited = waited[:, None]
            m = first[rows] * b1**waited + (1 - b1) * g
            v = second[rows] * b2**waited + (1 - b2) * g.square()
            first[rows], second[rows], touched[rows] = m, v, self.steps
            mean, square = m / (1 - b1**self.steps), v / (1 - b2**self.steps)
            p[rows] -= rate * mean / (square.sqrt() + self.eps)

    @torch.no_grad()
    def forget(self, parameter: torch.Tensor, rows: torch.Tensor) -> None:
        """Forget the moments of these rows of one parameter."""
        for own, first, second in zip(self.parameters, self._first, self._second, strict=True):
            if own is parameter:
                first[rows] = 0
                second[rows] = 0
