"""Logistic regression of several classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import logsumexp, softmax

from gossamer._core.checks import check_array
from gossamer._core.errors import ArgumentError, ShapeError, UnsupportedError
from gossamer.solve.descent.columns import columns_of
from gossamer.solve.descent.penalty import Penalty, weights
from gossamer.solve.descent.problems.linear import LinearModel, LinearState


class ClassColumns:
    """Columns of the Kronecker product of A with the identity of k classes; coordinate ``f k + c``."""

    def __init__(self, A: Any, k: int) -> None:
        self.base, self.k = columns_of(A), k
        m, p = self.base.shape
        self.shape, self.dtype, self.nnz = (m * k, p * k), self.base.dtype, self.base.nnz * k

    def split(self, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Distinct features of a block, and for each coordinate its feature's place among them and its class."""
        feature, label = np.divmod(b, self.k)
        features, place = np.unique(feature, return_inverse=True)
        return features, place, feature, label

    def dots(self, w: np.ndarray, b: np.ndarray | None = None) -> np.ndarray:
        """``A^T W`` for slopes W of shape (m, k), or entries b of it."""
        wide = w.reshape(-1, self.k)
        if b is None:
            return np.stack(
                [self.base.dots(np.ascontiguousarray(column)) for column in wide.T], axis=1
            ).ravel()
        _, _, feature, label = self.split(b)
        out = np.empty(len(b))
        for c in np.unique(label):
            mine = np.flatnonzero(label == c)
            out[mine] = self.base.dots(np.ascontiguousarray(wide[:, c]), feature[mine])
        return out

    def add(self, b: np.ndarray, d: np.ndarray) -> np.ndarray:
        """Scores that a step of a block adds."""
        _, _, feature, label = self.split(b)
        out = np.zeros((self.base.shape[0], self.k))
        for c in np.unique(label):
            mine = np.flatnonzero(label == c)
            out[:, c] = self.base.add(feature[mine], d[mine])
        return out.ravel()

    def matvec(self, x: np.ndarray) -> np.ndarray:
        """``A W``."""
        wide = x.reshape(-1, self.k)
        return np.stack([self.base.matvec(np.ascontiguousarray(column)) for column in wide.T], axis=1).ravel()

    def squares(self) -> np.ndarray:
        """Squared norms, the same for all classes of a feature."""
        return np.repeat(self.base.squares(), self.k)

    def touched(self, v: np.ndarray) -> np.ndarray | None:
        """All columns are walked."""
        return None


