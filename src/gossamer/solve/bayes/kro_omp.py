"""Orthogonal matching pursuit on a grid: supports that are Kronecker products, greedily or given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gossamer._core.checks import check_float, check_int
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.solve.bayes.evidence import check_factors, check_measurements
from gossamer.solve.bayes.modes import mode_products


def kro_omp(factors: Any, y: Any, n_nonzero: Sequence[int], *, tol: float = 1e-2) -> np.ndarray:
    """Greedy x with a Kronecker support, near y under a Kronecker product of matrices (N-way OMP).

    Every step takes the atom that correlates most with the residual, adds its index to each mode that is not full, and
    refits on the grid of all indices by a pseudo-inverse a mode.

    Parameters
    ----------
    factors : list of array, shapes (M_i, N_i)
        Real or complex; columns of comparable norms.
    y : array, shape (M,)
        Measurements.
    n_nonzero : sequence of int
        Most indices of each mode.
    tol : float
        End when the residual is at most this share of y; or when no mode grows.

    Returns
    -------
    ndarray, shape (N,)
        The estimate.

    Raises
    ------
    ArgumentError
        If shapes or counts do not fit.

    References
    ----------
    Caiafa and Cichocki, "Computing sparse representations of multidimensional signals using Kronecker bases", Neural
    Computation 25, 2013.
    """
    matrices = check_factors(factors)
    Y, _, dtype = check_measurements(matrices, y)
    Y = Y[:, :1]
    sizes = [A.shape[1] for A in matrices]
    if len(n_nonzero) != len(sizes):
        raise ShapeError(f"n_nonzero has {len(n_nonzero)} entries: expected {len(sizes)}, one a factor")
    most = [check_int(f"n_nonzero[{i}]", s, low=1, high=n) for i, (s, n) in enumerate(zip(n_nonzero, sizes))]
    least = check_float("tol", tol, low=0) * float(np.linalg.norm(Y))
    adjoint = [A.conj().T for A in matrices]
    support: list[list[int]] = [[] for _ in sizes]
    residual, x = Y, np.zeros(int(np.prod(sizes)), Y.dtype)
    while np.linalg.norm(residual) > least:
        best = int(np.argmax(np.abs(mode_products(residual, adjoint)[0])))
        grew = False
        for chosen, index, limit in zip(support, np.unravel_index(best, sizes), most, strict=True):
            if int(index) not in chosen and len(chosen) < limit:
                chosen.append(int(index))
                grew = True
        if not grew:
            break
        x = _refit(matrices, Y, support)
        residual = Y - mode_products(x[:, None], matrices).T
    return x.astype(dtype, copy=False)


def oracle_ls(factors: Any, y: Any, support: Sequence[Any]) -> np.ndarray:
    """Least squares on a support that is known: what no method can be expected to beat by much.

    Parameters
    ----------
    factors : list of array, shapes (M_i, N_i)
        Real or complex.
    y : array, shape (M,)
        Measurements.
    support : sequence of array of int
        Indices of each mode.

    Returns
    -------
    ndarray, shape (N,)
        Zero outside of the support.

    Raises
    ------
    ArgumentError
        If shapes or indices do not fit.
    """
    matrices = check_factors(factors)
    Y, _, dtype = check_measurements(matrices, y)
    if len(support) != len(matrices):
        raise ShapeError(f"support has {len(support)} entries: expected {len(matrices)}, one a factor")
    chosen = []
    for i, (indices, A) in enumerate(zip(support, matrices, strict=True)):
        index = [check_int(f"support[{i}]", j, low=0, high=A.shape[1] - 1) for j in indices]
        if not index or len(set(index)) < len(index):
            raise ArgumentError(f"support[{i}]={index}: expected indices, each once")
        chosen.append(index)
    return _refit(matrices, Y[:, :1], chosen).astype(dtype, copy=False)


def kron_support_rate(x_true: Any, x_est: Any, *, relative: float = 1e-3) -> float:
    """Share of the union of two supports that is in both; 1 if they agree.

    Parameters
    ----------
    x_true, x_est : array, same shape
        Vectors; the support is where an entry is above ``relative`` times the largest.
    relative : float
        In [0, 1).

    Returns
    -------
    float
        In [0, 1]; 1 for two zero vectors.

    Raises
    ------
    ArgumentError
        If the shapes differ.
    """
    check_float("relative", relative, low=0, high=1, closed="left")
    sizes = np.abs(np.asarray(x_true)), np.abs(np.asarray(x_est))
    if sizes[0].shape != sizes[1].shape or not sizes[0].size:
        raise ShapeError(f"x_est has shape {sizes[1].shape}: expected {sizes[0].shape} as x_true")
    true, found = ((v > relative * v.max()) for v in sizes)
    union = int((true | found).sum())
    return int((true & found).sum()) / union if union else 1.0


def _refit(matrices: list[np.ndarray], Y: np.ndarray, support: Sequence[Sequence[int]]) -> np.ndarray:
    inverses = [np.linalg.pinv(A[:, s]) for A, s in zip(matrices, support, strict=True)]
    x = np.zeros([A.shape[1] for A in matrices], Y.dtype)
    x[np.ix_(*support)] = mode_products(Y, inverses).reshape([len(s) for s in support])
    return x.reshape(-1)
