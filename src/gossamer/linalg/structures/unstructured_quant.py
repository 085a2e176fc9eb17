"""Unstructured sparsity with quantised values: a bitmap says where, grids say what."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gossamer._core.arrays import Array, is_torch, to_numpy
from gossamer._core.checks import check_choice, check_float, check_int
from gossamer._core.errors import ArgumentError
from gossamer._kernels import csr
from gossamer._kernels.views import check_group_arrays, check_pointers, expect_array
from gossamer.linalg.nearest.obs import nearer, sweep
from gossamer.linalg.nearest.quantizer import Grid, StaticQuantizer, check_group, scale_floor
from gossamer.linalg.nearest.selection import SCOPES, count_kept, keep_largest, rationed, saliency
from gossamer.linalg.operator import Plan, StructuredMatrix
from gossamer.linalg.packed import factor_names, pack_groups, storage_bits, unpack_groups
from gossamer.linalg.structure import Structure


class UnstructuredQuantMatrix(StructuredMatrix):
    """A sparse quantised matrix: ``bitmap`` (O, ceil(K/8)), ``row_ptr`` (O+1,), and groups along each row's values.

    ``bitmap`` is uint8 in little-endian bit order, ``row_ptr`` int32 counts stored values. Every row starts a
    new group, so that ``qweight`` has ``sum ceil(count / G)`` groups.
    """

    structure: UnstructuredQuant

    @property
    def factor_names(self) -> tuple[str, ...]:
        return ("bitmap", "row_ptr", *factor_names(self.structure.grid))

    def _check(self) -> None:
        f, (rows, width) = self._arrays(), self.shape
        expect_array("bitmap", f["bitmap"], np.uint8, (rows, -(-width // 8)))
        expect_array("row_ptr", f["row_ptr"], np.int32, (rows + 1,))
        bits = np.unpackbits(f["bitmap"], axis=1, bitorder="little")
        if bits[:, width:].any():
            raise ArgumentError(f"bitmap has bits beyond column {width - 1}")
        check_pointers("row_ptr", f["row_ptr"], rows, int(bits.sum()))
        if (np.diff(f["row_ptr"]) != bits.sum(axis=1)).any():
            raise ArgumentError("row_ptr does not count the bits of bitmap")
        group = check_group(self.structure.group, width)
        groups = (int(-(-np.diff(f["row_ptr"]) // group).sum()),)
        check_group_arrays(f["qweight"], f["scale"], f.get("zero"), groups, self.structure.bits, group)
        self.structure.grid.check_zero(f.get("zero"))

    def mask(self) -> np.ndarray:
        """Which entries are stored, bool (O, K)."""
        bitmap = to_numpy(self.factors["bitmap"])
        return np.unpackbits(bitmap, axis=1, count=self.shape[1], bitorder="little").astype(bool)

    def _values(self) -> Array:
        """The stored values in row order, float32."""
        group = check_group(self.structure.group, self.shape[1])
        values = unpack_groups(self.structure.grid, group, self.factors).reshape(-1)
        return values[slots(np.diff(to_numpy(self.factors["row_ptr"])), group)[0]]

    def _dense(self) -> Array:
        values, at = self._values(), np.nonzero(self.mask())
        if is_torch(values):
            import torch

            return values.new_zeros(self.shape).index_put(tuple(torch.from_numpy(i) for i in at), values)
        dense = np.zeros(self.shape, values.dtype)
        dense[at] = values
        return dense

    def flops(self, n: int = 1) -> int:
        return 2 * int(self.factors["row_ptr"][-1]) * n

    def plan(self, n: int = 1) -> Plan:
        reason = "values are unpacked to floating point at every product, then multiplied as CSR"
        return Plan("structured", "csr.matmat", reason, self.flops(n), self.nbytes)

    def _multiply(self, x: np.ndarray) -> np.ndarray:
        columns = np.nonzero(self.mask())[1].astype(np.int32)
        values = to_numpy(self._values()).astype(x.dtype, copy=False)
        return csr.matmat(to_numpy(self.factors["row_ptr"]), columns, values, x)

    def _arrays(self) -> dict[str, np.ndarray]:
        return {name: to_numpy(factor) for name, factor in self.factors.items()}


@dataclass(frozen=True)
class UnstructuredQuant(Structure):
    r"""Matrices with ``ceil(density O K)`` stored entries, anywhere, whose values lie on grids.

    Parameters
    ----------
    density : float in (0, 1]
        Fraction of entries kept.
    bits, symmetric, zero, clip
        The grid, as in :class:`GroupQuant`.
    group : int
        Stored values of a row that share a scale; 0 is the whole row.
    scope : {"matrix", "row"}
        Rank the entries of the whole matrix, or of each row.

    Notes
    -----
    Without a metric and with a diagonal one: the pattern of :class:`Unstructured`, then round-to-nearest.
    With a full metric two sweeps: SparseGPT chooses the pattern and shows the values that compensation leads
    to, the grids are fitted to these, and a second sweep from the original weights prunes and rounds jointly.
    Not exactly nearest, but no worse in the metric than with its diagonal.
    """

    density: float = 0.5
    bits: int = 4
    group: int = 32
    symmetric: bool = False
    zero: str = "int"
    scope: str = "matrix"
    clip: str = "auto"
    kind: ClassVar[str] = "unstructured-quant"
    matrix: ClassVar[type[StructuredMatrix]] = UnstructuredQuantMatrix

    def __post_init__(self) -> None:
        check_float("density", self.density, low=0, high=1, closed="right")
        check_choice("scope", self.scope, SCOPES)
        check_int("group", self.group, low=0)
        _ = self.grid

    @property
    def grid(self) -> Grid:
        """The grid of a group."""
        return Grid(self.bits, self.symmetric, self.zero, self.clip)

    def _project(self, W: np.ndarray, metric: np.ndarray | None) -> UnstructuredQuantMatrix:
        if metric is None or metric.ndim == 1:
            mask = keep_largest(saliency(W, metric), self.density, self.scope)
            return self._member(W, mask, *self._fit(W, mask, metric))
        diagonal = np.diagonal(metric)
        pruned = sweep(W, metric, select=rationed(self.density, self.scope))
        assert pruned.mask is not None
        scale, zero = self._fit(pruned.weights, pruned.mask, diagonal)
        at = [None if part is None else self._spread(part, pruned.mask) for part in (scale, zero)]
        assert at[0] is not None
        joint = sweep(W, metric, mask=pruned.mask, quantizer=StaticQuantizer(self.grid, at[0], at[1]))
        swept = self._member(joint.weights, pruned.mask, scale, zero)
        return nearer(W, metric, swept, self._project(W, diagonal))

    def _fit(
        self, W: np.ndarray, mask: np.ndarray, metric: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """The scale and zero of the groups of kept entries."""
        importance = None
        if metric is not None and self.clip != "minmax":
            importance = self._groups(np.broadcast_to(metric, W.shape), mask)
        return self.grid.fit(self._groups(W, mask), scale_floor(W), importance)

    def _groups(self, W: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """The kept entries in groups along each row, the last of a row padded with zeros."""
        group = check_group(self.group, W.shape[1])
        at, count = slots(mask.sum(axis=1), group)
        flat = np.zeros(count * group, W.dtype)
        flat[at] = W[mask]
        return flat.reshape(count, group)

    def _spread(self, part: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """The scale or zero of every entry's group, shape (O, K); ones where nothing is stored."""
        group = check_group(self.group, mask.shape[1])
        full = np.ones(mask.shape, part.dtype)
        full[mask] = part[slots(mask.sum(axis=1), group)[0] // group]
        return full

    def _member(
        self, W: np.ndarray, mask: np.ndarray, scale: np.ndarray, zero: np.ndarray | None
    ) -> UnstructuredQuantMatrix:
        codes = self.grid.encode(self._groups(W, mask), scale, zero)
        factors = {
            "bitmap": np.packbits(mask, axis=1, bitorder="little"),
            "row_ptr": np.concatenate([[0], np.cumsum(mask.sum(axis=1))]).astype(np.int32),
            **pack_groups(self.grid, codes, scale, zero),
        }
        return UnstructuredQuantMatrix(self, W.shape, factors)

    def bits_per_weight(self, shape: tuple[int, int]) -> float:
        rows, width = shape
        group = check_group(self.group, width)
        if self.scope == "row":
            groups = rows * -(-count_kept(self.density, width) // group)
        else:
            groups = round(rows * _expected_groups(self.density, width, group))
        bits = storage_bits(self.grid, group, groups) + 8 * rows * -(-width // 8) + 32 * (rows + 1)
        return bits / (rows * width)


def _expected_groups(density: float, width: int, group: int) -> float:
    """Groups that a row takes if its count is binomial (in the normal approximation)."""
    spread = math.sqrt(2 * width * density * (1 - density)) or 1e-9
    starts = range(0, width, group)
    return sum(0.5 * math.erfc((start + 0.5 - density * width) / spread) for start in starts)


def slots(counts: np.ndarray, group: int) -> tuple[np.ndarray, int]:
    """Where values of rows with ``counts`` values lie among padded groups: flat index of each, groups in all."""
    groups = -(-counts // group)
    first = np.concatenate([[0], np.cumsum(groups)])
    rank = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.repeat(first[:-1] * group, counts) + rank, int(first[-1])
