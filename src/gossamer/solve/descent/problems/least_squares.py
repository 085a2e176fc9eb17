"""Least squares, plain or with absolute values, or on the non-negative orthant."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer._core.checks import check_float
from gossamer.solve.descent.penalty import Penalty
from gossamer.solve.descent.problems.linear import LinearModel


class LeastSquares(LinearModel):
    """Squared error, ``1/2 ||A x - y||^2 + 1/2 sum l2_i x_i^2``.

    Parameters
    ----------
    A : array or sparse matrix, shape (m, n)
        Data, float32 or float64; CSC is not copied.
    y : array, shape (m,)
        Targets.
    l2 : float or array (n,)
        Weight of the squares.

    Raises
    ------
    ArgumentError
        If shapes do not fit, entries are not finite, or l2 is negative.
    """

    quadratic = True

    def __init__(self, A: Any, y: Any, l2: Any = 0.0) -> None:
        super().__init__(A, l2)
        self.y = self._targets(y)
        self.offset = -self.y

    def loss(self, z: np.ndarray) -> float:
        """Half the squared norm of the residual z."""
        return 0.5 * float(z @ z)

    def slope(self, z: np.ndarray) -> np.ndarray:
        """The residual itself."""
        return z

    def curvature(self, z: np.ndarray) -> None:
        """Ones."""
        return


class Lasso(LeastSquares):
    """Squared error with absolute values, ``1/2 ||A x - y||^2 + sum lam_i |x_i|``.

    Parameters
    ----------
    A : array or sparse matrix, shape (m, n)
        Data.
    y : array, shape (m,)
        Targets.
    lam : float or array (n,)
        Weights, ``m alpha`` of :class:`sklearn.linear_model.Lasso`; 0 leaves a coordinate free.
    """

    def __init__(self, A: Any, y: Any, lam: Any) -> None:
        super().__init__(A, y)
        self.penalty = Penalty.of(self.n, lam)

    def duality_gap(self, x: Any) -> float:
        """``F(x)`` less the value of the dual point that the residual at x scales to: a bound on the error of F."""
        x = np.asarray(x, np.float64)
        r = self.columns.matvec(x) - self.y
        free = self.penalty.lam > 0
        excess = np.abs(self.columns.dots(r)[free]) / self.penalty.lam[free]
        theta = r / max(1.0, float(excess.max(initial=0.0)))
        dual = 0.5 * float(self.y @ self.y) - 0.5 * float((theta + self.y) @ (theta + self.y))
        return self.loss(r) + self.penalty.value(x) - dual


class NonnegativeLS(LeastSquares):
    """Squared error on the orthant, ``1/2 ||A x - y||^2 + lam sum x_i`` for ``x >= 0``.

    Parameters
    ----------
    A : array or sparse matrix, shape (m, n)
        Data.
    y : array, shape (m,)
        Targets.
    lam : float
        Weight of the sum.
    """

    def __init__(self, A: Any, y: Any, lam: float = 0.0) -> None:
        super().__init__(A, y)
        self.penalty = Penalty.of(self.n, check_float("lam", lam, low=0), low=0.0)
