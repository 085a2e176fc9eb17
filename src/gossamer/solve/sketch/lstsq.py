"""Least squares on a sketch, with an error that is spread evenly over the coefficients."""

from __future__ import annotations

import math
import time
import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gossamer._core.checks import check_choice, check_float, check_int
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._core.random import RandomState, check_random_state
from gossamer.linalg.sketches.sketch import Sketch
from gossamer.solve.iteration import Callback, SolverResult, Watch
from gossamer.solve.sketch.draw import Factory, draw_sketch
from gossamer.solve.sketch.preconditioned import Factor, hessian_sketch, preconditioned_lsqr
from gossamer.solve.sketch.tall import Ridged, Tall, TallMatrix

MODES = ("sketch", "refine", "iterative", "average")


@dataclass(frozen=True, kw_only=True)
class SketchedResult(SolverResult):
    """What :func:`sketched_lstsq` returns.

    Attributes
    ----------
    m : int
        Rows of the sketch.
    residual_norm : float or ndarray (k,)
        ``||A x - b||`` at the solution, of the whole problem.
    linf_error_estimate : ndarray, shape of x
        For every coefficient, a bound on its distance from the exact solution that holds with probability of about
        ``1 - delta`` for dense sketches.
    seconds_sketch, seconds_solve : float
        Time that the products with the sketch took, and all that followed.
    """

    m: int = 0
    residual_norm: Any = math.nan
    linf_error_estimate: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False)
    seconds_sketch: float = 0.0
    seconds_solve: float = 0.0


def linf_sketch_size(n: int, d: int, eps: float, delta: float, theory: bool = False) -> int:
    r"""Rows that a dense sketch needs for every coefficient to be within :math:`\epsilon / \sqrt d`.

    .. math:: \|x' - x^*\|_\infty \le \frac{\epsilon}{\sqrt d} \, \|A x^* - b\|_2 \, \|A^+\|_2

    with probability ``1 - delta``; in theory :math:`m = \epsilon^{-2} d \log^3 (n / \delta)` up to a constant, in
    practice :math:`\epsilon^{-2} d \log (d / \delta)` and at least ``4 d``.

    Parameters
    ----------
    n, d : int
        Rows and columns of the problem.
    eps : float
        Accuracy, in (0, 1].
    delta : float
        Probability of failure, in (0, 1).
    theory : bool
        The count of the analysis, with constant 1.

    Returns
    -------
    int
        Not limited by n.

    References
    ----------
    Song, Ye, Yang, Zhang, arXiv 2302.00248, ICML 2023.
    """
    check_int("n", n, low=1)
    check_int("d", d, low=1, high=n)
    check_float("eps", eps, low=0, high=1, closed="right")
    check_float("delta", delta, low=0, high=1, closed="neither")
    if theory:
        return math.ceil(d * math.log(n / delta) ** 3 / eps**2)
    return max(4 * d, math.ceil(d * math.log(d / delta) / eps**2))


