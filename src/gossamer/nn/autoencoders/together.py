"""Selections over a batch that several processes share: only counts and candidates travel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from gossamer._kernels import topk
from gossamer.nn.autoencoders.codes import SparseCodes
from gossamer.nn.autoencoders.selection import check_pre, codes_of, from_columns, host, top_above

Group = Any
"""A process group of ``torch.distributed``, or None for a process of its own."""

_ROUNDS = 20


def total(value: float, group: Group) -> float:
    """Sum of a number over the processes."""
    if group is None:
        return value
    import torch.distributed as dist

    sent = torch.tensor([value], dtype=torch.float64)
    dist.all_reduce(sent, group=group)
    return float(sent)


def sum_in_place(tensors: list[torch.Tensor], group: Group) -> None:
    """Sum each tensor over the processes."""
    import torch.distributed as dist

    for tensor in tensors:
        dist.all_reduce(tensor, group=group)


def least_of_all(tensor: torch.Tensor, group: Group) -> None:
    """The least over the processes, entry by entry, in place."""
    if group is not None:
        import torch.distributed as dist

        dist.all_reduce(tensor, op=dist.ReduceOp.MIN, group=group)


def place(group: Group) -> tuple[int, int]:
    """Rank and number of processes."""
    if group is None:
        return 0, 1
    import torch.distributed as dist

    return dist.get_rank(group), dist.get_world_size(group)


def largest_together(z: torch.Tensor, k: int, group: Group) -> SparseCodes:
    """What :func:`top_overall` keeps of the batches of all processes laid one after another: this one's part.

    Twenty bisections of the threshold on counts, then the few values between the last two bounds are exchanged, and
    ties are given to the first token and feature.
    """
    z = check_pre(z)
    values = host(z)
    positive = values[values > 0]
    budget = int(total(k * z.shape[0], group))
    low, high = 0.0, _most(float(positive.max(initial=0.0)), group)
    if total(float(len(positive)), group) <= budget:
        return top_above(z, torch.zeros(z.shape[1]))
    for _ in range(_ROUNDS):  # more than `budget` entries lie above low, at most so many above high
        middle = (low + high) / 2
        if total(float((positive > middle).sum()), group) > budget:
            low = middle
        else:
            high = middle
    share = budget - int(total(float((positive > high).sum()), group))
    between = _gather(positive[(positive > low) & (positive <= high)], group)
    everyone = np.sort(np.concatenate(between))[::-1]
    cut = everyone[share - 1] if share > 0 else np.inf
    rank, _ = place(group)
    ties = int(share - (everyone > cut).sum()) - sum(int((part == cut).sum()) for part in between[:rank])
    found = topk.above(values, np.full(z.shape[1], low, values.dtype))
    keep = found.value > min(cut, high)
    keep[np.flatnonzero(found.value == cut)[: max(0, ties)]] = True
    before = np.concatenate([[0], np.cumsum(keep)])
    return codes_of(topk.Kept(before[found.start], found.where[keep], found.value[keep]), z)


def columns_together(z: torch.Tensor, budget: Callable[[int], np.ndarray], group: Group) -> SparseCodes:
    """What :func:`top_per_feature` keeps of the batches of all processes laid one after another: this one's part.

    Every process proposes its own best entries of each column, and all merge them.
    """
    z = check_pre(z)
    values = host(z)
    m = budget(int(total(z.shape[0], group)))
    own = topk.columns(values, np.minimum(m, len(z)))
    column = np.repeat(np.arange(z.shape[1]), np.diff(own.start))
    parts = [_gather(array, group) for array in (own.value.astype(np.float64), column.astype(np.float64))]
    everyone = np.concatenate(parts[0])
    columns = np.concatenate(parts[1]).astype(np.int64)
    owner = np.repeat(np.arange(len(parts[0])), [len(part) for part in parts[0]])
    # by column, then the largest first; a stable sort leaves equal ones in the order of processes and tokens
    order = np.lexsort((-everyone, columns))
    ordered = columns[order]
    place_in_column = np.arange(len(order)) - np.searchsorted(ordered, ordered)
    chosen = np.zeros(len(order), bool)
    chosen[order[place_in_column < m[ordered]]] = True
    keep = chosen[owner == place(group)[0]]
    before = np.concatenate([[0], np.cumsum(keep)])
    return from_columns(topk.Kept(before[own.start], own.where[keep], own.value[keep]), z)


def _most(value: float, group: Group) -> float:
    import torch.distributed as dist

    sent = torch.tensor([value], dtype=torch.float64)
    dist.all_reduce(sent, op=dist.ReduceOp.MAX, group=group)
    return float(sent)


def _gather(values: np.ndarray, group: Group) -> list[np.ndarray]:
    """The arrays of all processes, in the order of their ranks."""
    import torch.distributed as dist

    _, count = place(group)
    lengths = torch.zeros(count, dtype=torch.int64)
    lengths[place(group)[0]] = len(values)
    dist.all_reduce(lengths, group=group)
    longest = int(lengths.max())
    padded = torch.zeros(longest, dtype=torch.float64)
    padded[: len(values)] = torch.from_numpy(values.astype(np.float64))
    received = [torch.zeros(longest, dtype=torch.float64) for _ in range(count)]
    if longest:
        dist.all_gather(received, padded, group=group)
    return [
        part[:length].numpy().astype(values.dtype)
        for part, length in zip(received, lengths.tolist(), strict=True)
    ]
