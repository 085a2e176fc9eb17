"""Sets of monomials that belong to coordinates of different size."""

from __future__ import annotations

import math
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from scipy.special import gammaln

from gossamer._core.arrays import Array, is_torch, to_numpy
from gossamer._core.checks import check_array, check_float, check_int
from gossamer._core.errors import BoundError, ShapeError
from gossamer._kernels.monomial import Program


class AnisotropicMonomials:
    r"""The monomials :math:`x^m = \prod_l x_l^{m_l}` of degree at most g that matter for coordinates of given size.

    A term :math:`\prod_l M_l^{m_l} / m_l!` of :math:`\exp \sum_l M_l` is what the monomial m can contribute. The
    largest are kept, so that those dropped add up to at most ``budget``; whatever divides a kept monomial is kept.
    ``budget=0`` keeps all C(d + g, g).

    Parameters
    ----------
    bounds : array, shape (d,)
        :math:`M_l \ge 0`: how large the product of the l-th coordinates can be. Coordinates with 0 take no part.
    degree : int
        g.
    budget : float
        What the dropped terms may add up to.
    max_features : int
        Largest number of monomials.

    Attributes
    ----------
    exponents : array of int, shape (r, d)
        m, by rising degree; the first row is 0.
    degrees : array of int, shape (r,)
        :math:`|m|`.
    dropped : float
        What the dropped terms add up to, at most.

    Raises
    ------
    BoundError
        If it takes more than ``max_features`` monomials.

    Notes
    -----
    :meth:`accumulate` and :meth:`apply` multiply with the (n, r) matrix of all monomials without forming it, at one
    multiplication a monomial besides the products; torch tensors have gradients.

    Examples
    --------
    >>> import numpy as np
    >>> len(AnisotropicMonomials(np.ones(8), 4)), len(AnisotropicMonomials(2.0 ** -np.arange(8), 4, budget=1e-2))
    (495, 217)
    """

    def __init__(
        self, bounds: Any, degree: int, *, budget: float = 0.0, max_features: int = 1_000_000
    ) -> None:
        M = np.abs(to_numpy(check_array("bounds", bounds, ndim=1)).astype(np.float64))
        degree = check_int("degree", degree, low=0)
        check_float("budget", budget, low=0)
        check_int("max_features", max_features, low=1)
        order = np.argsort(-M, kind="stable")
        active = order[M[order] > 0]
        kept, self.dropped = _choose(tuple(M[active].tolist()), degree, float(budget), max_features)
        self.exponents = np.zeros((len(kept), len(M)), kept.dtype)
        self.exponents[:, active] = kept
        self.degrees = kept.sum(axis=1)

    def __len__(self) -> int:
        return len(self.exponents)

    def __repr__(self) -> str:
        return (
            f"<{len(self)} monomials of {self.exponents.shape[1]} coordinates, degree {self.degrees.max()}>"
        )

    @cached_property
    def multinomials(self) -> np.ndarray:
        """:math:`|m|! / m!`, shape (r,): how often :math:`x^m` occurs in a power of a sum."""
        logs = np.array([math.lgamma(k + 1) for k in range(int(self.degrees.max()) + 1)])
        return np.exp(logs[self.degrees] - logs[self.exponents].sum(axis=1))

    @cached_property
    def program(self) -> Program:
        """The order of multiplications: each monomial is an earlier one times its last coordinate."""
        exponents = self.exponents
        place = {row.tobytes(): i for i, row in enumerate(exponents)}
        last = exponents.shape[1] - 1 - (exponents[:, ::-1] > 0).argmax(axis=1)
        parents = exponents.copy()
        parents[np.arange(1, len(parents)), last[1:]] -= 1
        parent = np.array([place[row.tobytes()] for row in parents], np.int32)
        return Program(parent, last.astype(np.int32), exponents.shape[1])

    def features(self, X: Array) -> Array:
        """All monomials of the rows of X (..., n, d), as (..., n, r)."""
        self._check(X)
        if is_torch(X):
            from gossamer.linalg.transforms import monomial_autograd

            return monomial_autograd.features(self.program, X)
        return self.program.features(_flat(X)).reshape(*X.shape[:-1], len(self))

    def accumulate(self, X: Array, V: Array) -> Array:
        """``features(X)^T V`` (..., r, p) for V (..., n, p), without forming the features. O(n r p)."""
        self._check(X)
        if is_torch(X):
            from gossamer.linalg.transforms import monomial_autograd

            return monomial_autograd.accumulate(self.program, X, V)
        return self.program.accumulate(_flat(X), _flat(V)).reshape(*X.shape[:-2], len(self), V.shape[-1])

    def apply(self, X: Array, W: Array) -> Array:
        """``features(X) W`` (..., n, p) for W (..., r, p), without forming the features. O(n r p)."""
        self._check(X)
        if is_torch(X):
            from gossamer.linalg.transforms import monomial_autograd

            return monomial_autograd.apply(self.program, X, W)
        return self.program.apply(_flat(X), _flat(W).swapaxes(1, 2)).reshape(*X.shape[:-1], W.shape[-1])

    def _check(self, X: Array) -> None:
        if X.ndim < 2 or X.shape[-1] != self.exponents.shape[1]:
            raise ShapeError(f"X has shape {tuple(X.shape)}: expected (..., n, {self.exponents.shape[1]})")


