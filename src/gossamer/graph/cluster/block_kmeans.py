"""K-means that sees a node together with the values of its attributes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gossamer._core.checks import check_array, check_int
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._core.random import RandomState, check_random_state
from gossamer._core.results import Result
from gossamer._core.threads import get_threads
from gossamer.graph.cluster.blocks import Blocks


@dataclass(frozen=True, kw_only=True)
class BlockKMeansResult(Result):
    """What :func:`block_kmeans` returns: the best of its restarts.

    Attributes
    ----------
    labels : ndarray of int64, shape (n,)
        The cluster of each node.
    centres : ndarray, shape (K, M + 1, q)
        The mean block of each cluster.
    inertia : float
        Sum of squared distances.
    score : float
        What the best restart had most of; minus its inertia without ``score``.
    nit : int
        Iterations of that restart.
    """

    labels: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64), repr=False)
    centres: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False)
    inertia: float = 0.0
    score: float = 0.0
    nit: int = 0


def block_kmeans(
    points: Any,
    n_clusters: int,
    value_index: Any = None,
    *,
    restarts: int = 100,
    max_iter: int = 10,
    init: Any = None,
    batch_size: int | None = None,
    score: Callable[[np.ndarray], float] | None = None,
    random_state: RandomState = None,
    threads: int | None = None,
) -> BlockKMeansResult:
    r"""Lloyd's K-means on blocks: a node's own point and the points of its attributes' values.

    .. math::

        d(v, c)^2 = \sum_{b=0}^{M} \| X_{v,b} - C_{c,b} \|^2

    which is the norm of the vector-valued distance, one norm a dimension. A missing value adds nothing. Centres start
    at the blocks of random nodes; an empty cluster gets the node that is farthest from its centre.

    Parameters
    ----------
    points : array, shape (n_ext, q)
        Coordinates of nodes and, after them, of values.
    n_clusters : int
        K, from 1 to n.
    value_index : array of int, shape (n, M), optional
        Row of the value of each node, -1 where it is missing, as :func:`augment_with_attributes` gives it. Without it
        all rows are nodes, and this is plain K-means.
    restarts : int
        Runs, of which the best counts.
    max_iter : int
        Most iterations of a run; it ends when labels stay.
    init : array of int, shape (K,) or (restarts, K), optional
        Nodes that centres start at, in place of random ones.
    batch_size : int, optional
        Mini-batches: an iteration draws this many nodes and moves centres to the means of all nodes drawn so far.
    score : callable, optional
        Labels to a number, of which more is better, such as modularity; by default the least inertia wins.
    random_state : int, Generator or None
        Of starts and batches.
    threads : int, optional
        Runs side by side; the result does not depend on it.

    Returns
    -------
    BlockKMeansResult
        ``labels``, ``centres``, ``inertia``, ``score``, ``nit``.

    Raises
    ------
    ArgumentError, ShapeError
        If arguments do not fit together.

    Notes
    -----
    ``2 K q (n + sum_l n_l)`` flops and ``n K M`` look-ups an iteration: points of values are never copied to nodes.

    References
    ----------
    D'Ambra, De Santis, Vassilevski, Cutillo, "Extending bootstrap AMG for clustering of attributed graphs", Applied
    Mathematics and Computation 447, 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.graph import block_kmeans
    >>> block_kmeans(np.array([[0.0], [0.1], [5.0], [5.1]]), 2, init=[0, 2]).labels.tolist()
    [0, 0, 1, 1]
    """
    run, jobs = restart_jobs(
        points, n_clusters, value_index, restarts=restarts, max_iter=max_iter, init=init,
        batch_size=batch_size, score=score, random_state=random_state,
    )  # fmt: skip
    workers = min(get_threads(threads), len(jobs))
    if workers == 1:
        return best_of(map(run, jobs))
    with ThreadPoolExecutor(workers) as pool:
        return best_of(pool.map(run, jobs))


Job = tuple[np.ndarray, np.random.Generator]
"""What one restart begins with: nodes that centres start at, and random numbers of its own."""


@dataclass(frozen=True)
class Restart:
    """One run of K-means; a value, so that it can be sent to where it runs."""

    blocks: Blocks
    max_iter: int
    batch_size: int | None
    score: Callable[[np.ndarray], float] | None

    def __call__(self, job: Job) -> BlockKMeansResult:
        """Run from a start."""
        start, rng = job
        if self.batch_size is None:
            labels, centres, inertia, nit = _lloyd(self.blocks, start, self.max_iter)
        else:
            size = min(self.batch_size, len(self.blocks.own))
            labels, centres, inertia, nit = _batches(self.blocks, start, self.max_iter, size, rng)
        value = -inertia if self.score is None else float(self.score(labels))
        return BlockKMeansResult(labels=labels, centres=centres, inertia=inertia, score=value, nit=nit)


def restart_jobs(
    points: Any,
    n_clusters: int,
    value_index: Any,
    *,
    restarts: int,
    max_iter: int,
    init: Any = None,
    batch_size: int | None,
    score: Callable[[np.ndarray], float] | None,
    random_state: RandomState,
) -> tuple[Restart, list[Job]]:
    """Checked arguments of :func:`block_kmeans` as what runs, and what each run begins with."""
    points = np.asarray(check_array("points", points, ndim=2), np.float64)
    index = _check_index(value_index, len(points))
    K = check_int("n_clusters", n_clusters, low=1, high=len(index))
    check_int("max_iter", max_iter, low=1)
    if batch_size is not None:
        check_int("batch_size", batch_size, low=1)
    rng = check_random_state(random_state)
    starts = _starts(init, check_int("restarts", restarts, low=1), len(index), K, rng)
    run = Restart(Blocks.of(points, index), max_iter, batch_size, score)
    return run, list(zip(starts, rng.spawn(len(starts))))


def best_of(results: Iterable[BlockKMeansResult]) -> BlockKMeansResult:
    """The first of the highest score."""
    return max(results, key=lambda result: result.score)


def _check_index(value_index: Any, rows: int) -> np.ndarray:
    if value_index is None:
        return np.empty((rows, 0), np.int64)
    index = np.asarray(value_index)
    if index.ndim != 2 or index.dtype.kind not in "iu" or len(index) > rows:
        raise ShapeError(
            f"value_index is {index.dtype} of shape {index.shape}: expected integers (n, M), n <= {rows}"
        )
    if index.size and not -1 <= index.min() <= index.max() < rows:
        raise ArgumentError(f"value_index spans {index.min()}..{index.max()}: expected -1..{rows - 1}")
    return index.astype(np.int64)


def _starts(init: Any, restarts: int, n: int, K: int, rng: np.random.Generator) -> np.ndarray:
    if init is None:
        return np.stack([rng.choice(n, K, replace=False) for _ in range(restarts)])
    starts = np.atleast_2d(np.asarray(init))
    if starts.ndim != 2 or starts.shape[1] != K or starts.dtype.kind not in "iu":
        raise ShapeError(f"init is {starts.dtype} of shape {starts.shape}: expected integers (restarts, {K})")
    if not 0 <= starts.min() <= starts.max() < n:
        raise ArgumentError(f"init spans {starts.min()}..{starts.max()}: expected 0..{n - 1}")
    return starts


def _lloyd(blocks: Blocks, start: np.ndarray, max_iter: int) -> tuple[np.ndarray, np.ndarray, float, int]:
    centres = blocks.centres_at(start)
    labels, inertia = _assign(blocks, centres)
    nit = 1
    before = np.empty(0, np.int64)
    while nit < max_iter and not np.array_equal(labels, before):
        centres, before = blocks.means(*blocks.sums(labels, len(centres))), labels
        labels, inertia = _assign(blocks, centres)
        nit += 1
    return labels, blocks.means(*blocks.sums(labels, len(centres))), inertia, nit


def _batches(
    blocks: Blocks, start: np.ndarray, max_iter: int, size: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, float, int]:
    centres = blocks.centres_at(start)
    sums, counts = np.zeros(centres.shape), np.zeros(centres.shape[:2])
    for _ in range(max_iter):
        batch = blocks.take(rng.choice(len(blocks.own), size, replace=False))
        more, new = batch.sums(batch.distances(centres).argmin(axis=1), len(centres))
        sums, counts = sums + more, counts + new
        centres = np.where(counts[:, :, None] > 0, sums / np.maximum(counts, 1)[:, :, None], centres)
    labels, inertia = _assign(blocks, centres)
    return labels, centres, inertia, max_iter


def _assign(blocks: Blocks, centres: np.ndarray) -> tuple[np.ndarray, float]:
    """The nearest centre of each node; an empty cluster takes the farthest node of one that has others."""
    distances = blocks.distances(centres)
    labels = distances.argmin(axis=1)
    nearest = distances[np.arange(len(labels)), labels]
    counts = np.bincount(labels, minlength=len(centres))
    empty = np.flatnonzero(counts == 0).tolist()
    if empty:
        for node in np.argsort(-nearest, kind="stable").tolist():
            if counts[labels[node]] > 1:
                counts[labels[node]] -= 1
                labels[node] = empty.pop()
                counts[labels[node]] = 1
                nearest[node] = 0
                if not empty:
                    break
    return labels, float(nearest.sum())
