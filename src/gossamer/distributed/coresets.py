"""Scores and samples of rows in p-norms, for Dask arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer._core.checks import check_choice, check_float, check_int
from gossamer._core.random import RandomState, check_random_state
from gossamer.distributed.row_blocks import ChunkedRows
from gossamer.solve import Coreset
from gossamer.solve.sketch.coreset import draw_coreset
from gossamer.solve.sketch.leverage import blocks_whitener
from gossamer.solve.sketch.lewis import converged_weights
from gossamer.solve.sketch.row_blocks import squared_norms


def leverage_scores(A: Any) -> np.ndarray:
    """:func:`gossamer.solve.leverage_scores` of a Dask array that need not fit into memory, exactly.

    One pass for the triangular factor, one for the scores.

    Parameters
    ----------
    A : dask.array.Array, shape (n, d)
        Chunked along rows; several chunks of columns become one.

    Returns
    -------
    ndarray, shape (n,)
        float64.

    Raises
    ------
    UnsupportedError, ShapeError
        If A is not a Dask array of two axes.
    """
    rows = ChunkedRows(A)
    return np.minimum(squared_norms(rows, blocks_whitener(rows)), 1.0)


def lewis_weights(A: Any, p: float, *, tol: float = 1e-10, max_iter: int = 200) -> np.ndarray:
    """:func:`gossamer.solve.lewis_weights` of a Dask array that need not fit into memory.

    One pass over A for the basis and one for each step; d x d sums travel, and n numbers.

    Parameters
    ----------
    A : dask.array.Array, shape (n, d)
        Chunked along rows. Worth to ``persist`` where it fits into the memories of the workers.
    p, tol, max_iter
        As in memory.

    Returns
    -------
    ndarray, shape (n,)
        float64, as in memory up to rounding.

    Raises
    ------
    ArgumentError, UnsupportedError, ShapeError
        For bad parameters, and if A is not a Dask array of two axes.
    """
    p = check_float("p", p, low=0, closed="neither")
    check_float("tol", tol, low=0, closed="neither")
    check_int("max_iter", max_iter, low=1)
    return converged_weights(ChunkedRows(A), p, tol, max_iter)


def lp_coreset(
    A: Any,
    p: float,
    m: int | None = None,
    *,
    eps: float | None = None,
    delta: float = 0.01,
    scores: Any = "lewis",
    sampling: str = "independent",
    b: Any = None,
    random_state: RandomState = None,
) -> tuple[np.ndarray, Coreset]:
    """:func:`gossamer.solve.lp_coreset` of a Dask array that need not fit into memory, and the rows that it keeps.

    The same seed draws the same rows as in memory, with weights that are the same up to rounding. Scores are found
    where the chunks lie; n numbers travel for each pass, d x d sums, and the rows that are drawn.

    Parameters
    ----------
    A : dask.array.Array, shape (n, d)
        Chunked along rows.
    p, m, eps, delta, scores, sampling, random_state
        As in memory. ``scores="halving"`` takes the fewest passes.
    b : dask.array.Array or array, shape (n,), optional
        One more column, as in memory; it is the last one of the rows returned.

    Returns
    -------
    rows : ndarray, shape (len(coreset), d) or (len(coreset), d + 1)
        The rows that were kept, as they are.
    coreset : Coreset
        Their positions and weights.

    Raises
    ------
    ArgumentError, UnsupportedError, ShapeError
        As in memory, and if A is not a Dask array of two axes.

    Examples
    --------
    >>> import dask.array as da
    >>> import numpy as np
    >>> from gossamer.distributed import lp_coreset
    >>> from gossamer.solve import lp_regression
    >>> rng = np.random.default_rng(0)
    >>> A = rng.normal(size=(20_000, 3))
    >>> b = A @ [1.0, 2, 3]
    >>> rows, coreset = lp_coreset(da.from_array(A, chunks=(5000, 3)), 4, 200, b=b, random_state=0)
    >>> lp_regression(rows[:, :3], rows[:, 3], 4, sample_weight=coreset.weight).x.round(6).tolist()
    [1.0, 2.0, 3.0]
    """
    p = check_float("p", p, low=0, closed="neither")
    check_choice("sampling", sampling, ("independent", "multinomial"))
    blocks = ChunkedRows(A, b)
    rng = check_random_state(random_state)
    coreset = draw_coreset(blocks, p, m, eps, delta, scores, sampling, None, rng)
    return blocks.take(coreset.index), coreset