class MultinomialLogistic(LinearModel):
    """Softmax loss, ``sum_j logsumexp(a_j W) - <Y, A W>`` with squares and absolute values, for x = W.ravel().

    Parameters
    ----------
    A : array or sparse matrix, shape (m, p)
        Data.
    Y : array, shape (m, k) or (m,)
        One-hot rows, or classes 0 .. k - 1.
    l2, l1 : float or array (p k,)
        Weights of squares and of absolute values.

    Notes
    -----
    The bound on a block's Hessian has the entries ``1/2 (1[c = c'] - 1/k') (A^T A)_{f f'}`` with
    ``k' = min(k, distinct classes in the block + 1)``: classes outside of the block act as one (Bohning 1992).
    """

    curvature_bound = 0.25

    def __init__(self, A: Any, Y: Any, l2: Any = 0.0, l1: Any = 0.0) -> None:
        self.Y = _one_hot(Y)
        self.k = self.Y.shape[1]
        self.columns = ClassColumns(A, self.k)
        self.m, self.n = self.columns.base.shape[0], self.columns.shape[1]
        if len(self.Y) != self.m:
            raise ShapeError(f"Y has {len(self.Y)} rows: expected {self.m}, as A")
        self.dtype, self.offset = self.columns.dtype, 0.0
        self.l2 = weights("l2", l2, self.n)
        self.lipschitz = self.curvature_bound * self.columns.squares() + self.l2
        self.penalty = Penalty.of(self.n, l1)
        self._freeze()

    def loss(self, z: np.ndarray) -> float:
        """Of scores z (m k,)."""
        wide = z.reshape(-1, self.k)
        return float(logsumexp(wide, axis=1).sum() - (self.Y * wide).sum())

    def slope(self, z: np.ndarray) -> np.ndarray:
        """``softmax(z) - Y``."""
        return (softmax(z.reshape(-1, self.k), axis=1) - self.Y).ravel()

    def curvature(self, z: np.ndarray) -> np.ndarray:
        """Probabilities (m, k), from which :meth:`gram` takes the curvature."""
        return softmax(z.reshape(-1, self.k), axis=1)

    def state(self, x: np.ndarray, full: bool) -> MultinomialState:
        """Where the iteration starts."""
        return MultinomialState(self, x, full)

    def bound(self, b: np.ndarray) -> np.ndarray:
        """The bound of the notes, with the squares on its diagonal."""
        features, place, _, label = self.columns.split(b)
        classes = min(self.k, len(np.unique(label)) + 1)
        gram = self.columns.base.gram(features)[np.ix_(place, place)]
        return self._with_l2(0.5 * ((label[:, None] == label) - 1 / classes) * gram, b)

    def bound_product(self, d: np.ndarray) -> np.ndarray:
        """The bound on all coordinates times d."""
        wide = self.columns.matvec(d).reshape(-1, self.k)
        centred = 0.5 * (wide - wide.sum(axis=1, keepdims=True) / self.k)
        return self.columns.dots(centred.ravel()) + self.l2 * d

    def row_sums(self, ids: np.ndarray) -> np.ndarray:
        """Row sums of magnitudes of the bound on all coordinates."""
        features, place, _, _ = self.columns.split(ids)
        spread = 0.5 * ((1 - 1 / self.k) + (self.k - 1) / self.k)
        return spread * self.columns.base.row_sums(features)[place] + self.l2[ids]

    def third(self, b: np.ndarray) -> float:
        """The constant of two classes, as customary."""
        features, _, _, _ = self.columns.split(b)
        return self.columns.base.row_norms_cubed(features) / (6 * np.sqrt(3))

    @property
    def graph(self) -> Any:
        """Classes of a feature are all coupled."""
        raise UnsupportedError("MultinomialLogistic couples all classes of a feature: it has no forests")


class MultinomialState(LinearState):
    """x, scores and probabilities."""

    problem: MultinomialLogistic

    def hessian(self, b: np.ndarray) -> np.ndarray:
        """``sum_j a_jf a_jf' (p_jc 1[c = c'] - p_jc p_jc')`` and the squares."""
        problem = self.problem
        features, place, _, label = problem.columns.split(b)
        P = problem.curvature(self.z)
        block = problem.columns.base.take(features)[:, place]
        weighted = block * P[:, label]
        H = -(weighted.T @ weighted)
        for c in np.unique(label):
            mine = np.flatnonzero(label == c)
            H[np.ix_(mine, mine)] += block[:, mine].T @ weighted[:, mine]
        return problem._with_l2(H, b)

    def sparse_hessian(self, b: np.ndarray) -> Any:
        """There is none."""
        return self.problem.graph


def _one_hot(Y: Any) -> np.ndarray:
    array = np.asarray(check_array("Y", Y, ndim=(1, 2)), np.float64)
    if array.ndim == 2:
        if not (np.isin(array, (0, 1)).all() and (array.sum(axis=1) == 1).all()):
            raise ArgumentError("Y has rows that are not one-hot: expected a single 1 in each, else zeros")
        return array
    if not len(array) or (array != np.round(array)).any() or array.min() < 0:
        raise ArgumentError("Y has entries that are no classes: expected integers from 0")
    return np.eye(int(array.max()) + 1)[array.astype(np.int64)]
