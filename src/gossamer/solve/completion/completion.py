"""Fill in a matrix of low rank from some of its entries."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer._core.checks import check_array, check_choice, check_float, check_int
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._core.random import RandomState, check_random_state
from gossamer.solve.completion.alternating import check_inner, check_validation, sweep
from gossamer.solve.completion.entries import Entries, check_entries, check_rank, check_triples
from gossamer.solve.completion.factors import CompletionResult
from gossamer.solve.completion.splitting import default_rounds, split_minimization
from gossamer.solve.completion.start import clip_start, falling_ridges, random_start, spectral_start
from gossamer.solve.iteration import Callback, Watch


def matrix_completion(
    rows: Any,
    cols: Any,
    vals: Any,
    shape: tuple[int, int],
    rank: int,
    *,
    method: str = "auto",
    sample_splitting: bool = False,
    ridge: float = 0.0,
    weighted_ridge: bool = False,
    biases: bool = False,
    maxiter: int | None = None,
    tol: float = 1e-8,
    inner_rtol: float | str = "adaptive",
    inner_iter: int = 20,
    init: Any = "spectral",
    clip_incoherence: float | str | None = "auto",
    perturb: float = 0.0,
    validation: tuple[Any, Any, Any] | None = None,
    duplicates: str = "error",
    dtype: Any = "float64",
    random_state: RandomState = None,
    callback: Callback | None = None,
    threads: int | None = None,
) -> CompletionResult:
    r"""Complete a matrix of low rank from some of its entries, by alternating regressions.

    ``min_{U,V} sum_{(i,j) in Omega} (M_ij - u_i . v_j)^2``: columns are regressed on U, then rows on V, and again.
    The regressions need not be exact: errors that are small beside what is still wrong do not slow the iteration.
    With conjugate gradients (``method="cg"``) a sweep costs a few passes over ``|Omega| k`` numbers,
    instead of ``|Omega| k^2``.

    *Choosing options.* For exact data the defaults do. For ratings: ``biases=True, ridge=0.05, weighted_ridge=True``
    and ``validation``. ``method="shared"`` where rows of the factors are of very different size. ``sample_splitting``
    is what is proved, with fresh entries for each regression; it wastes data and is never needed in practice.

    Parameters
    ----------
    rows, cols : array of int, shape (N,)
        Places of the observed entries.
    vals : array, shape (N,)
        Their values; a zero is an observation.
    shape : (int, int)
        (m, n).
    rank : int
        k, at most ``min(m, n)``.
    method : {"auto", "exact", "qr", "cg", "shared", "sketch"}
        Solver of the regressions, see :func:`multi_response_regression`; ``auto`` is exact below rank 32.
    sample_splitting : bool
        Split the entries at random into ``2 T + 1`` parts, one for the start and one for each half sweep.
    ridge : float
        lam: adds ``lam (|U|^2 + |V|^2)``.
    weighted_ridge : bool
        ``lam n_j |v_j|^2`` instead, n_j the number of entries of a line.
    biases : bool
        Fit a mean, and biases of rows and columns, penalised like factors.
    maxiter : int, optional
        Most sweeps, 50 by default; with splitting the number T of rounds, ``log_4(1 / tol)`` by default.
    tol : float
        Converged when the root mean square error is at most tol of that of zero (of the mean, with biases), or has
        changed by at most tol of itself. With splitting only the former.
    inner_rtol : float or "adaptive"
        Iterative solvers end when the gradient of a regression is a tenth of what it was at the warm start, or
        1e-12 of that of zero (float32: 1e-6); a float is relative to zero, and the completion stalls at about
        that error. With splitting there is no warm start, and ``adaptive`` is 1e-10.
    inner_iter : int
        Most inner steps (with splitting 10 times as many).
    init : "spectral", "random" or (U, V)
        Start: left singular vectors of the entries, the others zero; or uniform; or given, V may be None. From a
        spectral start with fewer than ``4 k (m + n)`` entries, no ridge, no biases and no held-out entries, the first
        20 sweeps (at most half of them) have a ridge that falls by three tenths each.
    clip_incoherence : float, "auto" or None
        Zero those entries of the start that exceed ``2 mu sqrt(k / m)``: a float is mu, ``auto`` estimates it with
        splitting and does not clip without.
    perturb : float
        Adds a random error of this relative size to every factor that was solved for, to see what is tolerated.
    validation : (rows, cols, vals), optional
        Held-out entries: sweeps end when their error has not fallen for three, and the best factors are returned.
    duplicates : {"error", "mean"}
        What to do where a place has several different values.
    dtype : "float64" or "float32"
        Of factors and arithmetic.
    random_state : int, Generator or None
        Of starts, splits, sketches and perturbations.
    callback : callable, optional
        Called with an :class:`Iteration` after every sweep.
    threads : int, optional
        The result does not depend on them.

    Returns
    -------
    CompletionResult
        ``history`` has, for each sweep, the error on the entries (``rmse``) and on held-out ones, the sine of the
        largest angle to the sweep before (``row_distance``, ``column_distance``), the incoherence of both factors,
        inner steps a regression, and seconds.

    Raises
    ------
    ArgumentError, ShapeError
        An index outside the shape, values that are not finite, two different values at one place, a rank beyond the
        shape, too few entries to split.

    Warns
    -----
    RuntimeWarning
        Fewer entries than unknowns, and no ridge.

    Notes
    -----
    A sweep: exact ``2 N k^2`` flops, cg ``8 N k`` a step, and ``O((m + n) k^2)`` to condition the factors. Memory:
    two orders of the entries and both factors; the completed matrix is never formed.

    References
    ----------
    Gu, Song, Yin, Zhang, "Low rank matrix completion via robust alternating minimization in nearly linear time",
    ICLR 2024, arXiv 2302.11068. Zhou, Wilkinson, Schreiber, Pan, "Large-scale parallel collaborative filtering for
    the Netflix prize", 2008 (weighted ridge).

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.solve import incoherent_low_rank, matrix_completion
    >>> sample = incoherent_low_rank(200, 150, 4, p=0.3, random_state=0)
    >>> result = matrix_completion(sample.rows, sample.cols, sample.vals, sample.shape, 4, random_state=0)
    >>> error = result.to_dense() - sample.to_dense()
    >>> result.success, bool(np.abs(error).max() < 1e-6)
    (True, True)
    """
    entries = check_triples(rows, cols, vals, shape, dtype=dtype, duplicates=duplicates)
    return complete(
        entries, rank, method=method, sample_splitting=sample_splitting, ridge=ridge, weighted_ridge=weighted_ridge,
        biases=biases, maxiter=maxiter, tol=tol, inner_rtol=inner_rtol, inner_iter=inner_iter, init=init,
        clip_incoherence=clip_incoherence, perturb=perturb, validation=validation, random_state=random_state,
        callback=callback, threads=threads,
    )  # fmt: skip


def complete_matrix(M: Any, rank: int, *, dtype: Any = None, **options: Any) -> CompletionResult:
    """:func:`matrix_completion` of a matrix instead of places and values.

    Parameters
    ----------
    M : sparse matrix, array with NaN, or StoredEntries, shape (m, n)
        Every stored entry is an observation, zeros too.
    rank : int
        k, at most ``min(m, n)``.
    dtype : "float64" or "float32", optional
        Of factors and arithmetic; that of M by default, if it is one of these. Entries in files keep theirs.
    **options
        As for :func:`matrix_completion`, without ``duplicates``.

    Returns
    -------
    CompletionResult

    Raises
    ------
    ArgumentError, ShapeError, UnsupportedError
        As for :func:`matrix_completion`; ``sample_splitting`` of entries in files.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.solve import complete_matrix
    >>> M = np.outer(np.arange(1.0, 6), np.arange(1.0, 5))
    >>> M[2, 2] = np.nan
    >>> float(complete_matrix(M, 1, tol=1e-12).predict(2, 2)[0].round(8))
    9.0
    """
    return complete(check_entries("M", M, dtype), rank, **options)


def complete(
    entries: Entries,
    rank: int,
    *,
    method: str = "auto",
    sample_splitting: bool = False,
    ridge: float = 0.0,
    weighted_ridge: bool = False,
    biases: bool = False,
    maxiter: int | None = None,
    tol: float = 1e-8,
    inner_rtol: float | str = "adaptive",
    inner_iter: int = 20,
    init: Any = "spectral",
    clip_incoherence: float | str | None = "auto",
    perturb: float = 0.0,
    validation: tuple[Any, Any, Any] | None = None,
    random_state: RandomState = None,
    callback: Callback | None = None,
    threads: int | None = None,
) -> CompletionResult:
    """:func:`matrix_completion` of entries that were checked, wherever they are."""
    k = check_rank(rank, entries, warn=not ridge)
    rng = check_random_state(random_state)
    tol = check_float("tol", tol, low=0)
    kind = entries.rows.value.dtype
    steps = check_int("inner_iter", inner_iter, low=1)
    if sample_splitting:
        steps *= 10
        inner_rtol = 1e-10 if inner_rtol == "adaptive" and kind == np.float64 else inner_rtol
        for name, used in (("validation", validation is not None), ("biases", biases)):
            if used:
                raise ArgumentError(f"{name} is given with sample_splitting: expected one of the two")
    inner = check_inner(method, ridge, weighted_ridge, inner_rtol, steps, perturb, rng, threads, kind)
    held = None if validation is None else check_validation(validation, entries)
    U, V = _given_start(init, entries, k)
    clip = clip_incoherence is not None and (sample_splitting or clip_incoherence != "auto")
    if isinstance(clip_incoherence, str):
        check_choice("clip_incoherence", clip_incoherence, ("auto",))
    mu = (
        None
        if not clip or isinstance(clip_incoherence, str)
        else check_float("clip_incoherence", clip_incoherence, low=0)
    )
    if maxiter is not None:
        maxiter = check_int("maxiter", maxiter, low=1)
    if sample_splitting:
        rounds = default_rounds(tol) if maxiter is None else maxiter
        watch = Watch("criterion", tol=tol, maxiter=rounds, callback=callback)
        if init == "random" and isinstance(init, str):
            U = random_start(entries.shape[0], k, rng, kind)
        return split_minimization(entries, k, rounds, inner, watch, start=U, mu=mu, clip=clip, rng=rng)
    most = 50 if maxiter is None else maxiter
    watch = Watch("criterion", tol=tol, maxiter=most, callback=callback)
    clipped = 0
    ridges: tuple[float, ...] = ()
    if U is None:
        centred = entries.centred(entries.mean) if biases else entries
        if init == "random" or not entries.count:
            U = random_start(entries.shape[0], k, rng, kind)
            values = np.full(
                k, centred.norm * np.sqrt(entries.shape[0] * entries.shape[1] / max(entries.count, 1) / k)
            )
        else:
            U, values = spectral_start(centred, k, rng, threads)
            if not (inner.ridge or biases or held or perturb):
                ridges = falling_ridges(entries, k, values, most // 2)
        if clip:
            U, clipped = clip_start(U, mu)
        if inner.ridge or ridges:  # against a penalty the size of the start counts: that of a balanced factor
            U = np.ascontiguousarray(U * np.sqrt(values).astype(kind))
    return sweep(entries, U, V, inner, watch, biases=biases, held=held, clipped=clipped, ridges=ridges)


def _given_start(init: Any, entries: Entries, k: int) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Factors that were handed in, or None where a start is to be found."""
    if isinstance(init, str):
        check_choice("init", init, ("spectral", "random"))
        return None, None
    try:
        U, V = init
    except (TypeError, ValueError):
        raise ArgumentError(
            f"init is a {type(init).__name__}: expected 'spectral', 'random' or (U, V)"
        ) from None
    out: list[np.ndarray | None] = []
    for name, factor, count in (("init[0]", U, entries.shape[0]), ("init[1]", V, entries.shape[1])):
        if factor is None and name == "init[1]":
            out.append(None)
            continue
        array = np.array(check_array(name, factor, ndim=2), entries.rows.value.dtype, order="C")
        if array.shape != (count, k):
            raise ShapeError(f"{name} has shape {array.shape}: expected {(count, k)}")
        out.append(array)
    return out[0], out[1]
