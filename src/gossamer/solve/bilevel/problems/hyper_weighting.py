"""One weight a training sample, shared by many logistic losses of different temperature."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer._core.checks import check_array, check_float
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.solve.bilevel.problem import MultiBlockProblem, SparseVector
from gossamer.solve.bilevel.problems.rows import Gathered, Rows, sigmoid


class WeightedSamples:
    """Training rows and validation rows of one draw, the same for all blocks when ``index`` is None."""

    def __init__(
        self,
        index: np.ndarray | None,
        train: Gathered,
        labels: np.ndarray,
        validation: Gathered,
        validation_labels: np.ndarray,
    ) -> None:
        self.index, self.train, self.labels = index, train, labels
        self.validation, self.validation_labels = validation, validation_labels
        if index is not None:
            self.touched, self.place = np.unique(index.ravel(), return_inverse=True)
            self.place = self.place.ravel()


class HyperWeighting(MultiBlockProblem):
    r"""Learn one weight for each training sample, for m logistic losses of temperatures :math:`\sigma_i` at once.

    Inner: :math:`g_i(p, w) = \frac1n \sum_j \mathrm{sigmoid}(p_j) \log(1 + \exp(-y_j w^T [1, x_j] / \sigma_i)) +
    \frac\lambda2 \|w\|^2`; outer: the mean of the unweighted loss on validation data. Samples that hurt validation
    (wrong labels, another distribution) lose weight.

    Parameters
    ----------
    X_tr, X_val : array or sparse matrix, shapes (n, features) and (n_val, features)
        Sparse ones stay CSR. An intercept is put first: dim_y is features + 1.
    y_tr, y_val : array, shapes (n,) and (n_val,)
        Labels -1 and 1.
    sigmas : array, shape (m,)
        Temperatures, positive.
    lam : float
        :math:`\lambda`.

    Notes
    -----
    Samples are drawn with replacement (a batch may be larger than the data). Derivatives with respect to p are zero
    outside the drawn rows, so p may have millions of entries.

    References
    ----------
    Hu et al., arXiv 2305.18730, section 5.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.solve import HyperWeighting, multi_block_bilevel
    >>> X = np.random.default_rng(0).normal(size=(300, 4))
    >>> y = np.sign(X[:, 0])
    >>> problem = HyperWeighting(X[:200], y[:200], X[200:], y[200:], sigmas=[1, 2, 4])
    >>> result = multi_block_bilevel(problem, np.zeros(200), maxiter=200, blocks_per_step=2, random_state=0)
    >>> result.fun_history[-1] < result.fun_history[0]
    True
    """

    def __init__(self, X_tr: Any, y_tr: Any, X_val: Any, y_val: Any, sigmas: Any, lam: float = 1e-5) -> None:
        self.train = Rows("X_tr", X_tr, intercept=True)
        self.validation = Rows("X_val", X_val, intercept=True)
        if self.train.d != self.validation.d:
            raise ShapeError(
                f"X_val has {self.validation.d - 1} columns: expected {self.train.d - 1}, as many as X_tr"
            )
        self.y_tr, self.y_val = labels("y_tr", y_tr, self.train.n), labels("y_val", y_val, self.validation.n)
        self.sigmas = np.array(check_array("sigmas", sigmas, ndim=1), np.float64)
        if len(self.sigmas) == 0 or np.any(self.sigmas <= 0):
            raise ArgumentError("sigmas: expected at least one temperature, all positive")
        self.lam = self.mu = check_float("lam", lam, low=0, closed="neither")
        self.m, self.dim_x, self.dim_y = len(self.sigmas), self.train.n, self.train.d

    def sample(self, blocks: np.ndarray, size: int, rng: np.random.Generator) -> WeightedSamples:
        """Training and validation rows, each (I, size), with replacement."""
        index, other = self.train.draw(blocks, size, rng), self.validation.draw(blocks, size, rng)
        return WeightedSamples(
            index, self.train.take(index), self.y_tr[index], self.validation.take(other), self.y_val[other]
        )

    def full(self, blocks: np.ndarray) -> WeightedSamples:
        """All rows for every block."""
        return WeightedSamples(
            None,
            self.train.everywhere(),
            self.y_tr[None],
            self.validation.everywhere(),
            self.y_val[None],
        )

    def support(self, batch: WeightedSamples) -> np.ndarray:
        """The drawn training rows."""
        return np.arange(self.dim_x) if batch.index is None else batch.touched

    def grad_y_g(
        self, x: np.ndarray, Y: np.ndarray, blocks: np.ndarray, batch: WeightedSamples
    ) -> np.ndarray:
        """Gradients of the weighted losses with respect to w."""
        weight, slope, sigma = self._slopes(x, Y, blocks, batch)
        return batch.train.t_dot(weight * slope / (sigma * slope.shape[1])) + self.lam * Y

    def hvp_yy_g(
        self, x: np.ndarray, Y: np.ndarray, V: np.ndarray, blocks: np.ndarray, batch: WeightedSamples
    ) -> np.ndarray:
        """Hessians of the weighted losses times V."""
        return batch.train.t_dot(self._curvatures(x, Y, blocks, batch) * batch.train.dot(V)) + self.lam * V

    def hess_yy_g(
        self, x: np.ndarray, Y: np.ndarray, blocks: np.ndarray, batch: WeightedSamples
    ) -> np.ndarray:
        """Hessians of the weighted losses."""
        return batch.train.gram(self._curvatures(x, Y, blocks, batch)) + self.lam * np.eye(self.dim_y)

    def jtvp_xy_g(
        self, x: np.ndarray, Y: np.ndarray, V: np.ndarray, blocks: np.ndarray, batch: WeightedSamples
    ) -> SparseVector:
        """Zero outside the drawn rows."""
        weight, slope, sigma = self._slopes(x, Y, blocks, batch)
        C = weight * (1 - weight) * slope * batch.train.dot(V) / (sigma * slope.shape[1])
        if batch.index is None:
            return SparseVector(np.arange(self.dim_x), C.sum(axis=0))
        return SparseVector(batch.touched, np.bincount(batch.place, C.ravel(), len(batch.touched)))

    def grad_x_f(self, x: np.ndarray, Y: np.ndarray, blocks: np.ndarray, batch: WeightedSamples) -> None:
        """The validation loss does not see the weights."""
        return

    def grad_y_f(
        self, x: np.ndarray, Y: np.ndarray, blocks: np.ndarray, batch: WeightedSamples
    ) -> np.ndarray:
        """Gradients of the validation losses."""
        margin, scale = self._validation_margin(Y, blocks, batch)
        slope = -batch.validation_labels * sigmoid(-margin)
        return batch.validation.t_dot(slope / (scale * slope.shape[1]))

    def value_f(self, x: np.ndarray, Y: np.ndarray, blocks: np.ndarray, batch: WeightedSamples) -> np.ndarray:
        """Validation losses."""
        return np.logaddexp(0, -self._validation_margin(Y, blocks, batch)[0]).mean(axis=1)

    def decision(self, X: Any, y: np.ndarray) -> np.ndarray:
        """Mean over the blocks of the scores ``w^T [1, x] / sigma`` of new rows.

        Parameters
        ----------
        X : array or sparse matrix, shape (k, features)
            New rows.
        y : ndarray, shape (m, features + 1)
            Inner iterates.
        """
        w = (y / self.sigmas[:, None]).mean(axis=0)
        return np.asarray(X @ w[1:]) + w[0]

    def _slopes(
        self, x: np.ndarray, Y: np.ndarray, blocks: np.ndarray, batch: WeightedSamples
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        sigma = self.sigmas[blocks, None]
        weight = sigmoid(x[None] if batch.index is None else x[batch.index])
        slope = -batch.labels * sigmoid(-batch.labels * batch.train.dot(Y) / sigma)
        return weight, slope, sigma

    def _curvatures(
        self, x: np.ndarray, Y: np.ndarray, blocks: np.ndarray, batch: WeightedSamples
    ) -> np.ndarray:
        weight, slope, sigma = self._slopes(x, Y, blocks, batch)
        size = np.abs(slope)
        return weight * size * (1 - size) / (sigma**2 * slope.shape[1])

    def _validation_margin(
        self, Y: np.ndarray, blocks: np.ndarray, batch: WeightedSamples
    ) -> tuple[np.ndarray, np.ndarray]:
        sigma = self.sigmas[blocks, None]
        return batch.validation_labels * batch.validation.dot(Y) / sigma, sigma


def labels(name: str, y: Any, n: int) -> np.ndarray:
    """Labels -1 and 1 as float64."""
    y = np.array(check_array(name, y, ndim=1), np.float64)
    if y.shape != (n,):
        raise ShapeError(f"{name} has shape {y.shape}: expected ({n},), one label a row")
    if not np.all(np.abs(y) == 1):
        raise ArgumentError(f"{name} holds {y[np.abs(y) != 1][0]:g}: expected labels -1 and 1")
    return y
