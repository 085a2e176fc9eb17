"""Views with more features than a machine holds: every worker keeps its columns and their weights."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from gossamer._core.checks import check_int
from gossamer._core.errors import ArgumentError, ShapeError, UnsupportedError
from gossamer.distributed.clients import current_client
from gossamer.learn.cca.batches import ArrayBatches, stored
from gossamer.learn.cca.descent import EYDescent
from gossamer.learn.cca.estimator import EYEstimator
from gossamer.learn.cca.view import View

JOINED = {
    "weights": 1,
    "mean": 0,
}  # axis along which what blocks of features return is joined; the rest is added


def fit_views(estimator: Any, Xs: Sequence[Any], *, client: Any = None, together: int = 1) -> Any:
    """Fit CCA or PLS to views whose features are spread over a Dask cluster.

    Every chunk of features becomes an actor that keeps the columns, their weights and the state of the optimiser. A
    step sends row numbers, adds up scores (m, K) of all chunks, and sends derivatives (m, K) back: columns never
    travel, and no machine needs memory for a view.

    Parameters
    ----------
    estimator : StochasticCCA, StochasticPLS or MultiviewCCA
        Fitted in place, as its own ``fit`` would do.
    Xs : list of dask.array.Array or ndarray, shape (N, p_i)
        One a view. Dask arrays are spread by their chunks along features (chunks along rows are joined); a chunk may
        be a memory map that the worker opens. NumPy arrays stay here.
    client : distributed.Client, optional
        The cluster; the current client by default.
    together : int
        Neighbouring rows that stay together in a batch, for columns on disks.

    Returns
    -------
    estimator
        An ordinary fitted estimator, without ties to the cluster. Its ``partial_fit`` starts with new moments.

    Raises
    ------
    ShapeError, ArgumentError, UnsupportedError
        Views with different numbers of rows or unknown shapes, parameters out of range, no client.
    MissingDependencyError
        Dask is not installed.

    Notes
    -----
    Three round trips a step of ``m K`` numbers for each chunk. Sums over features are added in the order of the
    chunks: the result depends on the chunks in the last bits, and not on the number of workers.

    Examples
    --------
    >>> import dask.array as da, numpy as np  # doctest: +SKIP
    >>> X = da.random.normal(size=(1000, 100_000), chunks=(1000, 10_000))  # doctest: +SKIP
    >>> model = fit_views(StochasticPLS(5), [X, np.random.normal(size=(1000, 30))])  # doctest: +SKIP
    """
    if not isinstance(estimator, EYEstimator):
        raise UnsupportedError(
            f"estimator is {type(estimator).__name__}: expected CCA or PLS of several views"
        )
    client = current_client(client)
    shapes = [_shape(i, X) for i, X in enumerate(Xs)]
    if len(shapes) < 2 or len({rows for rows, _ in shapes}) > 1:
        raise ShapeError(f"views have shapes {shapes}: expected two or more with the same rows")
    least = 4 if estimator.paired else 2
    size = check_int("batch_size", estimator.batch_size, low=least)
    features = [p for _, p in shapes]
    weights = estimator._draw(features, [X.dtype for X in Xs])
    estimator._features = features
    views = [_Spread(X, w, client) for X, w in zip(Xs, weights, strict=True)]
    rows = _RowNumbers(shapes[0][0], len(Xs), size, least, check_int("together", together, low=1))
    descent = estimator._descent_of(views, features, _SpreadDescent)
    estimator._run(rows, descent)
    estimator._descent = _gathered(estimator, descent)
    return estimator


def _shape(i: int, X: Any) -> tuple[int, int]:
    if getattr(X, "ndim", 0) != 2:
        raise ShapeError(
            f"Xs[{i}] has shape {getattr(X, 'shape', ())}: expected a Dask or NumPy array (N, p)"
        )
    if np.isnan(X.shape).any():
        raise ShapeError(f"Xs[{i}] has unknown chunk sizes: call compute_chunk_sizes() first")
    if np.dtype(X.dtype).kind not in "biuf":
        raise ArgumentError(f"Xs[{i}] is {X.dtype}: expected real numbers")
    if X.shape[0] < 2:
        raise ShapeError(f"Xs[{i}] has {X.shape[0]} rows: expected at least 2")
    return int(X.shape[0]), int(X.shape[1])


class _Columns(View):
    """Some features of a view, with their numbers; batches are row numbers."""

    def __init__(self, x: Any, weights: np.ndarray, threads: int | None = 1) -> None:
        super().__init__(weights, threads)
        self.x = x

    def variance(self, x: np.ndarray) -> float:
        return super().variance(stored(self.x, x))

    def scores(self, x: np.ndarray) -> np.ndarray:
        return super().scores(stored(self.x, x))

    def toward(self, x: np.ndarray, z: np.ndarray) -> np.ndarray:
        return super().toward(stored(self.x, x), z)

    def gradient(self, x: np.ndarray, r: np.ndarray, s: np.ndarray | None) -> float:
        return super().gradient(stored(self.x, x), r, s)

    def final_scores(self, x: np.ndarray) -> np.ndarray:
        return super().final_scores(stored(self.x, x))


class _Spread:
    """All features of a view: actors on workers, or columns that stay here."""

    def __init__(self, X: Any, weights: np.ndarray, client: Any) -> None:
        self.here = isinstance(X, np.ndarray)
        if self.here:
            self.parts: list[Any] = [_Columns(X, weights, None)]
            return
        X = X.rechunk({0: -1})
        cuts = np.cumsum([0, *X.chunks[1]])
        chunks = client.compute(list(X.to_delayed().ravel()))
        actors = [
            client.submit(_Columns, chunk, np.ascontiguousarray(weights[:, a:b]), actor=True, pure=False)
            for chunk, (a, b) in zip(chunks, itertools.pairwise(cuts), strict=True)
        ]
        self.parts = [actor.result() for actor in actors]

    def launch(self, method: str, row: Sequence[Any]) -> list[Any]:
        """Ask every part; what stays here answers at once."""
        return [getattr(part, method)(*row) for part in self.parts]

    def gather(self, method: str, answers: list[Any]) -> Any:
        """Sum or join what the parts answer, in their order."""
        values = answers if self.here else [answer.result() for answer in answers]
        if method in JOINED:
            return np.concatenate(values, axis=JOINED[method])
        return sum(values[1:], values[0])


class _SpreadDescent(EYDescent):
    """The same steps; all workers are asked before the first answer is waited for."""

    def each(self, method: str, *arguments: Sequence[Any]) -> list[Any]:
        rows = list(zip(*arguments, strict=True)) if arguments else [()] * len(self.views)
        order = sorted(range(len(self.views)), key=lambda i: self.views[i].here)
        asked = {i: self.views[i].launch(method, rows[i]) for i in order}
        return [view.gather(method, asked[i]) for i, view in enumerate(self.views)]


class _RowNumbers(ArrayBatches):
    """Batches of row numbers."""

    def __init__(self, rows: int, views: int, size: int, least: int, together: int) -> None:
        self.rows, self.size, self.least = rows, size, least
        self.arrays, self.together = [None] * views, together

    def once(self) -> Any:
        """All rows, in order."""
        size = max(self.size, 256)
        for start in range(0, self.rows, size):
            rows = np.arange(start, min(start + size, self.rows))
            yield [rows] * len(self.arrays), len(rows)

    def take(self, array: Any, rows: np.ndarray) -> Any:
        """The numbers themselves."""
        return rows


def _gathered(estimator: EYEstimator, spread: EYDescent) -> EYDescent:
    """The same state in views of this process."""
    views = []
    for weights, mean in zip(spread.each("weights"), spread.each("mean"), strict=True):
        view = View(weights, estimator.n_jobs)
        view.average, view.rows, view.started = mean, spread.rows_seen, True
        view.offset[:] = mean
        views.append(view)
    local = estimator._descent_of(views, spread.features)
    local.resume(spread)
    return local
