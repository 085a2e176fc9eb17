"""Clustering of attributed graphs with the restarts of K-means on a Dask cluster."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from gossamer._core.errors import UnsupportedError
from gossamer.distributed.clients import current_client
from gossamer.graph.cluster.attributed_amg import AttributedAMGClustering
from gossamer.graph.cluster.block_kmeans import BlockKMeansResult, Job, Restart, best_of, restart_jobs


def fit_clustering(
    estimator: AttributedAMGClustering, A: Any, attributes: Any = None, *, client: Any = None
) -> AttributedAMGClustering:
    """Fit :class:`gossamer.graph.AttributedAMGClustering` with its restarts spread over a Dask cluster.

    Hierarchies follow one another and are built here; restarts, which take most of the time on small graphs with many
    clusters, run side by side on the workers. The embedding and the graph travel once to each worker, labels come
    back.

    Parameters
    ----------
    estimator : AttributedAMGClustering
        Fitted in place, with the same bits as its own ``fit``.
    A, attributes
        As for its ``fit``.
    client : distributed.Client, optional
        The cluster; the current client by default.

    Returns
    -------
    AttributedAMGClustering
        ``estimator``.

    Raises
    ------
    ArgumentError, ShapeError, UnsupportedError
        As its ``fit``; also if there is no client.
    MissingDependencyError
        If Dask is not installed.
    """
    if not isinstance(estimator, AttributedAMGClustering):
        raise UnsupportedError(f"estimator is {type(estimator).__name__}: expected AttributedAMGClustering")
    client = current_client(client)
    score, rng = estimator._embed(A, attributes)
    run, jobs = restart_jobs(**estimator._search(score, rng))
    shared = client.scatter(run, broadcast=True, hash=False)
    pieces = min(2 * max(sum(client.nthreads().values()), 1), len(jobs))
    cuts = np.linspace(0, len(jobs), pieces + 1).astype(int).tolist()
    futures = [
        client.submit(_best, shared, jobs[start:stop], pure=False) for start, stop in itertools.pairwise(cuts)
    ]
    return estimator._settle(best_of(client.gather(futures)), score)


def _best(run: Restart, jobs: list[Job]) -> BlockKMeansResult:
    return best_of(map(run, jobs))
