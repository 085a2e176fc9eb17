"""Ranking by a smoothed NDCG of the top K: every query has a threshold, and every relevant item an estimated rank."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gossamer._core.checks import check_array, check_float, check_int
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.solve.bilevel.problem import MultiBlockProblem
from gossamer.solve.bilevel.problems.rows import Gathered, Rows, sigmoid


class QuerySamples(NamedTuple):
    """Sampled items of each query with weights, and its relevant items (padded)."""

    items: Gathered
    weights: np.ndarray
    relevant: Gathered


class TopKNDCG(MultiBlockProblem):
    r"""A linear scorer :math:`h(a) = a^T x` trained for NDCG@K; one block a query.

    Threshold of query q with N items: :math:`\lambda_q = \arg\min \frac KN \lambda + \frac{\tau_2}2 \lambda^2 +
    \frac{\tau_1}N \sum_j \log(1 + e^{(h_j - \lambda)/\tau_1})`, about the K-th largest score. Rank of relevant item
    i: :math:`N u_i` with :math:`u_i = \frac1N \sum_j (h_j - h_i + 1)_+^2`, the minimiser of
    :math:`\frac c2 (u_i - \frac1N \sum_j (h_j - h_i + 1)_+^2)^2`: a running estimate is an inner problem too. The block
    is :math:`y_q = (\lambda_q, u_1, \dots)` with :math:`c = \tau_2 + 1/(4 \tau_1)`, the largest curvature of the
    threshold's problem. Outer, with :math:`a_i = 2^{rel_i} - 1`:
    :math:`f_q = -\frac1{Z_q} \sum_i \mathrm{sigmoid}(h_i - \lambda_q) \frac{a_i}{\log_2(1 + N u_i)}`, Z the ideal
    DCG@K.

    Parameters
    ----------
    features : array or sparse matrix, shape (n, dim_x)
        Rows of all items, query by query.
    relevance : array, shape (n,)
        Grades, 0 for irrelevant.
    groups : array of int, shape (m,)
        Items of each query, in order.
    k : int
        K.
    tau1, tau2 : float
        Smoothing and curvature of the threshold's problem; the step length must suit 1 / (4 tau1).

    Raises
    ------
    ArgumentError, ShapeError
        If sizes do not fit, or a query has no relevant item.

    References
    ----------
    Qiu, Hu, Zhong, Zhang, Yang. Large-scale stochastic optimization of NDCG surrogates for deep learning with provable
    convergence. ICML 2022, arXiv 2202.12183.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.solve import TopKNDCG
    >>> rng = np.random.default_rng(0)
    >>> problem = TopKNDCG(rng.normal(size=(20, 3)), rng.integers(0, 3, 20), groups=[10, 10], k=5)
    >>> 0 <= problem.ndcg(np.ones(3)) <= 1
    True
    """

    def __init__(
        self,
        features: Any,
        relevance: Any,
        groups: Any,
        k: int = 5,
        *,
        tau1: float = 1e-3,
        tau2: float = 1e-4,
    ) -> None:
        sizes = np.array(groups)
        if sizes.ndim != 1 or len(sizes) == 0 or not np.issubdtype(sizes.dtype, np.integer):
            raise ArgumentError(
                f"groups has shape {sizes.shape} of {sizes.dtype}: expected counts of items, (m,)"
            )
        self.sizes, self.rows = sizes, Rows("features", features, sizes)
        self.relevance = np.array(check_array("relevance", relevance, ndim=1), np.float64)
        if self.relevance.shape != (self.rows.n,):
            raise ShapeError(f"relevance has shape {self.relevance.shape}: expected ({self.rows.n},)")
        if np.any(self.relevance < 0):
            raise ArgumentError(f"relevance holds {self.relevance.min():g}: expected grades from 0 up")
        self.k = check_int("k", k, low=1)
        self.tau1 = check_float("tau1", tau1, low=0, closed="neither")
        self.tau2 = check_float("tau2", tau2, low=0, closed="neither")
        self.curvature = self.tau2 + 0.25 / self.tau1
        self.mu, self.smooth = self.tau2, self.curvature
        self.m, self.dim_x = len(sizes), self.rows.d
        query = np.repeat(np.arange(self.m), sizes)
        self.ideal = np.zeros(self.m)
        found = np.flatnonzero(self.relevance > 0)
        count = np.bincount(query[found], minlength=self.m)
        if not count.all():
            raise ArgumentError(
                f"query {int(np.argmin(count))} has no relevant item: expected one in each group"
            )
        order = np.lexsort((-self.relevance[found], query[found]))
        place = np.arange(len(found)) - np.repeat(np.cumsum(count) - count, count)
        gains = np.exp2(self.relevance[found][order]) - 1
        np.add.at(self.ideal, query[found][order], np.where(place < self.k, gains / np.log2(2.0 + place), 0))
        self.dim_y = 1 + int(count.max())
        self.index = np.repeat(self.rows.starts[:, None], count.max(), axis=1)
        self.gain = np.zeros(self.index.shape)  # 0 for padding
        self.index[query[found], place] = found
        self.gain[query[found], place] = np.exp2(self.relevance[found]) - 1

    def sample(self, blocks: np.ndarray, size: int, rng: np.random.Generator) -> QuerySamples:
        """``size`` items of each query with replacement, and all its relevant ones."""
        index = self.rows.draw(blocks, size, rng)
        weights = np.full(index.shape, 1 / size)
        return QuerySamples(self.rows.take(index), weights, self.rows.take(self.index[blocks]))

    def full(self, blocks: np.ndarray) -> QuerySamples:
        """All items."""
        index, weights = self.rows.every(blocks)
        return QuerySamples(self.rows.take(index), weights, self.rows.take(self.index[blocks]))

    def grad_y_g(self, x: np.ndarray, Y: np.ndarray, blocks: np.ndarray, batch: QuerySamples) -> np.ndarray:
        """Of the threshold's problem and of the estimates of ranks."""
        h, own = self._scores(x, blocks, batch)
        above = sigmoid((h - Y[:, :1]) / self.tau1)
        threshold = self.k / self.sizes[blocks] + self.tau2 * Y[:, 0] - (batch.weights * above).sum(1)
        ranks = np.einsum("ij,ipj->ip", batch.weights, self._hinge(h, own) ** 2)
        return np.column_stack([threshold, self.curvature * (Y[:, 1:] - ranks * (self.gain[blocks] > 0))])

    def hvp_yy_g(
        self, x: np.ndarray, Y: np.ndarray, V: np.ndarray, blocks: np.ndarray, batch: QuerySamples
    ) -> np.ndarray:
        """The Hessian is diagonal."""
        return self._diagonal(x, Y, blocks, batch) * V

    def hess_yy_g(self, x: np.ndarray, Y: np.ndarray, blocks: np.ndarray, batch: QuerySamples) -> np.ndarray:
        """The Hessian is diagonal."""
        return self._diagonal(x, Y, blocks, batch)[:, :, None] * np.eye(self.dim_y)

    def jtvp_xy_g(
        self, x: np.ndarray, Y: np.ndarray, V: np.ndarray, blocks: np.ndarray, batch: QuerySamples
    ) -> np.ndarray:
        """Through the scores of sampled and of relevant items."""
        h, own = self._scores(x, blocks, batch)
        above = sigmoid((h - Y[:, :1]) / self.tau1)
        slope = 2 * self._hinge(h, own) * batch.weights[:, None, :]
        pull = self.curvature * V[:, 1:] * (self.gain[blocks] > 0)
        items = -V[:, :1] * batch.weights * above * (1 - above) / self.tau1
        items -= np.einsum("ip,ipj->ij", pull, slope)
        return batch.items.t_dot(items).sum(0) + batch.relevant.t_dot(pull * slope.sum(2)).sum(0)

    def grad_x_f(self, x: np.ndarray, Y: np.ndarray, blocks: np.ndarray, batch: QuerySamples) -> np.ndarray:
        """Through the gate."""
        gate, gain, discount, _ = self._terms(x, Y, blocks, batch)
        return batch.relevant.t_dot(-gain * gate * (1 - gate) / discount).sum(0)

    def grad_y_f(self, x: np.ndarray, Y: np.ndarray, blocks: np.ndarray, batch: QuerySamples) -> np.ndarray:
        """With respect to the threshold and the ranks."""
        gate, gain, discount, free = self._terms(x, Y, blocks, batch)
        N = self.sizes[blocks, None]
        threshold = (gain * gate * (1 - gate) / discount).sum(1)
        fall = N / ((1 + N * np.maximum(Y[:, 1:], 1 / N)) * np.log(2))
        return np.column_stack([threshold, gain * gate * fall / discount**2 * free])

    def value_f(self, x: np.ndarray, Y: np.ndarray, blocks: np.ndarray, batch: QuerySamples) -> np.ndarray:
        """Minus the smoothed NDCG@K of each query."""
        gate, gain, discount, _ = self._terms(x, Y, blocks, batch)
        return -(gain * gate / discount).sum(1)

    def ndcg(self, x: np.ndarray) -> float:
        """The true mean NDCG@K of the scorer, ties in the order of the items.

        Parameters
        ----------
        x : array, shape (dim_x,)
            The scorer.
        """
        scores = self.rows.X @ np.asarray(x, np.float64)
        query = np.repeat(np.arange(self.m), self.sizes)
        order = np.lexsort((-scores, query))
        place = np.arange(self.rows.n) - np.repeat(self.rows.starts, self.sizes)
        gains = np.where(place < self.k, (np.exp2(self.relevance[order]) - 1) / np.log2(2.0 + place), 0)
        return float((np.bincount(query, gains, self.m) / self.ideal).mean())

    def _scores(
        self, x: np.ndarray, blocks: np.ndarray, batch: QuerySamples
    ) -> tuple[np.ndarray, np.ndarray]:
        every = np.broadcast_to(x, (len(blocks), len(x)))
        return batch.items.dot(every), batch.relevant.dot(every)

    def _hinge(self, h: np.ndarray, own: np.ndarray) -> np.ndarray:
        return np.maximum(h[:, None, :] - own[:, :, None] + 1, 0)

    def _diagonal(self, x: np.ndarray, Y: np.ndarray, blocks: np.ndarray, batch: QuerySamples) -> np.ndarray:
        h, _ = self._scores(x, blocks, batch)
        above = sigmoid((h - Y[:, :1]) / self.tau1)
        out = np.full(Y.shape, self.curvature)
        out[:, 0] = self.tau2 + (batch.weights * above * (1 - above)).sum(1) / self.tau1
        return out

    def _terms(self, x: np.ndarray, Y: np.ndarray, blocks: np.ndarray, batch: QuerySamples) -> Any:
        every = np.broadcast_to(x, (len(blocks), len(x)))
        gate = sigmoid(batch.relevant.dot(every) - Y[:, :1])
        gain = self.gain[blocks] / self.ideal[blocks, None]
        N = self.sizes[blocks, None]
        # a rank is at least 1, so an estimate below 1/N is taken as that
        return gate, gain, np.log2(1 + np.maximum(N * Y[:, 1:], 1)), Y[:, 1:] * N > 1
