"""Group-sparse quantised matrices (GQSA's format): whole 1xG groups are zero, the others lie on grids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gossamer._core.arrays import Array, is_torch, to_numpy
from gossamer._core.checks import check_choice, check_float, check_int
from gossamer._core.errors import ArgumentError
from gossamer._kernels import gqs, lowrank
from gossamer.linalg.metric import check_metric, weighted_error
from gossamer.linalg.nearest.groups import GROUP_METRICS, GROUP_SCOPES, group_mask, group_saliency
from gossamer.linalg.nearest.obs import nearer, sweep
from gossamer.linalg.nearest.quantizer import Grid, SweepQuantizer, check_group, scale_floor, to_groups
from gossamer.linalg.nearest.selection import count_kept, expand_blocks
from gossamer.linalg.operator import Plan, StructuredMatrix
from gossamer.linalg.packed import factor_names, pack_groups, storage_bits, unpack_groups
from gossamer.linalg.plans import native_plan, unpacking_pays
from gossamer.linalg.structure import Structure

STARTS = ("auto", "mask", "obs")


class GroupSparseQuantMatrix(StructuredMatrix):
    """A group-sparse quantised matrix: ``row_ptr`` (O+1,), ``col`` (n,), ``qweight``, ``scale`` (n,).

    Asymmetric grids add ``zero``. ``row_ptr`` is int32, ``col`` (the group's index in its row, ascending)
    uint16, ``qweight`` packed uint8 (n, bits Gp/8), ``scale`` float16, ``zero`` packed uint8 or float16.
    """

    structure: GroupSparseQuant
    fuses_low_rank = True

    @property
    def factor_names(self) -> tuple[str, ...]:
        return ("row_ptr", "col", *factor_names(self.structure.grid))

    @property
    def bits(self) -> int:
        """Bits of a code."""
        return self.structure.bits

    @property
    def group_size(self) -> int:
        """Entries of a group."""
        return check_group(self.structure.group, self.shape[1])

    @property
    def nnz_groups(self) -> int:
        """Groups that are stored."""
        return int(self.factors["col"].shape[0])

    @property
    def density(self) -> float:
        """Fraction of groups that are stored."""
        return self.nnz_groups / (self.shape[0] * -(-self.shape[1] // self.group_size))

    def _check(self) -> None:
        f = self._arrays()
        gqs.check(
            f["row_ptr"],
            f["col"],
            f["qweight"],
            f["scale"],
            f.get("zero"),
            self.shape,
            bits=self.structure.bits,
            group=self.structure.group,
        )
        self.structure.grid.check_zero(f.get("zero"))

    def _dense(self) -> Array:
        f, group = self._arrays(), self.group_size
        values = unpack_groups(self.structure.grid, group, self.factors)
        rows = np.repeat(np.arange(self.shape[0]), np.diff(f["row_ptr"]))
        full = (self.shape[0], -(-self.shape[1] // group), group)
        if is_torch(values):
            import torch

            at = torch.from_numpy(rows), torch.from_numpy(f["col"].astype(np.int64))
            dense = values.new_zeros(full).index_put(at, values)
        else:
            dense = np.zeros(full, values.dtype)
            dense[rows, f["col"]] = values
        return dense.reshape(self.shape[0], -1)[:, : self.shape[1]]

    def flops(self, n: int = 1) -> int:
        return 2 * self.nnz_groups * self.group_size * n

    def plan(self, n: int = 1) -> Plan:
        return native_plan(self, "gqs.matmat", "packed codes of stored groups", n, pays=unpacking_pays(n))

    def matmul(
        self,
        x: np.ndarray,
        *,
        act: str = "fp32",
        schedule: str = "task",
        low_rank: Any = None,
        threads: int | None = None,
    ) -> np.ndarray:
        """``A @ x`` by the kernel.

        Parameters
        ----------
        x : ndarray, shape (K,) or (K, N)
        act : {"fp32", "int8"}
            Multiply with ``x`` as it is, or rounded to 8 bits in blocks of 32.
        schedule : {"task", "row"}
            Share stored groups equally between threads, or rows.
        low_rank : tuple of factors, optional
            A term ``left right`` that is added in the same pass (see :func:`gossamer._kernels.lowrank.check`).
        threads : int, optional
            The result does not depend on it.

        Returns
        -------
        ndarray, shape (O,) or (O, N)
        """
        f = self._arrays()
        y = gqs.matmat(
            f["row_ptr"],
            f["col"],
            f["qweight"],
            f["scale"],
            f.get("zero"),
            x[:, None] if x.ndim == 1 else x,
            bits=self.structure.bits,
            group=self.structure.group,
            act=act,
            low_rank=lowrank.native(low_rank),
            schedule=schedule,
            threads=threads,
        )
        return y[:, 0] if x.ndim == 1 else y

    def _multiply(self, x: np.ndarray, low_rank: Any = None) -> np.ndarray:
        return self.matmul(x, low_rank=low_rank)

    def _arrays(self) -> dict[str, np.ndarray]:
        return {name: to_numpy(factor) for name, factor in self.factors.items()}


@dataclass(frozen=True)
class GroupSparseQuant(Structure):
    r"""Matrices of which ``ceil(density n)`` of the n groups of G entries of a row are kept, on grids.

    Parameters
    ----------
    bits : {2, 3, 4, 8}
        Bits of a code.
    group : int
        Entries of a group; they are kept or dropped together and share scale and zero.
    density : float in (0, 1]
        Fraction of groups kept.
    symmetric, zero, clip
        The grid, as in :class:`GroupQuant`.
    scope : {"matrix", "row", "block"}
        Rank the groups of the whole matrix, of each row, or of all matrices of a transformer block, which is up to
        those who compress the block: a matrix alone is a block of one.
    saliency : {"auto", "magnitude", "wanda", "obs", "hessian", "sweep"}
        Score of an entry; groups are ranked by its mean. ``"sweep"`` scores a whole group by what its loss
        costs after the columns to the right have replied. ``"auto"`` is magnitude without a metric, sweep
        where the error is moved, and wanda where it is not.
    start : {"auto", "mask", "obs"}
        With a full metric: ``"mask"`` drops groups and rounds the others as they are; ``"obs"`` moves the
        error of lost and of rounded entries to the columns that are still open; ``"auto"`` does both and
        keeps what has the lower error in the metric.

    Notes
    -----
    The result is nearest neither over masks nor over grids. ``"obs"`` fits the metric closely; with few
    calibration tokens it can fit them too closely, and at low sparsity plain masking may then do better on
    other text. Give :meth:`from_dense` a ``validation`` moment to let ``"auto"`` decide on tokens that were
    not used.

    References
    ----------
    Zeng et al., "GQSA: Group quantization and sparsity for accelerating large language model inference",
    2024.
    """

    bits: int = 4
    group: int = 16
    density: float = 0.5
    symmetric: bool = False
    zero: str = "int"
    scope: str = "matrix"
    clip: str = "auto"
    saliency: str = "auto"
    start: str = "auto"
    kind: ClassVar[str] = "group-sparse-quant"
    matrix: ClassVar[type[StructuredMatrix]] = GroupSparseQuantMatrix

    def __post_init__(self) -> None:
        check_int("group", self.group, low=1)
        check_float("density", self.density, low=0, high=1, closed="right")
        check_choice("scope", self.scope, GROUP_SCOPES)
        check_choice("saliency", self.saliency, GROUP_METRICS)
        check_choice("start", self.start, STARTS)
        _ = self.grid

    @property
    def grid(self) -> Grid:
        """The grid of a group."""
        return Grid(self.bits, self.symmetric, self.zero, self.clip)

    @classmethod
    def from_dense(
        cls,
        W: Any,
        *,
        bits: int = 4,
        group_size: int = 16,
        sparsity: float = 0.5,
        hessian: Any = None,
        metric: str = "hessian",
        scope: str = "matrix",
        sym: bool = False,
        zero: str = "int",
        start: str = "auto",
        validation: Any = None,
        pad: bool = True,
    ) -> GroupSparseQuantMatrix:
        """Prune and quantise a dense matrix in one call.

        Parameters
        ----------
        W : array or tensor, shape (O, K)
        bits, group_size, sym, zero, scope, start
            As the family's ``bits``, ``group``, ``symmetric``, ``zero``, ``scope`` and ``start``.
        sparsity : float in [0, 1)
            Fraction of groups dropped.
        hessian : None or array of shape (K,) or (K, K), optional
            Second moment of the inputs.
        metric : {"hessian", "obs", "wanda", "magnitude", "sweep"}
            Score of an entry.
        validation : array of shape (K, K), optional
            Second moment of other inputs, by which ``start="auto"`` decides.
        pad : bool
            Whether the last group of a row may be short.

        Raises
        ------
        ArgumentError
            If ``sparsity`` is outside [0, 1) or, with ``pad=False``, ``group_size`` does not divide K.
        """
        check_float("sparsity", sparsity, low=0, high=1, closed="left")
        family = cls(
            bits=bits,
            group=group_size,
            density=1 - sparsity,
            symmetric=sym,
            zero=zero,
            scope=scope,
            saliency=metric,
            start=start,
        )
        if not pad and W.shape[1] % group_size:
            raise ArgumentError(f"group_size={group_size}: expected a divisor of K={W.shape[1]}, or pad=True")
        if validation is None or hessian is None or start != "auto":
            return family.project(W, hessian)  # type: ignore[return-value]
        judge = check_metric(validation, W.shape[1], np.dtype(np.float64))
        tried = [cls(**{**family._parameters(), "start": way}).project(W, hessian) for way in ("mask", "obs")]
        best = min(tried, key=lambda member: weighted_error(W, member.to_dense(), judge))
        return GroupSparseQuantMatrix(family, best.shape, best.factors)

    def _project(self, W: np.ndarray, metric: np.ndarray | None) -> GroupSparseQuantMatrix:
        if metric is None or metric.ndim == 1:
            return self._masked(W, metric)
        if self.start == "auto":
            return nearer(W, metric, self._swept(W, metric), self._masked(W, metric))
        return self._swept(W, metric) if self.start == "obs" else self._masked(W, metric)

    def scores(self, W: np.ndarray, metric: np.ndarray | None, auto: str = "sweep") -> np.ndarray:
        """What ranks the groups of ``W``, shape (O, ceil(K / group)); ``auto`` is what ``"auto"`` means."""
        kind = auto if self.saliency == "auto" else self.saliency
        return group_saliency(W, metric, group_size=self.group, metric=kind)

    def _keep(self, W: np.ndarray, metric: np.ndarray | None, auto: str) -> np.ndarray:
        """Mask (O, ceil(K / group)) of the groups with the largest mean score."""
        mask: np.ndarray = group_mask(self.scores(W, metric, auto), 1 - self.density, scope=self.scope)
        return mask

    def _masked(self, W: np.ndarray, metric: np.ndarray | None) -> GroupSparseQuantMatrix:
        """Drop groups and round the others to nearest."""
        keep = self._keep(W, metric, "auto" if metric is None else "wanda")
        kept = to_groups(W, self.group)[keep]
        importance = None
        if metric is not None:
            diagonal = to_groups((metric if metric.ndim == 1 else np.diagonal(metric))[None], self.group)
            importance = np.broadcast_to(diagonal, (*keep.shape, self.group))[keep]
        scale, zero = self.grid.fit(kept, scale_floor(W), importance)
        return self._member(W.shape, keep, self.grid.encode(kept, scale, zero), scale, zero)

    def _swept(self, W: np.ndarray, metric: np.ndarray) -> GroupSparseQuantMatrix:
        """Drop and round in one error-compensating sweep."""
        keep = self._keep(W, metric, "sweep")
        quantizer = SweepQuantizer(self.grid, W.shape, self.group, scale_floor(W), np.diagonal(metric))
        sweep(W, metric, mask=expand_blocks(keep, (1, self.group), W.shape), quantizer=quantizer)
        zero = None if quantizer.zero is None else quantizer.zero[keep]
        return self._member(W.shape, keep, quantizer.groups()[keep], quantizer.scale[keep], zero)

    def _member(
        self,
        shape: tuple[int, int],
        keep: np.ndarray,
        codes: np.ndarray,
        scale: np.ndarray,
        zero: np.ndarray | None,
    ) -> GroupSparseQuantMatrix:
        if keep.shape[1] > 1 << 16:
            raise ArgumentError(f"group={self.group}: expected at most 65536 groups in a row of {shape[1]}")
        factors = {
            "row_ptr": np.concatenate([[0], np.cumsum(keep.sum(axis=1))]).astype(np.int32),
            "col": np.nonzero(keep)[1].astype(np.uint16),
            **pack_groups(self.grid, codes, scale, zero),
        }
        return GroupSparseQuantMatrix(self, shape, factors)

    def _parameters(self) -> dict[str, Any]:
        return {key: value for key, value in self.to_config().items() if key != "kind"}

    def bits_per_weight(self, shape: tuple[int, int]) -> float:
        wide = -(-shape[1] // self.group)
        each = shape[0] if self.scope == "row" else 1
        kept = each * count_kept(self.density, shape[0] * wide // each)
        bits = storage_bits(self.grid, self.group, kept) + 16 * kept + 32 * (shape[0] + 1)
        return bits / (shape[0] * shape[1])