def _flat(x: np.ndarray) -> np.ndarray:
    return x.reshape(math.prod(x.shape[:-2]), *x.shape[-2:])


@lru_cache(maxsize=64)
def _choose(M: tuple[float, ...], degree: int, budget: float, max_features: int) -> tuple[np.ndarray, float]:
    """Exponents for sizes in falling order, and what is dropped."""
    everything = math.comb(len(M) + degree, degree)
    R = sum(M)
    with np.errstate(over="ignore"):
        total = float(_terms(R, degree).sum())
    rounding = 4e-16 * (degree + 2) * total
    tables = [_largest_from(size, degree) for size in M]
    threshold = math.prod(float(table[0]) for table in tables)
    spare = budget - rounding
    limit = everything if everything <= max_features else 4 * max_features
    hopeless = (
        not total - spare <= threshold * max_features
    )  # no term exceeds the threshold that is set so far
    while True:
        threshold = 0.0 if spare <= 0 else threshold / 2
        found = None if hopeless else _above(tables, degree, threshold, limit)
        if found is None:
            raise BoundError(
                f"degree={degree} for R={R:.4g} in {len(M)} coordinates takes more than max_features={max_features} "
                f"monomials (all of them are {everything})",
                R,
                everything,
            )
        exponents, envelope = found
        terms = np.array([_terms(size, degree) for size in M]).reshape(len(M), degree + 1)
        weights = np.prod(terms[np.arange(len(M)), exponents], axis=1) if M else np.ones(1)
        if len(exponents) == everything or total - weights.sum() <= spare:
            break
    order = np.lexsort((exponents.sum(axis=1), -envelope))
    needed = total - spare
    enough = len(order) if spare <= 0 else int(np.searchsorted(np.cumsum(weights[order]), needed)) + 1
    order = order[:enough]
    if len(order) > max_features:
        raise BoundError(
            f"degree={degree} for R={R:.4g} takes {len(order)} monomials: expected at most max_features={max_features}",
            R,
            len(order),
        )
    kept = exponents[order]
    dropped = 0.0 if len(order) == everything else max(total - float(weights[order].sum()), 0.0) + rounding
    return kept[np.lexsort((*kept.T[::-1], kept.sum(axis=1)))] if M else kept, dropped


def _terms(size: float, degree: int) -> np.ndarray:
    """``size^k / k!`` for k = 0, ..., degree; infinity where that is too large for float64."""
    k = np.arange(degree + 1)
    with np.errstate(over="ignore"):
        return np.exp(k * math.log(size) - gammaln(k + 1.0)) if size > 0 else (k == 0).astype(np.float64)


def _largest_from(size: float, degree: int) -> np.ndarray:
    """Entry k: the largest of ``size^j / j!`` over k <= j <= degree. Falling, so that thresholds keep divisors."""
    return np.maximum.accumulate(_terms(size, degree)[::-1])[::-1]


def _above(
    tables: list[np.ndarray], degree: int, threshold: float, limit: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """Exponents whose product of table entries is at least the threshold, and these products; None past the limit."""
    rest = np.cumprod([1.0, *(table[0] for table in reversed(tables))])[::-1][1:]
    exponents = np.zeros((1, 0), np.int16)
    products, degrees = np.ones(1), np.zeros(1, np.int64)
    for table, largest in zip(tables, rest, strict=True):
        table = table[: int(np.count_nonzero(table * (largest * products.max()) >= threshold))]
        wide = products[:, None] * table
        tall = degrees[:, None] + np.arange(len(table))
        row, power = np.nonzero((tall <= degree) & (wide * largest >= threshold))
        if len(row) > limit:
            return None
        exponents = np.column_stack([exponents[row], power.astype(np.int16)])
        products, degrees = wide[row, power], tall[row, power]
    return exponents, products
