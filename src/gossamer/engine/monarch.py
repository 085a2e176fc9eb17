"""Monarch matrices for the token loops: a chain of two products, each of rows that see a part of the columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gossamer._core.arrays import to_numpy, widen
from gossamer._kernels import linear
from gossamer.linalg import LowRankMatrix, MonarchMatrix

_LANES = 16


def fits(matrix: MonarchMatrix, rank: int = 0) -> bool:
    """Whether the native form takes it, and is smaller than the dense matrix.

    Blocks of 16 rows must not cross those of the first factor, and those of the second must share 16 lanes.
    """
    k, q, p, l, s, r = matrix.sizes
    numbers = k * q * p + l * s * r + rank * sum(matrix.shape)
    whole = matrix.shape[0] * matrix.shape[1]
    return not matrix.is_complex and q % _LANES == 0 and _LANES % l == 0 and numbers < whole


def prepare_monarch(matrix: MonarchMatrix, terms: Sequence[LowRankMatrix] = ()) -> Any:
    """Prepare a Monarch matrix and the low-rank terms added to it as one chain ``left (right x)``.

    ``right`` stacks the first factor on the terms' right ones. ``left`` takes channel ``rho l + lam`` in lane lam of
    every l, which is the permutation, and the terms' channels at the end.
    """
    k, q, p, l, s, r = matrix.sizes
    O, K = matrix.shape
    w1, w2 = matrix.factors["w1"], matrix.factors["w2"]
    lefts = [term.factors["left"] for term in terms]
    rights = [term.factors["right"] for term in terms]
    w1, w2, *rest = _of_one_kind([w1, w2, *lefts, *rights])
    left_terms = np.concatenate([np.zeros((O, 0), w2.dtype), *rest[: len(terms)]], axis=1)
    right_terms = np.concatenate([np.zeros((0, K), w1.dtype), *rest[len(terms) :]], axis=0)
    rank = len(right_terms)
    blocks, starts, depths = [], [], []
    for kappa in range(k):
        depth = max(min(p, K - kappa * p), 0)
        for part in np.split(w1[kappa, :, :depth], q // _LANES):
            blocks.append(part.T)
            starts.append(min(kappa * p, K))
            depths.append(depth)
    for start in range(0, rank, _LANES):
        blocks.append(_padded(right_terms[start : start + _LANES]).T)
        starts.append(0)
        depths.append(K)
    right = linear.blocks(_flat(blocks), starts, depths, rows=k * q + rank, cols=K, period=1, tail=0)
    # rows of w2 in the order of the outputs: sigma l + lam
    rows = np.concatenate([w2.swapaxes(0, 1).reshape(s * l, r)[:O], left_terms], axis=1)
    blocks = [_padded(rows[start : start + _LANES]).T for start in range(0, O, _LANES)]
    count = len(blocks)
    left = linear.blocks(
        _flat(blocks), [0] * count, [r] * count, rows=O, cols=k * q + rank, period=l, tail=rank
    )
    return linear.chain(left, right)


def _of_one_kind(factors: list[Any]) -> list[np.ndarray]:
    """Raw bfloat16 where all are; else float32."""
    arrays = [to_numpy(factor) for factor in factors]
    if all(array.dtype == np.uint16 for array in arrays):
        return arrays
    return [np.asarray(widen(array), dtype=np.float32) for array in arrays]


def _padded(rows: np.ndarray) -> np.ndarray:
    return np.pad(rows, ((0, _LANES - len(rows)), (0, 0)))


def _flat(blocks: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([block.ravel() for block in blocks])


__all__ = ["fits", "prepare_monarch"]
