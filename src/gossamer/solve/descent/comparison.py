"""Which rule gains most: a grid of partitions, rules and updates on one problem."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gossamer._core.errors import ArgumentError, UnsupportedError
from gossamer._core.results import Result
from gossamer.solve.descent.bcd import block_coordinate_descent
from gossamer.solve.descent.problems.problem import BCDProblem


@dataclass(frozen=True, kw_only=True)
class RuleComparison(Result):
    """A table of runs, the lowest objective first.

    Attributes
    ----------
    rows : list of dict
        ``partition``, ``select``, ``update``, ``block_size``, ``fun``, ``optimality``, ``nit``, ``seconds``, ``flops``
        and ``fun_history`` of each run.
    skipped : list of tuple
        Combinations that make no sense, each with the reason.
    """

    rows: list[dict[str, Any]] = field(default_factory=list, repr=False)
    skipped: list[tuple[str, str]] = field(default_factory=list, repr=False)

    def __str__(self) -> str:
        """The table."""
        head = ("partition", "select", "update", "block_size", "nit", "fun", "optimality", "seconds")
        lines = [head, *([_cell(row[name]) for name in head] for row in self.rows)]
        widths = [max(len(line[k]) for line in lines) for k in range(len(head))]
        return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(line, widths)).rstrip() for line in lines)


def compare_rules(
    problem: BCDProblem,
    *,
    partition: str | Sequence[Any] = ("variable", "sort"),
    select: str | Sequence[str] = ("random", "gs", "gsl", "gsd"),
    update: str | Sequence[str] = "auto",
    block_size: int | Sequence[int] = 5,
    maxiter: int = 500,
    tol: float = 1e-8,
    random_state: int | None = 0,
    **options: Any,
) -> RuleComparison:
    """Run every combination on one problem from one start.

    Parameters
    ----------
    problem : BCDProblem
        The objective.
    partition, select, update, block_size : one or several
        As for :func:`block_coordinate_descent`; their product is run, without what makes no sense.
    maxiter, tol : int, float
        Of each run.
    random_state : int or None
        The same for each run.
    **options
        Passed on, such as ``x0`` or ``diag``.

    Returns
    -------
    RuleComparison
        ``print`` shows it as a table.

    Raises
    ------
    ArgumentError
        If no combination makes sense.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.solve import LeastSquares, compare_rules
    >>> A = np.random.default_rng(0).normal(size=(30, 20))
    >>> table = compare_rules(LeastSquares(A, A[:, 0]), select=("random", "gsd"), maxiter=20)
    >>> table.rows[0]["select"]
    'gsd'
    """
    grid = [
        [value] if isinstance(value, (str, int)) else list(value)
        for value in (partition, select, update, block_size)
    ]
    rows, skipped = [], []
    for cut, rule, how, size in itertools.product(*grid):
        name = cut if isinstance(cut, str) else "explicit"
        start = time.perf_counter()
        try:
            run = block_coordinate_descent(
                problem, partition=cut, select=rule, update=how, block_size=size, maxiter=maxiter, tol=tol,
                random_state=random_state, **options,
            )  # fmt: skip
        except (ArgumentError, UnsupportedError) as error:
            skipped.append((f"{name}, {rule}, {how}, {size}", str(error)))
            continue
        rows.append(
            {
                "partition": name, "select": rule, "update": run.method.split(", ")[-1], "block_size": size,
                "fun": run.fun, "optimality": run.value, "nit": run.nit, "seconds": time.perf_counter() - start,
                "flops": run.flops, "fun_history": run.fun_history,
            }
        )  # fmt: skip
    if not rows:
        raise ArgumentError(
            f"no combination makes sense; the first: {skipped[0][1] if skipped else 'none asked for'}"
        )
    rows.sort(key=lambda row: row["fun"] if math.isfinite(row["fun"]) else np.inf)
    return RuleComparison(rows=rows, skipped=skipped, message=f"{len(rows)} runs, {len(skipped)} left out")


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
