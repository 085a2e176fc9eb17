"""Sparse sketches: a few signs a column."""

from __future__ import annotations

import math

import numpy as np
import scipy.sparse

from gossamer._core.checks import check_int
from gossamer._core.random import RandomState
from gossamer.linalg.sketches.sketch import Block, Sketch, random_signs, seeded


class OSNAP(Sketch):
    r"""s entries :math:`\pm 1/\sqrt s` a column, one in each of s bands of rows.

    The cheapest product there is, in time proportional to the entries of a sparse matrix. It keeps norms of a subspace
    with few rows, but one coordinate of a solution can get all of the error unless m is of the order of d squared; see
    :func:`gossamer.solve.linf_hard_instance`.

    Parameters
    ----------
    n, m : int
        Columns and rows.
    s : int
        Entries a column, at most m.
    seed : int, Generator or None
        Source of places and signs.

    Notes
    -----
    ``2 s nnz(A)`` operations for ``S @ A``; memory ``12 s n`` bytes.

    References
    ----------
    Nelson and Nguyen, "OSNAP: faster numerical linear algebra algorithms via sparser subspace embeddings", FOCS 2013.
    """

    def __init__(self, n: int, m: int, s: int = 8, *, seed: RandomState = None) -> None:
        super().__init__(n, m)
        self.s = check_int("s", s, low=1, high=m)
        rng = seeded(seed)
        bands = np.arange(self.s + 1) * m // self.s
        places = rng.integers(bands[:-1], bands[1:], (n, self.s))
        values = random_signs(rng, n * self.s) / math.sqrt(self.s)
        pointers = np.arange(0, n * self.s + 1, self.s)
        self.matrix = scipy.sparse.csc_array((values, places.ravel(), pointers), shape=self.shape)

    def _rows(self, x: Block, start: int) -> np.ndarray:
        whole = x.shape[0] == self.shape[1]
        part = self.matrix if whole else self.matrix[:, start : start + x.shape[0]]
        product = part.astype(x.dtype, copy=False) @ x
        return product.toarray() if scipy.sparse.issparse(product) else product

    def _adjoint(self, y: np.ndarray) -> np.ndarray:
        return self.matrix.T.astype(y.dtype, copy=False) @ y


class CountSketch(OSNAP):
    """One sign a column: every row of A is added to one row of the product, or subtracted from it.

    Parameters
    ----------
    n, m : int
        Columns and rows.
    seed : int, Generator or None
        Source of places and signs.

    References
    ----------
    Charikar, Chen, Farach-Colton, "Finding frequent items in data streams", 2004. Clarkson and Woodruff, "Low rank
    approximation and regression in input sparsity time", STOC 2013.
    """

    def __init__(self, n: int, m: int, *, seed: RandomState = None) -> None:
        super().__init__(n, m, 1, seed=seed)
