"""What is multiplied: coefficient arrays with their degrees and powers, as rows for the kernels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gossamer._kernels.gaunt import Operand


@dataclass(frozen=True)
class Degrees:
    """Degrees and powers of the factors and the degree to which the product is cut."""

    factors: tuple[int, ...]
    powers: tuple[int, ...]
    out: int

    @property
    def whole(self) -> int:
        """Degree of the product before it is cut."""
        return sum(L * p for L, p in zip(self.factors, self.powers))

    @property
    def bilinear(self) -> bool:
        """Whether there are two factors, or the square of one."""
        return sum(self.powers) == 2


def operands(arrays: Sequence[np.ndarray]) -> tuple[list[Operand], tuple[int, ...]]:
    """Rows of arrays (..., width) whose leading axes broadcast, and the shape of these axes.

    Axes of length 1 in front or at the end cost nothing; others are written out.
    """
    batch = np.broadcast_shapes(*(array.shape[:-1] for array in arrays))
    return [_operand(array, batch) for array in arrays], batch


def _operand(array: np.ndarray, batch: tuple[int, ...]) -> Operand:
    own = (1,) * (len(batch) + 1 - array.ndim) + array.shape[:-1]
    end = len(batch)
    while end and own[end - 1] == 1:
        end -= 1
    start = 0
    while start < end and own[start] == 1:
        start += 1
    width = array.shape[-1]
    if own[start:end] == batch[start:end]:
        return Operand(array.reshape(math.prod(own), width), max(1, math.prod(batch[end:])))
    return Operand(
        np.ascontiguousarray(np.broadcast_to(array, (*batch, width))).reshape(math.prod(batch), width)
    )
