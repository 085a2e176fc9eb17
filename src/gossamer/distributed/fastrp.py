"""FastRP on a Dask cluster: rows of the graph in blocks of about equal work, which stay where they are."""

from __future__ import annotations

from collections.abc import Sequence
from operator import getitem
from typing import Any

import numpy as np
import scipy.sparse

from gossamer._core.checks import check_int
from gossamer._core.errors import ArgumentError, bad_argument
from gossamer._core.lazy import require
from gossamer._core.random import RandomState
from gossamer._kernels import propagate
from gossamer.graph.embed.columns import column_moments, shift_and_scale
from gossamer.graph.embed.panels import densified, output, squared_lengths
from gossamer.graph.embed.projection import draw_seed
from gossamer.graph.embed.settings import Settings
from gossamer.graph.embed.walk import open_graph


def fastrp(
    A: Any,
    d: int = 128,
    *,
    weights: Sequence[float] = (0, 0, 1, 4),
    beta: float = -0.5,
    projection: str = "sparse",
    s: float | str = "sqrt",
    input_matrix: str = "transition",
    normalize: bool = True,
    standardize: bool = False,
    features: Any = None,
    self_weight: float = 0.0,
    directed: bool = False,
    client: Any = None,
    blocks: int | None = None,
    threads: int | None = 1,
    random_state: RandomState = None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """:func:`gossamer.graph.fastrp_embedding` on a Dask cluster; the same vectors, up to rounding.

    Each worker keeps some rows of the graph. A power is one task a block, which takes the rows of the power before from
    all others; lengths of rows need nobody else, and the sum stays with the block.

    Parameters
    ----------
    A : graph
        Anything that :func:`gossamer.graph.fastrp_embedding` takes. A :class:`gossamer.graph.StoredGraph` is sent block
        by block and never in the memory of this process as a whole.
    d, weights, beta, projection, s, input_matrix, normalize, standardize, features, self_weight, directed, random_state
        As in memory.
    client : distributed.Client, optional
        The cluster; the current client by default.
    blocks : int, optional
        Blocks of rows; one a worker by default.
    threads : int, optional
        Of each task; one by default, because a worker may run several tasks.
    out : ndarray of float32, shape (n, d), optional
        Filled and returned; may be a memory map.

    Returns
    -------
    ndarray of float32, shape (n, d)

    Raises
    ------
    ArgumentError
        As in memory; for ``weights=None``; or if no client is current.
    ShapeError
        If ``out`` does not fit.
    MissingDependencyError
        Dask is not installed.

    Notes
    -----
    O(q m d) work is divided among the workers. Every worker receives n d numbers for each power and holds two matrices
    of that size, so that their memories bound n d, not the graph.

    References
    ----------
    Chen et al., CIKM 2019, arXiv 1908.11512.
    """
    if weights is None:
        raise bad_argument("weights", None, "numbers; gossamer.graph.fastrp_embedding keeps powers apart")
    settings = Settings(d, weights, beta, projection, s, input_matrix, normalize, self_weight)
    distributed = require("distributed", "distributed")
    if client is None:
        try:
            client = distributed.get_client()
        except ValueError:
            raise ArgumentError("client=None: expected a distributed.Client, and none is current") from None
    workers = max(len(client.scheduler_info(n_workers=-1)["workers"]), 1)
    count = workers if blocks is None else check_int("blocks", blocks, low=1)
    plan = settings.plan(open_graph(A, directed), draw_seed(random_state), features, threads)
    n, alpha = plan.walk.n, plan.alpha
    assert alpha is not None
    out = output(out, (n, plan.d))

    start = densified(plan.start(0, plan.d))
    rows, pieces = [], []
    for where, edges in plan.walk.blocks:
        for part, piece in propagate.split(edges, count):
            rows.append(slice(where.start + part.start, where.start + part.stop))
            pieces.append(client.scatter(piece, hash=False))
    totals: list[Any] = [None] * len(rows)
    if alpha[0]:
        own = plan.factor(0, squared_lengths(start) if normalize else None)
        totals = [client.submit(_own, start[part], own[part], pure=False) for part in rows]
    powers = [client.scatter(start, broadcast=True, hash=False)]
    for k in range(1, plan.q + 1):
        factor = None if normalize or not alpha[k] else plan.factor(k, None)
        results = [
            client.submit(
                _power, piece, powers, total, alpha[k], None if factor is None else factor[part], k == plan.q,
                threads, pure=False,
            )
            for part, piece, total in zip(rows, pieces, totals, strict=True)
        ]  # fmt: skip
        powers = [client.submit(getitem, result, 0, pure=False) for result in results]
        totals = [client.submit(getitem, result, 1, pure=False) for result in results]
    for part, total in zip(rows, totals, strict=True):
        out[part] = total.result()
    if standardize:
        shift_and_scale(out, *column_moments(out))
    return out


def _own(start: Any, factor: np.ndarray) -> np.ndarray:
    rows = start.toarray() if scipy.sparse.issparse(start) else start
    return factor[:, None] * rows


def _power(
    edges: propagate.Edges,
    powers: list[Any],
    total: np.ndarray | None,
    alpha: float,
    coefficients: np.ndarray | None,
    last: bool,
    threads: int | None,
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Rows of the next power, and their sum so far, which is a new array: tasks may run twice."""
    x = powers[0] if len(powers) == 1 else np.concatenate(powers)
    shape = (edges.rows, x.shape[1])
    y = None if last else np.empty(shape, np.float32)
    if alpha:
        total = np.zeros(shape, np.float32) if total is None else total.copy()
    after = propagate.After(
        y=y, total=total if alpha else None, coefficients=coefficients, alpha=alpha or 1.0
    )
    multiply = propagate.sparse if scipy.sparse.issparse(x) else propagate.dense
    multiply(edges, x, after, threads)
    return y, total
