"""Product quantisation: vectors as one byte for every few coordinates."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer._core.checks import check_array, check_int
from gossamer._core.errors import ArgumentError, ShapeError, bad_argument
from gossamer._core.lazy import require

CENTROIDS = 256


class ProductQuantizer:
    """Store vectors as codes of one byte for every ``block`` coordinates, by k-means (``faiss``) in each block.

    Queries stay exact: an inner product with a code is a sum of ``dim / block`` table entries. With 8 coordinates a
    byte vectors take a 32nd of float32.

    Parameters
    ----------
    dim : int
        Of the vectors.
    block : int
        Coordinates that share a byte; divides ``dim``.
    iterations : int
        Of k-means.
    seed : int
        Of k-means.

    Raises
    ------
    ArgumentError
        If ``block`` does not divide ``dim``.
    MissingDependencyError
        Without ``faiss``.

    References
    ----------
    Jégou, Douze, Schmid, "Product quantization for nearest neighbor search", IEEE TPAMI 33(1), 2011.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.retrieve import ProductQuantizer
    >>> X = np.random.default_rng(0).normal(size=(400, 16))
    >>> codes = ProductQuantizer(16).fit(X).encode(X)  # doctest: +SKIP
    >>> codes.shape, codes.dtype  # doctest: +SKIP
    ((400, 2), dtype('uint8'))
    """

    def __init__(self, dim: int, block: int = 8, *, iterations: int = 15, seed: int = 1) -> None:
        self.dim, self.block = check_int("dim", dim, low=1), check_int("block", block, low=1)
        if dim % block:
            raise bad_argument("block", block, f"a divisor of dim={dim}")
        faiss = require("faiss", "retrieve")
        self._quantizer = faiss.ProductQuantizer(dim, dim // block, 8)
        self._quantizer.cp.niter = check_int("iterations", iterations, low=1)
        self._quantizer.cp.min_points_per_centroid = 1
        self._quantizer.cp.seed = check_int("seed", seed, low=0)
        self.centroids: np.ndarray | None = None

    def fit(self, X: Any) -> ProductQuantizer:
        """Find centroids, ``centroids`` (dim / block, 256, block), from rows (n, dim), n >= 256; returns itself.

        Raises
        ------
        ShapeError, ArgumentError
            If ``X`` does not fit.
        """
        rows = self._rows("X", X)
        if len(rows) < CENTROIDS:
            raise ArgumentError(f"X has {len(rows)} rows: expected at least {CENTROIDS}")
        self._quantizer.train(rows)
        faiss = require("faiss", "retrieve")
        held = faiss.vector_to_array(self._quantizer.centroids)
        self.centroids = held.reshape(self.dim // self.block, CENTROIDS, self.block)
        return self

    def encode(self, X: Any) -> np.ndarray:
        """Codes (n, dim / block), uint8, of the nearest centroids."""
        self._fitted()
        return self._quantizer.compute_codes(self._rows("X", X))

    def decode(self, codes: Any) -> np.ndarray:
        """Vectors (n, dim), float32, that codes stand for."""
        centroids, codes = self._fitted(), self._codes(codes)
        return centroids[np.arange(codes.shape[1]), codes].reshape(len(codes), self.dim)

    def inner_products(self, queries: Any, codes: Any) -> np.ndarray:
        """Inner products (m, n), float32, of exact queries (m, dim) with coded vectors (n, dim / block)."""
        centroids, codes = self._fitted(), self._codes(codes)
        rows = self._rows("queries", queries).reshape(-1, codes.shape[1], self.block)
        tables = np.einsum("qmb,mcb->qmc", rows, centroids)
        blocks = np.arange(codes.shape[1])
        return np.stack([table[blocks, codes].sum(1, dtype=np.float32) for table in tables])

    def _fitted(self) -> np.ndarray:
        if self.centroids is None:
            raise ArgumentError("no centroids yet: call fit first")
        return self.centroids

    def _rows(self, name: str, X: Any) -> np.ndarray:
        rows = np.ascontiguousarray(check_array(name, np.asarray(X), ndim=2), np.float32)
        if rows.shape[1] != self.dim:
            raise ShapeError(f"{name} has shape {rows.shape}: expected (n, {self.dim})")
        return rows

    def _codes(self, codes: Any) -> np.ndarray:
        array = np.asarray(codes)
        if array.dtype != np.uint8 or array.ndim != 2 or array.shape[1] != self.dim // self.block:
            raise ShapeError(
                f"codes are {array.dtype} {array.shape}: expected uint8 (n, {self.dim // self.block})"
            )
        return array
