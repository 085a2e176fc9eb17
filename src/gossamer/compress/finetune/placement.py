"""Where the groups of a quantised matrix lie in its dense form; codes, scales and zeros out of it and back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from gossamer._core.arrays import to_numpy
from gossamer._core.errors import UnsupportedError
from gossamer._kernels.packing import unpack_codes, unpack_zeros
from gossamer.linalg import StructuredMatrix
from gossamer.linalg.arithmetic.sums import SumMatrix
from gossamer.linalg.nearest.quantizer import Grid, check_group, round_scale
from gossamer.linalg.packed import pack_groups
from gossamer.linalg.positions import stored_columns
from gossamer.linalg.structures.group_quant import GroupQuantMatrix
from gossamer.linalg.structures.group_sparse_quant import GroupSparseQuantMatrix
from gossamer.linalg.structures.nm_quant import NMQuantMatrix

KINDS = ("group-quant", "group-sparse-quant", "nm-quant")
"""Families whose codes, scales and zeros the training stages know how to place."""


class Placement:
    """The map between groups of values (n, G) and a dense matrix (O, K), for one sparsity pattern.

    Parameters
    ----------
    matrix : GroupQuantMatrix, GroupSparseQuantMatrix or NMQuantMatrix
        Only its pattern is used.
    """

    def __init__(self, matrix: StructuredMatrix) -> None:
        rows, width = self.shape = matrix.shape
        self._rows: torch.Tensor | None = None
        self._columns: torch.Tensor | None = None
        if isinstance(matrix, NMQuantMatrix):
            s = matrix.structure
            columns = stored_columns(to_numpy(matrix.factors["positions"]), s.n, s.m, matrix.shape)
            self._columns = torch.from_numpy(columns.astype(np.int64))
            self._stored, self._wide = columns.shape[1], -(-width // s.m) * s.m
            self.group = check_group(s.group, self._stored)
            self.count = rows * -(-self._stored // self.group)
            return
        if not isinstance(matrix, (GroupQuantMatrix, GroupSparseQuantMatrix)):
            raise UnsupportedError(
                f"{matrix.structure}: expected a matrix of one of the families {', '.join(KINDS)}"
            )
        self.group = check_group(matrix.structure.group, width)
        across = -(-width // self.group)
        self._stored = self._wide = across * self.group
        self.count = rows * across
        if isinstance(matrix, GroupSparseQuantMatrix):
            row = np.repeat(np.arange(rows, dtype=np.int64), np.diff(to_numpy(matrix.factors["row_ptr"])))
            self._rows = torch.from_numpy(row * across + to_numpy(matrix.factors["col"]))
            self.count = len(self._rows)

    def dense(self, values: torch.Tensor, fill: float = 0.0) -> torch.Tensor:
        """The matrix (O, K) that has ``values`` (n, G) in its groups and ``fill`` elsewhere; differentiable."""
        rows, width = self.shape
        if self._columns is not None:
            full = values.new_full((rows, self._wide), fill)
            return full.scatter(1, self._columns, values.reshape(rows, -1)[:, : self._stored])[:, :width]
        if self._rows is not None:
            full = values.new_full((rows * (self._wide // self.group), self.group), fill)
            values = full.index_copy(0, self._rows, values)
        return values.reshape(rows, -1)[:, :width]

    def gather(self, dense: torch.Tensor) -> torch.Tensor:
        """The values (n, G) of ``dense`` (O, K) that lie in groups; 0 where a group reaches beyond the matrix."""
        dense = torch.nn.functional.pad(dense, (0, self._wide - self.shape[1]))
        if self._columns is not None:
            stored = dense.gather(1, self._columns)
            return torch.nn.functional.pad(stored, (0, -self._stored % self.group)).reshape(-1, self.group)
        groups = dense.reshape(-1, self.group)
        return groups if self._rows is None else groups[self._rows]

    def mask(self) -> np.ndarray | None:
        """Which entries (O, K) lie in groups; None if all do."""
        if self._rows is None and self._columns is None:
            return None
        return self.dense(torch.ones(self.count, self.group)).numpy() != 0


def split(matrix: StructuredMatrix) -> tuple[StructuredMatrix, StructuredMatrix | None]:
    """The part that the stages train, first in a sum, and what is added to it."""
    if not isinstance(matrix, SumMatrix):
        return matrix, None
    first, *rest = matrix.parts
    return first, rest[0] if len(rest) == 1 else SumMatrix.of(*rest)


def joined(matrix: StructuredMatrix, term: StructuredMatrix | None) -> StructuredMatrix:
    """The inverse of :func:`split`."""
    return matrix if term is None else matrix + term


def read_groups(matrix: StructuredMatrix) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Codes (n, G) uint8, scales (n,) float16 and zeros (n,), uint8 codes or float16 products, or None."""
    grid: Grid = matrix.structure.grid
    group = Placement(matrix).group
    codes = unpack_codes(to_numpy(matrix.factors["qweight"]), grid.bits, group).reshape(-1, group)
    scale = to_numpy(matrix.factors["scale"]).reshape(-1)
    if grid.symmetric:
        return codes, scale, None
    zero = to_numpy(matrix.factors["zero"])
    if grid.zero == "int":
        return codes, scale, unpack_zeros(zero, grid.bits, len(codes))
    return codes, scale, zero.reshape(-1)


def with_groups(
    matrix: StructuredMatrix, codes: np.ndarray, scale: np.ndarray, zero: np.ndarray | None
) -> StructuredMatrix:
    """A matrix of the pattern of ``matrix`` with other codes, scales and zeros; the zeros' dtype says their kind."""
    structure = matrix.structure
    if zero is not None:
        structure = replace(structure, zero="int" if zero.dtype == np.uint8 else "float")
    packed = pack_groups(structure.grid, codes, scale, zero)
    shape = matrix.factors["scale"].shape
    factors = {name: to_numpy(factor) for name, factor in matrix.factors.items() if name not in packed}
    for name, factor in packed.items():
        flat = name == "zero" and factor.dtype == np.uint8
        factors[name] = factor if flat else factor.reshape(*shape, *factor.shape[1:])
    return type(matrix)(structure, matrix.shape, factors)


def real_zeros(scale: np.ndarray, zero: np.ndarray) -> np.ndarray:
    """Zeros counted in codes, as real numbers, from either kind of stored zero."""
    if zero.dtype == np.uint8:
        return zero.astype(np.float32)
    return zero.astype(np.float32) / scale.astype(np.float32)


def store(grid: Grid, scale: np.ndarray, zero: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
    """Trained scales and real zeros as a file holds them: float16, and codes or float16 products ``s z``."""
    half = round_scale(scale, 0.0)
    if zero is None:
        return half, None
    if grid.zero == "int":
        return half, np.clip(np.rint(zero), 0, grid.top).astype(np.uint8)
    return half, (zero * half.astype(np.float32)).astype(np.float16)
