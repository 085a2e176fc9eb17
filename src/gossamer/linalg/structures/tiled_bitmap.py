"""Unstructured sparsity in bitmap tiles: loaded as sparse, computed as dense."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import scipy.sparse

from gossamer._core.arrays import Array, is_torch, to_bits, to_numpy, widen
from gossamer._core.checks import check_array, check_choice, check_float
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._kernels import lscd
from gossamer.linalg.nearest.obs import nearer, sweep
from gossamer.linalg.nearest.selection import SCOPES, count_kept, keep_largest, rationed, saliency
from gossamer.linalg.operator import Plan, StructuredMatrix
from gossamer.linalg.plans import native_plan
from gossamer.linalg.structure import Structure


class TiledBitmapMatrix(StructuredMatrix):
    """A sparse matrix in tiles of 16 rows by 64 columns: a bitmap and the packed non-zeros of each.

    Factors: ``masks``, uint16 (tiles, 64), a bit for each of the 16 rows of a column (bfloat16: uint32 (tiles, 32),
    two bits for each row of a pair of columns); ``values`` (nnz + 32,), in the order of the bits, 32 zeros at the end;
    ``tile_ptr`` int64 (tiles + 1,), the first value of each tile. Rows and columns are padded to whole tiles.

    The kernel multiplies float32 and, by :func:`spmm`, bfloat16, and sums in float32; float64 ``x`` is multiplied with
    the dense matrix. Factors are taken to be immutable: gradients of ``x`` use a transposed copy made on first need.
    """

    structure: TiledBitmap
    factor_names = ("masks", "values", "tile_ptr")

    def _check(self) -> None:
        lscd.check(*self._arrays(), self.shape, self.structure.dtype)
        self._turned: tuple[Any, TiledBitmapMatrix] | None = None

    @property
    def nnz(self) -> int:
        """Stored entries."""
        return int(self.factors["tile_ptr"][-1])

    @property
    def density(self) -> float:
        """Stored entries over all."""
        return self.nnz / (self.shape[0] * self.shape[1])

    @property
    def raw_bfloat16(self) -> tuple[str, ...]:
        return ("values",) if self.structure.dtype == "bfloat16" else ()

    def _arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        values = self.factors["values"]
        stored = to_bits(values) if self.structure.dtype == "bfloat16" else to_numpy(values)
        return to_numpy(self.factors["masks"]), stored, to_numpy(self.factors["tile_ptr"])

    def _dense(self) -> Array:
        at = lscd.places(self._arrays()[0], self.shape)
        values = widen(self.factors["values"])[: self.nnz]
        if is_torch(values):
            import torch

            return values.new_zeros(self.shape).index_put(tuple(torch.from_numpy(i) for i in at), values)
        dense = np.zeros(self.shape, np.float32)
        dense[at] = values
        return dense

    def flops(self, n: int = 1) -> int:
        return 2 * self.shape[0] * self.shape[1] * n

    def plan(self, n: int = 1) -> Plan:
        # the kernel does the arithmetic of a dense product; what it saves is memory traffic
        return native_plan(self, "lscd.matmat", "a bitmap and the non-zeros", n, pays=n < 64)

    def _multiply(self, x: np.ndarray) -> np.ndarray:
        if x.dtype != np.float32:
            return to_numpy(self._dense()).astype(x.dtype) @ x
        return lscd.matmat(*self._arrays(), x, self.shape[0])

    def _multiply_transposed(self, y: np.ndarray) -> np.ndarray:
        if y.dtype != np.float32:
            return to_numpy(self._dense()).astype(y.dtype).T @ y
        values = self.factors["values"]
        version = values._version if is_torch(values) and not values.is_inference() else 0
        if self._turned is None or self._turned[0] != version:
            turned = from_dense(to_numpy(self._dense()).T, self.structure.dtype)
            self._turned = version, turned
        return self._turned[1]._multiply(y)


def from_dense(A: np.ndarray, dtype: str) -> TiledBitmapMatrix:
    """Tiles of the non-zeros of a dense (O, K) array, rounded to the storage type."""
    stored = round_to(A, dtype)
    mask = widen(stored) != 0
    structure = TiledBitmap(max(int(mask.sum()), 1) / mask.size, dtype=dtype)
    return _member(structure, stored, mask)


def round_to(A: np.ndarray, dtype: str) -> np.ndarray:
    """``A`` in a storage type, to nearest even; finite entries that would become infinite are refused."""
    with np.errstate(over="ignore"):
        stored = to_bits(A) if dtype == "bfloat16" else A.astype(lscd.DTYPES[dtype])
    lost = int((np.isinf(widen(stored)) & ~np.isinf(A)).sum())
    if lost:
        raise ArgumentError(f"A has {lost} entries beyond the range of {dtype}: expected a wider dtype")
    return stored


def _member(structure: TiledBitmap, stored: np.ndarray, mask: np.ndarray) -> TiledBitmapMatrix:
    factors = zip(TiledBitmapMatrix.factor_names, lscd.pack(stored, mask, structure.dtype))
    return TiledBitmapMatrix(structure, mask.shape, dict(factors))


@dataclass(frozen=True)
class TiledBitmap(Structure):
    r"""Matrices with at most ``ceil(density n)`` non-zero entries, stored as bitmap tiles in 16 or 32 bits.

    A weight takes ``b d + 1`` bits at density d with values of b bits: 5.8 at 70 % zeros in bfloat16. The product
    loads these and expands them in registers ("load as sparse, compute as dense"): it does the arithmetic of a dense
    product and pays while a product is limited by memory, up to a few dozen columns.

    Parameters
    ----------
    density : float in (0, 1]
        Fraction of entries kept.
    scope : {"matrix", "row"}
        What the density counts: the entries of the whole matrix, or of each row (Wanda's choice).
    dtype : {"bfloat16", "float16", "float32"}
        Type of the stored values.

    Notes
    -----
    ``project`` selects as :class:`Unstructured` does (magnitude, Wanda, SparseGPT by the metric) and rounds what is
    kept. It is exactly nearest in float32 without a metric and in a diagonal one; in 16 bits only up to rounding.

    Raises
    ------
    ArgumentError
        From ``project`` and ``from_dense``, if finite entries exceed the range of ``dtype``.

    References
    ----------
    Xia et al., "Flash-LLM: Enabling cost-effective and highly-efficient large generative model inference with
    unstructured sparsity", VLDB 2024. The tile is made for CPU vectors here; :class:`TiledCSL` is the paper's.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.linalg import TiledBitmap
    >>> A = TiledBitmap.from_dense(np.diag([1.0, 2.0, 3.0]))
    >>> (A @ np.ones(3, dtype=np.float32)).tolist()
    [1.0, 2.0, 3.0]
    """

    density: float = 0.5
    scope: str = "matrix"
    dtype: str = "bfloat16"
    kind: ClassVar[str] = "tiled-bitmap"
    matrix: ClassVar[type[StructuredMatrix]] = TiledBitmapMatrix

    def __post_init__(self) -> None:
        check_float("density", self.density, low=0, high=1, closed="right")
        check_choice("scope", self.scope, SCOPES)
        check_choice("dtype", self.dtype, lscd.DTYPES)

    @staticmethod
    def from_dense(A: Any, *, dtype: str = "bfloat16", tile: tuple[int, int] = (16, 64)) -> TiledBitmapMatrix:
        """Pack the non-zeros of a dense array or tensor. O(O K).

        Parameters
        ----------
        A : array or tensor, shape (O, K)
            NaN is kept. Entries that round to zero are not stored.
        dtype : {"bfloat16", "float16", "float32"}
            Type of the stored values.
        tile : (int, int)
            Only (16, 64), the one that the kernels are written for.

        Raises
        ------
        ShapeError
            If ``A`` is not 2-D or has no entries.
        ArgumentError
            For another tile, or finite entries beyond the range of ``dtype``.
        """
        check_choice("dtype", dtype, lscd.DTYPES)
        check_choice("tile", tuple(tile), [(lscd.ROWS, lscd.COLS)])
        checked = check_array("A", A, ndim=2, finite=False)
        array = to_numpy(checked)
        if not array.size:
            raise ShapeError(f"A has shape {array.shape}: expected at least one row and one column")
        member = from_dense(array, dtype)
        return member.torch() if is_torch(checked) else member  # type: ignore[return-value]

    @staticmethod
    def from_scipy(A: Any, *, dtype: str = "bfloat16") -> TiledBitmapMatrix:
        """Pack a ``scipy.sparse`` matrix; explicit zeros are not stored."""
        if not scipy.sparse.issparse(A):
            raise ArgumentError(f"A is a {type(A).__name__}: expected a scipy.sparse matrix")
        return TiledBitmap.from_dense(A.toarray(), dtype=dtype)

    def _project(self, W: np.ndarray, metric: np.ndarray | None) -> TiledBitmapMatrix:
        if metric is not None and metric.ndim == 2:
            swept = sweep(W, metric, select=rationed(self.density, self.scope)).weights
            rounded = _member(self, round_to(swept, self.dtype), swept != 0)
            return nearer(W, metric, rounded, self._project(W, np.diagonal(metric)))
        mask = keep_largest(saliency(W, metric), self.density, self.scope)
        return _member(self, round_to(W, self.dtype), mask)

    @property
    def nearest_in(self) -> frozenset[str]:
        return frozenset({"none", "diagonal"} if self.dtype == "float32" else ())

    def bits_per_weight(self, shape: tuple[int, int]) -> float:
        each = shape[0] if self.scope == "row" else 1
        kept = each * count_kept(self.density, shape[0] * shape[1] // each)
        tiles = int(np.prod(lscd.grid(shape)))
        size = 32 if self.dtype == "float32" else 16
        return (size * (kept + lscd.TAIL) + tiles * (lscd.ROWS * lscd.COLS + 64) + 64) / (shape[0] * shape[1])
