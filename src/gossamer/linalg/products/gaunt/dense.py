"""Gaunt products by the table of Gaunt coefficients."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from gossamer._kernels.gaunt import BilinearProgram, Operand
from gossamer.linalg.products.gaunt.factors import Degrees
from gossamer.linalg.transforms.spherical.coefficients import gaunt_coefficients


def dense_product(rows: list[Operand], degrees: Degrees, count: int, threads: int | None) -> np.ndarray:
    """Factor by factor, whole until the last one: to cut before loses what would come down again."""
    todo = [(row, L) for row, L, p in zip(rows, degrees.factors, degrees.powers) for _ in range(p)]
    done, degree = todo[0]
    if len(todo) == 1:
        one = Operand(np.full((1, 1), np.sqrt(4 * np.pi), done.data.dtype))
        todo.append((one, 0))
    for i, (row, L) in enumerate(todo[1:]):
        last = i == len(todo) - 2
        out = degrees.out if last else degree + L
        done = Operand(_program(degree, L, out, done.data.dtype.name).run(done, row, count, threads))
        degree = out
    return done.data


@lru_cache(maxsize=128)
def _program(L1: int, L2: int, L3: int, dtype: str) -> BilinearProgram:
    indices, values = gaunt_coefficients(L1, L2, L3)
    return BilinearProgram((L1 + 1) ** 2, (L2 + 1) ** 2, (L3 + 1) ** 2, indices, values.astype(dtype))
