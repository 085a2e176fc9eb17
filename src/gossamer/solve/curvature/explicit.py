"""Baselines: the same inverse with its blocks written out (WoodFisher), and its diagonal (Optimal Brain Damage)."""

from __future__ import annotations

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from gossamer._core.arrays import Array
from gossamer.solve.curvature.operator import InverseOperator, check_gradients


class ExplicitFisherInverse(InverseOperator):
    """Inverse of the damped empirical Fisher with every (block, block) matrix written out, as WoodFisher does.

    The same numbers as :class:`FisherInverse` with the same blocks, for O(d block) memory and O(d block^2) work
    instead of O(dm): the baseline, and an oracle.

    Parameters
    ----------
    G : array or tensor, shape (m, d)
        Gradients.
    damp : float
        Damping, above 0.
    block : int, optional
        Size of the blocks; None is one dense matrix.

    References
    ----------
    Singh, Alistarh. WoodFisher: Efficient Second-Order Approximation for Neural Network Compression. NeurIPS 2020.
    """

    def __init__(self, G: Array, damp: float = 1e-5, block: int | None = None) -> None:
        rows = check_gradients(G)
        super().__init__(rows.shape[1], damp, block, rows.dtype)
        self.inverses = []
        for cut in self.blocks():
            part = rows[:, cut].astype(np.float64)
            F = part.T @ part / len(rows) + self.damp * np.eye(part.shape[1])
            inverse = cho_solve(cho_factor(F), np.eye(len(F)))
            self.inverses.append((inverse + inverse.T) / 2)

    def _product(self, x: np.ndarray) -> np.ndarray:
        return np.concatenate([inverse @ x[cut] for inverse, cut in zip(self.inverses, self.blocks())])

    def _diagonal(self) -> np.ndarray:
        return np.concatenate([np.diagonal(inverse) for inverse in self.inverses])

    def _gram(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        left, right = np.broadcast_arrays(left[..., :, None], right[..., None, :])
        out = np.zeros(left.shape)
        for number, inverse in enumerate(self.inverses):
            start = number * self.block
            inside = (left // self.block == number) & (right // self.block == number)
            out[inside] = inverse[left[inside] - start, right[inside] - start]
        return out


class DiagonalFisherInverse(InverseOperator):
    """Inverse of the damped diagonal of the empirical Fisher: the curvature of Optimal Brain Damage.

    Parameters
    ----------
    G : array or tensor, shape (m, d)
        Gradients.
    damp : float
        Damping, above 0.

    References
    ----------
    LeCun, Denker, Solla. Optimal Brain Damage. NeurIPS 1989.
    """

    def __init__(self, G: Array, damp: float = 1e-5) -> None:
        rows = check_gradients(G)
        super().__init__(rows.shape[1], damp, 1, rows.dtype)
        self.values = 1 / (self.damp + np.square(rows, dtype=np.float64).mean(axis=0))

    def _product(self, x: np.ndarray) -> np.ndarray:
        return (self.values if x.ndim == 1 else self.values[:, None]) * x

    def _diagonal(self) -> np.ndarray:
        return self.values.copy()

    def _gram(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        return np.equal(left[..., :, None], right[..., None, :]) * self.values[left][..., :, None]
