"""A market of small families, over which the contracts run. A new family joins by one line."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gossamer.linalg import (
    DPLR,
    NM,
    Block,
    BlockDiagonal,
    ChainedLowRank,
    Circulant,
    Convolution,
    Dense,
    Diagonal,
    GroupQuant,
    GroupSparseQuant,
    Hadamard,
    KhatriRao,
    Kronecker,
    KroneckerProduct,
    LowRank,
    Monarch,
    MonarchStar,
    NMQuant,
    Orthogonal,
    Permutation,
    Product,
    Scaled,
    TiledBitmap,
    TiledCSL,
    Toeplitz,
    Unstructured,
    UnstructuredQuant,
)
from gossamer.linalg.operator import StructuredMatrix
from gossamer.linalg.structure import Structure


@dataclass(frozen=True)
class Stall:
    """A family and a small shape for it."""

    structure: Structure
    shape: tuple[int, int]

    @property
    def name(self) -> str:
        """For test reports."""
        return f"{self.structure}-{self.shape[0]}x{self.shape[1]}"

    def member(self, dtype: type = np.float32, random_state: int = 0) -> StructuredMatrix:
        """The projection of a random matrix."""
        W = np.random.default_rng(random_state).standard_normal(self.shape)
        return self.structure.project(W.astype(dtype))


MARKET: tuple[Stall, ...] = (
    Stall(Dense(), (4, 6)),
    Stall(Dense("float64"), (3, 5)),
    Stall(Dense("float16"), (3, 5)),
    Stall(Dense("bfloat16"), (5, 3)),
    Stall(Unstructured(density=0.3), (7, 9)),
    Stall(Unstructured(density=0.5, scope="row"), (5, 1)),
    Stall(NM(2, 4), (5, 8)),
    Stall(NM(2, 4), (3, 10)),
    Stall(NM(1, 8), (4, 16)),
    Stall(Block((1, 4), density=0.5), (6, 12)),
    Stall(Block((2, 3), density=0.4), (4, 9)),
    Stall(GroupQuant(bits=4, group=8), (5, 16)),
    Stall(GroupQuant(bits=4, group=16), (4, 40)),
    Stall(GroupQuant(bits=3, group=0), (4, 20)),
    Stall(GroupQuant(bits=2, group=8, symmetric=True), (4, 24)),
    Stall(GroupQuant(bits=8, group=16, zero="float"), (4, 32)),
    Stall(GroupSparseQuant(bits=4, group=8, density=0.5), (6, 32)),
    Stall(GroupSparseQuant(bits=4, group=16, density=0.5, symmetric=True), (4, 64)),
    Stall(NMQuant(2, 4, bits=4, group=8), (4, 32)),
    Stall(UnstructuredQuant(density=0.5, bits=4, group=8), (5, 20)),
    Stall(NM(3, 5), (3, 12)),
    Stall(Block((2, 3), density=0.4, scope="row"), (5, 10)),
    Stall(GroupQuant(bits=3, group=5, symmetric=True), (3, 12)),
    Stall(GroupQuant(bits=2, group=0, zero="float"), (5, 9)),
    Stall(GroupSparseQuant(bits=8, group=4, density=0.3, scope="row", zero="float"), (4, 10)),
    Stall(UnstructuredQuant(density=0.4, bits=3, group=4), (5, 11)),
    Stall(TiledBitmap(density=0.3, dtype="float32"), (7, 9)),
    Stall(TiledBitmap(density=0.5, scope="row"), (18, 70)),
    Stall(TiledBitmap(density=0.4, dtype="float16"), (5, 3)),
    Stall(TiledCSL(density=0.5), (6, 12)),
    Stall(LowRank(2), (6, 8)),
    Stall(LowRank(9), (3, 4)),
    Stall(LowRank(2, dtype="float16"), (5, 7)),
    Stall(LowRank(2, dtype="bfloat16"), (8, 6)),
    Stall(Diagonal(), (5, 5)),
    Stall(Diagonal(), (4, 6)),
    Stall(Diagonal(), (6, 1)),
    Stall(DPLR(1), (5, 5)),
    Stall(DPLR(2), (7, 7)),
    Stall(Permutation(), (6, 6)),
    Stall(Orthogonal(), (6, 6)),
    Stall(Orthogonal(), (7, 4)),
    Stall(Orthogonal(scale="fit"), (3, 6)),
    Stall(Orthogonal(scale="fit"), (1, 1)),
    Stall(Orthogonal(rank=2), (6, 8)),
    Stall(Orthogonal(rank=3, scale="fit"), (7, 5)),
    Stall(Orthogonal(rank=4), (4, 4)),
    Stall(Unstructured(density=0.3) + Orthogonal(rank=2, scale="fit"), (6, 8)),
    Stall(Circulant(), (5, 5)),
    Stall(Circulant(), (66, 66)),
    Stall(Convolution(), (5, 5)),
    Stall(Convolution(taps=3), (40, 40)),
    Stall(Convolution(causal=False), (21, 21)),
    Stall(Toeplitz(), (4, 7)),
    Stall(Toeplitz(), (7, 4)),
    Stall(Toeplitz(), (1, 5)),
    Stall(Toeplitz(), (180, 220)),
    Stall(Monarch(3), (9, 9)),
    Stall(Monarch(2), (9, 7)),
    Stall(Monarch((2, 3), rank=1), (7, 10)),
    Stall(Monarch(2, width=3), (8, 5)),
    Stall(Monarch(2, dtype="bfloat16"), (6, 8)),
    Stall(MonarchStar(sweeps=2), (4, 4)),
    Stall(Monarch(2, rank=1) + LowRank(1), (6, 8)),
    Stall(Hadamard(), (8, 8)),
    Stall(Hadamard("sequency"), (16, 16)),
    Stall(Hadamard("dyadic") @ Diagonal(), (4, 4)),
    Stall(BlockDiagonal(3), (6, 9)),
    Stall(Kronecker((2, 3), (3, 2)), (6, 6)),
    Stall(Kronecker((1, 4), (3, 2)), (3, 8)),
    Stall(ChainedLowRank(2, 1), (6, 7)),
    Stall(ChainedLowRank(1, 2, sweeps=3), (5, 4)),
    Stall(KhatriRao((3, 4)), (12, 5)),
    Stall(KhatriRao((2, 3, 2)), (12, 4)),
    Stall(Unstructured(density=0.3) + LowRank(1), (6, 8)),
    Stall(Block((1, 8), density=0.5).quantized(bits=4) + LowRank(2), (6, 32)),
    Stall(Kronecker((2, 2), (2, 3)) + Diagonal(), (4, 6)),
    Stall(BlockDiagonal(2) @ Permutation() @ BlockDiagonal(3), (6, 6)),
    Stall(Product((Unstructured(density=0.5), LowRank(2)), inner=(5,)), (4, 6)),
    Stall(LowRank(1).T, (5, 4)),
    Stall(Unstructured(density=0.4).T, (5, 8)),
    Stall(NM(2, 4).T, (8, 5)),
    Stall(Scaled(Permutation()), (5, 5)),
    Stall(KroneckerProduct(Diagonal(), LowRank(1), (2, 2), (3, 4)), (6, 8)),
)
"""Every family of :mod:`gossamer.linalg`, small."""
