"""Logistic regression of two classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import expit

from gossamer._core.errors import ArgumentError
from gossamer.solve.descent.penalty import Penalty
from gossamer.solve.descent.problems.linear import LinearModel


class Logistic(LinearModel):
    """Logistic loss, ``sum_j log(1 + exp(-y_j a_j x)) + 1/2 sum l2_i x_i^2 + sum l1_i |x_i|``.

    Parameters
    ----------
    A : array or sparse matrix, shape (m, n)
        Data.
    y : array, shape (m,)
        Classes, -1 and 1.
    l2, l1 : float or array (n,)
        Weights of squares and of absolute values.

    Raises
    ------
    ArgumentError
        If y has other entries than -1 and 1.
    """

    curvature_bound = 0.25

    def __init__(self, A: Any, y: Any, l2: Any = 0.0, l1: Any = 0.0) -> None:
        super().__init__(A, l2)
        self.y = self._targets(y)
        if not np.isin(self.y, (-1, 1)).all():
            raise ArgumentError(f"y has the entries {np.unique(self.y)[:5]}: expected -1 and 1")
        self.penalty = Penalty.of(self.n, l1)

    def loss(self, z: np.ndarray) -> float:
        """``sum log(1 + exp(-y z))``."""
        margin = self.y * z
        return float(np.log1p(np.exp(-np.abs(margin))).sum() - np.minimum(margin, 0.0).sum())

    def slope(self, z: np.ndarray) -> np.ndarray:
        """``-y / (1 + exp(y z))``."""
        return -self.y * expit(-self.y * z)

    def curvature(self, z: np.ndarray) -> np.ndarray:
        """``p (1 - p)``."""
        p = expit(z)
        return p * (1 - p)

    def third(self, b: np.ndarray) -> float:
        """``sum_j ||A_jb||^3 / (6 sqrt 3)``, from the largest third derivative of the loss."""
        return self.columns.row_norms_cubed(b) / (6 * np.sqrt(3))
