"""Exact softmax attention over tuples of tokens, in blocks: nothing of the size of the scores is stored."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.autograd.function import once_differentiable

from gossamer._core.arrays import to_numpy
from gossamer._kernels.tensor_attention import Problem


@dataclass(frozen=True)
class Visible:
    """Which tuples a query sees: all of them, but those that one of these excludes.

    Attributes
    ----------
    causal : bool
        Only tokens up to the query's own place.
    increasing : bool
        Only tuples whose places rise: every set of tokens once.
    masks : list of (None or bool tensor, shape (..., n_k))
        False hides a token of the k-th set.
    pairs : bool tensor, shape (..., n_1, ..., n_{k-1}), optional
        False hides a tuple.
    """

    causal: bool
    increasing: bool
    masks: Sequence[torch.Tensor | None]
    pairs: torch.Tensor | None

    def table(self, sizes: Sequence[int], device: torch.device) -> torch.Tensor | None:
        """What is seen apart from causality, (..., n_1, ..., n_{k-1}), or None if everything is."""
        parts = [] if self.pairs is None else [self.pairs]
        for axis, mask in enumerate(self.masks):
            if mask is not None:
                tail = [1] * len(sizes)
                tail[axis] = sizes[axis]
                parts.append(mask.reshape(*mask.shape[:-1], *tail))
        if self.increasing:
            places = [
                _along(torch.arange(n, device=device), axis, len(sizes)) for axis, n in enumerate(sizes)
            ]
            parts += [a < b for a, b in itertools.pairwise(places)]
        if not parts:
            return None
        seen = parts[0]
        for part in parts[1:]:
            seen = seen & part
        return seen.expand(*seen.shape[: seen.ndim - len(sizes)], *sizes)


def exact_tuples(
    Q: torch.Tensor, Ks: Sequence[torch.Tensor], Vs: Sequence[torch.Tensor], visible: Visible
) -> torch.Tensor:
    """Attention of queries (..., m, d) over tuples of keys (..., n_k, d) with values (..., n_k, p); logits unscaled.

    All sets but the last become one set of tuples, which are rows of a Khatri-Rao product; pairs of a tuple and a
    token of the last set are then worked on in blocks. O(m prod(n_k) (d + p)) time, O(prod(n_1 ... n_{k-2}) (d + p))
    memory.
    """
    sizes = [K.shape[-2] for K in Ks]
    table = visible.table(sizes, Q.device)
    if len(Ks) == 1:
        return _pairs(Q, Ks[0], Vs[0], visible.causal, table)
    first, values = _tuples(Ks[:-1]), _tuples(Vs[:-1])
    rows = first.shape[-2]
    if table is not None:
        table = table.reshape(*table.shape[: table.ndim - len(sizes)], rows, sizes[-1])
    limits = None
    if visible.causal:
        places = torch.zeros([1] * (len(sizes) - 1), dtype=torch.int64, device=Q.device)
        for axis, n in enumerate(sizes[:-1]):
            places = torch.maximum(places, _along(torch.arange(n, device=Q.device), axis, len(sizes) - 1))
        places = places.flatten()
        if len(sizes) > 2:  # so that what a query sees comes first
            order = places.argsort(stable=True)
            places, first, values = places[order], first[..., order, :], values[..., order, :]
            table = None if table is None else table[..., order, :]
        queries = torch.arange(Q.shape[-2], device=Q.device)
        limits = (torch.searchsorted(places, queries, right=True), (queries + 1).clamp(max=sizes[-1]))
    if Q.device.type == "cpu":
        return _Native.apply(Q, first, Ks[-1], values, Vs[-1], limits, table)
    return in_blocks(Q, (first, Ks[-1]), (values, Vs[-1]), limits, table)


def in_blocks(
    Q: torch.Tensor,
    Ks: Sequence[torch.Tensor],
    Vs: Sequence[torch.Tensor],
    limits: Sequence[torch.Tensor] | None,
    table: torch.Tensor | None,
    block: int = 64,
) -> torch.Tensor:
    """The same over two sets by torch operations, for any device: blocks of queries, made again in the backward pass.

    O(block n_1 n_2) memory.
    """
    from torch.utils.checkpoint import checkpoint

    def part(start: int, q: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        k1, k2, v1, v2 = rest
        z = torch.einsum("...il,...jl,...kl->...ijk", q, k1, k2)
        if table is not None:
            z = z.masked_fill(~table[..., None, :, :], -math.inf)
        if limits is not None:
            first, second = (limit[start : start + q.shape[-2], None] for limit in limits)
            z = z.masked_fill(~(torch.arange(z.shape[-2], device=z.device) < first)[..., None], -math.inf)
            z = z.masked_fill(~(torch.arange(z.shape[-1], device=z.device) < second)[:, None], -math.inf)
        flat = z.flatten(-2)
        top = flat.amax(-1, keepdim=True).detach()
        weights = (flat - torch.where(top.isfinite(), top, 0)).exp()
        weights = weights / weights.sum(-1, keepdim=True).clamp(min=torch.finfo(z.dtype).tiny)
        return torch.einsum("...ijk,...jl,...kl->...il", weights.reshape(z.shape), v1, v2)

    parts = [
        checkpoint(part, start, Q[..., start : start + block, :], *Ks, *Vs, use_reentrant=False)
        for start in range(0, Q.shape[-2], block)
    ]
    return torch.cat(parts, -2) if parts else Q.new_zeros(*Q.shape[:-1], Vs[0].shape[-1])


def _along(places: torch.Tensor, axis: int, axes: int) -> torch.Tensor:
    shape = [1] * axes
    shape[axis] = len(places)
    return places.reshape(shape)


def _tuples(mats: Sequence[torch.Tensor]) -> torch.Tensor:
    """All rows of the Khatri-Rao product, (..., prod n_k, d)."""
    out = mats[0]
    for other in mats[1:]:
        out = (out[..., :, None, :] * other[..., None, :, :]).flatten(-3, -2)
    return out


def _pairs(
    Q: torch.Tensor, K: torch.Tensor, V: torch.Tensor, causal: bool, seen: torch.Tensor | None
) -> torch.Tensor:
    """Order 2 is ordinary attention, which torch has in blocks; a query that sees nothing gets 0."""
    m, n = Q.shape[-2], K.shape[-2]
    if seen is not None:
        seen = seen[..., None, :].expand(*seen.shape[:-1], m, n)
        if causal:
            seen = seen & torch.ones(m, n, dtype=torch.bool, device=Q.device).tril()
            causal = False
        some = seen.any(-1, keepdim=True)
        seen = seen | ~some
    out = torch.nn.functional.scaled_dot_product_attention(
        Q, K, V, attn_mask=seen, is_causal=causal, scale=1.0
    )
    return out if seen is None else torch.where(some, out, 0)


class _Native(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> torch.Tensor:
        *arrays, limits, table = inputs
        lead = arrays[0].shape[:-2]
        ctx.save_for_backward(*arrays)
        ctx.limits, ctx.table = limits, table
        out, lse = _problem(arrays, limits, table).forward()
        ctx.out, ctx.lse = out, lse
        return torch.from_numpy(out).reshape(*lead, *out.shape[1:])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
        arrays = ctx.saved_tensors
        problem = _problem(arrays, ctx.limits, ctx.table)
        slopes = problem.backward(ctx.out, ctx.lse, _flat(grad))
        return (
            *(torch.from_numpy(s).reshape(a.shape) for s, a in zip(slopes, arrays, strict=True)),
            None,
            None,
        )


def _problem(arrays: Sequence[torch.Tensor], limits: Any, table: torch.Tensor | None) -> Problem:
    lead = arrays[0].shape[:-2]
    q, k1, k2, v1, v2 = (_flat(array) for array in arrays)
    bounds = None if limits is None else [to_numpy(limit) for limit in limits]
    mask = None
    if table is not None:
        if table.ndim > 2 and table.numel() > table.shape[-2] * table.shape[-1]:
            table = table.expand(*lead, *table.shape[-2:])
        mask = to_numpy(table).reshape(math.prod(table.shape[:-2]), *table.shape[-2:])
    return Problem(q, (k1, k2), (v1, v2), bounds, mask)


def _flat(x: torch.Tensor) -> np.ndarray:
    return to_numpy(x.reshape(math.prod(x.shape[:-2]), *x.shape[-2:]))
