"""The heat equation on the unit square, one linear system a time step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse

from gossamer._core.checks import check_array, check_float, check_int
from gossamer._core.errors import ShapeError
from gossamer.solve import GridStencil

Field = Callable[..., Any]


class Heat2D:
    r""":math:`u_t = \kappa(t) \Delta u + f(t, x)` on the unit square with u = 0 on its edge, by Crank and Nicolson.

    A step solves :math:`(I - \tfrac{\kappa dt}{2} \Delta_h) u^+ = (I + \tfrac{\kappa dt}{2} \Delta_h) u + dt f` with
    :math:`\kappa` and f in the middle of the step and the 5-point star :math:`\Delta_h`. Solving it is left to the
    caller: :meth:`system`, then :meth:`advance`.

    Parameters
    ----------
    nx : int
        Intervals along each axis: ``(nx - 1) ** 2`` unknowns.
    dt : float
        Time step.
    coefficient : callable or float
        :math:`\kappa(t)`, not negative.
    forcing : callable or float
        ``forcing(t, points)`` for points (n, 2), returns (n,).
    initial : callable or float
        ``initial(points)``, returns (n,).

    Attributes
    ----------
    t : float
        The time.
    u : ndarray of float64, shape (n,)
        The field at ``t``.
    points : ndarray of float64, shape (n, 2)
        Where the unknowns lie.

    Raises
    ------
    ArgumentError, ShapeError
        If an argument is out of range, or a callable returns what does not fit.

    Notes
    -----
    Second order in the mesh width and in ``dt``; stable for every ``dt``.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.science import Heat2D
    >>> from gossamer.solve import ssor_pcg
    >>> pde = Heat2D(32, 1e-3, coefficient=1.0, initial=lambda x: np.sin(np.pi * x).prod(axis=1))
    >>> for _ in range(50):
    ...     A, b = pde.system()
    ...     pde.advance(ssor_pcg(A, b, x0=pde.u, omega=1.5).x)
    >>> round(float(pde.u.max() / np.exp(-2 * np.pi**2 * pde.t)), 3)
    1.001
    """

    def __init__(
        self,
        nx: int,
        dt: float,
        coefficient: Field | float = 1.0,
        forcing: Field | float = 0.0,
        initial: Field | float = 0.0,
    ) -> None:
        self.nx, self.dt = check_int("nx", nx, low=2), check_float("dt", dt, low=0, closed="right")
        inside = np.arange(1, self.nx) / self.nx
        self.points = np.stack(np.meshgrid(inside, inside, indexing="ij"), -1).reshape(-1, 2)
        self.coefficient, self.forcing = _callable(coefficient), _callable(forcing)
        self.t = 0.0
        self._grid = (self.nx - 1, self.nx - 1)
        self._star = GridStencil(self._grid, scale=float(self.nx) ** 2).to_scipy()  # -Laplace
        self._places = np.flatnonzero(self._star.data > 0)
        self.u = self._field("initial", _callable(initial)(self.points))

    @property
    def kappa(self) -> float:
        """The coefficient in the middle of the next step, which is that of its matrix."""
        return check_float("coefficient", self.coefficient(self.t + self.dt / 2), low=0)

    def system(self, *, matrix_free: bool = False) -> tuple[Any, np.ndarray]:
        """Return the matrix and the right side of the next step.

        Parameters
        ----------
        matrix_free : bool
            A :class:`gossamer.solve.GridStencil` instead of a sparse matrix.

        Returns
        -------
        A : csr_array or GridStencil, shape (n, n)
        b : ndarray of float64, shape (n,)
        """
        weight, middle = self.kappa * self.dt / 2, self.t + self.dt / 2
        force = self._field("forcing", self.forcing(middle, self.points))
        b = self.u - weight * (self._star @ self.u) + self.dt * force
        if matrix_free:
            return GridStencil(self._grid, scale=weight * self.nx**2, shift=1.0), b
        data = weight * self._star.data
        data[self._places] += 1
        return scipy.sparse.csr_array(
            (data, self._star.indices, self._star.indptr), shape=self._star.shape
        ), b

    def advance(self, u: Any) -> None:
        """Take the solution of the system for the field at the next time."""
        self.u = self._field("u", u)
        self.t += self.dt

    def _field(self, name: str, values: Any) -> np.ndarray:
        array = np.asarray(values, np.float64)
        if array.ndim == 0:
            array = np.full(len(self.points), float(array))
        if array.shape != (len(self.points),):
            raise ShapeError(
                f"{name} has shape {array.shape}: expected ({len(self.points)},), a value a point"
            )
        return np.array(check_array(name, array, ndim=1))


def bump(points: Any, centre: Any, radius: float) -> np.ndarray:
    r"""Return :math:`\exp(1 - 1 / (1 - |x - c|^2 / r^2))` inside a circle and 0 outside: smooth, 1 in the middle.

    Parameters
    ----------
    points : array, shape (n, d)
        Where.
    centre : array, shape (d,)
        Middle of the circle.
    radius : float
        Of the circle, positive.

    Returns
    -------
    ndarray of float64, shape (n,)
    """
    radius = check_float("radius", radius, low=0, closed="right")
    distance = ((np.asarray(points, np.float64) - np.asarray(centre, np.float64)) ** 2).sum(
        axis=-1
    ) / radius**2
    with np.errstate(divide="ignore"):
        return np.exp(1 - 1 / (1 - np.minimum(distance, 1)))


def _callable(value: Field | float) -> Field:
    return value if callable(value) else lambda *_: value
