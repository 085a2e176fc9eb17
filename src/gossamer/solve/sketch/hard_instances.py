"""Least-squares problems that tell dense sketches from sparse ones and from samples of rows."""

from __future__ import annotations

import numpy as np
import scipy.sparse

from gossamer._core.checks import check_choice, check_int


def linf_hard_instance(n: int, d: int, kind: str = "spread") -> tuple[scipy.sparse.csr_array, np.ndarray]:
    r"""A problem :math:`A = [I_d; 0]` with solution zero and residual one, on which some sketches fail.

    A sketch that puts a row of b into the same bucket as row i of the identity, alone, moves coefficient i by all of
    that row. Random matrices A do not show this: there all sketches look alike.

    Parameters
    ----------
    n, d : int
        Rows and columns, n at least 2 d.
    kind : {"spread", "single", "heavy"}
        ``"spread"``: b is ``1 / sqrt(d)`` on d rows, which meet rows of the identity in some bucket of a CountSketch
        unless it has of the order of d squared of them. ``"single"``: b is one on one row: rarely wrong, then by all of
        it. ``"heavy"``: as "spread" in all rows of b, and the first row of A is 1e8 times as large, which a sample
        of rows misses.

    Returns
    -------
    A : csr_array, shape (n, d)
        Singular values one, save one of 1e8 for "heavy".
    b : ndarray, shape (n,)
        Orthogonal to the columns of A; ``||b|| = 1``.

    References
    ----------
    Song, Ye, Yang, Zhang, arXiv 2302.00248, ICML 2023.

    Examples
    --------
    >>> from gossamer.solve import linf_hard_instance
    >>> A, b = linf_hard_instance(4096, 16)
    >>> A.shape, float(abs(A.T @ b).max()), float(b @ b)
    ((4096, 16), 0.0, 1.0)
    """
    check_int("d", d, low=1)
    check_int("n", n, low=2 * d)
    check_choice("kind", kind, ("spread", "single", "heavy"))
    values = np.ones(d)
    b = np.zeros(n)
    if kind == "heavy":
        values[0] = 1e8
        b[d:] = 1 / np.sqrt(n - d)
    elif kind == "single":
        b[d] = 1.0
    else:
        b[d : 2 * d] = 1 / np.sqrt(d)
    places = np.arange(d)
    return scipy.sparse.csr_array((values, (places, places)), shape=(n, d)), b
