"""What a sparse transform returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gossamer._core.checks import check_int
from gossamer._core.errors import bad_argument
from gossamer._core.results import Result
from gossamer.linalg.transforms.sparse_wht.bits import characters, pack_bits
from gossamer.linalg.transforms.walsh_hadamard import factor


@dataclass(frozen=True, kw_only=True, repr=False)
class SparseWHTResult(Result):
    """Coefficients that a sparse transform has found.

    Attributes
    ----------
    n : int
        Bits of an index.
    support : ndarray, shape (K,), uint64
        Indices k, ascending: bit i belongs to column i of the inputs.
    coef : ndarray, shape (K,)
        Coefficients in the scale of ``norm``.
    error : ndarray, shape (K,)
        Their standard errors.
    norm : str
        "forward": ``f(m) = sum_k coef[k] (-1)^<m, k>``.
    n_queries : int
        Distinct inputs that f was asked for.
    n_samples : int
        Samples of the sketch; an input may occur twice.
    sigma : float
        Standard deviation of the noise of a sample, given or estimated.
    detection_floor : float
        A coefficient below it may be missing, in the scale of ``norm``.
    energy, residual_energy : float
        Mean square of a bin's entries before and after, noise included, in the scale "forward".
    unresolved_bins : int
        Bins that hold more than noise at the end.
    rounds : int
        Rounds of peeling.
    b, groups, offsets : int
        The sketch: ``2**b`` bins in each group, P offsets.
    method : str
        The detector.
    """

    n: int
    support: np.ndarray
    coef: np.ndarray
    error: np.ndarray
    norm: str
    n_queries: int
    n_samples: int
    sigma: float
    detection_floor: float
    energy: float
    residual_energy: float
    unresolved_bins: int
    rounds: int
    b: int
    groups: int
    offsets: int
    method: str

    def predict(self, X: Any) -> np.ndarray:
        """``f`` by the coefficients found: (q,) for rows of bits (q, n), or for integers (q,). O(q K)."""
        array = np.asarray(X)
        points = (
            array.astype(np.uint64)
            if array.ndim == 1 and array.dtype.kind in "ui"
            else pack_bits(array, self.n)
        )
        coef = self.coef / (factor(self.norm, 1 << self.n) * (1 << self.n))
        values = np.zeros(len(points))
        step = max(1, (1 << 22) // max(len(coef), 1))  # 32 MB of signs at a time
        for start in range(0, len(points), step):
            values[start : start + step] = characters(points[start : start + step], self.support) @ coef
        return values

    def to_dense(self) -> np.ndarray:
        """All ``2**n`` coefficients; refused from n = 31 on."""
        if self.n > 30:
            raise bad_argument("n", self.n, "at most 30 bits: the dense spectrum has 2**n numbers")
        dense = np.zeros(1 << self.n)
        dense[self.support.astype(np.int64)] = self.coef
        return dense

    def interactions(self, max_order: int | None = None) -> list[tuple[tuple[int, ...], float]]:
        """Coefficients as sets of columns with their value, the largest first.

        Parameters
        ----------
        max_order : int, optional
            Largest set that is listed; all by default.
        """
        limit = self.n if max_order is None else check_int("max_order", max_order, low=0)
        order = np.argsort(-np.abs(self.coef), kind="stable")
        sets = [(_columns(int(self.support[i])), float(self.coef[i])) for i in order]
        return [pair for pair in sets if len(pair[0]) <= limit]


def _columns(k: int) -> tuple[int, ...]:
    return tuple(i for i in range(k.bit_length()) if k >> i & 1)
