"""The difference star of a shifted Laplacian on a grid, as an operator that holds no matrix."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy.sparse
from scipy.sparse.linalg import LinearOperator

from gossamer._core.checks import check_float, check_int
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._kernels import relax


class GridStencil(LinearOperator):
    r"""The matrix :math:`A = s I + \sum_k c_k T_k` on a grid with zeros around it, without its entries.

    :math:`T_k` takes second differences along axis k: 2 on the diagonal, -1 for both neighbours. In two dimensions
    this is the 5-point star, in three the 7-point star; :math:`s` is a shift, :math:`c_k` the weight of an axis.

    Relaxation (:func:`sor`, :func:`ssor_pcg`) runs on it without a matrix; any solver that takes an operator can use
    it too.

    Parameters
    ----------
    shape : int or tuple of int
        Points along each of one to three axes; unknowns are in C order, the last axis runs fastest.
    scale : float or sequence of float
        :math:`c_k`, one for all axes or one an axis, not negative; ``1 / h**2`` for a Laplacian on a mesh of width h.
    shift : float
        :math:`s`. The diagonal, ``shift + 2 * sum(scale)``, must be positive.

    Raises
    ------
    ArgumentError, ShapeError
        If there are more than three axes, or an argument is out of range.

    Examples
    --------
    >>> from gossamer.solve import GridStencil
    >>> A = GridStencil((2, 2), shift=1.0)
    >>> A.to_scipy().toarray().tolist()[0]
    [5.0, -1.0, -1.0, 0.0]
    """

    def __init__(self, shape: int | tuple[int, ...], *, scale: Any = 1.0, shift: float = 0.0) -> None:
        axes = (shape,) if np.ndim(shape) == 0 else tuple(shape)  # type: ignore[arg-type]
        if not 1 <= len(axes) <= 3:
            raise ShapeError(f"shape={shape!r}: expected the points along one, two or three axes")
        self.grid = tuple(check_int("shape", points, low=1) for points in axes)
        weights = (scale,) * len(axes) if np.ndim(scale) == 0 else tuple(scale)
        if len(weights) != len(axes):
            raise ShapeError(
                f"scale has {len(weights)} entries: expected one, or one for each of {len(axes)} axes"
            )
        self.scale = tuple(check_float("scale", weight, low=0) for weight in weights)
        self.shift = check_float("shift", shift)
        diagonal = self.shift + 2 * sum(self.scale)
        if not diagonal > 0:
            raise ArgumentError(f"shift={shift!r}: the diagonal is {diagonal:g}, expected a positive one")
        missing = 3 - len(axes)
        self.kernel = relax.Grid(
            (1,) * missing + self.grid,  # type: ignore[arg-type]
            diagonal,
            self.scale[::-1] + (0.0,) * missing,  # type: ignore[arg-type]
        )
        super().__init__(np.float64, (math.prod(self.grid),) * 2)

    def diagonal(self) -> np.ndarray:
        """The diagonal, shape (n,)."""
        return relax.diagonal(self.kernel)

    def to_scipy(self) -> scipy.sparse.csr_array:
        """The matrix with its entries."""
        total = self.shift * scipy.sparse.eye_array(self.shape[0], format="csr")
        for axis, (points, weight) in enumerate(zip(self.grid, self.scale)):
            ones = np.ones(points)
            differences = scipy.sparse.diags_array([-ones[1:], 2 * ones, -ones[1:]], offsets=[-1, 0, 1])
            before, after = math.prod(self.grid[:axis]), math.prod(self.grid[axis + 1 :])
            along = scipy.sparse.kron(scipy.sparse.eye_array(before), differences)
            total = total + weight * scipy.sparse.kron(along, scipy.sparse.eye_array(after))
        csr = scipy.sparse.csr_array(total)
        csr.eliminate_zeros()
        csr.sort_indices()
        return csr

    def _matvec(self, x: np.ndarray) -> np.ndarray:
        x = np.asarray(x, np.float64).reshape(-1)
        return -relax.residual(self.kernel, np.zeros_like(x), x)[0]

    def _adjoint(self) -> GridStencil:
        return self

    _rmatvec = _matvec
