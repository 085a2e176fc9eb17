"""Softmax attention over pairs of tokens, forward and backward, without storing the pairs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._core.threads import get_threads
from gossamer._kernels import _native
from gossamer._kernels.views import expect_array, ready


class Problem:
    """Queries, two sets of keys and values, and who sees what: checked once for both directions.

    Shapes: q (batch, m, d), k1 (batch, n1, d), k2 (batch, n2, d), v1 (batch, n1, p), v2 (batch, n2, p), all float32 or
    all float64. ``limits``: two int64 arrays (m,); query i sees the first ``limits[0][i]`` tokens of the first set and
    ``limits[1][i]`` of the second. ``mask``: bool (batch or 1, n1, n2), False hides a pair.
    """

    def __init__(
        self,
        q: np.ndarray,
        keys: Sequence[np.ndarray],
        values: Sequence[np.ndarray],
        limits: Sequence[np.ndarray] | None = None,
        mask: np.ndarray | None = None,
    ) -> None:
        if q.ndim != 3 or q.dtype not in (np.float32, np.float64):
            raise ArgumentError(
                f"q is {q.dtype} of shape {q.shape}: expected float32 or float64 (batch, m, d)"
            )
        batch, m, d = q.shape
        for name, arrays in (("keys", keys), ("values", values)):
            if len(arrays) != 2 or any(array.ndim != 3 for array in arrays):
                raise ShapeError(
                    f"{name} have shapes {[a.shape for a in arrays]}: expected two (batch, n, width)"
                )
        sizes = [keys[0].shape[1], keys[1].shape[1]]
        for i, n in enumerate(sizes):
            expect_array(f"keys[{i}]", keys[i], q.dtype, (batch, n, d))
            expect_array(f"values[{i}]", values[i], q.dtype, (batch, n, values[0].shape[2]))
        self.arrays = [ready(array) for array in (q, *keys, *values)]
        self.seen: list[np.ndarray | None] = [None, None, None]
        if limits is not None:
            for i, (limit, n) in enumerate(zip(limits, sizes, strict=True)):
                expect_array(f"limits[{i}]", limit, np.int64, (m,))
                if len(limit) and (limit.min() < 0 or limit.max() > n):
                    raise ArgumentError(f"limits[{i}] spans {limit.min()}..{limit.max()}: expected 0..{n}")
                self.seen[i] = ready(limit)
        if mask is not None:
            expect_array("mask", mask, np.bool_, (1 if len(mask) == 1 else batch, *sizes))
            self.seen[2] = ready(mask).view(np.uint8)
        self.shape = (batch, m, values[0].shape[2])

    def forward(self, threads: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Outputs (batch, m, p), and logarithms of the sums of exponentials (batch, m)."""
        q = self.arrays[0]
        out, lse = np.empty(self.shape, q.dtype), np.empty(self.shape[:2], q.dtype)
        forward = getattr(_native.tensor_attention, f"forward_{q.dtype.name}")
        forward(*self.arrays, *self.seen, out, lse, get_threads(threads))
        return out, lse

    def backward(
        self, out: np.ndarray, lse: np.ndarray, dout: np.ndarray, threads: int | None = None
    ) -> list[np.ndarray]:
        """Gradients in q, both keys and both values, from what :meth:`forward` returned and the slope of its output."""
        q = self.arrays[0]
        for name, array in (("out", out), ("dout", dout)):
            expect_array(name, array, q.dtype, self.shape)
        expect_array("lse", lse, q.dtype, self.shape[:2])
        slopes = [np.empty_like(array) for array in self.arrays]
        delta = np.einsum("bml,bml->bm", out, dout)
        backward = getattr(_native.tensor_attention, f"backward_{q.dtype.name}")
        backward(
            *self.arrays, *self.seen, ready(lse), ready(dout), ready(delta), *slopes, get_threads(threads)
        )
        return slopes
