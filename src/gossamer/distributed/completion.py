"""Matrix completion on a Dask cluster: every half sweep is regressed in blocks of lines, where their entries lie."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import numpy as np

from gossamer._core.checks import check_int
from gossamer._core.random import RandomState, check_random_state
from gossamer._kernels.completion import Observed
from gossamer.distributed.clients import count_workers, current_client
from gossamer.solve import CompletionResult, Watch
from gossamer.solve.completion.alternating import check_inner, sweep
from gossamer.solve.completion.entries import check_rank, check_triples
from gossamer.solve.completion.start import falling_ridges, spectral_start


def matrix_completion(
    rows: Any,
    cols: Any,
    vals: Any,
    shape: tuple[int, int],
    rank: int,
    *,
    client: Any = None,
    blocks: int | None = None,
    method: str = "auto",
    ridge: float = 0.0,
    weighted_ridge: bool = False,
    biases: bool = False,
    maxiter: int = 50,
    tol: float = 1e-8,
    inner_rtol: float | str = "adaptive",
    inner_iter: int = 20,
    dtype: Any = "float64",
    random_state: RandomState = None,
    threads: int | None = 1,
) -> CompletionResult:
    """Complete a matrix of low rank on a Dask cluster, by row blocks and column blocks of the observed entries.

    Workers keep their entries; a half sweep sends every worker the factor that is fixed and gathers the rows of the
    other. The result is that of :func:`gossamer.solve.matrix_completion`, for all solvers but sketches to the bit.

    Parameters
    ----------
    rows, cols, vals, shape, rank, method, ridge, weighted_ridge, biases, maxiter, tol, inner_rtol, inner_iter, dtype
        As for :func:`gossamer.solve.matrix_completion`.
    client : distributed.Client, optional
        The cluster; the current client by default.
    blocks : int, optional
        Blocks of lines in either direction, cut so that each has about the same number of entries; two a worker by
        default.
    random_state : int, Generator or None
        Of the start, which is computed here, and of sketches.
    threads : int, optional
        Of each task; one by default, because a worker runs several tasks.

    Returns
    -------
    CompletionResult

    Raises
    ------
    ArgumentError, ShapeError
        As for :func:`gossamer.solve.matrix_completion`, and where no client is current.
    MissingDependencyError
        Dask is not installed.

    Notes
    -----
    Entries travel once, biases are taken off where they lie. A sweep moves ``(w n + m) k`` and ``(w m + n) k`` numbers
    for w workers.
    """
    client = current_client(client)
    workers = count_workers(client)
    count = 2 * workers if blocks is None else check_int("blocks", blocks, low=1)
    entries = check_triples(rows, cols, vals, shape, dtype=dtype)
    k = check_rank(rank, entries, warn=not ridge)
    rng = check_random_state(random_state)
    inner = check_inner(
        method, ridge, weighted_ridge, inner_rtol, inner_iter, 0.0, rng, threads, entries.rows.value.dtype
    )
    most = check_int("maxiter", maxiter, low=1)
    watch = Watch("criterion", tol=tol, maxiter=most)
    U, values = spectral_start(entries.centred(entries.mean) if biases else entries, k, rng)
    ridges = () if inner.ridge or biases else falling_ridges(entries, k, values, most // 2)
    if inner.ridge or ridges:
        U = np.ascontiguousarray(U * np.sqrt(values).astype(U.dtype))
    entries.rows = _Spread(entries.rows, client, count)
    entries.columns = _Spread(entries.columns, client, count)
    return sweep(entries, U, None, inner, watch, biases=biases, ridges=ridges)


class _Spread(Observed):
    """Lines whose regressions run where blocks of them lie."""

    def __init__(self, lines: Observed, client: Any, blocks: int) -> None:
        self.__dict__.update(lines.__dict__)
        total = lines.start[-1] if lines.count else 0
        inside = np.searchsorted(lines.start, total * np.arange(1, blocks) / blocks)
        self._cuts = np.unique(np.concatenate([[0], inside, [lines.count]]))
        self._client = client
        self._parts = [
            client.scatter(_block(lines, int(a), int(b)), hash=False)
            for a, b in itertools.pairwise(self._cuts)
        ]

    def shifted(self, mean: float, other: np.ndarray | None = None) -> Observed:
        """As of the lines themselves; workers shift what they have."""
        there = copy.copy(self)
        there.value = super().shifted(mean, other).value
        bias = None if other is None else self._client.scatter(other, broadcast=True, hash=False)
        there._parts = [self._client.submit(_shifted, part, mean, bias, pure=False) for part in self._parts]
        return there

    def regress(
        self,
        factor: np.ndarray,
        ridge: np.ndarray,
        x: np.ndarray,
        *,
        ids: np.ndarray | None = None,
        **options: Any,
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """As of the lines themselves."""
        shared = self._client.scatter(factor, broadcast=True, hash=False)
        wanted = self.order if ids is None else ids
        spans = list(itertools.pairwise(self._cuts))
        futures = []
        for part, (a, b) in zip(self._parts, spans, strict=True):
            own = wanted[(wanted >= a) & (wanted < b)] - a
            futures.append(
                self._client.submit(_regress, part, shared, ridge[a:b], x[a:b], own, options, pure=False)
            )
        taken = np.zeros(self.count, np.int64)
        losses = np.zeros(self.count) if options.get("loss") else None
        for (a, b), (found, steps, loss) in zip(spans, self._client.gather(futures), strict=True):
            x[a:b], taken[a:b] = found, steps
            if losses is not None:
                losses[a:b] = loss
        return taken, losses


def _block(lines: Observed, a: int, b: int) -> Observed:
    span = slice(lines.start[a], lines.start[b])
    return Observed(
        lines.start[a : b + 1] - lines.start[a], lines.index[span], lines.value[span], lines.width
    )


def _shifted(lines: Observed, mean: float, other: np.ndarray | None) -> Observed:
    return lines.shifted(mean, other)


def _regress(
    lines: Observed,
    factor: np.ndarray,
    ridge: np.ndarray,
    x: np.ndarray,
    ids: np.ndarray,
    options: dict[str, Any],
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    found = np.array(x)  # what arrives cannot be written to
    taken, loss = lines.regress(np.array(factor), ridge, found, ids=ids, **options)
    return found, taken, loss
