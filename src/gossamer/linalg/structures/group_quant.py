"""Group quantisation: every G consecutive entries of a row lie on a grid of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gossamer._core.arrays import Array, to_numpy
from gossamer._core.checks import check_int
from gossamer._kernels import lowrank, quant
from gossamer.linalg.nearest.obs import nearer, sweep
from gossamer.linalg.nearest.quantizer import Grid, SweepQuantizer, check_group, scale_floor, to_groups
from gossamer.linalg.operator import Plan, StructuredMatrix
from gossamer.linalg.packed import factor_names, pack_groups, storage_bits, unpack_groups
from gossamer.linalg.plans import native_plan, unpacking_pays
from gossamer.linalg.structure import Structure


class GroupQuantMatrix(StructuredMatrix):
    """A quantised matrix: factors ``qweight`` (O, n, bits Gp/8), ``scale`` (O, n) and, if asymmetric, ``zero``.

    ``n = ceil(K / G)``; codes are packed in uint8, scales are float16, zeros packed uint8 or float16.
    """

    structure: GroupQuant
    fuses_low_rank = True

    @property
    def factor_names(self) -> tuple[str, ...]:
        return factor_names(self.structure.grid)

    def _check(self) -> None:
        f = self._arrays()
        quant.check(
            f["qweight"],
            f["scale"],
            f.get("zero"),
            self.shape,
            bits=self.structure.bits,
            group=self.structure.group,
        )
        self.structure.grid.check_zero(f.get("zero"))

    def _dense(self) -> Array:
        group = check_group(self.structure.group, self.shape[1])
        values = unpack_groups(self.structure.grid, group, self.factors)
        return values.reshape(self.shape[0], -1)[:, : self.shape[1]]

    def flops(self, n: int = 1) -> int:
        return 2 * self.shape[0] * self.shape[1] * n

    def plan(self, n: int = 1) -> Plan:
        return native_plan(self, "quant.matmat", "packed codes", n, pays=unpacking_pays(n))

    def matmul(
        self, x: np.ndarray, *, act: str = "fp32", low_rank: Any = None, threads: int | None = None
    ) -> np.ndarray:
        """``A @ x`` for x of shape (K, N) by the kernel, with ``act="int8"`` on inputs rounded to 8 bits.

        ``low_rank`` is None or the factors of a term that is added in the same pass (see
        :func:`gossamer._kernels.lowrank.check`).
        """
        f = self._arrays()
        return quant.matmat(
            f["qweight"],
            f["scale"],
            f.get("zero"),
            x,
            bits=self.structure.bits,
            group=self.structure.group,
            act=act,
            low_rank=lowrank.native(low_rank),
            threads=threads,
        )

    def _multiply(self, x: np.ndarray, low_rank: Any = None) -> np.ndarray:
        return self.matmul(x, low_rank=low_rank)

    def _arrays(self) -> dict[str, np.ndarray]:
        return {name: to_numpy(factor) for name, factor in self.factors.items()}


@dataclass(frozen=True)
class GroupQuant(Structure):
    r"""Matrices whose groups of G consecutive entries of a row are :math:`(q - z)\,s` with b-bit codes q.

    Parameters
    ----------
    bits : {2, 3, 4, 8}
        Bits of a code.
    group : int
        Entries that share a scale; 0 is the whole row.
    symmetric : bool
        Grids without a zero point.
    zero : {"int", "float"}
        How asymmetric grids hold it: an integer code, or ``s z`` as float16.
    clip : {"auto", "minmax", "mse"}
        Range of a grid: that of its group, or the best of eleven around it, judged by the diagonal of the
        metric. ``"auto"`` searches where there is a metric: low widths gain much by it.

    Notes
    -----
    Without a metric and with a diagonal one ``project`` is round-to-nearest: every entry goes to the nearest
    value of its group's grid. That is exactly nearest among the matrices on the grids that ``clip`` chose;
    over all scales and zeros the family is not convex and no method is known that finds its nearest member
    fast. With a full metric it is GPTQ: columns are rounded from the left to the right, their error moves to
    the open ones, and a group's grid is fitted when the sweep reaches it. The result is no worse in the
    metric than with its diagonal.

    References
    ----------
    Frantar, Ashkboos, Hoefler and Alistarh, "GPTQ", ICLR 2023.
    """

    bits: int = 4
    group: int = 32
    symmetric: bool = False
    zero: str = "int"
    clip: str = "auto"
    kind: ClassVar[str] = "group-quant"
    matrix: ClassVar[type[StructuredMatrix]] = GroupQuantMatrix

    def __post_init__(self) -> None:
        check_int("group", self.group, low=0)
        _ = self.grid

    @property
    def grid(self) -> Grid:
        """The grid of a group."""
        return Grid(self.bits, self.symmetric, self.zero, self.clip)

    def _project(self, W: np.ndarray, metric: np.ndarray | None) -> GroupQuantMatrix:
        if metric is not None and metric.ndim == 2:
            return nearer(W, metric, self._swept(W, metric), self._project(W, np.diagonal(metric)))
        group = check_group(self.group, W.shape[1])
        groups = to_groups(W, group)
        importance = None if metric is None else to_groups(metric[None], group)
        scale, zero = self.grid.fit(groups, scale_floor(W), importance)
        factors = pack_groups(self.grid, self.grid.encode(groups, scale, zero), scale, zero)
        return GroupQuantMatrix(self, W.shape, factors)

    def _swept(self, W: np.ndarray, metric: np.ndarray) -> GroupQuantMatrix:
        group = check_group(self.group, W.shape[1])
        quantizer = SweepQuantizer(self.grid, W.shape, group, scale_floor(W), np.diagonal(metric))
        sweep(W, metric, quantizer=quantizer)
        factors = pack_groups(self.grid, quantizer.groups(), quantizer.scale, quantizer.zero)
        return GroupQuantMatrix(self, W.shape, factors)

    def bits_per_weight(self, shape: tuple[int, int]) -> float:
        group = check_group(self.group, shape[1])
        return storage_bits(self.grid, group, shape[0] * -(-shape[1] // group)) / (shape[0] * shape[1])
