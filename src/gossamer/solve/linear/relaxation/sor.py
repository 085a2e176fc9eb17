"""Successive over-relaxation: sweeps of Gauss-Seidel that go too far on purpose."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer._core.checks import check_choice, check_float
from gossamer._kernels import relax
from gossamer.solve.iteration import Callback, Watch
from gossamer.solve.linear.relaxation.system import RelaxationResult, check_omega, relaxation_system
from gossamer.solve.operators import check_sides

DIRECTIONS = ("forward", "backward", "symmetric")
RESIDUALS = ("exact", "recurrence")


def sor(
    A: Any,
    b: Any,
    *,
    omega: float,
    x0: Any = None,
    rtol: float = 1e-8,
    atol: float = 0.0,
    maxiter: int = 10_000,
    ordering: str = "natural",
    residual: str = "exact",
    callback: Callback | None = None,
    threads: int | None = None,
) -> RelaxationResult:
    r"""Solve ``A x = b`` by successive over-relaxation.

    One iteration is a sweep over the unknowns in place,
    :math:`x_i \leftarrow x_i + \omega (b_i - \sum_j a_{ij} x_j) / a_{ii}`, which is
    :math:`x \leftarrow x + (D / \omega + L)^{-1} (b - A x)`. It converges for symmetric positive definite ``A`` and
    ``0 < omega < 2``; ``omega = 1`` is the method of Gauss and Seidel. How fast depends on ``omega`` strongly:
    :class:`RelaxationTuner` learns it, :func:`sor_theory` computes it for small matrices.

    Parameters
    ----------
    A : array, sparse matrix, StructuredMatrix or GridStencil, shape (n, n)
        With a positive diagonal.
    b : array, shape (n,)
        Right side.
    omega : float
        The relaxation parameter, between 0 and 2.
    x0 : array, shape (n,), optional
        Start; zeros by default.
    rtol, atol : float
        Converged when ``norm(b - A x) <= max(rtol * norm(b - A x0), atol)``: relative to the residual of the start.
    maxiter : int
        Most sweeps.
    ordering : str
        ``"natural"`` sweeps the unknowns in their order, one after another. ``"multicolor"`` sweeps colour by colour
        (red and black on a grid, greedily otherwise), with threads; its iterates and counts are others.
    residual : str
        ``"exact"`` takes a product with ``A`` after every sweep. ``"recurrence"`` gets the residual from the change of
        x by half a product, and takes a product only before it stops.
    callback : callable, optional
        Called with an :class:`Iteration` at the start and after every sweep.
    threads : int, optional
        Most threads; results do not depend on it.

    Returns
    -------
    RelaxationResult
        ``x``, ``nit``, ``residual``, ``success``; ``history["residual"]`` at the start and after every sweep.

    Raises
    ------
    ArgumentError, ShapeError, UnsupportedError
        If the diagonal is not positive, ``omega`` is not inside (0, 2), or the arguments do not fit together.

    Notes
    -----
    Per iteration 4 nnz flops with the exact residual, 3 nnz with the recurrence. Where ``A`` is not positive definite
    the iteration diverges, or ends at ``maxiter``, and ``success`` is False.

    References
    ----------
    Young, "Iterative methods for solving partial difference equations of elliptic type", 1954.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.solve import GridStencil, sor
    >>> A = GridStencil((20, 20))
    >>> [sor(A, np.ones(400), omega=omega).nit for omega in (1.0, 1.5, 1.74)]
    [814, 262, 80]
    """
    omega = check_omega(omega)
    recurrence = check_choice("residual", residual, RESIDUALS) == "recurrence"
    system = relaxation_system(A, ordering)
    b, x = (system.sorted(side) for side in check_sides(system.matrix.n, b, x0))
    _, start = relax.residual(system.matrix, b, x, threads)
    goal = max(check_float("rtol", rtol, low=0) * start, check_float("atol", atol, low=0))
    watch = Watch("residual", tol=goal, maxiter=maxiter, callback=callback)
    over = watch(system.unsorted(x), start)
    while not over:
        steps = 1 if callback else watch.maxiter
        norms, _ = relax.sor(
            system.matrix, b, omega, x, goal=goal, steps=steps, recurrence=recurrence, threads=threads
        )
        over = watch(system.unsorted(x), norms[0]) if callback else watch.replay(norms)
    return watch.result(
        system.unsorted(x), kind=RelaxationResult, method="sor", omega=omega, ordering=ordering, goal=goal
    )


def sor_sweep(
    A: Any,
    b: Any,
    x: Any,
    *,
    omega: float = 1.0,
    direction: str = "forward",
    ordering: str = "natural",
    threads: int | None = None,
) -> np.ndarray:
    """Return ``x`` after one sweep of over-relaxation, as a smoother takes it.

    Parameters
    ----------
    A : array, sparse matrix, StructuredMatrix or GridStencil, shape (n, n)
        With a positive diagonal.
    b, x : array, shape (n,)
        Right side and iterate; neither is modified.
    omega : float
        Between 0 and 2; 1 is Gauss-Seidel.
    direction : str
        ``"forward"``, ``"backward"``, or ``"symmetric"``: the one, then the other.
    ordering : str
        ``"natural"`` or ``"multicolor"``, as in :func:`sor`.
    threads : int, optional
        Most threads, for ``"multicolor"``.

    Returns
    -------
    ndarray of float64, shape (n,)

    Raises
    ------
    ArgumentError, ShapeError, UnsupportedError
        As :func:`sor`.

    Examples
    --------
    >>> from gossamer.solve import sor_sweep
    >>> sor_sweep([[2.0, -1.0], [-1.0, 2.0]], [2.0, 0.0], [0.0, 0.0]).tolist()
    [1.0, 0.5]
    """
    omega = check_omega(omega)
    check_choice("direction", direction, DIRECTIONS)
    system = relaxation_system(A, ordering)
    b, x = (system.sorted(side) for side in check_sides(system.matrix.n, b, x))
    for backward in (False, True):
        if direction in ("symmetric", "backward" if backward else "forward"):
            relax.sweep(system.matrix, b, omega, x, backward=backward, threads=threads)
    return system.unsorted(x)
