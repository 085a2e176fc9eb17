"""Very sparse random projections, drawn in blocks so that any columns can be had without the others."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy.sparse

from gossamer._core.checks import check_choice, check_float, check_int
from gossamer._core.random import RandomState, check_random_state

GROUP = 32
"""Columns of a block; panels of columns start at multiples of it."""
_ROWS = 1 << 18


def very_sparse_projection(
    n: int, d: int, s: float | str = "sqrt", random_state: RandomState = None, dtype: Any = np.float32
) -> scipy.sparse.csr_array:
    r"""Draw a random matrix most of whose entries are zero, and whose rows are orthonormal in the mean.

    Entries are independent: :math:`\pm\sqrt{s / d}` with probability :math:`1 / (2 s)` each, else 0, so that
    :math:`E[R R^T] = I`: rows of ``M @ R`` have about the inner products of rows of ``M``. ``s = 1`` gives dense signs,
    3 the matrix of Achlioptas, ``sqrt(n)`` the very sparse one of Li, Hastie and Church.

    Equivalent in distribution to the ``components_.T`` of ``sklearn.random_projection.SparseRandomProjection`` with
    ``density=1/s``. Columns are drawn in groups of 32, each from a stream of its own: the first columns of a wider
    matrix of the same seed are the same up to scale.

    Parameters
    ----------
    n, d : int
        Rows and columns.
    s : float or "sqrt"
        At least 1; the reciprocal of the density. "sqrt" is the root of n.
    random_state : int, Generator or None
        Source of randomness.
    dtype : dtype
        float32 or float64; the draws do not depend on it.

    Returns
    -------
    scipy.sparse.csr_array, shape (n, d)
        About ``n d / s`` stored entries; time and memory follow them.

    Raises
    ------
    ArgumentError
        If n or d is below 1, s below 1, or the dtype another one.

    References
    ----------
    Li, Hastie, Church, "Very sparse random projections", KDD 2006.

    Examples
    --------
    >>> from gossamer.graph import very_sparse_projection
    >>> R = very_sparse_projection(10_000, 64, random_state=0)
    >>> R.shape, abs(R.nnz - 6400) < 400
    ((10000, 64), True)
    """
    n, d = check_int("n", n, low=1), check_int("d", d, low=1)
    dtype = np.dtype(check_choice("dtype", np.dtype(dtype).name, ("float32", "float64")))
    seed = draw_seed(random_state)
    return sparse_columns(seed, n, d, sparsity(s, n), 0, d).tocsr().astype(dtype, copy=False)


def draw_seed(random_state: RandomState) -> int:
    """The number from which the streams of all blocks follow."""
    return int(check_random_state(random_state).integers(1 << 63))


def sparsity(s: Any, n: int) -> float:
    """The reciprocal of the density that ``s`` stands for."""
    return (
        math.sqrt(n) if isinstance(s, str) and check_choice("s", s, ("sqrt",)) else check_float("s", s, low=1)
    )


def sparse_columns(seed: int, n: int, d: int, s: float, first: int, last: int) -> scipy.sparse.csc_array:
    """Columns ``first`` (a multiple of GROUP) to ``last`` of the very sparse matrix (n, d), in float64."""
    value = math.sqrt(s / d)
    places, signs = [], []
    for group in range(first // GROUP, -(-last // GROUP)):
        for block in range(-(-n // _ROWS)):
            rows = min(_ROWS, n - block * _ROWS)
            rng = _stream(seed, group, block)
            count = rng.binomial(rows * GROUP, 1 / s)
            at = rng.choice(rows * GROUP, count, replace=False, shuffle=False)
            sign = rng.integers(0, 2, count)
            column, row = at // rows + group * GROUP, at % rows + block * _ROWS
            inside = column < last
            places.append(np.stack([row[inside], column[inside] - first]))
            signs.append(sign[inside])
    row, column = np.concatenate(places, axis=1)
    data = value * (2.0 * np.concatenate(signs) - 1)
    return scipy.sparse.coo_array((data, (row, column)), shape=(n, last - first)).tocsc()


def gaussian_columns(seed: int, n: int, d: int, first: int, last: int) -> np.ndarray:
    """The same columns of a dense matrix of normal entries with variance 1 / d, in float32."""
    out = np.empty((n, last - first), np.float32)
    for group in range(first // GROUP, -(-last // GROUP)):
        start = group * GROUP - first
        width = min(GROUP, last - group * GROUP)
        for block in range(-(-n // _ROWS)):
            rows = slice(block * _ROWS, min((block + 1) * _ROWS, n))
            drawn = _stream(seed, group, block).standard_normal((rows.stop - rows.start, GROUP), np.float32)
            out[rows, start : start + width] = drawn[:, :width]
    out /= np.float32(math.sqrt(d))
    return out


def _stream(seed: int, group: int, block: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=np.array([seed, (group << 32) + block], np.uint64)))
