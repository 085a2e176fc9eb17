"""The dynamic algorithm of M-FAC: the inverse Fisher of the last m gradients, one replaced at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.linalg import cholesky, solve_triangular

from gossamer._core.arrays import Array, is_torch, like, to_numpy
from gossamer._core.checks import check_array, check_choice, check_float, check_int
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._kernels import fisher
from gossamer.solve.curvature.fisher_inverse import check_memory
from gossamer.solve.curvature.operator import InverseOperator
from gossamer.solve.shards import Reduce

STORE = {"float32": np.float32, "float64": np.float64, "bfloat16": np.uint16}


def window_coefficients(gram: np.ndarray, damp: float) -> tuple[np.ndarray, np.ndarray]:
    r"""The coefficients of the paper, from a window's Gram matrix: :math:`D` (upper) and :math:`B` (lower).

    :math:`D_{ij} = g_i^T F_{i-1}^{-1} g_j` and :math:`F_{i-1}^{-1} g_i = \sum_{j \le i} B_{ij} g_j`, where
    :math:`F_{i-1}` holds the rows before i.

    Parameters
    ----------
    gram : ndarray, shape (m, m)
        ``G G^T``.
    damp : float
        Damping.

    Returns
    -------
    D, B : ndarray of float64, shape (m, m)
        O(m^3).
    """
    m = len(gram)
    D = np.triu(gram / damp)
    for i in range(m):  # row i is final once the rows before it are taken off
        D[i + 1 :, i + 1 :] -= np.triu(np.outer(D[i, i + 1 :], D[i, i + 1 :])) / (m + D[i, i])
    B = np.eye(m) / damp
    weights = D / (m + np.diagonal(D))[:, None]
    for i in range(1, m):
        B[i, :i] = -weights[:i, i] @ B[:i, :i]
    return D, B


class SlidingFisherInverse(InverseOperator):
    r"""Inverse of :math:`F = \lambda I + \frac1m \sum g g^T` over the last m gradients.

    With :math:`K = m\lambda I + G G^T`, :math:`F^{-1} x = \lambda^{-1}(x - G^T K^{-1} G x)`: two passes over the
    window and O(m^2). A push writes one row of the ring and exchanges one row of the Cholesky factor of K, O(dm +
    m^2). Rows that have not been filled are zero and inert.

    Parameters
    ----------
    m : int
        Length of the window.
    d : int
        Coordinates (in this process, with ``reduce``).
    damp : float
        :math:`\lambda > 0`.
    update : {"cholupdate", "refactor"}
        Exchange the row in O(m^2) (and factor afresh every 4m pushes, or when the factor drifts), or factor K at
        every push, O(m^3).
    method : {"cholesky", "paper"}
        Products by the Cholesky factor, or by the paper's D and B, which are refreshed in O(m^3) at each push.
    store_dtype : {"float32", "float64", "bfloat16"}, optional
        Of the window, float32 by default. K and all sums are float64.
    reduce : callable, optional
        Sums an array over the processes that hold the other coordinates (:func:`all_reduce_sum`).

    Raises
    ------
    ArgumentError
        ``damp`` is not positive, or a gradient is not finite (its push is numbered).
    MemoryError
        The window does not fit into the memory that is free.

    References
    ----------
    Frantar, Kurtic, Alistarh. M-FAC. NeurIPS 2021, arXiv 2107.03356.

    Examples
    --------
    >>> import numpy as np
    >>> inverse = SlidingFisherInverse(m=1, d=2, damp=1.0)
    >>> inverse.push_mul(np.array([3.0, 0.0])).round(3).tolist()
    [0.3, 0.0]
    """

    def __init__(
        self,
        m: int,
        d: int,
        damp: float = 1e-5,
        update: str = "cholupdate",
        method: str = "cholesky",
        store_dtype: Any = None,
        reduce: Reduce | None = None,
    ) -> None:
        self.update = check_choice("update", update, ("cholupdate", "refactor"))
        self.method = check_choice("method", method, ("cholesky", "paper"))
        name = str(store_dtype or "float32").removeprefix("torch.")
        if name not in STORE and store_dtype in (np.float32, np.float64):
            name = np.dtype(store_dtype).name
        self.store_dtype = check_choice("store_dtype", name, STORE)
        self.m = check_int("m", m, low=1)
        super().__init__(d, damp, None, np.float64 if name == "float64" else np.float32)
        dtype = np.dtype(STORE[self.store_dtype])
        check_memory(self.m * self.d * dtype.itemsize)
        self.G = np.zeros((self.m, self.d), dtype)
        self.gram = np.zeros((self.m, self.m))
        self.pushes = 0
        self._reduce = reduce or (lambda array: array)
        self._since = 0
        self._upper: np.ndarray = np.eye(self.m)
        self._refactor()

    def push(self, g: Array) -> None:
        """Replace the oldest gradient by ``g`` (d,). O(dm + m^2)."""
        self._push(self._row(g))

    def push_mul(self, g: Array) -> Array:
        """Push ``g`` and return ``F^-1`` times it, as the window stores it; the two share the product ``G g``."""
        t, held = self._push(self._row(g))
        y = self._finish(held, t)
        return like(y, g).to(g.dtype) if is_torch(g) else y.astype(to_numpy(g).dtype, copy=False)

    def window(self) -> np.ndarray:
        """The gradients, shape (m, d), in the order of the ring's slots (not by age); float32 or float64."""
        wide = self.G
        return (wide.astype(np.uint32) << 16).view(np.float32) if wide.dtype == np.uint16 else wide.copy()

    def coefficients(self) -> tuple[np.ndarray, np.ndarray]:
        """The paper's D and B for the rows in the order of :meth:`window`."""
        return window_coefficients(self.gram, self.damp)

    def set_damp(self, damp: float) -> None:
        """Change the damping; factors K afresh, O(m^3)."""
        self.damp = check_float("damp", damp, low=0, closed="neither")
        self._refactor()

    def drift(self) -> float:
        """How far the factor is from K: ``|U^T U - K| / |K|`` in the Frobenius norm."""
        K = self._kernel()
        return float(np.linalg.norm(self._upper.T @ self._upper - K) / np.linalg.norm(K))

    def state(self) -> dict[str, Any]:
        """Everything that a twin needs to go on bit by bit; see :meth:`set_state`."""
        return {
            "G": self.G, "gram": self.gram, "upper": self._upper,
            "damp": self.damp, "pushes": self.pushes, "since": self._since,
        }  # fmt: skip

    def set_state(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state` gave; shapes and dtypes must be those of this window."""
        for name, own in (("G", self.G), ("gram", self.gram), ("upper", self._upper)):
            given = np.asarray(state[name])
            if given.shape != own.shape or given.dtype != own.dtype:
                raise ShapeError(
                    f"{name} is {given.dtype} {given.shape}: expected {own.dtype} {own.shape} (ngrads, coordinates)"
                )
        self.G, self.gram, self._upper = (np.array(state[key]) for key in ("G", "gram", "upper"))
        self.damp, self.pushes, self._since = float(state["damp"]), int(state["pushes"]), int(state["since"])
        if self.method == "paper":
            self._coefficients = self.coefficients()

    def _row(self, g: Array) -> np.ndarray:
        row = to_numpy(check_array("g", g, ndim=1, finite=False))
        if row.shape != (self.d,):
            raise ShapeError(f"g has shape {row.shape}: expected ({self.d},)")
        return row

    def _push(self, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Store the row; returns ``G g`` and g itself as stored, so that both sides of a product agree."""
        slot = self.pushes % self.m
        held: np.ndarray | None = None
        if self.G.dtype != np.float64:
            held = fisher.store_row(self.G, slot, row)
        elif np.isfinite(row).all():
            self.G[slot] = row
            held = self.G[slot]
        if held is None:
            bad = int((~np.isfinite(row.astype(self.dtype))).sum())
            raise ArgumentError(f"the gradient of step {self.pushes + 1} has {bad} NaN or infinite entries")
        if row.dtype == np.float64:
            held = held.astype(np.float64)  # the product is asked for in float64
        t = self._reduce(fisher.project(self.G, held))
        self.gram[slot] = self.gram[:, slot] = t
        self.pushes += 1
        self._since += 1
        self._exchange(slot)
        return t, held

    def _exchange(self, slot: int) -> None:
        if self.method == "paper" or self.update == "refactor" or self._since >= 4 * self.m:
            self._refactor()
            return
        column = self.gram[slot].copy()
        column[slot] += self.m * self.damp
        if not fisher.replace(self._upper, slot, column) or (self._since % 8 == 0 and self._drifted()):
            self._refactor()

    def _drifted(self) -> bool:
        """Probe of the drift in O(m^2): the factor and K times a fixed vector of signs."""
        z = np.where(np.arange(self.m) * 2654435761 % 4096 < 2048, 1.0, -1.0)
        K = self._kernel()
        return bool(np.linalg.norm(self._upper.T @ (self._upper @ z) - K @ z) > 1e-10 * np.linalg.norm(K))

    def _kernel(self) -> np.ndarray:
        K = self.gram.copy()
        K[np.diag_indices_from(K)] += self.m * self.damp
        return K

    def _refactor(self) -> None:
        self._since = 0
        if self.method == "paper":
            self._coefficients = self.coefficients()
            self._upper = np.eye(self.m)
            return
        try:
            self._upper = np.ascontiguousarray(cholesky(self._kernel(), check_finite=False))
        except np.linalg.LinAlgError as error:
            raise ArgumentError(
                f"damp={self.damp!r}: too small for gradients of this size, K is singular"
            ) from error

    def _finish(self, x: np.ndarray, t: np.ndarray) -> np.ndarray:
        """``F^-1 x`` from ``t = G x``."""
        return fisher.combine(self.G, self._solve(t), x, 1 / self.damp)

    def _solve(self, t: np.ndarray) -> np.ndarray:
        if self.method == "cholesky":
            return fisher.solve(self._upper, t) / self.damp
        D, B = self._coefficients
        t = t / self.damp
        pivots = self.m + np.diagonal(D)
        for k in range(self.m - 1):
            t[k + 1 :] -= D[k, k + 1 :] * (t[k] / pivots[k])
        return B.T @ (t / pivots)

    def _product(self, x: np.ndarray) -> np.ndarray:
        if x.ndim == 2:
            return np.stack([self._product(column) for column in x.T], axis=1) if x.shape[1] else x.copy()
        return self._finish(x, self._reduce(fisher.project(self.G, x)))

    def _whitened(self, idx: np.ndarray) -> np.ndarray:
        """Columns ``idx`` of ``W = L^-1 G / sqrt(damp)``."""
        if self.method == "paper":
            half = np.linalg.cholesky(self._kernel())
        else:
            half = self._upper.T
        G = self.window()[:, idx].astype(np.float64)
        return solve_triangular(half, G.reshape(self.m, -1), lower=True).reshape(G.shape) / np.sqrt(self.damp)

    def _diagonal(self) -> np.ndarray:
        return np.concatenate(
            [
                1 / self.damp - np.square(self._whitened(np.arange(a, min(a + 65536, self.d)))).sum(axis=0)
                for a in range(0, self.d, 65536)
            ]
        )

    def _gram(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        a, b = (np.moveaxis(self._whitened(idx), 0, -1) for idx in (left, right))
        return np.equal(left[..., :, None], right[..., None, :]) / self.damp - a @ np.swapaxes(b, -1, -2)
