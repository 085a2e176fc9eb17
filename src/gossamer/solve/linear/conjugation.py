"""The loop of preconditioned conjugate gradients, entered with preconditioners and projections of all kinds."""

from __future__ import annotations

import numpy as np
from scipy.sparse.linalg import LinearOperator

from gossamer.solve.iteration import Watch
from gossamer.solve.operators import Matvec


def conjugate_gradients(
    operator: LinearOperator,
    x: np.ndarray,
    r: np.ndarray,
    watch: Watch,
    precondition: Matvec | None = None,
    project: Matvec | None = None,
) -> None:
    """Iterate in place in ``x`` and its residual ``r`` until ``watch`` ends it.

    ``precondition`` takes a residual and ``project``, if there is one, what that gave, before it is made conjugate to
    the direction before.
    """
    p, rho = np.zeros_like(r), 0.0
    over = watch(x, float(np.linalg.norm(r)))
    while not over:
        z = r if precondition is None else np.asarray(precondition(r), dtype=r.dtype).reshape(r.shape)
        before, rho = rho, float(r @ z)
        if project is not None:
            z = project(z)
        p = z + (rho / before) * p if before else z.copy()
        q = operator.matvec(p)
        curvature = float(p @ q)
        if not curvature > 0 or not rho > 0:
            name, value = ("M", rho) if not rho > 0 else ("A", curvature)
            watch.give_up(f"{name} is not positive definite: a direction has curvature {value:.3g}")
            break
        step = rho / curvature
        x += step * p
        r -= step * q
        over = watch(x, float(np.linalg.norm(r)))
