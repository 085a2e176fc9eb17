"""The queried function: one form for callables and arrays, each input asked for once, all of them counted."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from gossamer._core.checks import check_choice, check_int
from gossamer._core.errors import ArgumentError, ShapeError, bad_argument
from gossamer.linalg.transforms.sparse_wht.bits import unpack_bits

MAX_BITS = 62


class BudgetExceeded(Exception):
    """The next queries would go beyond ``max_queries``."""


class Samples:
    """Values of f at n-bit inputs, remembered.

    Parameters
    ----------
    f : callable or array of shape (2**n,)
        See :func:`gossamer.linalg.sparse_wht`.
    n : int
        Bits of an input.
    vectorised : {"bits", "index"}
        What the callable takes.
    max_queries : int, optional
        Distinct inputs that may be asked for.
    batch : int
        Largest number of inputs in one call.

    Attributes
    ----------
    keys, values : ndarray, shape (q,)
        What has been asked, ascending, and the answers.
    precision : float
        Relative size of what rounding may leave of the largest value.
    """

    def __init__(
        self,
        f: Any,
        n: int,
        vectorised: str = "bits",
        max_queries: int | None = None,
        batch: int = 1 << 16,
    ) -> None:
        self.n = check_int("n", n, low=1)
        if self.n > MAX_BITS:
            raise bad_argument("n", n, f"at most {MAX_BITS} bits")
        self.max_queries = None if max_queries is None else check_int("max_queries", max_queries, low=1)
        self.batch = check_int("batch", batch, low=1)
        self._ask = _adapter(f, self.n, check_choice("vectorised", vectorised, ("bits", "index")))
        self.precision = 1e-10
        self.keys = np.zeros(0, np.uint64)
        self.values = np.zeros(0)

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Values at ``points`` (any shape, uint64), float64; raises :class:`BudgetExceeded` before it asks."""
        unique, inverse = np.unique(points, return_inverse=True)
        known = np.isin(unique, self.keys, assume_unique=True)
        fresh = unique[~known]
        if self.max_queries is not None and len(self.keys) + len(fresh) > self.max_queries:
            raise BudgetExceeded(f"{len(self.keys) + len(fresh)} queries, max_queries={self.max_queries}")
        if len(fresh):
            asked = [self._batch(fresh[i : i + self.batch]) for i in range(0, len(fresh), self.batch)]
            keys, values = np.r_[self.keys, fresh], np.concatenate([self.values, *asked])
            order = np.argsort(keys)
            self.keys, self.values = keys[order], values[order]
        return self.values[np.searchsorted(self.keys, unique)][inverse].reshape(points.shape)

    def _batch(self, inputs: np.ndarray) -> np.ndarray:
        answer = np.asarray(self._ask(inputs))
        if answer.shape != inputs.shape:
            raise ShapeError(
                f"f returned shape {answer.shape} for {len(inputs)} queries: expected {inputs.shape}"
            )
        if answer.dtype.kind not in "biuf":
            raise ArgumentError(f"f returned {answer.dtype}: expected real numbers")
        if answer.dtype.kind == "f" and answer.dtype.itemsize < 8:
            self.precision = max(self.precision, 100 * float(np.finfo(answer.dtype).eps))
        values = answer.astype(np.float64)
        if not np.isfinite(values).all():
            bad = int(np.argmin(np.isfinite(values)))
            raise ArgumentError(
                f"f returned {values[bad]} for the query {int(inputs[bad]):#x} ({int(inputs[bad])})"
            )
        return values


def _adapter(f: Any, n: int, vectorised: str) -> Callable[[np.ndarray], Any]:
    if callable(f):
        return f if vectorised == "index" else lambda inputs: f(unpack_bits(inputs, n))
    if isinstance(f, (str, bytes, os.PathLike)):
        raise bad_argument("f", f, "a callable or an array; open a file with numpy.memmap or numpy.load")
    array = f if isinstance(f, np.ndarray) else np.asarray(f)
    if array.ndim != 1 or len(array) & (len(array) - 1) or not len(array):
        raise ShapeError(f"f has shape {array.shape}: expected 2**n numbers; zero-pad it")
    if len(array) != 1 << n:
        raise ShapeError(f"f has {len(array)} numbers: expected 2**n = {1 << n} for n={n}")
    return lambda inputs: array[inputs.astype(np.int64)]
