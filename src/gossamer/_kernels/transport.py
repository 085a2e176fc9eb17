"""Passes over entropic transport plans ``P_ij = exp(u_i + v_j - eta c_ij)``, whose costs may be made from points."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gossamer._core.checks import check_choice, check_float, check_int
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._core.threads import get_threads
from gossamer._kernels import _native
from gossamer._kernels.views import check_pointers, ready

METRICS = {"sqeuclidean": 1, "euclidean": 2, "cityblock": 3}


class Entries(NamedTuple):
    """Entries of an (n, m) matrix by rows and by columns."""

    row_start: np.ndarray
    column: np.ndarray
    by_row: np.ndarray
    column_start: np.ndarray
    row: np.ndarray
    by_column: np.ndarray


class Cost:
    """Costs (n, m): stored, or distances between rows of ``x`` (n, d) and ``y`` (m, d) that are never stored."""

    def __init__(
        self,
        c: np.ndarray | None = None,
        *,
        x: np.ndarray | None = None,
        y: np.ndarray | None = None,
        metric: str = "sqeuclidean",
    ) -> None:
        self._made_of = {"c": c, "x": x, "y": y, "metric": metric}
        if (c is None) == (x is None or y is None):
            raise ArgumentError("a cost is either stored or made from two sets of points")
        if c is not None:
            if c.ndim != 2 or not c.size:
                raise ShapeError(f"c has shape {c.shape}: expected (n, m) with n, m >= 1")
            self.shape = c.shape
            self._native = _native.transport.Cost(ready(c, np.float64))
            return
        assert x is not None
        assert y is not None
        if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or not len(x) or not len(y):
            raise ShapeError(f"x has shape {x.shape}, y {y.shape}: expected (n, d) and (m, d), n, m >= 1")
        check_choice("metric", metric, METRICS)
        self.shape = (len(x), len(y))
        self._native = _native.transport.Cost(ready(x, np.float64), ready(y.T, np.float64), METRICS[metric])

    def __getstate__(self) -> dict[str, Any]:
        return self._made_of

    def __setstate__(self, state: dict[str, Any]) -> None:
        Cost.__init__(self, **state)

    def log_step(
        self,
        eta: float,
        u: np.ndarray,
        v: np.ndarray,
        r: np.ndarray,
        c: np.ndarray,
        threads: int | None = None,
    ) -> tuple[float, np.ndarray, np.ndarray]:
        """Both half steps of Sinkhorn from (u, v): the error of the rows before, and the new (u, v)."""
        n, m = self.shape
        u_new, v_new = np.empty(n), np.empty(m)
        error = _native.transport.log_step(
            self._native,
            float(eta),
            _vector("u", u, n),
            _vector("v", v, m),
            _vector("r", r, n),
            _vector("c", c, m),
            u_new,
            v_new,
            get_threads(threads),
        )
        return error, u_new, v_new

    def plan(
        self, eta: float, u: np.ndarray, v: np.ndarray, out: np.ndarray | None, threads: int | None = None
    ) -> tuple[float, np.ndarray, np.ndarray]:
        """The sum of P and its sums over rows and columns; P itself goes to ``out`` if that is not None."""
        n, m = self.shape
        if out is not None:
            _matrix("out", out, self.shape)
        rows, columns = np.empty(n), np.empty(m)
        total = _native.transport.plan(
            self._native,
            float(eta),
            _vector("u", u, n),
            _vector("v", v, m),
            out,
            rows,
            columns,
            get_threads(threads),
        )
        return total, rows, columns

    def inner(self, eta: float, u: np.ndarray, v: np.ndarray, threads: int | None = None) -> float:
        """``<C, P>``."""
        u, v = _vector("u", u, self.shape[0]), _vector("v", v, self.shape[1])
        return _native.transport.inner(self._native, float(eta), u, v, get_threads(threads))

    def select(
        self,
        eta: float,
        u: np.ndarray,
        v: np.ndarray,
        stored: np.ndarray | None,
        *,
        top: float,
        least: int,
        most: int,
        budget: float,
        threads: int | None = None,
    ) -> Entries:
        """The largest entries of P (``stored``, or made again), of which none exceeds ``top``.

        The entry of rank k (0 is the largest) stays if ``k < least``, or if ``k < most`` and it and those after it
        sum to more than ``budget``.
        """
        u, v = _vector("u", u, self.shape[0]), _vector("v", v, self.shape[1])
        if stored is not None:
            _matrix("stored", stored, self.shape)
        return Entries(
            *_native.transport.select(
                self._native,
                float(eta),
                u,
                v,
                stored,
                check_float("top", top, low=0),
                check_int("least", least, low=0),
                check_int("most", most, low=0),
                check_float("budget", budget, low=0),
                get_threads(threads),
            )
        )

    def above(
        self,
        eta: float,
        u: np.ndarray,
        v: np.ndarray,
        stored: np.ndarray | None,
        threshold: float,
        threads: int | None = None,
    ) -> Entries:
        """The entries of P that are at least ``threshold``, above 0."""
        u, v = _vector("u", u, self.shape[0]), _vector("v", v, self.shape[1])
        if stored is not None:
            _matrix("stored", stored, self.shape)
        check_float("threshold", threshold, low=0, closed="neither")
        return Entries(
            *_native.transport.above(
                self._native, float(eta), u, v, stored, float(threshold), get_threads(threads)
            )
        )


def scale(
    k: np.ndarray, a: np.ndarray, b: np.ndarray, r: np.ndarray, c: np.ndarray, threads: int | None = None
) -> tuple[float, np.ndarray, np.ndarray]:
    """A Sinkhorn step on ``diag(a) K diag(b)``: the error of its rows, then ``r / (K b)`` and ``c / (K^T a)``."""
    n, m = k.shape
    _matrix("k", k, (n, m))
    a_new, b_new = np.empty(n), np.empty(m)
    error = _native.transport.scale(
        k,
        _vector("a", a, n),
        _vector("b", b, m),
        _vector("r", r, n),
        _vector("c", c, m),
        a_new,
        b_new,
        get_threads(threads),
    )
    return error, a_new, b_new


def schur_cg(
    entries: Entries,
    row_sums: np.ndarray,
    column_sums: np.ndarray,
    b: np.ndarray,
    *,
    rtol: float,
    maxiter: int,
    threads: int | None = None,
) -> tuple[np.ndarray, int, float]:
    """Solve ``(diag(S) - W^T diag(1/R) W) z = b``; returns z, the iterations and the relative residual."""
    n, m = len(row_sums), len(column_sums)
    for name, start, index, value, lines, bound in (
        ("row", entries.row_start, entries.column, entries.by_row, n, m),
        ("column", entries.column_start, entries.row, entries.by_column, m, n),
    ):
        check_pointers(f"{name}_start", start, lines, len(index))
        if len(index) != len(value):
            raise ShapeError(f"{name}s have {len(index)} indices and {len(value)} values")
        if len(index) and (index.min() < 0 or index.max() >= bound):
            raise ArgumentError(
                f"indices of {name}s span {index.min()}..{index.max()}: expected 0..{bound - 1}"
            )
    z = np.empty(m)
    iterations, residual = _native.transport.schur_cg(
        ready(entries.row_start, np.int64),
        ready(entries.column, np.int32),
        ready(entries.by_row, np.float64),
        ready(entries.column_start, np.int64),
        ready(entries.row, np.int32),
        ready(entries.by_column, np.float64),
        _vector("row_sums", row_sums, n),
        _vector("column_sums", column_sums, m),
        _vector("b", b, m),
        z,
        float(rtol),
        check_int("maxiter", maxiter, low=0),
        get_threads(threads),
    )
    return z, iterations, residual


def _vector(name: str, x: np.ndarray, size: int) -> np.ndarray:
    if x.shape != (size,):
        raise ShapeError(f"{name} has shape {x.shape}: expected ({size},)")
    return ready(x, np.float64)


def _matrix(name: str, x: np.ndarray, shape: tuple[int, ...]) -> None:
    if x.shape != shape or x.dtype != np.float64 or not x.flags.c_contiguous or not x.flags.aligned:
        raise ShapeError(
            f"{name} is {x.dtype} of shape {x.shape}: expected contiguous float64 of shape {shape}"
        )
