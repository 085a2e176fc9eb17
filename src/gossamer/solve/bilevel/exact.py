"""Inner problems solved to convergence, and the gradient of F that follows: for tests, norms and the AID baseline."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gossamer._core.checks import check_array, check_float
from gossamer._core.errors import ArgumentError, ShapeError, UnsupportedError
from gossamer.solve.bilevel.outer import dense
from gossamer.solve.bilevel.problem import MultiBlockProblem, subtract


def hypergradient(
    problem: MultiBlockProblem, x: Any, y: Any = None, *, tol: float = 1e-10, blocks_at_once: int = 16
) -> tuple[np.ndarray, np.ndarray]:
    r"""The gradient of F at x, with every inner problem solved on all data.

    :math:`\frac1m \sum_i \nabla_x f_i - \nabla^2_{xy} g_i [\nabla^2_{yy} g_i]^{-1} \nabla_y f_i` at :math:`y_i(x)`:
    Newton steps by conjugate gradients for y, conjugate gradients for the inverse; no Hessian is formed.

    Parameters
    ----------
    problem : MultiBlockProblem
        With the oracle ``full``.
    x : array, shape (dim_x,)
        Where.
    y : array, shape (m, dim_y), optional
        Start of the inner problems; zeros by default.
    tol : float
        The norm of each inner gradient, and of each residual, relative to its start.
    blocks_at_once : int
        Blocks that share a call of the oracles.

    Returns
    -------
    gradient : ndarray, shape (dim_x,)
        Of F.
    y : ndarray, shape (m, dim_y)
        The inner solutions.

    Raises
    ------
    UnsupportedError
        If the problem has no ``full``.
    ArgumentError
        If an inner problem could not be solved.
    """
    if problem.full is None:
        raise UnsupportedError(f"{type(problem).__name__} has no oracle full: it only answers for samples")
    x = check_array("x", x, ndim=1)
    if x.shape != (problem.dim_x,):
        raise ShapeError(f"x has shape {x.shape}: expected ({problem.dim_x},)")
    shape = (problem.m, problem.dim_y)
    Y = np.zeros(shape) if y is None else np.array(check_array("y", y, ndim=2), np.float64)
    if Y.shape != shape:
        raise ShapeError(f"y has shape {Y.shape}: expected {shape}")
    tol = check_float("tol", tol, low=0, closed="neither")
    total = np.zeros(problem.dim_x)
    for first in range(0, problem.m, blocks_at_once):
        blocks = np.arange(first, min(first + blocks_at_once, problem.m))
        Y[blocks], part = solve_blocks(problem, x, Y[blocks], blocks, tol)
        total += part
    return total / problem.m, Y


def solve_blocks(
    problem: Any, x: np.ndarray, Y: np.ndarray, blocks: np.ndarray, tol: float
) -> tuple[np.ndarray, np.ndarray]:
    """Solve the inner problems of some blocks; returns the solutions and the sum of the blocks' hypergradients."""
    batch = problem.full(blocks)
    Y = newton(
        lambda Z: problem.grad_y_g(x, Z, blocks, batch),
        lambda Z, V: problem.hvp_yy_g(x, Z, V, blocks, batch),
        Y,
        tol,
    )
    V = conjugate_gradients(
        lambda V: problem.hvp_yy_g(x, Y, V, blocks, batch), problem.grad_y_f(x, Y, blocks, batch), tol
    )
    implicit = problem.jtvp_xy_g(x, Y, V, blocks, batch)
    gradient = subtract(problem.grad_x_f(x, Y, blocks, batch), implicit, 1.0)
    return Y, dense(gradient, len(x))


def newton(
    gradient: Callable[[np.ndarray], np.ndarray],
    hvp: Callable[[np.ndarray, np.ndarray], np.ndarray],
    Y: np.ndarray,
    tol: float,
    *,
    steps: int = 60,
) -> np.ndarray:
    """Minimise strongly convex functions, one a row of ``Y``, by Newton steps that never raise the gradient's norm."""
    g = gradient(Y)
    norm = np.linalg.norm(g, axis=1)
    goal = tol * np.maximum(1.0, norm)
    for _ in range(steps):
        open_ = norm > goal
        if not open_.any():
            return Y
        move = conjugate_gradients(lambda V, Y=Y: hvp(Y, V), g, min(1e-2, 0.1 * tol**0.5))  # type: ignore[misc]
        length = np.where(open_, 1.0, 0.0)
        for _ in range(40):
            trial = Y - length[:, None] * move
            g_trial = gradient(trial)
            norm_trial = np.linalg.norm(g_trial, axis=1)
            worse = open_ & ~(norm_trial <= (1 - 1e-4 * length) * norm) & (norm > 0)
            if not worse.any():
                break
            length[worse] *= 0.5
        Y, g, norm = trial, g_trial, norm_trial
    if (norm > 1e3 * goal).any():
        block = int(np.argmax(norm / goal))
        raise ArgumentError(
            f"the inner problem of row {block} is not solved: its gradient has norm {norm[block]:.3g} after "
            f"{steps} Newton steps; expected a strongly convex one"
        )
    return Y


def conjugate_gradients(
    apply: Callable[[np.ndarray], np.ndarray], B: np.ndarray, tol: float, *, maxiter: int | None = None
) -> np.ndarray:
    """Solve one positive definite system a row of ``B``, all rows together."""
    X, R = np.zeros_like(B), B.copy()
    P = R.copy()
    rho = np.einsum("id,id->i", R, R)
    goal = tol**2 * rho
    for _ in range(10 * B.shape[1] if maxiter is None else maxiter):
        active = rho > goal
        if not active.any():
            break
        Q = apply(P)
        curvature = np.einsum("id,id->i", P, Q)
        if np.any(active & ~(curvature > 0)):
            block = int(np.argmin(np.where(active, curvature, np.inf)))
            raise ArgumentError(
                f"the inner Hessian of row {block} is not positive definite: a direction has curvature "
                f"{curvature[block]:.3g}"
            )
        step = np.where(active, rho / np.where(active, curvature, 1.0), 0.0)[:, None]
        X += step * P
        R -= step * Q
        after = np.where(active, np.einsum("id,id->i", R, R), rho)
        P = R + np.where(active, after / np.maximum(rho, 1e-300), 0.0)[:, None] * P
        rho = after
    return X


def objective(problem: MultiBlockProblem, x: np.ndarray, Y: np.ndarray, *, blocks_at_once: int = 16) -> float:
    """The sum of ``f_i(x, y_i)`` over all data and blocks, at given rows (problems with ``full`` and ``value_f``)."""
    total = 0.0
    for first in range(0, problem.m, blocks_at_once):
        blocks = np.arange(first, min(first + blocks_at_once, problem.m))
        total += float(np.sum(problem.value_f(x, Y[blocks], blocks, problem.full(blocks))))
    return total
