"""One pressure system, several solvers: iterations and seconds side by side."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gossamer._core.checks import check_choice
from gossamer._core.errors import MissingDependencyError
from gossamer._core.results import Result
from gossamer.science.fluids.poisson import PoissonSystem
from gossamer.solve import DeepConjugateDirection, IncompleteCholesky, cg, dcdm, deflated_cg

SOLVERS = ("dcdm", "network", "cg", "deflated-cg", "icpcg", "micpcg", "multigrid")


@dataclass(frozen=True, kw_only=True)
class SolverComparison(Result):
    """What :func:`compare_solvers` returns.

    Attributes
    ----------
    rows : dict of str to dict
        For each solver ``iterations``, ``seconds`` of the iteration, ``setup`` seconds before it, ``residual`` (norm
        of ``b - A x`` over that of b) and ``converged``.
    """

    rows: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"{'solver':12s} {'iterations':>10s} {'seconds':>10s} {'set-up':>10s} {'residual':>10s}"]
        for name, row in self.rows.items():
            lines.append(
                f"{name:12s} {row['iterations']:10d} {row['seconds']:10.4f} {row['setup']:10.4f} "
                f"{row['residual']:10.2e}" + ("" if row["converged"] else "  not converged")
            )
        return "\n".join(lines)


def compare_solvers(
    system: PoissonSystem,
    b: Any,
    net: Any = None,
    *,
    solvers: Sequence[str] | None = None,
    rtol: float = 1e-4,
    maxiter: int = 10_000,
    n_orth: int | None = 8,
) -> SolverComparison:
    """Solve one pressure system by every solver at hand, to the same norm of the residual.

    Parameters
    ----------
    system : PoissonSystem
        The matrix.
    b : array, shape (n,)
        Right side.
    net : torch.nn.Module, optional
        What proposes directions; without one, ``"dcdm"`` and ``"network"`` are left out.
    solvers : sequence of str, optional
        Of ``"dcdm"``; ``"network"``: its network with line searches only, without conjugation or scaling of residuals;
        ``"cg"``; ``"deflated-cg"`` (16 Ritz vectors); ``"icpcg"``; ``"micpcg"``: modified with 0.97; ``"multigrid"``:
        CG with a cycle of PyAMG. All by default, multigrid if PyAMG is there.
    rtol : float
        Converged when ``norm(b - A x) <= rtol * norm(b)``.
    maxiter : int
        Most iterations; of those with a network at most 200.
    n_orth : int or None
        Of :func:`gossamer.solve.dcdm`.

    Returns
    -------
    SolverComparison
        All but the networks run on the matrix of the fluid cells only. Print it to see the table.

    Raises
    ------
    MissingDependencyError
        If multigrid is asked for without PyAMG.
    ArgumentError, ShapeError
        As the solvers do.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.science import compare_solvers, open_box, poisson_system
    >>> system = poisson_system(open_box((32, 32)))
    >>> rows = compare_solvers(system, system.fluid * 1.0, solvers=["cg", "micpcg"]).rows
    >>> rows["cg"]["iterations"] > rows["micpcg"]["iterations"]
    True
    """
    with_net = ("dcdm", "network")
    if solvers is None:
        chosen = [
            s for s in SOLVERS if (net is not None or s not in with_net) and (s != "multigrid" or _pyamg())
        ]
    else:
        chosen = [
            check_choice("solvers", name, SOLVERS if net is not None else SOLVERS[2:]) for name in solvers
        ]
    side = np.asarray(b, np.float64)
    matrix, places = system.compressed()
    inner, options = side[places], {"rtol": rtol, "maxiter": maxiter}
    learned = {"rtol": rtol, "maxiter": min(maxiter, 200)}
    prepare: dict[str, Callable[[], Callable[[], Any]]] = {
        "dcdm": lambda: (
            lambda: dcdm(system, side, M=DeepConjugateDirection(net, system.grid), n_orth=n_orth, **learned)
        ),
        "network": lambda: (
            lambda: dcdm(
                system,
                side,
                M=DeepConjugateDirection(net, system.grid, normalize=False),
                n_orth=0,
                safeguard=False,
                **learned,
            )
        ),
        "cg": lambda: lambda: cg(matrix, inner, **options),
        "deflated-cg": lambda: lambda: deflated_cg(matrix, inner, M="jacobi", **options),
        "icpcg": lambda: _with(IncompleteCholesky(matrix), matrix, inner, options),
        "micpcg": lambda: _with(IncompleteCholesky(matrix, modified=0.97), matrix, inner, options),
        "multigrid": lambda: _with(_multigrid(matrix), matrix, inner, options),
    }
    rows = {}
    for name in chosen:
        start = time.perf_counter()
        run = prepare[name]()
        ready = time.perf_counter()
        result = run()
        taken = time.perf_counter() - ready
        x = result.x if name in with_net else np.zeros_like(side)
        if name not in with_net:
            x[places] = result.x
        size = float(np.linalg.norm(side)) or 1.0
        rows[name] = {
            "iterations": result.nit,
            "seconds": taken,
            "setup": ready - start,
            "residual": float(np.linalg.norm(side - system @ x)) / size,
            "converged": result.success,
        }
    done = sum(row["converged"] for row in rows.values())
    return SolverComparison(
        success=done == len(rows), message=f"{done} of {len(rows)} solvers converged", rows=rows
    )


def _with(M: Any, matrix: Any, b: np.ndarray, options: dict[str, Any]) -> Callable[[], Any]:
    return lambda: cg(matrix, b, M=M, **options)


def _pyamg() -> Any:
    try:
        import pyamg
    except ImportError:
        return None
    return pyamg


def _multigrid(matrix: Any) -> Any:
    pyamg = _pyamg()
    if pyamg is None:
        raise MissingDependencyError("multigrid needs PyAMG: pip install pyamg")
    import scipy.sparse

    return pyamg.ruge_stuben_solver(scipy.sparse.csr_matrix(matrix))
