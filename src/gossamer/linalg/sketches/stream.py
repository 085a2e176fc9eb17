"""Sketches of matrices that come in pieces."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from gossamer._core.errors import ShapeError
from gossamer.linalg.sketches.sketch import Sketch


def sketch_stream(S: Sketch, blocks: Iterable[Any]) -> np.ndarray:
    """``S @ A`` for a matrix A that arrives in consecutive blocks of rows, in one pass.

    Equivalent, up to rounding, to ``S @ np.concatenate(list(blocks))``; memory is one block and the product. A
    ``numpy.memmap`` needs no stream: ``S @ A`` reads it piece by piece.

    Parameters
    ----------
    S : Sketch, shape (m, n)
        The sketch.
    blocks : iterable of arrays or sparse matrices, shape (c,) or (c, k)
        Rows of A from the first to the last, n in all; c may differ.

    Returns
    -------
    ndarray, shape (m,) or (m, k)
        The product.

    Raises
    ------
    ShapeError
        If the blocks do not have n rows in all.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.linalg import SRHT, sketch_stream
    >>> S, A = SRHT(1000, 50, seed=0), np.random.default_rng(0).normal(size=(1000, 3))
    >>> bool(np.allclose(sketch_stream(S, (A[i : i + 300] for i in range(0, 1000, 300))), S @ A))
    True
    """
    start, out = 0, None
    for block in blocks:
        part = S.partial(block, start)
        out = part if out is None else out + part
        start += block.shape[0]
    if out is None or start != S.shape[1]:
        raise ShapeError(f"blocks have {start} rows in all: expected {S.shape[1]} to fit S{S.shape}")
    return out
