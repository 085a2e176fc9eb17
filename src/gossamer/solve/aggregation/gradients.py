"""The gradients of p workers, looked at in blocks of coordinates: arrays, tensors, lists of them, memory maps."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from gossamer._core.arrays import Array, is_torch, like, to_numpy, widen
from gossamer._core.checks import check_array, check_int
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._core.threads import get_threads
from gossamer._kernels import fisher
from gossamer.solve.shards import Reduce

ORDER_COLUMNS = 8192  # a block that is sorted stays in the second-level cache


class Gradients:
    """p gradients of n numbers each, and where their combination goes.

    Every rule takes what this takes; :func:`aggregate` makes one to pass ``out`` and ``reduce`` on.

    Parameters
    ----------
    G : array or tensor, shape (p, n), or list of p arrays or tensors, shape (n,)
        Gradients. Members of a list may be memory maps: they are read in blocks. Half precision is widened.
    out : array or tensor, shape (n,), optional
        Where the result is written, in the dtype of G; for instance a memory map.
    reduce : callable, optional
        Sums an array over the processes that hold the other coordinates (:func:`all_reduce_sum`).

    Raises
    ------
    ShapeError
        Fewer than two workers, or gradients of unequal lengths.
    ArgumentError
        Members of a list differ in dtype or kind, or ``out`` does not fit.
    """

    def __init__(self, G: Any, out: Array | None = None, reduce: Reduce | None = None) -> None:
        self._out, self._reduce = out, reduce
        if isinstance(G, (list, tuple)):
            members = [check_array(f"G[{i}]", g, ndim=1, finite=False) for i, g in enumerate(G)]
            self._like = members[0] if members else np.empty(0)
            for i, g in enumerate(members):
                if g.shape != self._like.shape:
                    raise ShapeError(
                        f"G[{i}] has {g.shape[0]} entries: expected {self._like.shape[0]}, as G[0] has"
                    )
                if g.dtype != self._like.dtype or is_torch(g) != is_torch(self._like):
                    raise ArgumentError(f"G[{i}] is {_kind(g)}: expected {_kind(self._like)}, as G[0] is")
            self.rows: Any = [to_numpy(g) for g in members]
        else:
            whole = check_array("G", G, ndim=2, finite=False)
            self._like, self.rows = whole, to_numpy(whole)
        self.workers = np.arange(len(self.rows))
        self.p, self.n = len(self.rows), int(self._like.shape[-1])
        if self.p < 2:
            raise ShapeError(f"G has {self.p} gradients: expected at least 2")
        stored = self.rows[0].dtype
        self.dtype = np.dtype(np.float32) if stored.itemsize == 2 else stored
        if out is not None:
            _check_out(out, self._like, self.n)

    @classmethod
    def of(cls, G: Any) -> Gradients:
        """G itself if it is one already."""
        return G if isinstance(G, cls) else cls(G)

    def blocks(self, width: int) -> Iterator[tuple[slice, np.ndarray]]:
        """Coordinates and their (p, width) block, in order; blocks may be views."""
        for start in range(0, self.n, width):
            yield (cut := slice(start, min(start + width, self.n))), self.block(cut)

    def block(self, cut: slice) -> np.ndarray:
        """Some coordinates of all gradients, in float32 or float64."""
        if isinstance(self.rows, list):
            return widen(np.stack([row[cut] for row in self.rows]))
        return widen(self.rows[:, cut])

    def gram(self) -> np.ndarray:
        """``K = G G^T`` (p, p), products and sums in float64. O(p^2 n), one reading."""
        if self._at_once():
            K = fisher.gram(self.rows)
        else:
            K = np.zeros((self.p, self.p))
            for _, block in self.blocks(fisher.GRAM_COLUMNS):
                K += fisher.gram(block)
        return K if self._reduce is None else self._reduce(K)

    def finite_gram(self) -> tuple[Gradients, np.ndarray]:
        """The gradients whose squared norm is a number, and their Gram matrix; others are left out with a warning."""
        with np.errstate(all="ignore"):
            K = self.gram()
        good = np.isfinite(np.diagonal(K))
        return self._only(good), K[np.ix_(good, good)]

    def finite(self) -> Gradients:
        """The gradients without NaN and infinities; others are left out with a warning. One reading."""
        sums = np.zeros(self.p)
        for _, block in [(None, self.rows)] if self._at_once() else self.blocks(fisher.GRAM_COLUMNS):
            sums += fisher.project(block, np.ones(block.shape[1], self.dtype))
        return self._only(np.isfinite(sums if self._reduce is None else self._reduce(sums)))

    def combine(self, coef: np.ndarray) -> Array:
        """``sum_i coef_i g_i`` (n,), summed in float64, in kind and dtype as G. O(p n), one reading."""
        x = self._target()
        if self._at_once():
            x[...] = fisher.combine(self.rows, -coef, np.zeros(self.n, self.dtype), 0.0)
        else:
            for cut, block in self.blocks(fisher.GRAM_COLUMNS):
                x[cut] = fisher.combine(block, -coef, np.zeros(block.shape[1], self.dtype), 0.0)
        return self._given(x)

    def by_coordinate(self, rule: Callable[[np.ndarray], np.ndarray]) -> Array:
        """``rule`` of every (p, width) block, which it may overwrite; in kind and dtype as G."""
        x = self._target()
        cuts = [slice(a, min(a + ORDER_COLUMNS, self.n)) for a in range(0, self.n, ORDER_COLUMNS)]

        def write(cut: slice) -> None:
            x[cut] = rule(np.array(self.block(cut), order="C"))

        if (threads := min(get_threads(), len(cuts))) > 1:
            with ThreadPoolExecutor(threads) as pool:  # NumPy lets go of the interpreter; blocks do not meet
                list(pool.map(write, cuts))
        else:
            for cut in cuts:
                write(cut)
        return self._given(x)

    def with_row(self, row: np.ndarray) -> Gradients:
        """The same gradients and one more vector (n,) of their dtype."""
        more = object.__new__(Gradients)
        more.__dict__.update(self.__dict__)
        more.rows, more.p = [*self.rows, row], self.p + 1
        more.workers = np.append(self.workers, -1)
        return more

    def spread(self, values: np.ndarray, p: int) -> np.ndarray:
        """Values of these workers at their places among all p; zeros for workers that were left out."""
        out = np.zeros(p)
        out[self.workers] = values
        return out

    def combine_columns(self, coefs: np.ndarray) -> Array:
        """``G^T coefs`` (n, k) for coefs (p, k), summed in float64, in kind and dtype as G. O(p n k)."""
        x = np.empty((self.n, coefs.shape[1]), self.dtype)
        for cut, block in self.blocks(ORDER_COLUMNS):
            x[cut] = block.T.astype(np.float64) @ coefs
        return self.as_given(x)

    def as_given(self, x: np.ndarray) -> Array:
        """An array in kind and dtype of G."""
        if is_torch(self._like):
            return like(x, self._like).to(self._like.dtype)
        return x.astype(self._like.dtype, copy=False)

    def _at_once(self) -> bool:
        return (
            not isinstance(self.rows, list) and self.rows.dtype == self.dtype and self.rows.flags.c_contiguous
        )

    def _only(self, good: np.ndarray) -> Gradients:
        if good.all():
            return self
        bad = self.workers[~good].tolist()
        text = f"{len(bad)} of {self.p} gradients have NaN, infinite or too large entries (workers {bad})"
        if self.p - len(bad) < 2:
            raise ArgumentError(f"{text}: expected at least 2 without")
        warnings.warn(f"{text}: they are left out", RuntimeWarning, stacklevel=4)
        kept = object.__new__(Gradients)
        kept.__dict__.update(self.__dict__)
        kept.rows = [row for row, fine in zip(self.rows, good, strict=True) if fine]
        kept.workers, kept.p = self.workers[good], int(good.sum())
        return kept

    def _target(self) -> np.ndarray:
        return np.empty(self.n, self.dtype) if self._out is None else to_numpy(self._out)

    def _given(self, x: np.ndarray) -> Array:
        return self.as_given(x) if self._out is None else self._out


def check_faults(f: Any, p: int, rule: str, times: int, plus: int) -> int:
    """f, if ``p >= times f + plus``."""
    f = check_int("f", f, low=0)
    if p < times * f + plus:
        most = max((p - plus) // times, 0)
        raise ArgumentError(
            f"f={f}: {rule} needs p >= {times} f + {plus}, and there are p={p} gradients"
            + (f"; nearest valid: {most}" if p >= plus else "")
        )
    return f


def _kind(g: Array) -> str:
    return str(g.dtype) if is_torch(g) else f"numpy {g.dtype}"


def _check_out(out: Array, reference: Array, n: int) -> None:
    if is_torch(out) and str(out.device) != "cpu":
        raise ArgumentError(f"out is on {out.device}: expected it on the CPU")
    fits = getattr(out, "shape", None) == (n,) and is_torch(out) == is_torch(reference)
    if not fits or out.dtype != reference.dtype or out.dtype.itemsize == 2:
        raise ArgumentError(
            f"out has shape {getattr(out, 'shape', None)} and dtype {getattr(out, 'dtype', None)}: expected ({n},) and "
            f"{_kind(reference)}, as G (float32 or float64)"
        )
    if not is_torch(out) and not out.flags.writeable:
        raise ArgumentError("out cannot be written to")
