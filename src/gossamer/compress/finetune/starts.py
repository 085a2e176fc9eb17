"""Where block training begins: a projection of the layer, and the unrounded weights behind it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from gossamer.compress.finetune.placement import KINDS, Placement, joined, read_groups
from gossamer.compress.rule import Rule
from gossamer.linalg import GroupSparseQuant, StructuredMatrix, weighted_error
from gossamer.linalg.nearest.obs import sweep
from gossamer.linalg.nearest.quantizer import Grid, StaticQuantizer

_MARGIN = 1e-3
"""Fraction of a step by which a weight keeps away from the border of its cell."""


@dataclass(frozen=True)
class Start:
    """A projection, weights (n, G) that round to exactly its codes, and what a rule adds to make up for it."""

    matrix: StructuredMatrix
    latent: np.ndarray
    term: StructuredMatrix | None = None

    @property
    def stored(self) -> StructuredMatrix:
        """Projection and term."""
        return joined(self.matrix, self.term)


def trainable(rule: Rule) -> bool:
    """Whether the training stages can work on a layer of this rule; others stay as they were fitted."""
    return rule.structure is not None and rule.structure.kind in KINDS


def begin(
    W: np.ndarray,
    rule: Rule,
    second: np.ndarray | None,
    init: str = "auto",
    validation: Callable[[], np.ndarray] | None = None,
) -> Start:
    """Project a layer and find the weights to train.

    Parameters
    ----------
    W : ndarray of float32, shape (O, K)
        The layer's weight.
    rule : Rule
        A rule for which :func:`trainable` holds.
    second : ndarray, shape (K, K), or None
        Second moment of its inputs; None only with rules whose metric is ``"none"``.
    init : {"auto", "mask", "obs"}
        ``"mask"`` drops and rounds weights as they are. ``"obs"`` lets the others reply to each that is dropped
        or rounded, as SparseGPT and GPTQ do; the weights are those from just before their rounding. ``"auto"``
        takes the one with the lower output error under ``validation``. Rules that do not use the whole second
        moment always begin with ``"mask"``.
    validation : callable, optional
        Returns the second moment of inputs that are not in ``second``; it is called only where it decides.
    """
    structure = rule.structure
    assert structure is not None
    if rule.metric == "none":
        second = None
    elif rule.metric == "diagonal" and second is not None:
        second = np.ascontiguousarray(np.diagonal(second))
    sparse = isinstance(structure, GroupSparseQuant)
    masked = None
    if init != "obs" or second is None or second.ndim == 1:
        plain = replace(structure, start="mask") if sparse else structure
        diagonal = second if sparse or second is None or second.ndim == 1 else np.diagonal(second)
        masked = _named(structure, plain.project(W, metric=diagonal))
        if init == "mask" or second is None or second.ndim == 1:
            return _start(masked, W)
    swept = (
        replace(structure, start="obs").project(W, metric=second)
        if sparse
        else structure.project(W, metric=second)
    )
    swept = _named(structure, swept)
    if masked is not None:
        assert validation is not None
        judge = validation()
        if weighted_error(W, masked.to_dense(), judge) <= weighted_error(W, swept.to_dense(), judge):
            return _start(masked, W)
    return _start(swept, _replies(swept, W, second))


def _named(structure: object, matrix: StructuredMatrix) -> StructuredMatrix:
    """The matrix under the family that was asked for, whichever way its members were found."""
    return type(matrix)(structure, matrix.shape, matrix.factors)


def _start(matrix: StructuredMatrix, weights: np.ndarray) -> Start:
    codes, scale, zero = read_groups(matrix)
    latent = (
        Placement(matrix).gather(torch.from_numpy(np.ascontiguousarray(weights, dtype=np.float32))).numpy()
    )
    return Start(matrix, into_cells(latent, codes, scale, zero, matrix.structure.grid))


def into_cells(
    weights: np.ndarray, codes: np.ndarray, scale: np.ndarray, zero: np.ndarray | None, grid: Grid
) -> np.ndarray:
    """The weights nearest to ``weights`` (n, G) that round to ``codes``; end cells have no outer border."""
    centre = grid.decode(codes, scale, zero)
    half = (0.5 - _MARGIN) * scale.astype(np.float32)[:, None]
    low = np.where(codes == 0, -np.inf, centre - half)
    high = np.where(codes == grid.top, np.inf, centre + half)
    return np.clip(weights, low, high).astype(np.float32)


class _Recorder(StaticQuantizer):
    """Rounds as the sweep did, and keeps what it was given to round."""

    def __init__(self, grid: Grid, scale: np.ndarray, zero: np.ndarray | None) -> None:
        super().__init__(grid, scale, zero)
        self.seen = np.empty(scale.T.shape, np.float32)

    def round(self, column: int, weights: np.ndarray) -> np.ndarray:
        self.seen[column] = weights
        return super().round(column, weights)


def _replies(matrix: StructuredMatrix, W: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The weights (O, K) as they were when a sweep with the grids of ``matrix`` reached them."""
    _, scale, zero = read_groups(matrix)
    placement = Placement(matrix)

    def spread(part: np.ndarray) -> np.ndarray:
        values = torch.from_numpy(part.astype(np.float32))[:, None].expand(-1, placement.group)
        return placement.dense(values, fill=1.0).numpy().astype(part.dtype)

    quantizer = _Recorder(
        matrix.structure.grid,
        spread(scale),
        None if zero is None else spread(zero),
    )
    sweep(W, second, mask=placement.mask(), quantizer=quantizer)
    return quantizer.seen.T
