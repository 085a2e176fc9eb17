"""Products of functions on the sphere: on grids, by sparse bilinear forms, and about a direction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._core.threads import get_threads
from gossamer._kernels import _native
from gossamer._kernels.views import check_pointers, expect_array, ready

MAX_FACTORS = 8


@dataclass(frozen=True)
class Operand:
    """Rows (count, width); row r of a product takes row ``(r // repeats) % count``."""

    data: np.ndarray
    repeats: int = 1

    def check(self, name: str, width: int, dtype: np.dtype, rows: int) -> np.ndarray:
        """The rows, ready for native code."""
        if self.data.ndim != 2 or self.data.shape[1] != width or self.data.dtype != dtype:
            raise ShapeError(
                f"{name} is {self.data.dtype} of shape {self.data.shape}: expected {dtype} (rows, {width})"
            )
        period = len(self.data) * self.repeats
        if self.repeats < 1 or (rows and (not period or rows % period)):
            raise ShapeError(
                f"{name} has {len(self.data)} rows, each {self.repeats} times: they do not fill {rows} rows evenly"
            )
        return ready(self.data)


class GridProgram:
    """Products of powers on one grid; all tables are of one dtype, float32 or float64.

    ``tables``: for each factor (terms, pairs), polar functions at the northern nodes in the order (m, l >= m).
    ``out_table``: the same for the result, weighted. ``cosine``, ``sine``: (m, quarter), m up to the largest degree.
    """

    def __init__(
        self,
        degrees: Sequence[int],
        tables: Sequence[np.ndarray],
        degree: int,
        out_table: np.ndarray,
        cosine: np.ndarray,
        sine: np.ndarray,
    ) -> None:
        if not 1 <= len(degrees) <= MAX_FACTORS:
            raise ArgumentError(f"{len(degrees)} factors: expected 1 to {MAX_FACTORS}")
        dtype, pairs = _real(out_table), out_table.shape[-1]
        for name, L, table in (*(("table", *both) for both in zip(degrees, tables, strict=True)),
                               ("out_table", degree, out_table)):  # fmt: skip
            expect_array(name, table, dtype, ((L + 1) * (L + 2) // 2, pairs))
        shape = (max(*degrees, degree) + 1, cosine.shape[-1])
        expect_array("cosine", cosine, dtype, shape)
        expect_array("sine", sine, dtype, shape)
        self.degrees, self.degree = tuple(degrees), degree
        self.tables, self.out_table = [ready(table) for table in tables], ready(out_table)
        self.waves = ready(cosine), ready(sine)

    def run(
        self, operands: Sequence[Operand], powers: Sequence[int], rows: int, threads: int | None = None
    ) -> np.ndarray:
        """The product (rows, (degree + 1)^2)."""
        if len(operands) != len(self.degrees) or len(powers) != len(self.degrees) or min(powers) < 1:
            raise ArgumentError(
                f"{len(operands)} factors with powers {tuple(powers)}: expected {len(self.degrees)}, from 1 on"
            )
        dtype = self.out_table.dtype
        arrays = [
            operand.check(f"factor {i}", (L + 1) ** 2, dtype, rows)
            for i, (operand, L) in enumerate(zip(operands, self.degrees))
        ]
        out = np.empty((rows, (self.degree + 1) ** 2), dtype)
        run = getattr(_native.gaunt, f"grid_{dtype.name}")
        if rows:
            repeats = [operand.repeats for operand in operands]
            run(
                arrays,
                repeats,
                list(powers),
                self.tables,
                self.out_table,
                *self.waves,
                out,
                get_threads(threads),
            )
        return out


@dataclass(frozen=True)
class SparseMap:
    """A sparse matrix by rows: pointers int64, columns int32, values; no rows stand for the identity."""

    pointers: np.ndarray
    columns: np.ndarray
    values: np.ndarray

    @classmethod
    def identity(cls, dtype: np.dtype) -> SparseMap:
        """No map at all."""
        return cls(np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros(0, dtype))

    def check(self, name: str, width: int, dtype: np.dtype) -> int:
        """Its number of rows, after a look at every index."""
        rows = len(self.pointers) - 1
        expect_array(f"{name}.pointers", self.pointers, np.int64, (rows + 1,))
        expect_array(f"{name}.columns", self.columns, np.int32, self.values.shape)
        expect_array(f"{name}.values", self.values, dtype, self.columns.shape)
        check_pointers(f"{name}.pointers", self.pointers, rows, len(self.columns))
        _check_below(f"{name}.columns", self.columns, width)
        return rows

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """As native code takes them."""
        return ready(self.pointers), ready(self.columns), ready(self.values)


class BilinearProgram:
    """``z = after t``, ``t[k] = sum of values a[i] b[j]``, ``a = before_x x``, ``b = before_y y``.

    Parameters
    ----------
    width_x, width_y, size : int
        Of x, y and t.
    indices : ndarray of int32, shape (terms, 3)
        (i, j, k), in any order.
    values : ndarray, shape (terms,)
        float32 or float64; the arrays that are multiplied have the same dtype.
    before_x, before_y, after : SparseMap, optional
        Identity if left out.
    """

    def __init__(
        self,
        width_x: int,
        width_y: int,
        size: int,
        indices: np.ndarray,
        values: np.ndarray,
        before_x: SparseMap | None = None,
        before_y: SparseMap | None = None,
        after: SparseMap | None = None,
    ) -> None:
        dtype = _real(values)
        self.widths = width_x, width_y
        empty = SparseMap.identity(dtype)
        self.maps = [before_x or empty, before_y or empty, after or empty]
        left = self.maps[0].check("before_x", width_x, dtype) or width_x
        right = self.maps[1].check("before_y", width_y, dtype) or width_y
        self.size, self.width = size, self.maps[2].check("after", size, dtype) or size
        expect_array("indices", indices, np.int32, (len(values), 3))
        for column, bound in enumerate((left, right, size)):
            _check_below(f"indices[:, {column}]", indices[:, column], bound)
        order = np.lexsort(indices.T[::-1])
        indices, self.values = indices[order], ready(values[order])
        fresh = np.ones(len(indices), bool)
        fresh[1:] = (indices[1:, :2] != indices[:-1, :2]).any(1)
        start = np.flatnonzero(fresh)
        self.left, self.right = ready(indices[start, 0]), ready(indices[start, 1])
        self.pointers, self.out = np.append(start, len(indices)).astype(np.int64), ready(indices[:, 2])

    def run(self, x: Operand, y: Operand, rows: int, threads: int | None = None) -> np.ndarray:
        """The product (rows, width)."""
        dtype = self.values.dtype
        a, b = (o.check(n, w, dtype, rows) for n, o, w in zip("xy", (x, y), self.widths))
        out = np.empty((rows, self.width), dtype)
        if rows:
            first, second, last = (part.arrays for part in self.maps)
            run = getattr(_native.gaunt, f"bilinear_{dtype.name}")
            run(a, x.repeats, b, y.repeats, *first, *second, self.left, self.right, self.pointers, self.out,
                self.values, self.size, *last, out, get_threads(threads))  # fmt: skip
        return out


class AlignedProgram:
    """Convolutions of functions of degree L with filters about a direction, cut to ``degree``.

    ``table`` and ``out_table`` as in :class:`GridProgram`, ``filter_table`` (filter degree + 1, pairs), ``exchange``
    the change of axes for all degrees up to the larger one.
    """

    def __init__(
        self,
        L: int,
        degree: int,
        table: np.ndarray,
        filter_table: np.ndarray,
        out_table: np.ndarray,
        exchange: SparseMap,
    ) -> None:
        dtype, pairs = _real(out_table), out_table.shape[-1]
        expect_array("table", table, dtype, ((L + 1) * (L + 2) // 2, pairs))
        expect_array("out_table", out_table, dtype, ((degree + 1) * (degree + 2) // 2, pairs))
        expect_array("filter_table", filter_table, dtype, (len(filter_table), pairs))
        size = (max(L, degree) + 1) ** 2
        if exchange.check("exchange", size, dtype) != size:
            raise ShapeError(f"exchange has {len(exchange.pointers) - 1} rows: expected {size}")
        for l in range(max(L, degree) + 1):  # what is turned at degree L must not reach beyond it
            own = exchange.columns[exchange.pointers[l * l] : exchange.pointers[(l + 1) ** 2]]
            _check_below(f"exchange.columns of degree {l}", own, (l + 1) ** 2)
        self.L, self.degree = L, degree
        self.tables = ready(table), ready(filter_table), ready(out_table)
        self.exchange = exchange.arrays

    def run(
        self, x: np.ndarray, filters: np.ndarray, turns: np.ndarray, threads: int | None = None
    ) -> np.ndarray:
        """Rows x (edges * channels, ...) with filters (edges * channels, ...) and turns (edges, 4)."""
        rows, dtype = len(x), self.tables[0].dtype
        expect_array("x", x, dtype, (rows, (self.L + 1) ** 2))
        expect_array("filters", filters, dtype, (rows, len(self.tables[1])))
        expect_array("turns", turns, dtype, (len(turns), 4))
        return self._run("aligned", x, filters, turns, (self.degree + 1) ** 2, threads)

    def run_filter(
        self, x: np.ndarray, slope: np.ndarray, turns: np.ndarray, threads: int | None = None
    ) -> np.ndarray:
        """The slope (rows, filter degree + 1) in the filters, given that of the result."""
        rows, dtype = len(x), self.tables[0].dtype
        expect_array("x", x, dtype, (rows, (self.L + 1) ** 2))
        expect_array("slope", slope, dtype, (rows, (self.degree + 1) ** 2))
        expect_array("turns", turns, dtype, (len(turns), 4))
        return self._run("aligned_filter", x, slope, turns, len(self.tables[1]), threads)

    def _run(
        self, name: str, x: np.ndarray, y: np.ndarray, turns: np.ndarray, width: int, threads: int | None
    ) -> np.ndarray:
        out = np.empty((len(x), width), x.dtype)
        if not len(x):
            return out
        if not len(turns) or len(x) % len(turns):
            raise ShapeError(f"turns has {len(turns)} rows: expected a divisor of the {len(x)} rows of x")
        run = getattr(_native.gaunt, f"{name}_{x.dtype.name}")
        channels = len(x) // len(turns)
        arrays = ready(x), ready(y), ready(turns)
        run(*arrays, channels, *self.tables, *self.exchange, out, get_threads(threads))
        return out


def _real(array: np.ndarray) -> np.dtype:
    if array.dtype not in (np.float32, np.float64):
        raise ArgumentError(f"a table is {array.dtype}: expected float32 or float64")
    return array.dtype


def _check_below(name: str, indices: np.ndarray, bound: int) -> None:
    if len(indices) and (indices.min() < 0 or indices.max() >= bound):
        raise ArgumentError(f"{name} spans {indices.min()}..{indices.max()}: expected 0..{bound - 1}")
