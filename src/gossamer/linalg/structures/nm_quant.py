"""N:M sparsity with quantised values: the pattern of N:M, the grids of group quantisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gossamer._core.arrays import Array, to_numpy
from gossamer._core.checks import check_int
from gossamer._kernels import nm
from gossamer._kernels.packing import pack_positions, position_bits
from gossamer._kernels.views import check_group_arrays
from gossamer.linalg.nearest.obs import nearer, sweep
from gossamer.linalg.nearest.quantizer import (
    Grid,
    StaticQuantizer,
    check_group,
    from_groups,
    scale_floor,
    to_groups,
)
from gossamer.linalg.nearest.selection import keep_nm, saliency
from gossamer.linalg.operator import Plan, StructuredMatrix
from gossamer.linalg.packed import factor_names, pack_groups, storage_bits, unpack_groups
from gossamer.linalg.positions import gather_positions, nm_positions, scatter_columns, stored_columns
from gossamer.linalg.structure import Structure


class NMQuantMatrix(StructuredMatrix):
    """An N:M sparse quantised matrix: the ``positions`` of N:M, and the stored values as packed groups.

    Groups run along the stored values of a row: ``qweight`` (O, n_groups, bits Gp/8), ``scale`` (O,
    n_groups).
    """

    structure: NMQuant

    @property
    def factor_names(self) -> tuple[str, ...]:
        return ("positions", *factor_names(self.structure.grid))

    def _check(self) -> None:
        f = {name: to_numpy(factor) for name, factor in self.factors.items()}
        s, kept = self.structure, self.structure.stored(self.shape)
        group = check_group(s.group, kept)
        values = np.broadcast_to(np.float32(0), (self.shape[0], kept))
        nm.check(values, f["positions"], self.shape, n=s.n, m=s.m)
        groups = (self.shape[0], -(-kept // group))
        check_group_arrays(f["qweight"], f["scale"], f.get("zero"), groups, s.bits, group)
        s.grid.check_zero(f.get("zero"))

    def _values(self) -> Array:
        """The stored values (O, Kp/m n) in float32."""
        kept = self.structure.stored(self.shape)
        values = unpack_groups(self.structure.grid, check_group(self.structure.group, kept), self.factors)
        return values.reshape(self.shape[0], -1)[:, :kept]

    def _dense(self) -> Array:
        s = self.structure
        columns = stored_columns(to_numpy(self.factors["positions"]), s.n, s.m, self.shape)
        return scatter_columns(self._values(), columns, s.m, self.shape)

    def flops(self, n: int = 1) -> int:
        return 2 * self.shape[0] * self.structure.stored(self.shape) * n

    def plan(self, n: int = 1) -> Plan:
        reason = "values are unpacked to floating point at every product, then multiplied as N:M"
        return Plan("structured", "nm.matmat", reason, self.flops(n), self.nbytes)

    def _multiply(self, x: np.ndarray) -> np.ndarray:
        values = to_numpy(self._values()).astype(x.dtype, copy=False)
        return nm.matmat(values, to_numpy(self.factors["positions"]), x, self.structure.n, self.structure.m)


@dataclass(frozen=True)
class NMQuant(Structure):
    r"""N:M sparse matrices whose stored values lie on grids, G consecutive stored values of a row sharing one.

    Parameters
    ----------
    n, m : int
        At most n non-zero entries in every m consecutive ones of a row.
    bits, symmetric, zero, clip
        The grid, as in :class:`GroupQuant`.
    group : int
        Stored values that share a scale; 0 is the whole row.

    Notes
    -----
    Without a metric and with a diagonal one: the pattern of :class:`NM`, then round-to-nearest. With a full
    metric two sweeps: SparseGPT chooses the pattern and shows the values that compensation leads to, the
    grids are fitted to these, and a second sweep from the original weights prunes and rounds jointly. Not
    exactly nearest, but no worse in the metric than with its diagonal.
    """

    n: int = 2
    m: int = 4
    bits: int = 4
    group: int = 16
    symmetric: bool = False
    zero: str = "int"
    clip: str = "auto"
    kind: ClassVar[str] = "nm-quant"
    matrix: ClassVar[type[StructuredMatrix]] = NMQuantMatrix

    def __post_init__(self) -> None:
        check_int("m", self.m, low=1, high=256)
        check_int("n", self.n, low=1, high=self.m)
        check_int("group", self.group, low=0)
        _ = self.grid

    @property
    def grid(self) -> Grid:
        """The grid of a group."""
        return Grid(self.bits, self.symmetric, self.zero, self.clip)

    def stored(self, shape: tuple[int, int]) -> int:
        """Values that a row stores."""
        return -(-shape[1] // self.m) * self.n

    def _project(self, W: np.ndarray, metric: np.ndarray | None) -> NMQuantMatrix:
        if metric is None or metric.ndim == 1:
            positions, grids = self._fit(W, keep_nm(saliency(W, metric), self.n, self.m), metric)
            return self._member(W, positions, *grids)
        diagonal = np.diagonal(metric)
        pruned = sweep(W, metric, select=lambda scores, _: keep_nm(scores, self.n, self.m), width=self.m)
        assert pruned.mask is not None
        positions, (scale, zero) = self._fit(pruned.weights, pruned.mask, diagonal)
        group = check_group(self.group, self.stored(W.shape))
        at = [None if p is None else self._spread(p, positions, group, W.shape) for p in (scale, zero)]
        assert at[0] is not None
        joint = sweep(W, metric, mask=pruned.mask, quantizer=StaticQuantizer(self.grid, at[0], at[1]))
        swept = self._member(joint.weights, positions, scale, zero)
        return nearer(W, metric, swept, self._project(W, diagonal))

    def _fit(
        self, W: np.ndarray, mask: np.ndarray, metric: np.ndarray | None
    ) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray | None]]:
        """Positions of the kept entries, and the scale and zero of their groups."""
        positions = nm_positions(mask, self.n, self.m)
        importance = None
        if metric is not None and self.clip != "minmax":
            importance = self._groups(np.broadcast_to(metric, W.shape), positions)
        return positions, self.grid.fit(self._groups(W, positions), scale_floor(W), importance)

    def _groups(self, W: np.ndarray, positions: np.ndarray) -> np.ndarray:
        stored = gather_positions(W, positions, self.m)
        return to_groups(stored, check_group(self.group, stored.shape[1]))

    def _member(
        self, W: np.ndarray, positions: np.ndarray, scale: np.ndarray, zero: np.ndarray | None
    ) -> NMQuantMatrix:
        codes = self.grid.encode(self._groups(W, positions), scale, zero)
        factors = {
            "positions": pack_positions(positions.reshape(len(W), -1), self.m),
            **pack_groups(self.grid, codes, scale, zero),
        }
        return NMQuantMatrix(self, W.shape, factors)

    def _spread(
        self, part: np.ndarray, positions: np.ndarray, group: int, shape: tuple[int, int]
    ) -> np.ndarray:
        """The scale or zero of every entry's group, shape (O, K); ones where nothing is stored."""
        stored = from_groups(np.repeat(part, group, axis=1), positions.shape[1] * self.n)
        full = np.ones((shape[0], positions.shape[1], self.m), part.dtype)
        np.put_along_axis(full, positions, stored.reshape(positions.shape), axis=2)
        return full.reshape(shape[0], -1)[:, : shape[1]]

    def bits_per_weight(self, shape: tuple[int, int]) -> float:
        kept = self.stored(shape)
        group = check_group(self.group, kept)
        places = 8 * shape[0] * -(-kept * position_bits(self.m) // 8)
        return (storage_bits(self.grid, group, shape[0] * -(-kept // group)) + places) / (shape[0] * shape[1])
