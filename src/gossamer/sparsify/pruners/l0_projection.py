"""Projection of parameters onto the ball of few non-zero numbers, after every step of an optimiser."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from gossamer._core.checks import check_choice, check_float
from gossamer._core.errors import ArgumentError, UnsupportedError

SCOPES = ("global", "layer")


def smallest_entries(tensors: Sequence[torch.Tensor], count: int) -> list[torch.Tensor]:
    """Mark the ``count`` entries of least magnitude over all tensors together; of equal ones the first.

    Parameters
    ----------
    tensors : sequence of tensor
        Of any shapes.
    count : int
        From 0 to the number of entries.

    Returns
    -------
    list of bool tensor
        Exactly ``count`` True entries, in the shapes of ``tensors``. O(entries) time and memory.

    Raises
    ------
    ArgumentError
        If an entry is NaN, or there are not so many entries.
    """
    sizes = [t.numel() for t in tensors]
    if not 0 <= count <= sum(sizes):
        raise ArgumentError(f"count={count}: expected an integer in 0..{sum(sizes)}")
    if count == 0:
        return [torch.zeros_like(t, dtype=torch.bool) for t in tensors]
    magnitude = torch.cat([t.detach().abs().reshape(-1) for t in tensors])
    limit = magnitude.kthvalue(count).values
    if magnitude.sum().isnan():
        raise ArgumentError("tensors hold NaN: expected numbers; the training may have diverged")
    chosen = magnitude < limit
    level = (magnitude == limit).nonzero()[: count - int(chosen.sum()), 0]
    chosen[level] = True
    return [part.reshape(t.shape) for part, t in zip(chosen.split(sizes), tensors, strict=True)]


class L0Projection:
    r"""Keep parameters in :math:`\{\theta : \|\theta\|_0 \le h\}` by projection, :math:`h = N - \lceil s N \rceil`.

    Call :meth:`step` after the optimiser's, or let :meth:`attach` do so. The smallest magnitudes become zero; nothing
    is masked, so that gradients stay dense and a zero comes back as soon as it outgrows the smallest that was kept.

    Parameters
    ----------
    params : torch.nn.Module, mapping of str to tensor, or iterable of tensors
        What is projected: of a module all trainable parameters, biases too.
    sparsity : float
        The share s of zeros, in [0, 1).
    scope : {"global", "layer"}
        Whether entries of all parameters compete, or those of each by itself.
    exclude : sequence of str
        Names of parameters that stay dense and are not counted.

    Raises
    ------
    ArgumentError, UnsupportedError
        A sparsity outside [0, 1), a name that is not there, nothing left to project, NaN.

    Notes
    -----
    O(N) a step by selection, no sort. Of equal magnitudes the first ones go, in the order of the parameters.

    References
    ----------
    Seo, Yun, Yang, "TEDDY: Trimming edges with degree-based discrimination strategy", ICLR 2024, arXiv 2402.01261.

    Examples
    --------
    >>> import torch
    >>> from gossamer.sparsify import L0Projection
    >>> theta = torch.tensor([0.5, -2.0, 0.1, 1.0], requires_grad=True)
    >>> L0Projection([theta], sparsity=0.5).step()
    >>> theta.tolist()
    [0.0, -2.0, 0.0, 1.0]
    """

    def __init__(
        self, params: Any, sparsity: float, scope: str = "global", exclude: Sequence[str] = ()
    ) -> None:
        self.params = _named(params, exclude)
        self.sparsity = check_float("sparsity", sparsity, low=0, high=1, closed="left")
        self.scope = check_choice("scope", scope, SCOPES)
        tensors = list(self.params.values())
        self._groups = [tensors] if scope == "global" else [[t] for t in tensors]

    @torch.no_grad()
    def step(self) -> None:
        """Project the parameters, in place."""
        if self.sparsity == 0:
            return
        for group in self._groups:
            zeros = zeros_of(sum(p.numel() for p in group), self.sparsity)
            for p, chosen in zip(group, smallest_entries(group, zeros), strict=True):
                p.masked_fill_(chosen, 0.0)

    def attach(self, optimizer: torch.optim.Optimizer) -> Any:
        """Project now and after every step of ``optimizer``; ``handle.remove()`` ends it."""
        self.step()
        return optimizer.register_step_post_hook(lambda *_: self.step())

    def nonzeros(self) -> int:
        """Entries that are not zero."""
        return sum(int(p.detach().count_nonzero()) for p in self.params.values())

    def mask(self) -> dict[str, torch.Tensor]:
        """Which entries of each parameter are not zero."""
        return {name: p.detach() != 0 for name, p in self.params.items()}


def zeros_of(total: int, sparsity: float) -> int:
    """``ceil(sparsity total)``, not one more where the product is rounded up from an integer."""
    return math.ceil(sparsity * total * (1 - 1e-12))


def _named(params: Any, exclude: Sequence[str]) -> dict[str, torch.Tensor]:
    if isinstance(params, torch.nn.Module):
        named: dict[str, Any] = {name: p for name, p in params.named_parameters() if p.requires_grad}
    elif isinstance(params, Mapping):
        named = dict(params)
    elif isinstance(params, Iterable) and not isinstance(params, torch.Tensor):
        named = {str(i): p for i, p in enumerate(params)}
    else:
        raise UnsupportedError(
            f"params is a {type(params).__name__}: expected a module, a mapping or an iterable of tensors"
        )
    unknown = set(exclude) - set(named)
    if unknown:
        raise ArgumentError(f"exclude has {sorted(unknown)}: expected names among {sorted(named)}")
    for name, p in named.items():
        if not isinstance(p, torch.Tensor) or not p.is_floating_point():
            raise UnsupportedError(f"params[{name!r}] is a {type(p).__name__}: expected a floating tensor")
    kept = {name: p for name, p in named.items() if name not in set(exclude)}
    if not kept:
        raise ArgumentError("params: expected at least one tensor to project")
    return kept


__all__ = ["SCOPES", "L0Projection", "smallest_entries", "zeros_of"]
