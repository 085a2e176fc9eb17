"""Chains of block-diagonal products with permutations between, in one pass over the tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._core.threads import get_threads
from gossamer._kernels import _native
from gossamer._kernels.views import ready


@dataclass(frozen=True)
class Chain:
    """Where rows go: made by the functions below only, so that native code may trust every index.

    Attributes
    ----------
    inputs, outputs : int
        Features of x and of y.
    shapes : tuple of (blocks, rows, depth)
        Of the weights of each stage as they are applied.
    place : ndarray of int32, shape (inputs,)
        Where a feature enters the first stage.
    targets : tuple of ndarray of int32, shape (blocks * rows,)
        Where a row of a stage enters the next one, or leaves; -1 drops it.
    transposed : bool
        Whether weights are given transposed, (blocks, depth, rows).
    """

    inputs: int
    outputs: int
    shapes: tuple[tuple[int, int, int], ...]
    place: np.ndarray
    targets: tuple[np.ndarray, ...]
    transposed: bool = False

    def entry(self) -> Chain:
        """Only the way into the first stage: a permutation, and zeros where there is padding."""
        blocks, _, depth = self.shapes[0]
        return Chain(self.inputs, blocks * depth, (), self.place, ())

    def part(self, stage: int) -> Chain:
        """One stage of a chain of two alone: what lies between is in the order in which the second one takes it."""
        blocks, rows, depth = self.shapes[stage]
        inner = blocks * (depth if stage else rows)
        if stage:
            return Chain(
                inner,
                self.outputs,
                self.shapes[1:],
                _index(np.arange(inner)),
                self.targets[1:],
                self.transposed,
            )
        return Chain(self.inputs, inner, self.shapes[:1], self.place, self.targets[:1], self.transposed)


@lru_cache(maxsize=256)
def monarch(sizes: tuple[int, int, int, int, int, int], shape: tuple[int, int]) -> Chain:
    """The product with a Monarch matrix of sizes (k, q, p, l, s, r) and shape (O, K)."""
    k, q, p, l, s, r = sizes
    _check(sizes, shape)
    outputs = _swap(l, s)
    return Chain(shape[1], shape[0], ((k, q, p), (l, s, r)), _index(np.arange(shape[1])),
                 (_index(_swap(r, l)), _index(np.where(outputs < shape[0], outputs, -1))))  # fmt: skip


@lru_cache(maxsize=256)
def monarch_transposed(sizes: tuple[int, int, int, int, int, int], shape: tuple[int, int]) -> Chain:
    """The product with the transpose of that matrix; weights are given as they are, ``w2`` first."""
    k, q, p, l, s, r = sizes
    _check(sizes, shape)
    outputs = np.arange(k * p)
    return Chain(shape[0], shape[1], ((l, r, s), (k, p, q)), _index(_swap(s, l)[: shape[0]]),
                 (_index(_swap(l, r)), _index(np.where(outputs < shape[1], outputs, -1))), True)  # fmt: skip


@lru_cache(maxsize=256)
def monarch_star(m: int) -> Chain:
    """The product with a matrix ``P L_1 P R P L_2 P`` of side m^2; weights are given from the right."""
    swap = _index(_swap(m, m))
    return Chain(m * m, m * m, ((m, m, m),) * 3, swap, (swap, swap, swap))


def multiply(
    chain: Chain,
    weights: Sequence[np.ndarray],
    x: np.ndarray,
    threads: int | None = None,
    order: str | None = None,
    bias: np.ndarray | None = None,
) -> np.ndarray:
    """Apply a chain to ``x`` (inputs, N) and add ``bias``; weights are of its dtype or raw bfloat16 (uint16).

    The result is in rows ("C") or columns ("F"): by default as ``x``, so that tokens which are rows in memory stay it.
    """
    if x.dtype not in (np.float32, np.float64):
        raise ArgumentError(f"x is {x.dtype}: expected float32 or float64")
    if x.ndim != 2 or x.shape[0] != chain.inputs:
        raise ShapeError(f"x has shape {x.shape}: expected ({chain.inputs}, N)")
    if bias is not None and (bias.dtype != x.dtype or bias.shape != (chain.outputs,)):
        raise ShapeError(
            f"bias is {bias.dtype} of shape {bias.shape}: expected {x.dtype}, ({chain.outputs},)"
        )
    by_token = x.flags.f_contiguous and not x.flags.c_contiguous
    operand = ready(x.T if by_token else x)
    out_by_token = by_token if order is None else order == "F"
    y = np.empty((x.shape[1], chain.outputs) if out_by_token else (chain.outputs, x.shape[1]), x.dtype)
    if x.shape[1]:
        stages = [
            _stage(weight, shape, target, x.dtype, chain.transposed)
            for weight, shape, target in zip(weights, chain.shapes, chain.targets, strict=True)
        ]
        getattr(_native.monarch, x.dtype.name)(
            stages,
            chain.place,
            operand,
            by_token,
            None if bias is None else ready(bias),
            y,
            out_by_token,
            get_threads(threads),
        )
    return y.T if out_by_token else y


def _stage(
    weight: np.ndarray, shape: tuple[int, int, int], target: np.ndarray, dtype: np.dtype, transposed: bool
) -> Any:
    expected = (shape[0], shape[2], shape[1]) if transposed else shape
    if weight.dtype not in (dtype, np.uint16) or weight.shape != expected:
        raise ShapeError(
            f"weights are {weight.dtype} of shape {weight.shape}: expected {dtype} or uint16 (raw bfloat16), {expected}"
        )
    return _native.monarch.stage(ready(weight), target, transposed)


def _check(sizes: tuple[int, int, int, int, int, int], shape: tuple[int, int]) -> None:
    k, q, p, l, s, r = sizes
    if min(sizes) < 1 or k * q != l * r or not (0 < shape[0] <= l * s and 0 < shape[1] <= k * p):
        raise ShapeError(
            f"sizes {sizes} and shape {shape} do not fit: expected k q = l r, O <= l s and K <= k p"
        )
    if max(k * p, k * q, l * s) > np.iinfo(np.int32).max:
        raise ArgumentError(f"sizes {sizes} are too large for 32-bit indices")


def _swap(rows: int, cols: int) -> np.ndarray:
    """Where the entries of a (rows, cols) array go when it is transposed; ``t`` to ``(t % cols) rows + t // cols``."""
    return np.arange(rows * cols).reshape(cols, rows).T.ravel()


def _index(values: np.ndarray) -> np.ndarray:
    table = np.ascontiguousarray(values, np.int32)
    table.flags.writeable = False
    return table
