"""``solve(A, b, method=..., M=...)``: every solver of linear systems behind one call."""

from __future__ import annotations

import importlib
from typing import Any

from gossamer._core.checks import check_choice
from gossamer.solve.iteration import SolverResult

METHODS = {
    "cg": "gossamer.solve.linear.cg:cg",
    "dcdm": "gossamer.solve.linear.dcdm:dcdm",
    "deflated-cg": "gossamer.solve.linear.deflated_cg:deflated_cg",
    "icpcg": "gossamer.solve.linear.icpcg:icpcg",
    "sor": "gossamer.solve.linear.relaxation.sor:sor",
    "ssor-pcg": "gossamer.solve.linear.relaxation.ssor_pcg:ssor_pcg",
}
"""Where each method stands; all take ``(A, b, *, x0, rtol, maxiter, callback)`` and options of their own."""


def solve(A: Any, b: Any, *, method: str = "cg", **options: Any) -> SolverResult:
    """Solve ``A x = b`` by a method that is chosen by name.

    Parameters
    ----------
    A : array, sparse matrix, StructuredMatrix or LinearOperator, shape (n, n)
        The matrix; each method's page says what it asks of it.
    b : array, shape (n,)
        Right side.
    method : str
        ``"cg"``: conjugate gradients, with ``M`` any preconditioner. ``"icpcg"``: the same with an incomplete Cholesky
        factor. ``"deflated-cg"``: the same, conjugate to a few vectors. ``"dcdm"``: directions that ``M`` proposes,
        such as a network, made conjugate. ``"sor"``: successive over-relaxation with a
        parameter ``omega``. ``"ssor-pcg"``: conjugate gradients preconditioned by it, as fast as two sweeps.
    **options
        ``x0``, ``rtol``, ``maxiter``, ``callback``, and what the method takes besides, such as ``M``.

    Returns
    -------
    SolverResult
        ``x``, ``nit``, ``success``, ``message``, ``history``; ``method`` says what ran.

    Raises
    ------
    ArgumentError
        If there is no such method.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.solve import solve
    >>> result = solve([[4.0, 1.0], [1.0, 3.0]], [1.0, 2.0], M="jacobi")
    >>> bool(np.allclose(result.x, [1 / 11, 7 / 11]))
    True
    """
    module, name = METHODS[check_choice("method", method, METHODS)].split(":")
    return getattr(importlib.import_module(module), name)(A, b, **options)
