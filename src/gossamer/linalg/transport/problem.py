r"""Entropic transport in the units of its exponent: :math:`P_{ij} = \exp(u_i + v_j - \eta c_{ij})`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gossamer._core.arrays import to_numpy
from gossamer._core.checks import check_array, check_float
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._kernels.transport import Entries
from gossamer.linalg.transport.costs import PointCost, StoredCost, check_cost


@dataclass(frozen=True, eq=False)
class Iterate:
    """Potentials and what one pass over the plan says about them."""

    u: np.ndarray
    v: np.ndarray
    total: float
    rows: np.ndarray
    columns: np.ndarray
    gx: np.ndarray
    gy: np.ndarray
    error: float

    def potentials(self) -> tuple[np.ndarray, np.ndarray]:
        """u and v."""
        return self.u, self.v


class Problem:
    r"""Costs, marginals and :math:`\eta`: what all stages of a solution share.

    Rows and columns without mass are left out; ``rows`` and ``columns`` say which are there. A stored cost keeps its
    plan in memory, a cost of points makes its entries again in every pass.

    Parameters
    ----------
    C : array, shape (n, m), or PointCost
        Costs.
    r, c : array, shapes (n,) and (m,), optional
        Masses to send and to receive, at least 0, of the same sum (to 1e-9, or 1e-5 in single precision); uniform of
        sum 1 by default. c is scaled to the sum of r.
    eta : float
        Inverse of the regularisation, above 0.
    allow_inf : bool
        Whether C may be infinite.
    threads : int, optional
        Of the passes.
    """

    def __init__(
        self,
        C: Any,
        r: Any = None,
        c: Any = None,
        *,
        eta: float,
        allow_inf: bool = False,
        threads: int | None = None,
    ) -> None:
        self.eta = check_float("eta", eta, low=0, closed="neither")
        self.threads = threads
        cost = check_cost(C, allow_inf=allow_inf)
        self.full_cost: PointCost | StoredCost = cost
        self.shape = cost.shape
        full_r, full_c = _marginal("r", r, cost.shape[0]), _marginal("c", c, cost.shape[1])
        slack = 1e-5 if any(str(getattr(m, "dtype", "")).endswith("float32") for m in (r, c)) else 1e-9
        if r is None and c is not None:
            full_r = full_r * full_c.sum()
        elif c is None and r is not None:
            full_c = full_c * full_r.sum()
        self.mass = float(full_r.sum())
        if abs(self.mass - full_c.sum()) > slack * self.mass:
            raise ArgumentError(
                f"r sums to {self.mass:.12g}, c to {full_c.sum():.12g}: expected the same mass (to {slack:g})"
            )
        full_c = full_c * (self.mass / full_c.sum())
        self.rows, self.columns = np.flatnonzero(full_r), np.flatnonzero(full_c)
        self.r, self.c = full_r[self.rows], full_c[self.columns]
        whole = len(self.rows) == cost.shape[0] and len(self.columns) == cost.shape[1]
        self.cost = cost if whole else cost.take(self.rows, self.columns)
        if allow_inf and isinstance(self.cost, StoredCost):
            _check_reachable(self.cost.C)
        self._plan = np.empty(self.cost.shape) if isinstance(self.cost, StoredCost) else None
        self._held: Iterate | None = None

    def start(self, x0: Any = None, y0: Any = None) -> tuple[np.ndarray, np.ndarray]:
        """Potentials to begin from: those given (in units of cost), or none, which is a plan of nothing."""
        u, v = np.full(len(self.r), -np.inf), np.zeros(len(self.c))
        for name, given, index, full, to, shift in (
            ("x0", x0, self.rows, self.shape[0], u, -1.0),
            ("y0", y0, self.columns, self.shape[1], v, 0.0),
        ):
            if given is None:
                continue
            potential = to_numpy(check_array(name, given, ndim=1, finite=False)).astype(np.float64)
            if potential.shape != (full,):
                raise ShapeError(f"{name} has shape {potential.shape}: expected ({full},)")
            if not np.isfinite(potential[index]).all():
                raise ArgumentError(f"{name} is not finite where there is mass")
            to[:] = self.eta * potential[index] + shift
        return u, v

    def at(self, u: np.ndarray, v: np.ndarray) -> Iterate:
        """The plan of these potentials, kept where the cost is; its sums and what the marginals lack."""
        total, rows, columns = self.cost.kernel.plan(self.eta, u, v, self._plan, self.threads)
        gx, gy = self.r - rows, self.c - columns
        error = float(np.abs(gx).sum() + np.abs(gy).sum())
        self._held = Iterate(u, v, total, rows, columns, gx, gy, error)
        return self._held

    def stored(self, iterate: Iterate) -> np.ndarray | None:
        """The plan of an iterate, or None where plans are not stored."""
        if self._plan is not None and self._held is not iterate:
            self.cost.kernel.plan(self.eta, iterate.u, iterate.v, self._plan, self.threads)
            self._held = iterate
        return self._plan

    def scratch(self) -> np.ndarray | None:
        """The plan's memory, to be written over."""
        self._held = None
        return self._plan

    def largest(self, iterate: Iterate, least: int, most: int, budget: float) -> Entries:
        """The largest entries of a plan, as :meth:`gossamer._kernels.transport.Cost.select` chooses them."""
        return self.cost.kernel.select(
            self.eta,
            iterate.u,
            iterate.v,
            self.stored(iterate),
            top=float(iterate.rows.max()),
            least=least,
            most=most,
            budget=budget,
            threads=self.threads,
        )

    def expand(self, values: np.ndarray, index: np.ndarray, size: int, fill: float) -> np.ndarray:
        """Put ``fill`` where rows or columns without mass were left out."""
        if len(index) == size:
            return values
        full = np.full(size, fill)
        full[index] = values
        return full


def _marginal(name: str, given: Any, size: int) -> np.ndarray:
    if given is None:
        return np.full(size, 1 / size)
    marginal = to_numpy(check_array(name, given, ndim=1)).astype(np.float64)
    if marginal.shape != (size,):
        raise ShapeError(f"{name} has shape {marginal.shape}: expected ({size},), as C")
    if (marginal < 0).any():
        at = int(np.argmin(marginal))
        raise ArgumentError(f"{name}[{at}]={marginal[at]:g}: expected masses of at least 0")
    if not marginal.any():
        raise ArgumentError(f"{name} has no mass: expected a positive sum")
    return marginal


def _check_reachable(C: np.ndarray) -> None:
    open_pairs = np.isfinite(C)
    for axis, name in ((1, "row"), (0, "column")):
        closed = ~open_pairs.any(axis=axis)
        if closed.any():
            raise ArgumentError(
                f"C is infinite in the whole of {name} {int(np.argmax(closed))}, which has mass: "
                "expected somewhere to go"
            )
