"""The baseline of a low-rank term that is found by gradients instead of the closed form."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gossamer._core.arrays import to_numpy, to_torch
from gossamer._core.checks import check_int
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._core.random import check_random_state
from gossamer.linalg.nearest.low_rank import Moment

_PEAK, _FLOOR = 5e-4, 1e-6


def learn_low_rank(
    W: np.ndarray,
    moment: Moment,
    rank: int,
    *,
    steps: int = 3000,
    inputs: Sequence[Any] | None = None,
    random_state: Any = 0,
) -> tuple[np.ndarray, np.ndarray]:
    r"""Minimise the mean of :math:`\|(W - B A) x\|^2` over ``B``, ``A`` by AdamW, one sequence a step.

    The rate falls from 5e-4 to 1e-6 along a cosine, weight decay is 0.01; ``A`` starts Xavier-normal, ``B`` at 0.

    Parameters
    ----------
    W : ndarray, shape (O, K)
        What to fit.
    moment : Moment
        Gives the expectation where there are no ``inputs``.
    rank : int
        ``r``.
    steps : int
        Number of steps.
    inputs : sequence of arrays of shape (T, K), optional
        Sequences, taken in turn.
    random_state : int or Generator
        Of the start.

    Returns
    -------
    B : ndarray, shape (O, r), float32
    A : ndarray, shape (r, K), float32
    """
    import torch

    check_int("steps", steps, low=1)
    seed = int(check_random_state(random_state).integers(2**31))
    target = torch.from_numpy(W.astype(np.float32))
    batches = _batches(moment, W.shape[1], inputs)
    A = torch.empty(rank, W.shape[1])
    torch.nn.init.xavier_normal_(A, generator=torch.Generator().manual_seed(seed))
    A.requires_grad_(True)
    B = torch.zeros(W.shape[0], rank, requires_grad=True)
    optimiser = torch.optim.AdamW([A, B], lr=_PEAK)
    with torch.enable_grad():
        for step in range(steps):
            rate = _FLOOR + (_PEAK - _FLOOR) * (1 + math.cos(math.pi * step / steps)) / 2
            optimiser.param_groups[0]["lr"] = rate
            error = (target - B @ A) @ batches[step % len(batches)]
            optimiser.zero_grad()
            error.square().sum().backward()
            optimiser.step()
    return B.detach().numpy(), A.detach().numpy()


def _batches(moment: Moment, width: int, inputs: Sequence[Any] | None) -> list[Any]:
    """Columns (K, T) of inputs, each divided by the root of their number; the root of ``C`` if there are none."""
    import torch

    if inputs is None:
        root = np.ones(width) if moment.root is None else moment.root
        return [torch.from_numpy((np.diag(root) if root.ndim == 1 else root).astype(np.float32))]
    if not len(inputs):
        raise ArgumentError("inputs is empty: expected at least one sequence")
    batches = []
    for item in inputs:
        x = to_torch(to_numpy(item)).float()
        if x.ndim != 2 or x.shape[1] != width:
            raise ShapeError(f"inputs hold an array of shape {tuple(x.shape)}: expected (T, {width})")
        batches.append(x.T / math.sqrt(max(len(x), 1)))
    return batches
