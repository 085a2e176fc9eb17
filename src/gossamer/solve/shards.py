"""Work spread over processes of a torch.distributed group: each keeps its share, small sums travel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gossamer._core.checks import check_int

Reduce = Callable[[np.ndarray], np.ndarray]
"""Sums an array over processes."""


def all_reduce_sum(group: Any = None) -> Reduce:
    """Return a function that sums a float64 array over the processes of a torch.distributed group.

    Give it as ``reduce`` in every process: to :class:`FisherInverse`, :class:`SlidingFisherInverse` or :class:`MFAC`,
    each with its own coordinates, or to :class:`BSVRB`, each with its own blocks. Works with gloo.
    """
    import torch
    import torch.distributed as dist

    def reduce(array: np.ndarray) -> np.ndarray:
        tensor = torch.from_numpy(np.array(array, dtype=np.float64))
        dist.all_reduce(tensor, group=group)
        return tensor.numpy()

    return reduce


def shard_slice(d: int, rank: int, size: int) -> slice:
    """Coordinates (or blocks) of process ``rank`` of ``size``: contiguous, of equal length but for a remainder.

    Parameters
    ----------
    d : int
        Coordinates.
    rank : int
        This process.
    size : int
        Number of processes.
    """
    size = check_int("size", size, low=1)
    rank = check_int("rank", rank, low=0, high=size - 1)
    return slice(d * rank // size, d * (rank + 1) // size)
