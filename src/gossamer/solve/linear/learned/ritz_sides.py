"""Right sides to learn from: random mixtures of Ritz vectors in which the smooth ones dominate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from gossamer._core.checks import check_float, check_int
from gossamer._core.errors import ArgumentError
from gossamer._core.random import RandomState, check_random_state
from gossamer.solve.linear.lanczos import lanczos
from gossamer.solve.operators import check_operator


@dataclass(frozen=True)
class RitzSides:
    """A law of right sides of norm 1: ``sum(c_i R_i)``, c normal with the deviations of :attr:`deviations`.

    Attributes
    ----------
    values : ndarray of float64, shape (m,)
        Ritz values, ascending.
    vectors : ndarray of float32, shape (m, n)
        Ritz vectors, a vector a row.
    deviations : ndarray of float32, shape (m,)
        Of the coefficients.
    """

    values: np.ndarray
    vectors: np.ndarray
    deviations: np.ndarray

    def draw(self, count: int, random_state: RandomState = None) -> np.ndarray:
        """Draw right sides, float32 of shape (count, n)."""
        rng = check_random_state(random_state)
        shape = (check_int("count", count, low=1), len(self.values))
        sides = (rng.standard_normal(shape, np.float32) * self.deviations) @ self.vectors
        return sides / np.linalg.norm(sides, axis=1, keepdims=True)

    def smoother(self, exponent: float) -> RitzSides:
        """The same vectors with deviations times ``values ** -exponent``: long waves as they are in right sides.

        In the published law the smoothest vectors are a few of hundreds that weigh alike, and a network may miss
        them without much loss; in right sides of fluids they are most of what there is.
        """
        check_float("exponent", exponent, low=0)
        scaled = self.deviations * (self.values / self.values[0]) ** -exponent
        return RitzSides(self.values, self.vectors, scaled.astype(np.float32))

    def batches(
        self, count: int, batch_size: int = 16, random_state: RandomState = None
    ) -> Iterator[np.ndarray]:
        """Draw ``count`` batches of shape (batch_size, n), each when it is asked for."""
        rng = check_random_state(random_state)
        for _ in range(check_int("count", count, low=0)):
            yield self.draw(batch_size, rng)


def ritz_rhs_dataset(
    A: Any,
    *,
    n_ritz: int = 2000,
    theta: int | None = None,
    low_scale: float = 9.0,
    max_memory: float = 4e9,
    random_state: RandomState = None,
) -> RitzSides:
    r"""Compute the right sides that a network for ``A`` is trained on, from Ritz vectors of ``A``.

    .. math::

        b \propto \sum_i c_i R_i, \quad c_i \sim N(0, s_i^2), \quad
        s_i = 9 \ (i \le m / 2 + \theta), \ 1 \ (i > m / 2 + \theta)

    White noise would be nearly all rough, which any method removes in a few steps; these are mostly smooth, and still
    have some of everything. The Krylov space starts at ``A w`` with w normal. Ritz values near zero, which belong to
    a null space, are left out.

    Parameters
    ----------
    A : array, sparse matrix, StructuredMatrix or LinearOperator, shape (n, n)
        Symmetric positive semidefinite. Empty rows are allowed: right sides are zero there.
    n_ritz : int
        Lanczos vectors, at most n. Published: 10,000.
    theta : int, optional
        How many more than half of the vectors count as smooth; a twentieth of ``n_ritz`` by default, as published.
    low_scale : float
        Deviation of the coefficients of the smooth half.
    max_memory : float
        Bytes that Lanczos vectors may take (8 each entry, and as much again while they are rotated); fewer vectors
        are computed where ``n_ritz`` would not fit.
    random_state : int or Generator, optional
        Source of the start vector.

    Returns
    -------
    RitzSides
        Its :meth:`~RitzSides.draw` gives float32 batches of shape (B, n), of norm 1.

    Raises
    ------
    ArgumentError, ShapeError, UnsupportedError
        If an argument is out of range, or no Ritz value is positive.

    Notes
    -----
    ``2 n m**2`` flops for the Lanczos vectors, as many for the rotation; ``2 n m`` flops a right side.

    References
    ----------
    Kaneda, Akar, Chen, Kala, Hyde and Teran, "A deep conjugate direction method for iteratively solving linear
    systems", ICML 2023, arXiv 2205.10763, section 5.

    Examples
    --------
    >>> from gossamer.solve import GridStencil, ritz_rhs_dataset
    >>> ritz_rhs_dataset(GridStencil((16, 16)), n_ritz=100, random_state=0).draw(4, 1).shape
    (4, 256)
    """
    operator = check_operator("A", A)
    n = operator.shape[0]
    room = int(check_float("max_memory", max_memory, low=0) // (16 * max(n, 1)))
    if room < 1:
        raise ArgumentError(
            f"max_memory={max_memory:g}: expected {16 * n} or more, which one vector of {n} takes"
        )
    rng = check_random_state(random_state)
    basis = lanczos(
        operator, operator.matvec(rng.standard_normal(n)), min(check_int("n_ritz", n_ritz, low=1), room)
    )
    values, vectors = basis.ritz(low=1e-8)
    if not len(values):
        raise ArgumentError(
            "A has no Ritz value above 1e-8: expected a positive semidefinite matrix other than zero"
        )
    m = len(values)
    smooth = m // 2 + (m // 20 if theta is None else check_int("theta", theta, low=-(m // 2)))
    deviations = np.ones(m, np.float32)
    deviations[:smooth] = check_float("low_scale", low_scale, low=0)
    return RitzSides(values, vectors.astype(np.float32), deviations)
