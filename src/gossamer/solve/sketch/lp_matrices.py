"""Matrices of small, large and one-sided sensitivities, to try samples of rows on."""

from __future__ import annotations

import numpy as np
import scipy.linalg

from gossamer._core.checks import check_choice, check_int
from gossamer._core.random import RandomState, check_random_state

KINDS = ("vandermonde", "gaussian", "low-rank+sparse", "toeplitz", "heavy", "flat")


def lp_matrix(n: int, d: int, kind: str = "vandermonde", *, random_state: RandomState = None) -> np.ndarray:
    """A matrix whose sensitivities have a known shape.

    Parameters
    ----------
    n, d : int
        Rows and columns, n at least d.
    kind : str
        ``"vandermonde"``: Chebyshev polynomials at Chebyshev points, a total that grows about linearly with d for any
        p. ``"gaussian"``: independent entries; for p = 4 a total of about ``d (d + 2) / 3``. ``"low-rank+sparse"``:
        rank 2 and two entries a row. ``"toeplitz"``: windows of a random sequence. ``"heavy"``: one-hot rows of which
        some columns have one only, and few rows a hundred times as large; uniform samples lose them. ``"flat"``:
        columns of a Hadamard matrix, the instance that needs ``S^{2/p} = d`` rows for p < 2; n is a power of two.
    random_state : int, Generator or None
        Source of entries.

    Returns
    -------
    ndarray, shape (n, d)
    """
    check_int("d", d, low=1)
    check_int("n", n, low=d)
    check_choice("kind", kind, KINDS)
    rng = check_random_state(random_state)
    if kind == "vandermonde":
        x = np.cos(np.pi * (np.arange(n) + 0.5) / n)
        return np.polynomial.chebyshev.chebvander(x, d - 1)
    if kind == "gaussian":
        return rng.standard_normal((n, d))
    if kind == "toeplitz":
        sequence = rng.standard_normal(n + d - 1)
        return np.lib.stride_tricks.sliding_window_view(sequence, d).copy()
    if kind == "low-rank+sparse":
        A = rng.standard_normal((n, min(2, d))) @ rng.standard_normal((min(2, d), d))
        for _ in range(2):
            A[np.arange(n), rng.integers(0, d, n)] += rng.standard_normal(n)
        return A
    if kind == "flat":
        check_choice("n", n, [1 << max(n - 1, 0).bit_length()])
        return scipy.linalg.hadamard(n)[:, rng.choice(n, d, replace=False)].astype(np.float64)
    A = np.zeros((n, d))
    half = max(d // 2, 1)
    A[np.arange(n), rng.integers(0, half, n)] = 1.0
    rare = rng.choice(n, d - half, replace=False)
    A[rare] = 0.0
    A[rare, np.arange(half, d)] = 1.0
    A[rng.choice(n, max(n // 1000, 1), replace=False), : max(half, 1)] *= 100.0
    return A
