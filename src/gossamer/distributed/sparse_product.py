"""Sparse products on a Dask cluster: rows of A in blocks of about equal work."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import scipy.sparse

from gossamer._core.checks import check_choice, check_int
from gossamer.distributed.clients import count_workers, current_client
from gossamer.linalg.sparse_product.containers import Rows, fitted
from gossamer.linalg.sparse_product.passes import Operands

# What a worker sums partial products with: the semiring, and the factor that leaves a value as it is.
_SUMS = {
    "plus_times": ("plus_times", 1),
    "plus_pair": ("plus_times", 1),
    "min_plus": ("min_plus", 0),
    "max_times": ("max_times", 1),
    "or_and": ("or_and", 1),
}


def spgemm(
    A: Any,
    B: Any,
    *,
    client: Any = None,
    blocks: int | None = None,
    layout: str = "auto",
    replicate_bytes: int = 1 << 30,
    semiring: str = "plus_times",
    mask: Any = None,
    complement: bool = False,
    threads: int | None = 1,
    gather: bool = True,
) -> Any:
    """Multiply two sparse matrices on a Dask cluster; the product is the concatenation of its row blocks.

    Parameters
    ----------
    A, B : sparse, shapes (m, k) and (k, n)
        As for :func:`gossamer.linalg.spgemm`.
    client : distributed.Client, optional
        The cluster; the current client by default.
    blocks : int, optional
        Row blocks of A, cut so that each has about the same number of scalar products; four a worker by default.
    layout : {"auto", "replicated", "rows"}
        A copy of B on every worker, or B in row blocks that meet the matching columns of A, partial products summed
        afterwards (sparse SUMMA). ``auto`` replicates up to ``replicate_bytes``.
    replicate_bytes : int
        Largest B that ``auto`` copies to every worker.
    semiring, mask, complement
        As for :func:`gossamer.linalg.spgemm`.
    threads : int, optional
        Of each task; one by default, because a worker runs several tasks.
    gather : bool
        False leaves the row blocks on the cluster and returns a list of futures, from top to bottom.

    Returns
    -------
    sparse, shape (m, n), or list of futures
        The container kind of A; futures hold ``scipy.sparse.csr_array`` blocks.

    Raises
    ------
    ShapeError
        Inner dimensions differ, or the mask has another shape.
    MissingDependencyError
        Dask is not installed.

    Notes
    -----
    Each block costs what the local product costs. Replicated, B travels once to every worker; in rows, A and B travel
    once and the partial products of a row block are summed by one task.

    References
    ----------
    Buluç and Gilbert, "Parallel sparse matrix-matrix multiplication and indexing", SIAM J. Sci. Comput. 2012 (sparse
    SUMMA).
    """
    check_choice("layout", layout, ("auto", "replicated", "rows"))
    client = current_client(client)
    workers = count_workers(client)
    operands = Operands(A, B, semiring=semiring, mask=mask, complement=complement, threads=threads)
    count = 4 * workers if blocks is None else check_int("blocks", blocks, low=1)
    cuts = operands.product(split=False).cut(count)
    left, right = _plain(operands.A), _plain(operands.B)
    limit = None if operands.mask is None else _plain(operands.mask)
    options = {"semiring": semiring, "complement": complement, "threads": threads}
    if layout == "auto":
        bytes_of_b = right.data.nbytes + right.indices.nbytes + right.indptr.nbytes
        layout = "replicated" if bytes_of_b <= replicate_bytes else "rows"

    if layout == "replicated":
        shared = client.scatter(right, broadcast=True, hash=False)
        parts = [shared]
        bounds = np.array([0, left.shape[1]])
    else:
        bounds = np.linspace(0, left.shape[1], workers + 1).astype(int)
        parts = [client.scatter(right[p:q], hash=False) for p, q in itertools.pairwise(bounds)]
    futures = []
    for start, stop in itertools.pairwise(cuts):
        block, masked = left[start:stop], None if limit is None else limit[start:stop]
        partial = [
            client.submit(
                _multiply, block if len(parts) == 1 else block[:, p:q], part, masked, options, pure=False
            )
            for part, p, q in zip(parts, bounds[:-1], bounds[1:], strict=True)
        ]
        futures.append(
            partial[0] if len(partial) == 1 else client.submit(_add, partial, semiring, threads, pure=False)
        )
    if not gather:
        return futures
    slabs = client.gather(futures)
    if not slabs:
        slabs = [_multiply(left, right, limit, options)]
    C = scipy.sparse.vstack(slabs, format="csr")
    return operands.A.build(fitted(Rows(C.indptr, C.indices, C.data, C.shape, operands.A.build)))


def _plain(X: Rows) -> Any:
    return scipy.sparse.csr_array((X.data, X.indices, X.indptr), shape=X.shape)


def _multiply(A: Any, B: Any, mask: Any, options: dict[str, Any]) -> Any:
    from gossamer.linalg import spgemm

    masked = {k: v for k, v in options.items() if k != "complement" or mask is not None}
    return spgemm(A, B, mask=mask, **masked)


def _add(partial: list[Any], semiring: str, threads: int | None) -> Any:
    """The semiring's sum of matrices: ``[I I ... I]`` times their stack."""
    from gossamer.linalg import spgemm

    ring, unit = _SUMS[semiring]
    rows, count = partial[0].shape[0], len(partial)
    columns = (np.arange(rows)[:, None] + rows * np.arange(count)).ravel()
    units = np.full(rows * count, unit, partial[0].dtype)
    gathering = scipy.sparse.csr_array(
        (units, columns, np.arange(rows + 1) * count), shape=(rows, rows * count)
    )
    return spgemm(gathering, scipy.sparse.vstack(partial, format="csr"), semiring=ring, threads=threads)
