"""Block-diagonal matrices of equal blocks: grouped layers, the halves of Monarch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import scipy.linalg

from gossamer._core.arrays import Array, is_torch, to_numpy
from gossamer._core.checks import check_int
from gossamer._core.errors import FormatError, ShapeError
from gossamer.linalg.metric import metric_product
from gossamer.linalg.operator import Plan, Structure, StructuredMatrix


class BlockDiagonalMatrix(StructuredMatrix):
    """Blocks along the diagonal: the one factor ``blocks`` is (b, O/b, K/b), float32 or float64."""

    structure: BlockDiagonal
    factor_names = ("blocks",)

    @classmethod
    def of(cls, blocks: Array) -> BlockDiagonalMatrix:
        """The matrix with these (b, rows, columns) blocks."""
        b, rows, cols = blocks.shape
        return cls(BlockDiagonal(b), (b * rows, b * cols), {"blocks": blocks})

    def _check(self) -> None:
        blocks, expected = self.factors["blocks"], self.structure._block_shape(self.shape)
        if tuple(blocks.shape) != expected:
            raise FormatError(f"blocks have shape {tuple(blocks.shape)}: expected {expected}")
        if str(blocks.dtype).removeprefix("torch.") not in ("float32", "float64"):
            raise FormatError(f"blocks are {blocks.dtype}: expected float32 or float64")

    def _transposed(self) -> BlockDiagonalMatrix:
        blocks = self.factors["blocks"].swapaxes(1, 2)
        return BlockDiagonalMatrix(self.structure, self.shape[::-1], {"blocks": blocks})

    def _dense(self) -> Array:
        blocks = self.factors["blocks"]
        if is_torch(blocks):
            import torch

            return torch.block_diag(*blocks)
        return scipy.linalg.block_diag(*blocks)

    def flops(self, n: int = 1) -> int:
        b, rows, cols = self.factors["blocks"].shape
        return 2 * int(b * rows * cols) * n

    def plan(self, n: int = 1) -> Plan:
        return Plan("structured", "batched gemm", "one small product a block", self.flops(n), self.nbytes)

    def _multiply(self, x: np.ndarray) -> np.ndarray:
        return _apply(to_numpy(self.factors["blocks"]).astype(x.dtype, copy=False), x)

    def _multiply_transposed(self, y: np.ndarray) -> np.ndarray:
        return _apply(to_numpy(self.factors["blocks"]).swapaxes(1, 2).astype(y.dtype, copy=False), y)

    def _multiply_torch(self, x: Any) -> Any:
        return _apply(self.factors["blocks"].to(x.dtype), x)


def _apply(blocks: Array, x: Array) -> Array:
    b, rows, cols = blocks.shape
    return (blocks @ x.reshape(b, cols, x.shape[1])).reshape(b * rows, x.shape[1])


@dataclass(frozen=True)
class BlockDiagonal(Structure):
    r"""Matrices that are zero outside ``blocks`` equal blocks along the diagonal.

    With ``J`` the columns of a block and ``w`` a row of ``W`` in it,
    ``d = w_J + w_rest H_{rest,J} H_{JJ}^+``; without a metric, or in a diagonal one, the block of ``W`` itself.

    Parameters
    ----------
    blocks : int
        Number of blocks; divides both sides of the matrix.

    Notes
    -----
    ``project`` is exactly nearest in every metric; of several nearest members it returns the one that changes the
    blocks of ``W`` least. O(O K^2 + K^3 / blocks^2) for a full metric.
    """

    blocks: int
    kind: ClassVar[str] = "block-diagonal"
    matrix: ClassVar[type[StructuredMatrix]] = BlockDiagonalMatrix

    def __post_init__(self) -> None:
        check_int("blocks", self.blocks, low=1)

    @property
    def nearest_in(self) -> frozenset[str]:
        return frozenset({"none", "diagonal", "full"})

    def _block_shape(self, shape: tuple[int, int]) -> tuple[int, int, int]:
        if shape[0] % self.blocks or shape[1] % self.blocks:
            raise ShapeError(f"blocks={self.blocks} does not divide the shape {shape}")
        return self.blocks, shape[0] // self.blocks, shape[1] // self.blocks

    def _project(self, W: np.ndarray, metric: np.ndarray | None) -> BlockDiagonalMatrix:
        b, rows, cols = self._block_shape(W.shape)
        index = np.arange(b)
        blocks = W.reshape(b, rows, b, cols)[index, :, index].copy()
        if metric is not None and metric.ndim == 2:
            product = metric_product(W, metric).reshape(b, rows, b, cols)[index, :, index]
            weight = metric.astype(np.float64).reshape(b, cols, b, cols)[index, :, index]
            for i in index:
                moment = product[i] - blocks[i] @ weight[i]
                blocks[i] += (moment @ scipy.linalg.pinvh((weight[i] + weight[i].T) / 2)).astype(W.dtype)
        return BlockDiagonalMatrix(self, W.shape, {"blocks": blocks})

    def bits_per_weight(self, shape: tuple[int, int]) -> float:
        return 32 / self.blocks
