"""A sparse matrix whose rows lie on the workers of a Dask cluster, its products, and multigrid for its blocks."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse
from scipy.sparse.linalg import LinearOperator

from gossamer._core.checks import check_int
from gossamer._core.errors import ArgumentError, ShapeError, UnsupportedError
from gossamer.distributed.clients import count_workers, current_client
from gossamer.solve.multigrid.bootstrap import BootstrapAMG
from gossamer.solve.multigrid.compatible_matching import CompatibleMatchingAMG
from gossamer.solve.operators import check_csr

AMG = BootstrapAMG | CompatibleMatchingAMG


class SpreadMatrix(LinearOperator):
    """A sparse matrix in blocks of rows, each kept by an actor on a worker.

    A product sends to every block the entries of ``x`` that its columns meet and brings back its rows; the matrix does
    not travel. Goes wherever an operator does: into :func:`gossamer.solve.solve`, with :meth:`block_multigrid` as
    ``M``, and into SciPy's solvers.

    Parameters
    ----------
    A : sparse matrix, shape (m, n), or list of futures
        Real. Futures hold CSR blocks of rows, as :func:`gossamer.distributed.spgemm` leaves them with
        ``gather=False``: no machine needs memory for the whole.
    client : distributed.Client, optional
        The cluster; the current client by default.
    blocks : int, optional
        Blocks of about the same number of entries; one a worker by default. Futures are blocks as they are.

    Attributes
    ----------
    bounds : ndarray of int64, shape (blocks + 1,)
        Where blocks begin and end.
    nnz : int
        Stored entries.

    Raises
    ------
    ArgumentError, ShapeError, UnsupportedError
        If ``A`` is no sparse matrix, its blocks have different numbers of columns, or there is no client.
    MissingDependencyError
        If Dask is not installed.

    Notes
    -----
    A round trip a product, of as many numbers as blocks have distinct columns. Rows that are near one another in a
    graph should be near one another in the matrix (``scipy.sparse.csgraph.reverse_cuthill_mckee``). Sums within a row
    are those of one machine, so that the number of workers changes no bit.

    Examples
    --------
    >>> from gossamer.distributed import SpreadMatrix  # doctest: +SKIP
    >>> S = SpreadMatrix(A)  # doctest: +SKIP
    >>> solve(S, b, M=S.block_multigrid(random_state=0)).x  # doctest: +SKIP
    """

    def __init__(self, A: Any, client: Any = None, blocks: int | None = None) -> None:
        self._client = current_client(client)
        if isinstance(A, (list, tuple)) and A and all(hasattr(block, "result") for block in A):
            parts = list(A)
        elif scipy.sparse.issparse(A):
            parts = _cut(check_csr("A", A, square=False), blocks, count_workers(self._client))
            parts = self._client.scatter(parts, hash=False)
        else:
            raise UnsupportedError(
                f"A is a {type(A).__name__}: expected a sparse matrix or a list of futures"
            )
        actors = [self._client.submit(_Block, part, actor=True, pure=False) for part in parts]
        self._blocks = [actor.result() for actor in actors]
        facts = self._ask("facts", [()] * len(parts))
        heights, widths, entries, self._columns = zip(*facts, strict=True)
        if len(set(widths)) > 1:
            raise ShapeError(f"A has blocks of {sorted(set(widths))} columns: expected as many in each")
        self.bounds = np.concatenate([[0], np.cumsum(heights)]).astype(np.int64)
        self.nnz = int(sum(entries))
        super().__init__(np.float64, (int(self.bounds[-1]), int(widths[0])))

    def diagonal(self) -> np.ndarray:
        """The diagonal of a square matrix, for ``M="jacobi"``."""
        return np.concatenate(self._ask("diagonal", [(start,) for start in self.bounds[:-1].tolist()]))

    def block_multigrid(self, amg: AMG | None = None, **options: Any) -> LinearOperator:
        """A preconditioner: multigrid for the square block on the diagonal that each worker keeps.

        Workers build and use their hierarchies side by side; what couples blocks is left to the iteration, so that
        fewer and larger blocks need fewer steps.

        Parameters
        ----------
        amg : BootstrapAMG or CompatibleMatchingAMG, optional
            What each block is set up with.
        **options
            Of :class:`gossamer.solve.BootstrapAMG`, in place of ``amg``.

        Returns
        -------
        LinearOperator, shape (n, n)
            Symmetric positive definite if the matrix is.

        Raises
        ------
        ShapeError
            If the matrix is not square.
        ArgumentError
            If a block is not symmetric positive definite, or ``amg`` has a cycle that is not linear.
        """
        if self.shape[0] != self.shape[1]:
            raise ShapeError(f"the matrix has shape {self.shape}: expected a square one")
        if amg is not None and options:
            raise ArgumentError(f"amg and {', '.join(options)}: expected one or the other")
        amg = BootstrapAMG(**options) if amg is None else amg
        if not isinstance(amg, AMG):
            raise UnsupportedError(
                f"amg is a {type(amg).__name__}: expected BootstrapAMG or CompatibleMatchingAMG"
            )
        if not amg.linear:
            raise ArgumentError('amg has cycle="K", which is no linear map: expected "V" or "W"')
        self._ask("prepare", [(amg, start) for start in self.bounds[:-1].tolist()])

        def apply(r: np.ndarray) -> np.ndarray:
            return np.concatenate(self._ask("precondition", [(part,) for part in self._rows(r)]))

        return LinearOperator(self.shape, matvec=apply, rmatvec=apply, dtype=np.float64)

    def _matvec(self, x: np.ndarray) -> np.ndarray:
        x = np.asarray(x, np.float64).reshape(-1)
        return np.concatenate(self._ask("product", [(x[columns],) for columns in self._columns]))

    def _matmat(self, X: np.ndarray) -> np.ndarray:
        X = np.asarray(X, np.float64)
        return np.concatenate(self._ask("product", [(X[columns],) for columns in self._columns]))

    def _rmatvec(self, y: np.ndarray) -> np.ndarray:
        x = np.zeros(self.shape[1])
        parts = self._ask("transposed", [(part,) for part in self._rows(y)])
        for columns, part in zip(self._columns, parts, strict=True):
            x[columns] += part
        return x

    def _rows(self, y: np.ndarray) -> list[np.ndarray]:
        y = np.asarray(y, np.float64).reshape(-1)
        return [y[start:stop] for start, stop in itertools.pairwise(self.bounds.tolist())]

    def _ask(self, method: str, arguments: list[tuple[Any, ...]]) -> list[Any]:
        """The answers of all blocks, which work side by side."""
        asked = [getattr(block, method)(*given) for block, given in zip(self._blocks, arguments, strict=True)]
        return [answer.result() for answer in asked]


def _cut(A: scipy.sparse.csr_array, blocks: int | None, workers: int) -> list[scipy.sparse.csr_array]:
    """Blocks of rows with about as many entries and rows each."""
    count = min(workers if blocks is None else check_int("blocks", blocks, low=1), max(A.shape[0], 1))
    work = A.indptr + np.arange(A.shape[0] + 1)
    cuts = np.searchsorted(work, np.linspace(0, work[-1], count + 1)).tolist()
    return [A[start:stop] for start, stop in itertools.pairwise(dict.fromkeys(cuts))]


class _Block:
    """Some rows of a matrix, with the columns that they meet numbered anew."""

    def __init__(self, block: Any) -> None:
        rows = check_csr("block", block, square=False)
        self.columns, own = np.unique(rows.indices, return_inverse=True)
        self.width, shape = rows.shape[1], (rows.shape[0], len(self.columns))
        self.rows = scipy.sparse.csr_array((rows.data, own.reshape(-1), rows.indptr), shape=shape)
        self.apply: Callable[[np.ndarray], np.ndarray] | None = None

    def facts(self) -> tuple[int, int, int, np.ndarray]:
        return self.rows.shape[0], self.width, self.rows.nnz, self.columns

    def product(self, x: np.ndarray) -> np.ndarray:
        return self.rows @ x

    def transposed(self, y: np.ndarray) -> np.ndarray:
        return self.rows.T @ y

    def square(self, start: int) -> scipy.sparse.csr_array:
        """The square block on the diagonal of the matrix."""
        n = self.rows.shape[0]
        first, last = np.searchsorted(self.columns, [start, start + n])
        inner = scipy.sparse.coo_array(self.rows[:, first:last])
        column = self.columns[first:last][inner.col] - start
        return scipy.sparse.csr_array((inner.data, (inner.row, column)), shape=(n, n))

    def diagonal(self, start: int) -> np.ndarray:
        return self.square(start).diagonal()

    def prepare(self, amg: AMG, start: int) -> None:
        self.apply = amg.setup(self.square(start)).aspreconditioner().matvec

    def precondition(self, r: np.ndarray) -> np.ndarray:
        assert self.apply is not None
        return self.apply(r)