def sketched_lstsq(
    A: Any,
    b: Any,
    *,
    sketch: str | Sketch | Factory = "srht",
    m: int | None = None,
    eps: float = 0.5,
    delta: float = 0.01,
    mode: str = "sketch",
    ridge: float = 0.0,
    weights: Any = None,
    n_repeats: int = 1,
    random_state: RandomState = None,
    rtol: float = 1e-12,
    maxiter: int = 100,
    callback: Callback | None = None,
) -> SketchedResult:
    r"""Solve a tall least-squares problem by a sketch of its rows, ``min ||S A x - S b||``.

    .. math:: x' = (S A)^+ S b, \qquad
              \|x' - x^*\|_\infty \le \frac{\epsilon}{\sqrt d} \|A x^* - b\|_2 \|A^+\|_2

    A dense sketch spreads its error evenly: each coefficient is off by the root of d less than the vector as a whole.
    Take ``"srht"`` for that; ``"osnap"`` is faster on sparse matrices, and can put all of the error into one
    coefficient. One sketched solve is good to the accuracy asked for; ``mode="refine"`` goes on to full precision and
    still costs less than a factorisation of A.

    Parameters
    ----------
    A : array, sparse matrix or StructuredMatrix, shape (n, d)
        At least as many rows as columns, columns independent. A Kronecker product is never formed.
    b : array, shape (n,) or (n, k)
        Right sides. For a Kronecker product A also a sparse matrix, or a list of tuples of vectors: the sum of their
        tensor products.
    sketch : str, Sketch or callable
        ``"srht"``, ``"dct"``, ``"gaussian"``, ``"rademacher"``, ``"countsketch"``, ``"osnap"`` (8 entries a column),
        ``"uniform"``, ``"leverage"``; a callable ``(n, m, rng) -> Sketch``; or a sketch, for modes that draw one.
        On a Kronecker product ``"srht"`` is the tensor SRHT; the result says which ran.
    m : int, optional
        Rows of the sketch; by default :func:`linf_sketch_size` for "sketch" and "average", the same with
        ``eps=1`` for "refine", and ``16 d`` if that is more for "iterative", and at most n. With fewer than
        ``d log(d / delta)`` rows an SRHT of columns that live on few rows can lose rank.
    eps, delta : float
        Accuracy and probability of failure, for the default m and the error estimate.
    mode : {"sketch", "refine", "iterative", "average"}
        One sketched solve; LSQR preconditioned by the triangular factor of ``S A``, from the sketched solution on;
        Newton steps with the Hessian of a fresh sketch each; the mean of ``n_repeats`` sketched solutions.
    ridge : float
        Adds ``ridge * ||x||^2`` to the objective, on the sketch as on the whole.
    weights : array, shape (n,), optional
        Weights of the squared residuals.
    n_repeats : int
        Sketches of "average".
    random_state : int, Generator or None
        Source of the sketches.
    rtol : float
        "refine" and "iterative" stop when the norm of the gradient, in the geometry of the sketch, is at most ``rtol``
        times the norm of b; never below four units of rounding.
    maxiter : int
        Most iterations of "refine" and "iterative".
    callback : callable, optional
        Called with an :class:`Iteration` by "refine" and "iterative".

    Returns
    -------
    SketchedResult
        ``x`` of shape (d,) or (d, k), in the precision of A.

    Raises
    ------
    ShapeError, ArgumentError
        If n < d, m < d, m > n for sketches that draw different rows, b does not fit, or anything is not finite.
    numpy.linalg.LinAlgError
        If the sketched matrix is rank deficient.

    Warns
    -----
    RuntimeWarning
        If one solve is asked for with fewer rows than :func:`linf_sketch_size`.

    Notes
    -----
    ``n d log m`` additions and ``2 m d^2`` operations for an SRHT; LSQR takes two passes over A an iteration, and
    some 15 to 30 iterations. The estimate is, per coefficient, ``sqrt(2 log(2 d / delta) / (m - d))
    ||S A x - S b||`` times the norm of a row of the inverse triangular factor: exact in distribution for a Gaussian
    sketch, and not to be trusted for sparse ones; of "refine" and "iterative" it is what the gradient that is left,
    and rounding, can move a coefficient by. The mean of several solutions divides it by the root of their number;
    the scale of ``(S A)^T S A``, which is biased, has no influence on x'. "iterative" takes steps shortened to
    ``(1 - d/m)^2 / (1 + d/m)``, which contract for every m > d.

    References
    ----------
    Song, Ye, Yang, Zhang, "A nearly-optimal bound for fast regression with l-infinity guarantee", ICML 2023, arXiv
    2302.00248. Avron, Maymounkov, Toledo, "Blendenpik", SIAM J. Sci. Comput. 32, 2010. Pilanci and Wainwright,
    "Iterative Hessian sketch", JMLR 17, 2016.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.solve import sketched_lstsq
    >>> rng = np.random.default_rng(0)
    >>> A = rng.normal(size=(4096, 8))
    >>> b = A @ np.ones(8) + rng.normal(size=4096)
    >>> exact = np.linalg.lstsq(A, b, rcond=None)[0]
    >>> near = sketched_lstsq(A, b, eps=0.3, random_state=0)
    >>> bool((abs(near.x - exact) <= near.linf_error_estimate).all())
    True
    >>> fine = sketched_lstsq(A, b, mode="refine", random_state=0)
    >>> bool(np.allclose(fine.x, exact, atol=1e-10))
    True
    """
    return solve_tall(
        TallMatrix(A, b, weights), sketch=sketch, m=m, eps=eps, delta=delta, mode=mode, ridge=ridge,
        n_repeats=n_repeats, random_state=random_state, rtol=rtol, maxiter=maxiter, callback=callback,
    )  # fmt: skip


