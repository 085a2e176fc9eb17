"""Coordinates spread over processes: only vectors of m numbers (and one m x m matrix at the start) travel."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer._core.checks import check_int
from gossamer.solve.curvature.factors import Reduce


def all_reduce_sum(group: Any = None) -> Reduce:
    """Return a function that sums a float64 array over the processes of a torch.distributed group.

    Give it as ``reduce`` to :class:`FisherInverse`, :class:`SlidingFisherInverse` or :class:`MFAC` in every process,
    each with its own coordinates; products then equal those of one process. Works with gloo.
    """
    import torch
    import torch.distributed as dist

    def reduce(array: np.ndarray) -> np.ndarray:
        tensor = torch.from_numpy(np.array(array, dtype=np.float64))
        dist.all_reduce(tensor, group=group)
        return tensor.numpy()

    return reduce


def shard_slice(d: int, rank: int, size: int) -> slice:
    """Coordinates of process ``rank`` of ``size``: contiguous, of equal length but for a remainder.

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
