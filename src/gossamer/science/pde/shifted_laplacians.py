"""Sequences of independent systems that differ by a shift: what learners of a solver's parameter are tried on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from gossamer._core.checks import check_choice, check_int
from gossamer._core.random import RandomState, check_random_state
from gossamer.solve import GridStencil

SHIFTS = {"high": (0.5, 1.5), "low": (2.0, 6.0)}
"""Parameters of the beta law of the shifts, which have the same mean."""


def shifted_laplacians(
    count: int,
    *,
    variance: str = "high",
    side: int = 10,
    sparse: bool = True,
    random_state: RandomState = None,
) -> Iterator[tuple[Any, np.ndarray, float]]:
    """Draw systems ``(A + c I) x = b`` with the 5-point star A on a square, a random shift and a random right side.

    ``c = -0.15 + 0.6 z`` with z of the beta law (1/2, 3/2), whose variance is high, or (2, 6), whose variance is low;
    b from :func:`truncated_gaussian`.

    Parameters
    ----------
    count : int
        Systems.
    variance : str
        ``"high"`` or ``"low"``, of the shifts.
    side : int
        Points along an edge of the square; the matrices are positive definite up to 10.
    sparse : bool
        Sparse matrices; else :class:`gossamer.solve.GridStencil`, which holds none.
    random_state : int or Generator, optional
        Source of shifts and right sides.

    Yields
    ------
    A : csr_array or GridStencil, shape (side**2, side**2)
    b : ndarray of float64, shape (side**2,)
    c : float
        The shift, which is the context of the system; in [-0.15, 0.45].

    Raises
    ------
    ArgumentError
        If an argument is out of range.

    References
    ----------
    Khodak, Chow, Balcan and Talwalkar, "Learning to relax", ICLR 2024, arXiv 2310.02246, section 2.

    Examples
    --------
    >>> from gossamer.science import shifted_laplacians
    >>> [A.shape for A, b, c in shifted_laplacians(2, random_state=0)]
    [(100, 100), (100, 100)]
    """
    check_int("count", count, low=0)
    a, b = SHIFTS[check_choice("variance", variance, SHIFTS)]
    check_int("side", side, low=1, high=10)
    rng = check_random_state(random_state)
    return _draw(count, a, b, side, sparse, rng)


def truncated_gaussian(n: int, random_state: RandomState = None) -> np.ndarray:
    """Draw from the normal distribution with unit covariance, given that the norm is at most the root of ``n``.

    Parameters
    ----------
    n : int
        Dimension.
    random_state : int or Generator, optional
        Source of the draw.

    Returns
    -------
    ndarray of float64, shape (n,)

    Notes
    -----
    By rejection; about half of the draws are kept.
    """
    rng, limit = check_random_state(random_state), math.sqrt(check_int("n", n, low=1))
    while True:
        b = rng.standard_normal(n)
        if np.linalg.norm(b) <= limit:
            return b


def _draw(
    count: int, a: float, b: float, side: int, sparse: bool, rng: np.random.Generator
) -> Iterator[tuple[Any, np.ndarray, float]]:
    star = GridStencil((side, side)).to_scipy()
    diagonal = np.flatnonzero(star.data > 0)
    for _ in range(count):
        c = -0.15 + 0.6 * float(rng.beta(a, b))
        A: Any = GridStencil((side, side), shift=c)
        if sparse:
            A = star.copy()
            A.data[diagonal] += c
        yield A, truncated_gaussian(side * side, rng), c
