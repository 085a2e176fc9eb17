"""Orthogonal matching pursuit: one atom at a time, all coefficients refitted."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer._core.checks import check_float, check_int
from gossamer._core.errors import ArgumentError
from gossamer.solve.bayes.evidence import check_factors, check_measurements


def omp(A: Any, y: Any, *, tol: float | None = None, n_nonzero: int | None = None) -> np.ndarray:
    """Greedy sparse x with ``A x`` near y.

    Every step takes the atom that correlates most with the residual and refits by least squares. Equivalent to
    ``sklearn.linear_model.orthogonal_mp`` where columns have unit norm, for complex data too.

    Parameters
    ----------
    A : array, shape (M, N)
        Real or complex; columns of comparable norms.
    y : array, shape (M,)
        Measurements.
    tol : float, optional
        End when the residual's norm is at most this, for instance ``sigma sqrt(M)``.
    n_nonzero : int, optional
        End after so many atoms. One of the two, or both.

    Returns
    -------
    ndarray, shape (N,)
        The estimate.

    Raises
    ------
    ArgumentError
        If neither limit is given, or shapes do not fit.

    References
    ----------
    Pati, Rezaiifar, Krishnaprasad, "Orthogonal matching pursuit", Asilomar 1993.
    """
    if tol is None and n_nonzero is None:
        raise ArgumentError("tol and n_nonzero are None: expected a limit on the residual or on the atoms")
    factors = check_factors([A])
    Y, _, dtype = check_measurements(factors, y)
    A, y = factors[0], Y[:, 0]
    most = min(A.shape) if n_nonzero is None else check_int("n_nonzero", n_nonzero, low=1, high=A.shape[1])
    least = 0.0 if tol is None else check_float("tol", tol, low=0)
    chosen: list[int] = []
    residual, values = y, np.zeros(0, Y.dtype)
    while len(chosen) < most and np.linalg.norm(residual) > least:
        fit = np.abs(A.conj().T @ residual)
        fit[chosen] = -1
        chosen.append(int(np.argmax(fit)))
        values = np.linalg.lstsq(A[:, chosen], y, rcond=None)[0]
        residual = y - A[:, chosen] @ values
    x = np.zeros(A.shape[1], dtype)
    x[chosen] = values
    return x
