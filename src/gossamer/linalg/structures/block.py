"""Block sparsity: whole r x c blocks are zero; compressed block rows hold what is left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gossamer._core.arrays import Array, is_torch, to_numpy
from gossamer._core.checks import check_choice, check_float, check_int
from gossamer._core.errors import ArgumentError
from gossamer._kernels import block
from gossamer.linalg.nearest.obs import nearer, sweep
from gossamer.linalg.nearest.selection import (
    SCOPES,
    block_sums,
    count_kept,
    expand_blocks,
    group_losses,
    keep_largest,
    saliency,
)
from gossamer.linalg.operator import Plan, StructuredMatrix
from gossamer.linalg.plans import native_plan, sparse_pays
from gossamer.linalg.structure import Structure, structure_from_config


class BlockMatrix(StructuredMatrix):
    """A block-sparse matrix: factors ``indptr`` (block rows + 1,), ``indices`` (n,) and ``blocks`` (n, r, c).

    Indices are int32 and ascend within a block row. Blocks that reach beyond the matrix hold what lies inside
    it; their other entries are never used.
    """

    structure: Block
    factor_names = ("indptr", "indices", "blocks")

    def _check(self) -> None:
        f = {name: to_numpy(factor) for name, factor in self.factors.items()}
        block.check(f["indptr"], f["indices"], f["blocks"], self.shape)
        if f["blocks"].shape[1:] != self.structure.shape:
            raise ArgumentError(f"blocks are {f['blocks'].shape[1:]}: expected {self.structure.shape}")

    def _dense(self) -> Array:
        r, c = self.structure.shape
        tall, wide = -(-self.shape[0] // r), -(-self.shape[1] // c)
        indptr, columns = to_numpy(self.factors["indptr"]), to_numpy(self.factors["indices"])
        rows, blocks = np.repeat(np.arange(tall), np.diff(indptr)), self.factors["blocks"]
        if is_torch(blocks):
            import torch

            at = torch.from_numpy(rows), torch.from_numpy(columns.astype(np.int64))
            dense = blocks.new_zeros((tall, wide, r, c)).index_put(at, blocks).permute(0, 2, 1, 3)
        else:
            dense = np.zeros((tall, wide, r, c), blocks.dtype)
            dense[rows, columns] = blocks
            dense = dense.transpose(0, 2, 1, 3)
        return dense.reshape(tall * r, wide * c)[: self.shape[0], : self.shape[1]]

    def flops(self, n: int = 1) -> int:
        return 2 * int(np.prod(self.factors["blocks"].shape)) * n

    def plan(self, n: int = 1) -> Plan:
        pays = sparse_pays(self.flops() / (2 * self.shape[0] * self.shape[1]), n, overhead=4)
        return native_plan(self, "block.matmat", "only stored blocks", n, pays=pays)

    def _multiply(self, x: np.ndarray) -> np.ndarray:
        f = {name: to_numpy(factor) for name, factor in self.factors.items()}
        x = np.pad(x, ((0, -len(x) % self.structure.shape[1]), (0, 0)))
        y = block.matmat(f["indptr"], f["indices"], f["blocks"].astype(x.dtype, copy=False), x)
        return y[: self.shape[0]]


@dataclass(frozen=True)
class Block(Structure):
    r"""Matrices with at most ``ceil(density n)`` non-zero blocks of shape (r, c), of n in the matrix or a block row.

    Parameters
    ----------
    shape : (int, int)
        Rows r and columns c of a block. Blocks at the lower and right edge may be cut off.
    density : float in (0, 1]
        Fraction of blocks kept.
    scope : {"matrix", "row"}
        What the density counts: the blocks of the whole matrix, or of each block row.

    Notes
    -----
    ``project`` is exactly nearest in the Frobenius norm and in a diagonal metric: it keeps the blocks of the
    largest ``sum w^2 h_j``. With a full metric it ranks blocks by what their loss costs after the columns to
    the right have replied, and moves the error of the lost ones there in OBS order. That is not exactly
    nearest, but no worse in the metric than with its diagonal.
    """

    shape: tuple[int, int] = (1, 16)
    density: float = 0.5
    scope: str = "matrix"
    kind: ClassVar[str] = "block"
    matrix: ClassVar[type[StructuredMatrix]] = BlockMatrix

    def __post_init__(self) -> None:
        if not isinstance(self.shape, (tuple, list)) or len(self.shape) != 2:
            raise ArgumentError(f"shape={self.shape!r}: expected a pair of positive integers")
        object.__setattr__(self, "shape", tuple(check_int("shape", side, low=1) for side in self.shape))
        check_float("density", self.density, low=0, high=1, closed="right")
        check_choice("scope", self.scope, SCOPES)

    def _project(self, W: np.ndarray, metric: np.ndarray | None) -> BlockMatrix:
        if metric is None or metric.ndim == 1:
            return self._member(W, self._keep(block_sums(saliency(W, metric), self.shape)))
        keep = self._keep(block_sums(group_losses(W, metric, self.shape[1]), (self.shape[0], 1)))
        swept = sweep(W, metric, mask=expand_blocks(keep, self.shape, W.shape)).weights
        return nearer(W, metric, self._member(swept, keep), self._project(W, np.diagonal(metric)))

    def _keep(self, losses: np.ndarray) -> np.ndarray:
        return keep_largest(losses, self.density, self.scope)

    def _member(self, W: np.ndarray, keep: np.ndarray) -> BlockMatrix:
        r, c = self.shape
        padded = np.pad(W, ((0, -W.shape[0] % r), (0, -W.shape[1] % c)))
        tiles = padded.reshape(keep.shape[0], r, keep.shape[1], c).transpose(0, 2, 1, 3)
        factors = {
            "indptr": np.concatenate([[0], np.cumsum(keep.sum(axis=1))]).astype(np.int32),
            "indices": np.nonzero(keep)[1].astype(np.int32),
            "blocks": np.ascontiguousarray(tiles[keep]),
        }
        return BlockMatrix(self, W.shape, factors)

    @property
    def nearest_in(self) -> frozenset[str]:
        return frozenset({"none", "diagonal"})

    def bits_per_weight(self, shape: tuple[int, int]) -> float:
        (r, c), tall = self.shape, -(-shape[0] // self.shape[0])
        wide = -(-shape[1] // c)
        each = tall if self.scope == "row" else 1
        kept = each * count_kept(self.density, tall * wide // each)
        return 32 * (kept * (r * c + 1) + tall + 1) / (shape[0] * shape[1])

    def quantized(self, bits: int = 4, group: int | None = None, **options: Any) -> Structure:
        """Kept blocks on grids of ``bits`` bits: :class:`GroupSparseQuant`, for blocks of shape (1, G) only."""
        if self.shape[0] != 1 or group not in (None, self.shape[1]):
            raise ArgumentError(
                f"shape={self.shape!r}, group={group!r}: expected blocks of one row that are one group, "
                f"such as Block((1, {group or self.shape[1]}))"
            )
        config = {"kind": "group-sparse-quant", "density": self.density, "scope": self.scope}
        return structure_from_config(config | {"bits": bits, "group": self.shape[1]} | options)
