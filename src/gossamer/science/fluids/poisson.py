"""Pressure systems on grids with obstacles and free surfaces."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import scipy.ndimage
import scipy.sparse
from scipy.sparse.linalg import LinearOperator

from gossamer._core.checks import check_array, check_float, check_int
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._kernels.elliptic import star

SOLID, FLUID, AIR = 0, 1, 2


class PoissonSystem(LinearOperator):
    r"""The operator :math:`s I + c L` on the cells of a grid: what :func:`poisson_system` returns.

    Vectors are fields on the whole grid, in C order, which are zero outside the fluid. Products are computed from the
    weights of faces, without a matrix; :meth:`to_scipy` has the entries.

    Attributes
    ----------
    mask : ndarray of int8, shape grid
        0 solid, 1 fluid, 2 air.
    grid : tuple of int
        Cells along each axis.
    fluid : ndarray of bool, shape (n,)
        Where unknowns are.
    weights : ndarray of float64, shape (d, \*grid)
        Of the face between a fluid cell and the next one along an axis; 0 where one of them is not fluid.
    diagonal : ndarray of float64, shape grid
        Of the matrix; 0 outside the fluid.
    nullspace : csc_array of float64, shape (n, c)
        A column of norm 1 for each of the c parts of the fluid that touch no air, on which the operator is singular.
    """

    def __init__(self, mask: np.ndarray, weights: np.ndarray, diagonal: np.ndarray, shifted: bool) -> None:
        self.mask, self.weights, self._diagonal = mask, weights, diagonal
        self.grid = mask.shape
        self.fluid = (mask == FLUID).reshape(-1)
        self.shifted = shifted
        super().__init__(np.float64, (mask.size, mask.size))

    def diagonal(self) -> np.ndarray:
        """The diagonal, shape (n,); zero outside the fluid."""
        return self._diagonal.reshape(-1)

    @property
    def A(self) -> scipy.sparse.csr_array:
        """The matrix with its entries, as :meth:`to_scipy`."""
        return self.to_scipy()

    def to_scipy(self) -> scipy.sparse.csr_array:
        """The matrix with its entries; rows outside the fluid are empty."""
        return self._matrix

    def compressed(self) -> tuple[scipy.sparse.csr_array, np.ndarray]:
        """The matrix of fluid cells only, and their places on the grid: for solvers that do not like empty rows."""
        places = np.flatnonzero(self.fluid)
        return self._matrix[places][:, places], places

    @functools.cached_property
    def nullspace(self) -> scipy.sparse.csc_array:
        """Columns of norm 1 that the operator maps to zero, shape (n, c)."""
        labels, parts = scipy.ndimage.label(self.mask == FLUID)
        if self.shifted:
            parts, labels = 0, np.zeros_like(labels)
        open_to_air = np.zeros(parts + 1, bool)
        open_to_air[0] = True
        for axis in range(self.mask.ndim):
            low, high = _sides(axis, self.mask.ndim)
            for near, far in ((low, high), (high, low)):
                open_to_air[labels[near][self.mask[far] == AIR]] = True
        name = np.cumsum(~open_to_air) - 1
        closed = ~open_to_air[labels.reshape(-1)]
        rows = np.flatnonzero(closed)
        columns = name[labels.reshape(-1)[rows]]
        count = int((~open_to_air).sum())
        sizes = np.bincount(columns, minlength=count)
        return scipy.sparse.csc_array(
            (1 / np.sqrt(sizes[columns]), (rows, columns)), shape=(self.shape[0], count)
        )

    def torch_product(self, z: Any) -> Any:
        """The product with fields in torch, (B, 1, \\*grid) to the same, with gradients."""
        import torch

        y = z * torch.from_numpy(self._diagonal).to(z)
        for axis, weight in enumerate(torch.from_numpy(self.weights).to(z)):
            at, points = axis + 2, z.shape[axis + 2]
            inner = weight.narrow(axis, 0, points - 1)
            ahead = torch.zeros_like(z)
            ahead.narrow(at, 0, points - 1).copy_(inner * z.narrow(at, 1, points - 1))
            behind = torch.zeros_like(z)
            behind.narrow(at, 1, points - 1).copy_(inner * z.narrow(at, 0, points - 1))
            y = y - ahead - behind
        return y

    @functools.cached_property
    def _matrix(self) -> scipy.sparse.csr_array:
        place = np.arange(self.shape[0], dtype=np.int32 if self.shape[0] < 2**31 else np.int64).reshape(
            self.grid
        )
        rows, columns, data = (
            [place[self._diagonal != 0]],
            [place[self._diagonal != 0]],
            [self._diagonal[self._diagonal != 0]],
        )
        for axis, weight in enumerate(self.weights):
            low, high = _sides(axis, len(self.grid))
            kept = weight[low] != 0
            a, b, w = place[low][kept], place[high][kept], -weight[low][kept]
            rows += [a, b]
            columns += [b, a]
            data += [w, w]
        parts = (np.concatenate(part) for part in (data, rows, columns))
        value, row, column = parts
        csr = scipy.sparse.coo_array((value, (row, column)), shape=self.shape).tocsr()
        csr.sort_indices()
        return csr

    def _matmat(self, x: np.ndarray) -> np.ndarray:
        return star(self._diagonal, self.weights, np.asarray(x, np.float64).T).T

    def _matvec(self, x: np.ndarray) -> np.ndarray:
        return star(self._diagonal, self.weights, np.asarray(x, np.float64).reshape(1, -1)).reshape(-1)

    def _adjoint(self) -> PoissonSystem:
        return self

    _rmatvec = _matvec


def poisson_system(
    mask: Any, *, coefficient: Any = None, scale: float = 1.0, shift: float = 0.0
) -> PoissonSystem:
    r"""Build the operator of a pressure solve: the 5-point or 7-point Laplacian on the fluid cells of a grid.

    .. math:: (A x)_k = s x_k + c \sum_l w_{kl} (x_k - x_l)

    over neighbours l that are not solid; :math:`x_l = 0` in air (a free surface), and no flow through faces of solid
    cells or through the edge of the grid. Lengths are in cells: ``scale`` carries :math:`1 / h^2`.

    Parameters
    ----------
    mask : array of int, shape grid
        Two or three axes; 0 solid, 1 fluid, 2 air.
    coefficient : array, shape grid, optional
        Of diffusion, positive in fluid and air; faces take the harmonic mean of their cells. 1 by default.
    scale, shift : float
        :math:`c > 0` and :math:`s \ge 0`; ``shift=1, scale=dt / h**2`` is an implicit step of the heat equation.

    Returns
    -------
    PoissonSystem
        A linear operator on vectors of ``mask.size`` entries.

    Raises
    ------
    ArgumentError, ShapeError
        If the mask has other values or axes, or an argument is out of range.

    Notes
    -----
    A product reads ``d + 2`` numbers a cell and writes one.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.science import poisson_system
    >>> system = poisson_system(np.array([[1, 1, 2], [1, 0, 2]]))
    >>> system.A.toarray()[:2, :4].tolist()
    [[2.0, -1.0, 0.0, -1.0], [-1.0, 2.0, 0.0, 0.0]]
    """
    cells = np.asarray(mask)
    if cells.ndim not in (2, 3):
        raise ShapeError(f"mask has shape {cells.shape}: expected two or three axes")
    if cells.dtype.kind not in "iub":
        raise ArgumentError(f"mask is {cells.dtype}: expected integers, 0 solid, 1 fluid, 2 air")
    if cells.size and not (cells.min() >= SOLID and cells.max() <= AIR):
        raise ArgumentError(f"mask has values {cells.min()}..{cells.max()}: expected 0 solid, 1 fluid, 2 air")
    cells = cells.astype(np.int8)
    factor = check_float("scale", scale, low=0, closed="right")
    shift = check_float("shift", shift, low=0)
    k = np.ones(cells.shape)
    if coefficient is not None:
        k = np.asarray(check_array("coefficient", coefficient, ndim=(2, 3)), np.float64)
        if k.shape != cells.shape:
            raise ShapeError(f"coefficient has shape {k.shape}: expected {cells.shape}, as the mask")
        if not (k[cells != SOLID] > 0).all():
            raise ArgumentError("coefficient is not positive somewhere in fluid or air")
        k = np.where(cells == SOLID, 1.0, k)
    weights = np.zeros((cells.ndim, *cells.shape))
    diagonal = np.where(cells == FLUID, shift, 0.0)
    for axis in range(cells.ndim):
        low, high = _sides(axis, cells.ndim)
        face = factor * 2 * k[low] * k[high] / (k[low] + k[high])
        near, far = cells[low], cells[high]
        face = face * ((near != SOLID) & (far != SOLID))
        diagonal[low] += face * (near == FLUID)
        diagonal[high] += face * (far == FLUID)
        weights[axis][low] = face * ((near == FLUID) & (far == FLUID))
    return PoissonSystem(cells, weights, diagonal, shift > 0)


def open_box(grid: Any) -> np.ndarray:
    """The mask of an empty box with walls and an open top: fluid, and one layer of air at the end of the first axis.

    Parameters
    ----------
    grid : tuple of int
        Cells along each axis; the first one points upwards.

    Returns
    -------
    ndarray of int8, shape grid
    """
    mask = np.full(tuple(check_int("grid", points, low=2) for points in grid), FLUID, np.int8)
    mask[-1] = AIR
    return mask


def _sides(axis: int, ndim: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    whole = [slice(None)] * ndim
    return (
        tuple(slice(None, -1) if i == axis else s for i, s in enumerate(whole)),
        tuple(slice(1, None) if i == axis else s for i, s in enumerate(whole)),
    )
