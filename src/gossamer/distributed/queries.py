"""Queries of a costly function spread over a Dask cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gossamer._core.checks import check_int
from gossamer._core.errors import ArgumentError
from gossamer.distributed.clients import current_client


def query_map(
    f: Callable[[np.ndarray], Any], client: Any = None, pieces: int | None = None
) -> Callable[[np.ndarray], Any]:
    """Return a function that asks ``f`` on the workers of a cluster, one piece of a batch each.

    For :func:`gossamer.linalg.sparse_wht` and others that call a function with many rows at once; decoding stays where
    it is called.

    Parameters
    ----------
    f : callable
        Takes rows (q, ...) and returns q numbers; sent to the workers.
    client : distributed.Client, optional
        The cluster; the current client by default.
    pieces : int, optional
        Pieces of a batch; two a worker thread by default.

    Returns
    -------
    callable
        ``g(rows)``, the concatenation of ``f`` over the pieces, in order.

    Raises
    ------
    ArgumentError
        If f is not callable, or there is no client.
    """
    if not callable(f):
        raise ArgumentError(f"f is a {type(f).__name__}: expected a callable")
    if pieces is not None:
        pieces = check_int("pieces", pieces, low=1)
    client = current_client(client)

    def ask(rows: np.ndarray) -> np.ndarray:
        count = pieces or 2 * max(sum(client.nthreads().values()), 1)
        parts = [part for part in np.array_split(rows, min(count, max(len(rows), 1))) if len(part)]
        futures = client.map(f, parts, pure=False)
        return np.concatenate([np.asarray(part) for part in client.gather(futures)])

    return ask
