"""Sketches that keep some rows and weigh them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gossamer._core.arrays import to_numpy
from gossamer._core.checks import check_array
from gossamer._core.errors import ArgumentError
from gossamer._core.random import RandomState
from gossamer.linalg.sketches.sketch import (
    Block,
    Sketch,
    check_rows,
    dense_rows,
    sampled_rows,
    seeded,
)


class _SampledRows(Sketch):
    """Row i of the product is ``scale[i]`` times row ``index[i]`` of the matrix."""

    index: np.ndarray
    scale: np.ndarray

    def _rows(self, x: Block, start: int) -> np.ndarray:
        out = np.zeros((self.shape[0], x.shape[1]), x.dtype)
        here = np.flatnonzero((self.index >= start) & (self.index < start + x.shape[0]))
        rows = x[self.index[here] - start]
        out[here] = dense_rows(rows, 0, len(here)) * self.scale[here, None].astype(x.dtype)
        return out

    def _adjoint(self, y: np.ndarray) -> np.ndarray:
        out = np.zeros((self.shape[1], y.shape[1]), y.dtype)
        np.add.at(out, self.index, y * self.scale[:, None].astype(y.dtype))
        return out


class UniformSampling(_SampledRows):
    """m rows drawn uniformly, scaled by the root of n / m: fails where a few rows matter.

    Parameters
    ----------
    n, m : int
        Columns and rows.
    replace : bool
        Whether a row can be drawn twice.
    seed : int, Generator or None
        Source of the draws.

    Raises
    ------
    ArgumentError
        For m > n without replacement.
    """

    def __init__(self, n: int, m: int, *, replace: bool = False, seed: RandomState = None) -> None:
        super().__init__(n, m)
        check_rows(n, m, replace)
        self.index = sampled_rows(seeded(seed), n, m, replace)
        self.scale = np.full(m, math.sqrt(n / m))


class LeverageSampling(_SampledRows):
    """m rows drawn with probabilities proportional to scores, each scaled by one over the root of ``m p_i``.

    Parameters
    ----------
    scores : array, shape (n,)
        Not negative, at least one positive; leverage scores by :func:`gossamer.solve.leverage_scores`.
    m : int
        Rows, drawn with replacement.
    seed : int, Generator or None
        Source of the draws.

    Raises
    ------
    ArgumentError
        For scores that are negative or all zero.

    References
    ----------
    Drineas, Mahoney, Muthukrishnan, "Sampling algorithms for l2 regression and applications", SODA 2006.
    """

    def __init__(self, scores: Any, m: int, *, seed: RandomState = None) -> None:
        scores = to_numpy(check_array("scores", scores, ndim=1)).astype(np.float64)
        if not len(scores) or scores.min() < 0 or scores.max() == 0:
            raise ArgumentError("scores: expected numbers >= 0, at least one of them positive")
        super().__init__(len(scores), m)
        p = scores / scores.sum()
        self.index = seeded(seed).choice(len(p), m, p=p)
        self.scale = 1 / np.sqrt(m * p[self.index])
