"""N:M sparsity: of every m consecutive entries of a row, n are stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gossamer._core.arrays import Array, to_numpy
from gossamer._core.checks import check_int
from gossamer._kernels import nm
from gossamer._kernels.packing import pack_positions, position_bits
from gossamer.linalg.nearest.obs import nearer, sweep
from gossamer.linalg.nearest.selection import keep_nm, saliency
from gossamer.linalg.operator import Plan, StructuredMatrix
from gossamer.linalg.plans import native_plan, unpacking_pays
from gossamer.linalg.positions import gather_positions, nm_positions, scatter_columns, stored_columns
from gossamer.linalg.structure import Structure, structure_from_config


class NMMatrix(StructuredMatrix):
    """An N:M sparse matrix: factors ``values`` (O, Kp/m n) and ``positions``, packed uint8.

    ``Kp`` is K rounded up to a multiple of m. Positions lie within their m-group, ascending, and take 2 bits
    (m <= 4), 4 bits (m <= 16) or 8 bits.
    """

    structure: NM
    factor_names = ("values", "positions")

    def _check(self) -> None:
        f = {name: to_numpy(factor) for name, factor in self.factors.items()}
        nm.check(f["values"], f["positions"], self.shape, n=self.structure.n, m=self.structure.m)

    def columns(self) -> np.ndarray:
        """The column (O, Kp/m n) of every stored value; columns from K on are padding."""
        return stored_columns(
            to_numpy(self.factors["positions"]), self.structure.n, self.structure.m, self.shape
        )

    def _dense(self) -> Array:
        return scatter_columns(self.factors["values"], self.columns(), self.structure.m, self.shape)

    def flops(self, n: int = 1) -> int:
        return 2 * int(np.prod(self.factors["values"].shape)) * n

    def plan(self, n: int = 1) -> Plan:
        pays = n == 1 or unpacking_pays(n)
        return native_plan(self, "nm.matmat", "only stored entries", n, pays=pays)

    def _multiply(self, x: np.ndarray) -> np.ndarray:
        values = to_numpy(self.factors["values"]).astype(x.dtype, copy=False)
        return nm.matmat(values, to_numpy(self.factors["positions"]), x, self.structure.n, self.structure.m)


@dataclass(frozen=True)
class NM(Structure):
    r"""Matrices with at most n non-zero entries in every m consecutive entries of a row.

    Parameters
    ----------
    n, m : int
        ``1 <= n <= m <= 256``. Rows whose length is no multiple of m end in a shorter group.

    Notes
    -----
    ``project`` is exactly nearest in the Frobenius norm (keep the n largest ``|w|`` of each group) and in a
    diagonal metric (keep the n largest ``w^2 h_j``, Wanda). With a full metric it chooses the entries of a
    group when the sweep reaches it, by their OBS loss, and moves the error to the columns that are still open
    (SparseGPT): not exactly nearest, but no worse in the metric than with its diagonal.

    References
    ----------
    Mishra et al., "Accelerating sparse deep neural networks", 2021. Frantar and Alistarh, "SparseGPT", ICML
    2023.
    """

    n: int = 2
    m: int = 4
    kind: ClassVar[str] = "nm"
    matrix: ClassVar[type[StructuredMatrix]] = NMMatrix

    def __post_init__(self) -> None:
        check_int("m", self.m, low=1, high=256)
        check_int("n", self.n, low=1, high=self.m)

    def _project(self, W: np.ndarray, metric: np.ndarray | None) -> NMMatrix:
        if metric is not None and metric.ndim == 2:
            swept = sweep(W, metric, select=lambda scores, _: keep_nm(scores, self.n, self.m), width=self.m)
            assert swept.mask is not None
            compensated = self._member(swept.weights, swept.mask)
            return nearer(W, metric, compensated, self._project(W, np.diagonal(metric)))
        return self._member(W, keep_nm(saliency(W, metric), self.n, self.m))

    def _member(self, W: np.ndarray, mask: np.ndarray) -> NMMatrix:
        positions = nm_positions(mask, self.n, self.m)
        values = gather_positions(W, positions, self.m)
        packed = pack_positions(positions.reshape(len(W), -1), self.m)
        return NMMatrix(self, W.shape, {"values": values, "positions": packed})

    @property
    def nearest_in(self) -> frozenset[str]:
        return frozenset({"none", "diagonal"})

    def bits_per_weight(self, shape: tuple[int, int]) -> float:
        kept = -(-shape[1] // self.m) * self.n
        return (32 * kept + 8 * -(-kept * position_bits(self.m) // 8)) / shape[1]

    def quantized(self, bits: int = 4, group: int = 16, **options: Any) -> Structure:
        """The same pattern with values on grids of ``bits`` bits, ``group`` stored values each: :class:`NMQuant`."""
        config = {"kind": "nm-quant", "n": self.n, "m": self.m, "bits": bits, "group": group}
        return structure_from_config(config | options)