def solve_tall(
    tall: Tall,
    *,
    sketch: str | Sketch | Factory = "srht",
    m: int | None = None,
    eps: float = 0.5,
    delta: float = 0.01,
    mode: str = "sketch",
    ridge: float = 0.0,
    n_repeats: int = 1,
    random_state: RandomState = None,
    rtol: float = 1e-12,
    maxiter: int = 100,
    callback: Callback | None = None,
) -> SketchedResult:
    """:func:`sketched_lstsq` of a problem that was checked, wherever its rows are."""
    check_choice("mode", mode, MODES)
    check_float("ridge", ridge, low=0)
    repeats = check_int("n_repeats", n_repeats, low=1) if mode == "average" else 1
    m = _size(tall, m, eps, delta, mode, sketch)
    rng = check_random_state(random_state)
    single = isinstance(sketch, Sketch)
    if single and (mode == "iterative" or repeats > 1):
        raise ArgumentError(
            f"sketch is one sketch: mode={mode!r} draws several, expected a name or a callable"
        )

    seconds = 0.0
    began = time.perf_counter()
    drawn: list[Sketch] = []

    def factor() -> Factor:
        nonlocal seconds
        start = time.perf_counter()
        S = sketch if isinstance(sketch, Sketch) else draw_sketch(sketch, tall, m, rng)
        drawn.append(S)
        SA, Sb = tall.sketched(S)
        seconds += time.perf_counter() - start
        return Factor(SA, Sb, ridge)

    def finish(watch: Watch, x: np.ndarray, estimate: np.ndarray, norms: np.ndarray) -> SketchedResult:
        shape = x[:, 0] if tall.vector else x
        return watch.result(
            shape,
            kind=SketchedResult,
            method=f"{mode}, {type(drawn[0]).__name__}",
            m=m,
            residual_norm=float(norms[0]) if tall.vector else norms,
            linf_error_estimate=estimate[:, 0] if tall.vector else estimate,
            seconds_sketch=seconds,
            seconds_solve=time.perf_counter() - began - seconds,
        )

    watch = Watch("gradient", tol=max(rtol, 4 * np.finfo(tall.dtype).eps), maxiter=maxiter, callback=callback)
    if mode in ("refine", "iterative"):
        solve = preconditioned_lsqr if mode == "refine" else hessian_sketch
        x, norms, estimate = solve(Ridged(tall, ridge), factor, watch)
        return finish(watch, x, estimate, norms)
    factors = [factor() for _ in range(repeats)]
    x = np.mean([f.x for f in factors], axis=0)
    spread = math.sqrt(2 * math.log(2 * tall.d / delta) / repeats)
    estimate = spread * np.sqrt(np.mean([f.deviation**2 for f in factors], axis=0))
    norms = np.linalg.norm(tall.sides() - tall.times(x), axis=0)
    watch.tol, watch.status = math.inf, 0
    watch(x, 0.0)
    watch.message = f"solved {'one sketch' if repeats == 1 else f'{repeats} sketches'} of {m} rows"
    return finish(watch, x, estimate, norms)


def _size(
    tall: Tall, m: int | None, eps: float, delta: float, mode: str, sketch: str | Sketch | Factory
) -> int:
    needed = linf_sketch_size(tall.n, tall.d, eps, delta)
    if isinstance(sketch, Sketch):
        if sketch.shape[1] != tall.n or m not in (None, sketch.shape[0]):
            raise ShapeError(
                f"sketch has shape {sketch.shape}: expected {m or 'm'} x {tall.n}, to fit A and m"
            )
        m = sketch.shape[0]
    if m is None:
        least = linf_sketch_size(tall.n, tall.d, 1.0, delta)
        return min({"refine": least, "iterative": max(16 * tall.d, least)}.get(mode, needed), tall.n)
    check_int("m", m, low=tall.d)
    if mode in ("sketch", "average") and m < min(needed, tall.n):
        warnings.warn(
            f"m={m} rows are fewer than the {needed} for eps={eps:g}, delta={delta:g}: coefficients can be off by more",
            RuntimeWarning,
            stacklevel=4,
        )
    return m
