"""Rules that look at every coordinate by itself, or at nothing but the mean."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer._core.errors import ArgumentError
from gossamer.solve.aggregation.gradients import Gradients, check_faults
from gossamer.solve.aggregation.order import inner_mean, middle


def mean_gradient(G: Any) -> Any:
    """Return the mean of the gradients: best without failures, and at the mercy of a single bad worker.

    Non-finite gradients are left out with a warning, as in all rules.
    """
    gradients = Gradients.of(G).finite()
    return gradients.combine(np.full(gradients.p, 1 / gradients.p))


def coordinate_median(G: Any) -> Any:
    """Return the median of every coordinate over the workers that have a number there.

    NaN means that a value is missing (a lost packet): it is left out at its coordinate, and the worker's other values
    count. Infinities are values like others. The mean of the middle two where their count is even.

    Raises :class:`ArgumentError` where no worker has a number at some coordinate. Yin, Chen, Ramchandran, Bartlett,
    ICML 2018.
    """
    return Gradients.of(G).by_coordinate(_median)


def trimmed_mean(G: Any, f: int) -> Any:
    """Return the mean of every coordinate without its f lowest and f highest values.

    Parameters
    ----------
    G : array or tensor, shape (p, n), or list of p arrays or tensors, shape (n,)
        Gradients.
    f : int
        Bad workers; ``p >= 2 f + 1``.

    Raises
    ------
    ArgumentError
        f is too large for p.

    References
    ----------
    Yin, Chen, Ramchandran, Bartlett. Byzantine-robust distributed learning: towards optimal statistical rates. ICML
    2018.
    """
    gradients = Gradients.of(G).finite()
    f = check_faults(f, gradients.p, "trimmed_mean", 2, 1)

    def rule(block: np.ndarray) -> np.ndarray:
        block.sort(axis=0)
        return inner_mean(block, f)

    return gradients.by_coordinate(rule)


def _median(block: np.ndarray) -> np.ndarray:
    block.sort(axis=0)  # NaN goes to the end
    if not np.isnan(block[-1]).any():
        return middle(block)
    known = len(block) - np.isnan(block).sum(axis=0)
    if not known.all():
        raise ArgumentError("G has a coordinate that is NaN in all gradients")
    low, high = (np.take_along_axis(block, k[None], axis=0)[0] for k in ((known - 1) // 2, known // 2))
    return np.where(low == high, low, (low + high) / 2)
