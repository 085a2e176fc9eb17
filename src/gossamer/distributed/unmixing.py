"""Cubes with more pixels than a machine holds: every worker keeps its pixels with their shares."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer._core.errors import ArgumentError, ShapeError, UnsupportedError
from gossamer._core.lazy import require
from gossamer.distributed.row_blocks import check_chunked_rows
from gossamer.learn.unmix.blocks import Block
from gossamer.learn.unmix.unmixer import Unmixer


def fit_unmixing(estimator: Any, X: Any, *, client: Any = None, shape: tuple[int, int] | None = None) -> Any:
    """Unmix a cube whose pixels are spread over a Dask cluster.

    Every chunk of pixels becomes an actor that keeps them with their shares and guidance. An iteration sends the
    endmembers (K, L) to the chunks and adds up what they answer, ``X^T A`` (L, K), ``A^T A`` (K, K) and the squared
    residuals of channels (L,): pixels never travel.

    Parameters
    ----------
    estimator : RRLbS or SparseNMF
        Fitted in place, as its own ``fit`` would do.
    X : dask.array.Array, shape (N, L) or (rows, columns, L)
        Pixels by channels, or a cube; chunks along the first axis are the blocks, others are joined. A chunk may be a
        memory map that its worker opens.
    client : distributed.Client, optional
        The cluster; the current client by default.
    shape : (int, int), optional
        Rows and columns of the image whose pixels X holds.

    Returns
    -------
    estimator
        An ordinary fitted estimator, without ties to the cluster; shares and guidance of all pixels are brought here at
        the end, ``K + 1`` numbers each.

    Raises
    ------
    ArgumentError, ShapeError, UnsupportedError
        As ``estimator.fit`` does, and for unknown chunks and no client.
    MissingDependencyError
        Dask is not installed.

    Notes
    -----
    One round trip of O(L K) numbers for each chunk and iteration. Sums are added in the order of the chunks: the result
    depends on the chunks in the last bits, and not on the number of workers.

    Examples
    --------
    >>> import dask.array as da  # doctest: +SKIP
    >>> cube = da.from_zarr("scene.zarr").rechunk((100_000, -1))  # doctest: +SKIP
    >>> model = fit_unmixing(RRLbS(5, random_state=0), cube)  # doctest: +SKIP
    """
    distributed = require("distributed", "distributed")
    if not isinstance(estimator, Unmixer):
        raise UnsupportedError(f"estimator is {type(estimator).__name__}: expected RRLbS or SparseNMF")
    X = check_chunked_rows("X", X)
    if client is None:
        try:
            client = distributed.get_client()
        except ValueError:
            raise ArgumentError("client=None: expected a distributed.Client, and none is current") from None
    if X.ndim not in (2, 3) or np.isnan(X.shape).any():
        raise ShapeError(
            f"X has shape {X.shape}: expected (N, L) or (rows, columns, L), with chunks of known sizes"
        )
    if X.dtype.kind not in "fiu" or 0 in X.shape:
        raise ArgumentError(
            f"X is {X.dtype} of shape {X.shape}: expected real numbers of pixels and channels"
        )
    X = X.rechunk(dict.fromkeys(range(1, X.ndim), -1))
    if X.ndim == 3:
        shape = (int(X.shape[0]), int(X.shape[1]))
    estimator.n_features_in_ = int(X.shape[-1])
    return estimator._fit(
        _Spread(X, estimator._real(X), estimator.clip_negative, client), int(X.shape[-1]), shape
    )


class _WorkersBlock(Block):
    """A block that uses the threads of its worker."""

    def __init__(self, X: Any, dtype: Any, clip: bool) -> None:
        from distributed import get_worker

        super().__init__(np.asanyarray(X), dtype, clip, threads=int(get_worker().state.nthreads))


class _Spread:
    """All blocks of a cube: actors on workers, asked all at once."""

    def __init__(self, X: Any, dtype: np.dtype, clip: bool, client: Any) -> None:
        width = X.shape[1] if X.ndim == 3 else 1
        self.ends = np.cumsum([int(rows * width) for rows in X.chunks[0]])
        chunks = client.compute(list(X.to_delayed().ravel()))
        futures = [
            client.submit(_WorkersBlock, chunk, dtype, clip, actor=True, pure=False) for chunk in chunks
        ]
        self.actors = [future.result() for future in futures]

    def call(self, method: str, *shared: Any) -> list[Any]:
        """``block.method(*shared)`` of every block."""
        return [answer.result() for answer in [getattr(actor, method)(*shared) for actor in self.actors]]

    def scatter(self, method: str, parts: Any) -> None:
        """``block.method(part)``, rows of an array split among the blocks."""
        split = np.split(np.asarray(parts), self.ends[:-1])
        for answer in [getattr(a, method)(part) for a, part in zip(self.actors, split, strict=True)]:
            answer.result()

    def one(self, index: int, method: str, *arguments: Any) -> Any:
        """``block.method(*arguments)`` of one block."""
        return getattr(self.actors[index], method)(*arguments).result()
