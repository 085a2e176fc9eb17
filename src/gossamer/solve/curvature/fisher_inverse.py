"""The static algorithm of M-FAC: exact products with the inverse of a damped empirical Fisher matrix."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from typing import Any

import numpy as np

from gossamer._core.arrays import Array
from gossamer._core.checks import check_choice, check_float, check_int
from gossamer._core.errors import ArgumentError
from gossamer._kernels import fisher
from gossamer.solve.curvature.factors import gemm_factor, paged_factor, recurrence_factor
from gossamer.solve.curvature.operator import InverseOperator, check_gradients
from gossamer.solve.shards import Reduce


class FisherInverse(InverseOperator):
    r"""Inverse of :math:`F = \lambda I + \frac1m \sum_i g_i g_i^T`, held by an (m, d) factor.

    :math:`F^{-1} = \lambda^{-1} I - W^T W` (Woodbury). Products cost O(dm), entries O(m); F is never formed and
    nothing is approximated. Use blocks to prune (cheaper, and often better than the full matrix when gradients are
    few); use :class:`SlidingFisherInverse` when gradients keep coming.

    Parameters
    ----------
    G : array or tensor, shape (m, d)
        Gradients, one a row. Zero rows count in m and are otherwise inert. Half precision is widened to float32.
    damp : float
        :math:`\lambda > 0`.
    block : int, optional
        Coordinates in different blocks of this size do not interact (the last may be short). Each block's Gram
        matrix, factor and solve run in float64 in the cache, in one native pass.
    method : {"gemm", "recurrence"}
        One Gram product, one Cholesky, one triangular solve; or the recurrence of the paper. Same numbers.
    pages : int, optional
        Keep W in a file, in this many pages of rows; two pages are in memory while it is made. For ``block=None``.
    dtype : dtype, optional
        Of W: float32 or float64; that of ``G`` by default.
    reduce : callable, optional
        Sums an array over the processes that hold the other coordinates (:func:`all_reduce_sum`).

    Raises
    ------
    ArgumentError
        ``damp`` is not positive, there is no gradient, or one is not finite (it is named).
    MemoryError
        W does not fit into the memory that is free.

    Notes
    -----
    W in float32 rounds at ``eps / damp``: with gradients much larger than ``damp`` ask for float64.
    Equivalent to ``numpy.linalg.inv(damp * I + G.T @ G / m)`` with ``block=None``.

    References
    ----------
    Frantar, Kurtic, Alistarh. M-FAC: Efficient Matrix-Free Approximations of Second-Order Information.
    NeurIPS 2021, arXiv 2107.03356.

    Examples
    --------
    >>> import numpy as np
    >>> G = np.eye(3)[:2] * 2.0
    >>> FisherInverse(G, damp=1.0).diag().round(3).tolist()
    [0.333, 0.333, 1.0]
    """

    def __init__(
        self,
        G: Array,
        damp: float = 1e-5,
        block: int | None = None,
        method: str = "gemm",
        pages: int | None = None,
        dtype: Any = None,
        reduce: Reduce | None = None,
    ) -> None:
        check_choice("method", method, ("gemm", "recurrence"))
        check_float("damp", damp, low=0, closed="neither")
        G = check_gradients(G, dtype)
        super().__init__(G.shape[1], damp, block, G.dtype)
        self.m = len(G)
        self._reduce = reduce
        self._file: Any = None
        self.W: np.ndarray
        blocked = self.block < self.d
        if pages is not None:
            pages = check_int("pages", pages, low=1, high=self.m)
            if blocked or method != "gemm":
                raise ArgumentError(f"pages={pages}: expected block=None and method='gemm' with it")
            self._file = tempfile.NamedTemporaryFile(prefix="fisher-inverse-")  # noqa: SIM115 - lives with W
            self.W = np.memmap(self._file, dtype=G.dtype, mode="w+", shape=G.shape)
            paged_factor(G, self.damp, pages, self.W, reduce)
            self._cuts = np.linspace(0, self.m, pages + 1).astype(int)
            return
        check_memory(G.nbytes)
        self._cuts = np.array([0, self.m])
        if reduce is not None and (blocked or method != "gemm"):
            raise ArgumentError("reduce is given: expected block=None and method='gemm' with it")
        if method == "recurrence":
            self.W = recurrence_factor(G, self.m, self.damp, self.block)
        elif blocked:
            self.W = fisher.blocks_factor(G, self.block, self.damp)
        else:
            self.W = gemm_factor(G, self.damp, reduce)

    @classmethod
    def from_stream(
        cls, gradients: Iterable[Array], m: int, damp: float = 1e-5, block: int | None = None
    ) -> FisherInverse:
        """Build it from ``m`` gradients that come one by one, by the recurrence; none is kept."""
        check_float("damp", damp, low=0, closed="neither")
        m = check_int("m", m, low=1)
        W = recurrence_factor((check_gradients(g[None])[0] for g in gradients), m, damp, block)
        self = cls.__new__(cls)
        InverseOperator.__init__(self, W.shape[1], damp, block, W.dtype)
        self.m, self.W, self._reduce, self._file, self._cuts = m, W, None, None, np.array([0, m])
        return self

    def _pages(self) -> Iterable[np.ndarray]:
        for a, b in zip(self._cuts[:-1], self._cuts[1:]):
            yield np.asarray(self.W[a:b])

    def _product(self, x: np.ndarray) -> np.ndarray:
        if x.ndim == 2:
            return np.stack([self._product(column) for column in x.T], axis=1) if x.shape[1] else x.copy()
        if self.block < self.d:
            return fisher.blocks_multiply(self.W, self.block, self.damp, x)
        y, alpha = x.astype(np.float64), 1 / self.damp  # pages add to one another: no rounding between them
        t = [fisher.project(page, x) for page in self._pages()]
        if self._reduce is not None:
            t = [self._reduce(part) for part in t]
        for part, page in zip(t, self._pages()):
            y, alpha = fisher.combine(page, part, y, alpha), 1.0
        return y

    def _diagonal(self) -> np.ndarray:
        out = np.full(self.d, 1 / self.damp)
        for page in self._pages():
            for row in page:
                out -= np.square(row, dtype=np.float64)
        return np.maximum(out, np.finfo(self.dtype).eps / self.damp)

    def _gram(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        out = np.equal(left[..., :, None], right[..., None, :]) / self.damp
        for page in self._pages():
            a, b = (np.moveaxis(page[:, idx].astype(np.float64), 0, -1) for idx in (left, right))
            out -= a @ np.swapaxes(b, -1, -2)
        return out

    def _element(self, a: int, b: int) -> float:
        return (1 / self.damp if a == b else 0.0) - fisher.columns_dot(self.W, a, b)


def check_memory(nbytes: int) -> None:
    """Refuse an allocation that the free memory does not hold."""
    if "SC_AVPHYS_PAGES" not in os.sysconf_names:
        return
    free = _available()
    if nbytes > free:
        raise MemoryError(
            f"{nbytes / 2**30:.1f} GiB for the gradients, {free / 2**30:.1f} GiB are free: "
            "use pages=, fewer gradients, or blocks of parameters one after the other"
        )


def _available() -> int:
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):  # counts caches that the system would give back
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
