"""Derivatives of a transport plan, by the equations that it solves."""

from __future__ import annotations

import numpy as np
from scipy.sparse.linalg import LinearOperator, cg

from gossamer.linalg.transport.sparse_hessian import sparsify_hessian


def plan_gradient(P: np.ndarray, G: np.ndarray, eta: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    r"""Pull a gradient back from an entropic plan to its costs and marginals.

    With :math:`p = (G \circ P) 1`, :math:`q = (G \circ P)^T 1` and :math:`M (a; b) = \eta (p; q)`, M the whole Hessian:
    :math:`dL/dC = \eta P \circ (a 1^T + 1 b^T - G)`, :math:`dL/dr = a`, :math:`dL/dc = b`. The system is solved by
    conjugate gradients on its dense Schur complement, with the factored sparse one as preconditioner.

    Parameters
    ----------
    P : ndarray, shape (n, m)
        The plan, with its marginals right to working precision.
    G : ndarray, shape (n, m)
        dL/dP.
    eta : float
        Inverse of the regularisation.

    Returns
    -------
    dC, dr, dc : ndarray, shapes (n, m), (n,) and (m,)
        dr and dc are defined up to a shift ``(t, -t)``, as the masses stay equal; dr has mean 0.
    """
    n, m = P.shape
    rows, columns = P.sum(axis=1), P.sum(axis=0)
    weighted = G * P
    p, q = weighted.sum(axis=1), weighted.sum(axis=0)
    right = q - P.T @ (p / rows)
    right -= right.mean()
    solve = sparsify_hessian(P, sparsity="fixed", density=min(1.0, 5 * (n + m) / (n * m))).factor()
    schur = LinearOperator((m, m), lambda z: columns * z - P.T @ ((P @ z) / rows), dtype=np.float64)
    b, _ = cg(
        schur, right, rtol=1e-13, atol=0.0, maxiter=20 * m, M=LinearOperator((m, m), solve, dtype=np.float64)
    )
    a = (p - P @ b) / rows
    shift = a.mean()
    a, b = a - shift, b + shift
    return eta * (P * (a[:, None] + b - G)), a, b
