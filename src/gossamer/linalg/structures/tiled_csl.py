"""Tiled-CSL, the format of Flash-LLM's GPU kernel, byte for byte."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import scipy.sparse

from gossamer._core.arrays import Array, is_torch, to_numpy
from gossamer._core.checks import check_array, check_choice, check_float
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._kernels import lscd
from gossamer._kernels.views import expect_array
from gossamer.linalg.nearest.selection import SCOPES, count_kept, keep_largest, saliency
from gossamer.linalg.operator import Plan, StructuredMatrix
from gossamer.linalg.structure import Structure

ROWS, COLS, VECTOR = lscd.CSL_ROWS, lscd.CSL_COLS, lscd.CSL_VECTOR
BANKS, LANES = 32, 32


def banks(location: np.ndarray) -> np.ndarray:
    """Shared-memory bank of a location: 32 banks of two float16 each."""
    return location % COLS // 2 % BANKS


class TiledCSLMatrix(StructuredMatrix):
    """A sparse float16 matrix in tiles of 128 x 64: factors ``words`` uint32 and ``tile_offsets`` int32.

    A word is a float16 in its low half and a location in the tile in its high half. ``tile_offsets``, of length
    tiles + 2, is in vectors of 4 words; its last two entries are the end. Tiles go by rows of tiles; each is padded to
    whole vectors by zeros at locations that hold no entry. The matrix is padded to whole tiles; ``shape`` is the true
    one. Products run through :class:`TiledBitmap` tiles made on first need: scattering by location is what the GPU's
    shared memory is good at, and slower than expanding bitmaps on a CPU; :meth:`scatter_multiply` does it all the same.
    """

    structure: TiledCSL
    factor_names = ("words", "tile_offsets")

    def _check(self) -> None:
        words, offsets = self.words, self.tile_offsets
        tiles = int(np.prod(_grid(self.shape)))
        expect_array("words", words, np.uint32, (len(words),) if words.ndim == 1 else ())
        expect_array("tile_offsets", offsets, np.int32, (tiles + 2,))
        if offsets[0] != 0 or (np.diff(offsets) < 0).any() or VECTOR * int(offsets[-1]) != len(words):
            raise ArgumentError(
                f"tile_offsets must rise from 0 to the number of vectors, {len(words) / VECTOR:g}"
            )
        if offsets[-1] != offsets[-2]:
            raise ArgumentError("tile_offsets must end in the same number twice")
        if (words >> 16).max(initial=0) >= ROWS * COLS:
            raise ArgumentError(f"a location is {int((words >> 16).max())}: expected less than {ROWS * COLS}")
        rows, columns, _ = self._entries()
        if len(rows) and (rows.max() >= self.shape[0] or columns.max() >= self.shape[1]):
            raise ArgumentError(f"words hold non-zeros outside of the matrix of shape {self.shape}")
        flat = rows * self.shape[1] + columns
        if len(np.unique(flat)) != len(flat):
            raise ArgumentError("words hold a location of a tile twice")
        self._tiles: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None

    @property
    def words(self) -> np.ndarray:
        """Values and locations, uint32."""
        return to_numpy(self.factors["words"])

    @property
    def tile_offsets(self) -> np.ndarray:
        """Where tiles begin, in vectors of 4 words, int32."""
        return to_numpy(self.factors["tile_offsets"])

    @property
    def nnz(self) -> int:
        """Stored entries that are not padding."""
        return len(self._entries()[0])

    @property
    def density(self) -> float:
        """Non-zeros over all entries."""
        return self.nnz / (self.shape[0] * self.shape[1])

    def _entries(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Row, column and float16 value of every non-zero word."""
        words = self.words
        ends = self.tile_offsets[:-1].astype(np.int64)
        counts = VECTOR * (ends[1:] - ends[:-1])
        tile = np.repeat(np.arange(len(counts)), counts)
        values = (words & 0xFFFF).astype(np.uint16).view(np.float16)
        place = (words >> 16).astype(np.int64)
        row = place // COLS
        column = place % COLS ^ (row % 8 << 3)
        across = _grid(self.shape)[1]
        kept = values != 0
        return (tile // across * ROWS + row)[kept], (tile % across * COLS + column)[kept], values[kept]

    def _dense(self) -> Array:
        rows, columns, values = self._entries()
        dense = np.zeros(self.shape, np.float32)
        dense[rows, columns] = values
        if is_torch(self.factors["words"]):
            import torch

            return torch.from_numpy(dense)
        return dense

    def bank_conflicts(self) -> int:
        """Stores that wait when 32 lanes scatter each vector's words in turn: sum of (largest bank load - 1).

        Lane l of a round takes vector ``32 round + l``; its four words are stored one after the other, each together
        with the same word of the other lanes.
        """
        bank = banks((self.words >> 16).astype(np.int64)).reshape(-1, VECTOR)
        sizes = np.diff(self.tile_offsets[:-1])
        inside = np.arange(len(bank)) - np.repeat(
            self.tile_offsets[:-2], sizes
        )  # number of a vector in its tile
        starts = np.cumsum(inside % LANES == 0) - 1  # rounds of all tiles
        steps = starts[:, None] * VECTOR + np.arange(VECTOR)
        loads = np.bincount((steps * BANKS + bank).ravel(), minlength=0)
        loads = np.pad(loads, (0, -len(loads) % BANKS)).reshape(-1, BANKS)
        return int(np.maximum(loads.max(axis=1) - 1, 0).sum())

    def scatter_multiply(self, x: Any, *, threads: int | None = None) -> Any:
        """Multiply as the GPU kernel does: zero a dense tile, scatter its words by location, multiply the tile.

        Needs no second copy of the matrix; on a CPU several times slower than the bitmaps of ``A @ x``.

        Parameters
        ----------
        x : array or tensor, shape (K,) or (K, N)
            Multiplied in float32.
        threads : int, optional
            At most this many.

        Returns
        -------
        array or tensor of float32, shape (O,) or (O, N)

        Raises
        ------
        ShapeError
            If ``x`` has another rank or number of rows.
        """
        x = check_array("x", x, ndim=(1, 2), finite=False)
        if x.shape[0] != self.shape[1]:
            raise ShapeError(f"A has shape {self.shape} and x {tuple(x.shape)}: the inner dimensions differ")
        given = to_numpy(x).astype(np.float32, copy=False)
        columns = given[:, None] if given.ndim == 1 else given
        y = lscd.csl_matmat(self.words, self.tile_offsets, columns, self.shape[0], threads=threads)
        y = y[:, 0] if given.ndim == 1 else y
        if is_torch(x):
            import torch

            return torch.from_numpy(y)
        return y

    def flops(self, n: int = 1) -> int:
        return 2 * self.shape[0] * self.shape[1] * n

    def plan(self, n: int = 1) -> Plan:
        reason = "words become bitmap tiles in float16 on the first product, which are kept"
        return Plan("native", "lscd.matmat", reason, self.flops(n), self.nbytes)

    def _multiply(self, x: np.ndarray) -> np.ndarray:
        if x.dtype != np.float32:
            return to_numpy(self._dense()).astype(x.dtype) @ x
        if self._tiles is None:
            dense = to_numpy(self._dense()).astype(np.float16)
            self._tiles = lscd.pack(dense, dense != 0, "float16")
        return lscd.matmat(*self._tiles, x, self.shape[0])


def _grid(shape: tuple[int, int]) -> tuple[int, int]:
    return -(-shape[0] // ROWS), -(-shape[1] // COLS)


@dataclass(frozen=True)
class TiledCSL(Structure):
    r"""Float16 matrices with at most ``ceil(density n)`` non-zero entries, in the tiles of Flash-LLM's GPU kernel.

    A non-zero takes 32 bits, ``value | location << 16`` with
    ``location = row * 64 + (column XOR ((row mod 8) << 3))`` in its tile of 128 x 64. Use it to exchange files with
    the reference; on a CPU :class:`TiledBitmap` takes fewer bits below a density of 1 and multiplies faster.

    Parameters
    ----------
    density : float in (0, 1]
        Fraction of entries kept.
    scope : {"matrix", "row"}
        What the density counts.
    reorder : bool
        Order the words of a tile so that 32 lanes which scatter together meet few bank conflicts.

    Notes
    -----
    ``project`` keeps the largest entries (weighed by the diagonal of a metric) and rounds them to float16. Tiles are
    padded here where the reference requires multiples of 256 rows and 64 columns. Where the reference leaves the
    choice among equally long lists of a bank open, the lowest bank is taken.

    Raises
    ------
    ArgumentError
        If finite entries exceed the range of float16.

    References
    ----------
    Xia et al., "Flash-LLM: Enabling cost-effective and highly-efficient large generative model inference with
    unstructured sparsity", VLDB 2024, sections 4.2 and 4.3.
    """

    density: float = 0.5
    scope: str = "matrix"
    reorder: bool = True
    kind: ClassVar[str] = "tiled-csl"
    matrix: ClassVar[type[StructuredMatrix]] = TiledCSLMatrix

    def __post_init__(self) -> None:
        check_float("density", self.density, low=0, high=1, closed="right")
        check_choice("scope", self.scope, SCOPES)

    @staticmethod
    def from_dense(A: Any, *, reorder: bool = True) -> TiledCSLMatrix:
        """Pack the entries of a dense array or tensor (O, K) that are not zero in float16. O(O K).

        Raises
        ------
        ShapeError
            If ``A`` is not 2-D or has no entries.
        ArgumentError
            If finite entries exceed the range of float16, saying how many.
        """
        checked = check_array("A", A, ndim=2, finite=False)
        array = to_numpy(checked)
        if not array.size:
            raise ShapeError(f"A has shape {array.shape}: expected at least one row and one column")
        half = _half(array)
        structure = TiledCSL(max(int((half != 0).sum()), 1) / half.size, reorder=reorder)
        member = structure._pack(half)
        return member.torch() if is_torch(checked) else member  # type: ignore[return-value]

    @staticmethod
    def from_scipy(A: Any, *, reorder: bool = True) -> TiledCSLMatrix:
        """Pack a ``scipy.sparse`` matrix."""
        if not scipy.sparse.issparse(A):
            raise ArgumentError(f"A is a {type(A).__name__}: expected a scipy.sparse matrix")
        return TiledCSL.from_dense(A.toarray(), reorder=reorder)

    def _pack(self, half: np.ndarray) -> TiledCSLMatrix:
        words, offsets = lscd.csl_pack(half, self.reorder)
        return TiledCSLMatrix(self, half.shape, {"words": words, "tile_offsets": offsets})

    def _project(self, W: np.ndarray, metric: np.ndarray | None) -> TiledCSLMatrix:
        weights = np.diagonal(metric) if metric is not None and metric.ndim == 2 else metric
        mask = keep_largest(saliency(W, weights), self.density, self.scope)
        return self._pack(_half(np.where(mask, W, 0)))

    def bits_per_weight(self, shape: tuple[int, int]) -> float:
        each = shape[0] if self.scope == "row" else 1
        kept = each * count_kept(self.density, shape[0] * shape[1] // each)
        tiles = int(np.prod(_grid(shape)))
        words = tiles * VECTOR * -(-kept // (tiles * VECTOR))
        return 32 * (words + tiles + 2) / (shape[0] * shape[1])


def _half(A: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        half = A.astype(np.float16)
    lost = int((np.isinf(half) & ~np.isinf(A)).sum())
    if lost:
        raise ArgumentError(f"A has {lost} entries beyond the range of float16")
    return half
