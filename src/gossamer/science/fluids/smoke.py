"""Smoke: a small solver of the inviscid equations of flow, which needs one pressure solve a step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.ndimage

from gossamer._core.checks import check_array, check_float
from gossamer._core.errors import ShapeError
from gossamer.science.fluids.poisson import AIR, FLUID, SOLID, PoissonSystem, poisson_system
from gossamer.solve import icpcg

Solver = Callable[[PoissonSystem, np.ndarray], Any]


class Smoke:
    r"""Hot smoke that rises in a box, by advection along the flow, buoyancy and projection ("stable fluids").

    Velocities live on the faces between cells, with the weights of :class:`PoissonSystem`: ``velocity[k]`` between
    each cell and the next one along axis k. A step advects (backwards along the flow, linear interpolation), adds
    buoyancy to the vertical velocity, and subtracts the gradient of the pressure p with ``A p = -div u``.

    Parameters
    ----------
    mask : array of int, shape grid, or callable
        0 solid, 1 fluid, 2 air, the first axis upwards; or a function of time that returns one, for obstacles that
        move. Every closed part of the fluid must be at rest.
    dt : float
        Time step, with cells of width 1.
    buoyancy : float
        Upward acceleration by smoke of density 1.
    source : array of bool, shape grid, optional
        Where smoke is kept at density 1; by default a patch near the floor, off the middle.

    Attributes
    ----------
    density : ndarray of float64, shape grid
        Of smoke.
    velocity : ndarray of float64, shape (d, \*grid)
        On faces.
    time : float
        After the last step.

    Raises
    ------
    ArgumentError, ShapeError
        If an argument is out of range or does not fit.

    References
    ----------
    Stam, "Stable fluids", 1999. Bridson, "Fluid simulation for computer graphics", 2008.

    Examples
    --------
    >>> from gossamer.science import Smoke, fluid_scene
    >>> smoke = Smoke(fluid_scene("ball", (32, 32)))
    >>> for _ in range(5):
    ...     result = smoke.step()
    >>> bool(abs(smoke.divergence()).max() < 1e-4)
    True
    """

    def __init__(self, mask: Any, *, dt: float = 1.0, buoyancy: float = 0.1, source: Any = None) -> None:
        self._mask = mask if callable(mask) else lambda time: mask
        self.time, self.dt = 0.0, check_float("dt", dt, low=0, closed="right")
        self.buoyancy = check_float("buoyancy", buoyancy)
        self.system = poisson_system(self._mask(0.0))
        grid = self.system.grid
        self.density, self.velocity = np.zeros(grid), np.zeros((len(grid), *grid))
        if source is None:
            self.source = np.zeros(grid, bool)
            patch = [slice(max(1, grid[0] // 16), max(2, grid[0] // 6))]
            patch += [slice(int(0.38 * points), max(int(0.55 * points), 1)) for points in grid[1:]]
            self.source[tuple(patch)] = True
        else:
            self.source = np.asarray(source, bool)
        if self.source.shape != grid:
            raise ShapeError(f"source has shape {self.source.shape}: expected {grid}, as the mask")

    def prepare(self) -> tuple[PoissonSystem, np.ndarray]:
        """Advance everything but the pressure; the system of the step and its right side, shape (n,)."""
        self.time += self.dt
        mask = np.asarray(self._mask(self.time))
        if mask.shape != self.system.grid:
            raise ShapeError(f"mask has shape {mask.shape} at time {self.time}: expected {self.system.grid}")
        if not np.array_equal(mask, self.system.mask):
            self.system = poisson_system(mask)
        self._advect()
        self.density[self.source] = 1
        lift = self.density.copy()
        lift[:-1] += self.density[1:]
        self.velocity[0] += self.dt * self.buoyancy * lift / 2
        self._stop_at_walls()
        return self.system, -self.divergence().reshape(-1)

    def project(self, pressure: Any) -> None:
        """Subtract the gradient of a pressure of shape (n,) from the velocity."""
        p = np.asarray(check_array("pressure", pressure, ndim=1), np.float64)
        if p.shape != (self.system.shape[0],):
            raise ShapeError(f"pressure has shape {p.shape}: expected ({self.system.shape[0]},)")
        p = p.reshape(self.system.grid) * (self.system.mask == FLUID)
        for axis, u in enumerate(self.velocity):
            u -= _next(p, axis) - p
        self._stop_at_walls()

    def step(self, solver: Solver | None = None) -> Any:
        """Advance by one time step.

        Parameters
        ----------
        solver : callable, optional
            ``solver(system, b)`` returns a result with ``x``; by default :func:`gossamer.solve.icpcg`, modified.

        Returns
        -------
        SolverResult
            What the solver returned.
        """
        system, b = self.prepare()
        result = icpcg(system, b, rtol=1e-6, modified=0.97) if solver is None else solver(system, b)
        self.project(result.x)
        return result

    def divergence(self) -> np.ndarray:
        """Outflow of each fluid cell, shape grid."""
        total = np.zeros(self.system.grid)
        for axis, u in enumerate(self.velocity):
            total += u - _next(u, axis, -1)
        return total * (self.system.mask == FLUID)

    def _stop_at_walls(self) -> None:
        mask = self.system.mask
        for axis, u in enumerate(self.velocity):
            other = _next(mask, axis)
            u[(mask == SOLID) | (other == SOLID) | ((mask == AIR) & (other == AIR))] = 0

    def _advect(self) -> None:
        places = np.indices(self.density.shape, dtype=np.float64)
        centred = np.stack([(u + _next(u, axis, -1)) / 2 for axis, u in enumerate(self.velocity)])
        self.density = _sample(self.density, places - self.dt * centred) * (self.system.mask != SOLID)
        fresh = np.empty_like(self.velocity)
        for axis, u in enumerate(self.velocity):
            here = (centred + np.stack([_next(c, axis) for c in centred])) / 2
            here[axis] = u
            fresh[axis] = _sample(u, places - self.dt * here)
        self.velocity = fresh


def _next(field: np.ndarray, axis: int, by: int = 1) -> np.ndarray:
    """The field of each cell's next one along an axis (the one before with ``by=-1``), zero past the edge."""
    low, high = [slice(None)] * field.ndim, [slice(None)] * field.ndim
    low[axis], high[axis] = slice(None, -1), slice(1, None)
    to, source = (low, high) if by == 1 else (high, low)
    out = np.zeros_like(field)
    out[tuple(to)] = field[tuple(source)]
    return out


def _sample(field: np.ndarray, places: np.ndarray) -> np.ndarray:
    return scipy.ndimage.map_coordinates(field, places, order=1, mode="nearest")
