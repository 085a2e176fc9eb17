"""One least squares problem a column of an incomplete matrix, solved exactly or just well enough."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from gossamer._core.checks import check_array, check_choice, check_float, check_int
from gossamer._core.errors import ShapeError
from gossamer._core.random import RandomState, check_random_state
from gossamer._kernels.completion import Observed
from gossamer.solve.completion.entries import check_entries

METHODS = ("auto", "exact", "qr", "cg", "shared", "sketch")
ITERATIVE = ("cg", "shared", "sketch")
EXACT_BELOW = 32  # ranks at which a Gram matrix costs less than a few passes
PATIENCE = 30  # steps of cg after which "auto" sketches columns with more than 8 k entries


@dataclass(frozen=True)
class RegressionInfo:
    """How the columns were solved.

    Attributes
    ----------
    method : str
        Which solver ran; "cg+sketch" if ``auto`` went over to sketches for some columns.
    steps : ndarray of int64, shape (n,)
        Inner iterations of each column; 0 for direct solvers.
    n_sketched : int
        Columns that ``auto`` handed from cg to a sketch.
    n_deficient : int
        Columns whose matrix is rank deficient to working precision, solved for the least norm by SVD.
    n_empty : int
        Columns without an entry, which are zero.
    loss : ndarray or None
        Squared residual of each column, where asked for.
    """

    method: str
    steps: np.ndarray
    n_sketched: int = 0
    n_deficient: int = 0
    n_empty: int = 0
    loss: np.ndarray | None = None


def multi_response_regression(
    U: Any,
    observed: Any,
    *,
    method: str = "auto",
    ridge: float = 0.0,
    weighted_ridge: bool = False,
    x0: Any = None,
    rtol: float = 1e-10,
    maxiter: int | None = None,
    random_state: RandomState = None,
    threads: int | None = None,
) -> tuple[np.ndarray, RegressionInfo]:
    r"""Solve ``min_V sum_(i,j) observed (M_ij - u_i v_j)^2 + sum_j lam_j |v_j|^2``, a regression a column.

    *Choosing a solver.* ``exact`` (normal equations, Cholesky) is fastest up to a rank of about 32; beyond it ``cg``
    is, which needs a number of steps that depends on how evenly rows are spread, not on the rank. ``shared``
    preconditions all columns by one Cholesky factor of ``p U^T U``: for U that is far from orthonormal. ``sketch``
    has a preconditioner of each column's own: for columns with many entries (n_j much larger than k^2) whose rows
    are very uneven. ``qr`` is exact, and stable where normal equations are not.

    Parameters
    ----------
    U : array, shape (m, k)
        float32 stays float32, anything else is float64.
    observed : sparse matrix, or array with NaN, shape (m, n)
        Every stored entry is an observation, zeros too.
    method : {"auto", "exact", "qr", "cg", "shared", "sketch"}
        ``auto`` is exact below rank 32 and cg from there; columns with more than 8 k entries that cg has not solved
        in 30 steps are sketched.
    ridge : float
        lam.
    weighted_ridge : bool
        ``lam_j = lam n_j`` instead of lam, n_j the number of entries of column j.
    x0 : array, shape (n, k), optional
        Start of iterative solvers.
    rtol : float
        These end when the gradient is at most ``rtol |U_j^T m_j|``.
    maxiter : int, optional
        Most inner steps; ``max(100, 4 k)`` by default.
    random_state : int, Generator or None
        Of sketches.
    threads : int, optional
        Columns are shared among threads; the result does not depend on them.

    Returns
    -------
    V : ndarray, shape (n, k)
        Where ``ridge = 0`` and a column does not determine its coefficients: those of least norm (from ``x0``, for cg
        the nearest to it).
    info : RegressionInfo

    Raises
    ------
    ArgumentError, ShapeError
        Arguments that do not fit, are not finite, or are out of range.

    Notes
    -----
    Flops for N entries: cg and shared ``4 N k`` a step, exact ``N k^2 + n k^3 / 3``, qr ``4 N k^2``, sketch
    ``8 N k + 16 n k^3`` and ``4 N k`` a step. Rows are gathered once a column.

    References
    ----------
    Gu, Song, Yin, Zhang, "Low rank matrix completion via robust alternating minimization in nearly linear time",
    arXiv 2302.11068.

    Examples
    --------
    >>> import numpy as np, scipy.sparse as sp
    >>> from gossamer.solve import multi_response_regression
    >>> rng = np.random.default_rng(0)
    >>> U, V = rng.normal(size=(60, 3)), rng.normal(size=(40, 3))
    >>> seen = rng.random((60, 40)) < 0.5
    >>> found, info = multi_response_regression(U, np.where(seen, U @ V.T, np.nan))
    >>> bool(np.allclose(found, V)), info.method
    (True, 'exact')
    """
    U = np.asarray(check_array("U", U, ndim=2))
    entries = check_entries("observed", observed, U.dtype if U.dtype == np.float32 else np.float64)
    U = np.ascontiguousarray(U, entries.rows.value.dtype)
    if U.shape[0] != entries.shape[0] or U.shape[1] < 1:
        raise ShapeError(f"U has shape {U.shape}: expected ({entries.shape[0]}, k), as observed has rows")
    check_choice("method", method, METHODS)
    x = None
    if x0 is not None:
        x = np.array(check_array("x0", x0, ndim=2), U.dtype)
        if x.shape != (entries.shape[1], U.shape[1]):
            raise ShapeError(f"x0 has shape {x.shape}: expected {(entries.shape[1], U.shape[1])}")
    return regress(
        entries.columns,
        U,
        x,
        method=method,
        ridge=check_float("ridge", ridge, low=0),
        weighted_ridge=weighted_ridge,
        rtol=check_float("rtol", rtol, low=0),
        maxiter=maxiter if maxiter is None else check_int("maxiter", maxiter, low=0),
        seed=int(check_random_state(random_state).integers(2**63)),
        loss=True,
        threads=threads,
    )


def regress(
    lines: Observed,
    U: np.ndarray,
    x: np.ndarray | None,
    *,
    method: str,
    ridge: float = 0.0,
    weighted_ridge: bool = False,
    rtol: float = 1e-10,
    reduction: float = 0.0,
    maxiter: int | None = None,
    seed: int = 0,
    loss: bool = False,
    threads: int | None = None,
) -> tuple[np.ndarray, RegressionInfo]:
    """:func:`multi_response_regression` of checked arguments; x is overwritten.

    ``reduction``: also end where the gradient is this part of what it was at the start.
    """
    k = U.shape[1]
    auto = method == "auto"
    if auto:
        method = "exact" if k < EXACT_BELOW else "cg"
    x = np.zeros((lines.count, k), U.dtype) if x is None else x
    lam = ridge * lines.degrees if weighted_ridge else np.full(lines.count, ridge)
    most = max(100, 4 * k) if maxiter is None else maxiter
    options: dict[str, Any] = {
        "rtol": rtol,
        "reduction": reduction,
        "seed": seed,
        "threads": threads,
        "loss": loss,
    }
    chosen = lines.order
    if method == "shared":
        options["preconditioner"] = _shared(lines, U, lam)
        if (
            not ridge
        ):  # a preconditioner would say which of many solutions is found: without, the nearest to x
            chosen = chosen[lines.degrees[chosen] >= k]
    patient = auto and method == "cg" and most > PATIENCE
    first = PATIENCE if patient else most
    taken, losses = lines.regress(U, lam, x, method=method, steps=first, ids=chosen, **options)
    used, sketched = method, 0
    if len(chosen) < lines.count:
        options["preconditioner"] = None
        short = np.flatnonzero(lines.degrees < k)
        rest = lines.regress(U, lam, x, method="cg", steps=most, ids=short, **options)
        taken += rest[0]
        losses = None if losses is None or rest[1] is None else losses + rest[1]
    if patient:
        late = taken == PATIENCE
        hard = late & (lines.degrees > 8 * k)
        for some, solver in ((hard, "sketch"), (late & ~hard, "cg")):
            ids = np.flatnonzero(some)
            if len(ids):
                more, again = lines.regress(
                    U, lam, x, method=solver, steps=most - PATIENCE, ids=ids, **options
                )
                taken[ids] = np.where(more[ids] < 0, -1, taken[ids] + more[ids])
                if losses is not None and again is not None:
                    losses[ids] = again[ids]
        sketched = int(hard.sum())
        used = "cg+sketch" if sketched else used
    empty = lines.degrees == 0
    x[empty] = 0
    deficient = np.flatnonzero((taken < 0) & ~empty)
    if len(deficient):
        _settle(lines, U, lam, deficient, x, losses)
    return x, RegressionInfo(used, np.maximum(taken, 0), sketched, len(deficient), int(empty.sum()), losses)


def _shared(lines: Observed, U: np.ndarray, lam: np.ndarray) -> np.ndarray:
    """Upper Cholesky factor of ``p U^T U + lam I``; a little is added where that is singular."""
    wide = U.astype(np.float64)
    p = len(lines.value) / max(lines.count * lines.width, 1)
    gram = p * (wide.T @ wide) + float(lam.mean() if len(lam) else 0.0) * np.eye(U.shape[1])
    size = float(np.trace(gram)) / len(gram)
    shift = 0.0
    while True:
        try:
            return np.ascontiguousarray(np.linalg.cholesky(gram + shift * np.eye(len(gram))).T)
        except np.linalg.LinAlgError:
            shift = max(10 * shift, 1e-14 * size, math.ulp(1.0))


def _settle(
    lines: Observed,
    U: np.ndarray,
    lam: np.ndarray,
    deficient: np.ndarray,
    x: np.ndarray,
    losses: np.ndarray | None,
) -> None:
    """Least norm for lines that their entries do not determine; where lines are shared out, each by its owner."""
    mine = lines.owned(deficient)
    for line in mine:
        _least_norm(lines, U, float(lam[line]), int(line), x, losses)
    lines.share(deficient, mine, x, losses)


def _least_norm(
    lines: Observed, U: np.ndarray, lam: float, line: int, x: np.ndarray, losses: np.ndarray | None
) -> None:
    chosen = slice(lines.start[line], lines.start[line + 1])
    A, b = U[lines.index[chosen]].astype(np.float64), lines.value[chosen].astype(np.float64)
    k = U.shape[1]
    if lam > 0:
        A, b = np.vstack([A, math.sqrt(lam) * np.eye(k)]), np.concatenate([b, np.zeros(k)])
    cutoff = float(np.finfo(U.dtype).eps) * max(A.shape)
    v = np.linalg.lstsq(A, b, rcond=cutoff)[0]
    x[line] = v
    if losses is not None:
        count = int(lines.degrees[line])
        losses[line] = float(np.sum((b[:count] - A[:count] @ v) ** 2))
