"""Ridge regression for many tasks that share their penalties, judged by squared error or AUC."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from gossamer._core.checks import check_array, check_choice
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.solve.bilevel.problem import MultiBlockProblem
from gossamer.solve.bilevel.problems.rows import Gathered, Rows


class Labelled(NamedTuple):
    """Rows with their targets and weights that sum to one a block."""

    rows: Gathered
    targets: np.ndarray
    weights: np.ndarray


class Table:
    """Tasks stacked: rows in their order, targets beside them."""

    def __init__(self, name: str, X: Sequence[Any], y: Sequence[Any], keep: Any = None) -> None:
        import scipy.sparse

        targets = [np.array(check_array(f"y of {name}", part, ndim=1), np.float64) for part in y]
        chosen = [np.arange(len(t)) if keep is None else np.flatnonzero(t == keep) for t in targets]
        parts = []
        for i, (part, target, rows) in enumerate(zip(X, targets, chosen)):
            part = part if scipy.sparse.issparse(part) else check_array(f"{name}[{i}]", part, ndim=2)
            if part.shape[0] != len(target):
                raise ShapeError(f"{name}[{i}] has {part.shape[0]} rows: expected {len(target)}, as its y")
            if len(rows) == 0:
                asked = "samples" if keep is None else f"samples of label {keep:g}"
                raise ArgumentError(f"{name}[{i}] has no {asked}: expected at least one")
            parts.append(scipy.sparse.csr_array(part)[rows] if scipy.sparse.issparse(part) else part[rows])
        stack = scipy.sparse.vstack if any(scipy.sparse.issparse(p) for p in parts) else np.vstack
        if len({p.shape[1] for p in parts}) != 1:
            raise ShapeError(
                f"{name} has tasks of {sorted({p.shape[1] for p in parts})} columns: expected one"
            )
        self.rows = Rows(name, stack(parts), np.array([len(rows) for rows in chosen]))
        self.targets = np.concatenate([t[rows] for t, rows in zip(targets, chosen)])

    def draw(self, blocks: np.ndarray, size: int, rng: np.random.Generator) -> Labelled:
        """``size`` rows a block, with replacement."""
        index = self.rows.draw(blocks, size, rng)
        return Labelled(self.rows.take(index), self.targets[index], np.full(index.shape, 1 / size))

    def every(self, blocks: np.ndarray) -> Labelled:
        """All rows of the blocks."""
        index, weights = self.rows.every(blocks)
        return Labelled(self.rows.take(index), self.targets[index], weights)


class TaskRidge(MultiBlockProblem):
    r"""Log-penalties :math:`x_k` of the features, shared by one ridge regression a task.

    Inner: :math:`g_i(x, w) = \frac1{2n} \|X_i w - y_i\|^2 + \frac12 \sum_k e^{x_k} w_k^2`. Outer, on validation data:
    half the mean squared error, or for labels -1 and 1 the squared surrogate of the AUC, the mean of
    :math:`\frac12 (1 - (s_+ - s_-))^2` over pairs of a positive and a negative score.

    Parameters
    ----------
    X, X_val : sequence of array or sparse matrix, each of shape (n_i, d)
        Training and validation rows of each task; sizes may differ.
    y, y_val : sequence of array, each of shape (n_i,)
        Targets.
    loss : {"squared", "auc"}
        Of the outer problem.

    Raises
    ------
    ShapeError, ArgumentError
        If tasks do not fit together, or one has no positive or negative validation sample with ``auc``.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.solve import TaskRidge
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(3, 20, 4)), rng.normal(size=(3, 20))
    >>> TaskRidge(X[:, :10], y[:, :10], X[:, 10:], y[:, 10:]).dim_x
    4
    """

    def __init__(
        self,
        X: Sequence[Any],
        y: Sequence[Any],
        X_val: Sequence[Any],
        y_val: Sequence[Any],
        loss: str = "squared",
    ) -> None:
        self.loss = check_choice("loss", loss, ("squared", "auc"))
        counts = [len(part) for part in (X, y, X_val, y_val)]
        if len(set(counts)) != 1 or counts[0] == 0:
            raise ShapeError(
                f"X, y, X_val and y_val have {counts} tasks: expected the same number, at least 1"
            )
        self.train = Table("X", X, y)
        kinds = (None,) if loss == "squared" else (1, -1)
        if loss == "auc":
            wrong = next((t for part in y_val for t in np.ravel(part) if abs(t) != 1), None)
            if wrong is not None:
                raise ArgumentError(f"y_val holds {wrong:g}: expected labels -1 and 1 with loss='auc'")
        self.validation = [Table("X_val", X_val, y_val, keep) for keep in kinds]
        self.m, self.dim_y = counts[0], self.train.rows.d
        self.dim_x = self.dim_y
        if self.validation[0].rows.d != self.dim_y:
            raise ShapeError(f"X_val has {self.validation[0].rows.d} columns: expected {self.dim_y}, as X")

    def sample(self, blocks: np.ndarray, size: int, rng: np.random.Generator) -> Any:
        """``size`` training rows and as many validation rows (of each label with ``auc``)."""
        return self.train.draw(blocks, size, rng), [part.draw(blocks, size, rng) for part in self.validation]

    def full(self, blocks: np.ndarray) -> Any:
        """All rows."""
        return self.train.every(blocks), [part.every(blocks) for part in self.validation]

    def grad_y_g(self, x: np.ndarray, Y: np.ndarray, blocks: np.ndarray, batch: Any) -> np.ndarray:
        """``X^T (X w - y) / n + e^x w``."""
        rows, targets, weights = batch[0]
        return rows.t_dot(weights * (rows.dot(Y) - targets)) + np.exp(x) * Y

    def hvp_yy_g(
        self, x: np.ndarray, Y: np.ndarray, V: np.ndarray, blocks: np.ndarray, batch: Any
    ) -> np.ndarray:
        """``X^T X v / n + e^x v``."""
        rows, _, weights = batch[0]
        return rows.t_dot(weights * rows.dot(V)) + np.exp(x) * V

    def hess_yy_g(self, x: np.ndarray, Y: np.ndarray, blocks: np.ndarray, batch: Any) -> np.ndarray:
        """``X^T X / n + diag(e^x)``."""
        rows, _, weights = batch[0]
        return rows.gram(weights) + np.diag(np.exp(x))

    def jtvp_xy_g(
        self, x: np.ndarray, Y: np.ndarray, V: np.ndarray, blocks: np.ndarray, batch: Any
    ) -> np.ndarray:
        """``e^x w v``, summed."""
        return np.exp(x) * np.einsum("id,id->d", Y, V)

    def grad_x_f(self, x: np.ndarray, Y: np.ndarray, blocks: np.ndarray, batch: Any) -> None:
        """The validation loss does not see the penalties."""
        return

    def grad_y_f(self, x: np.ndarray, Y: np.ndarray, blocks: np.ndarray, batch: Any) -> np.ndarray:
        """Gradients of the validation losses."""
        if self.loss == "squared":
            rows, targets, weights = batch[1][0]
            return rows.t_dot(weights * (rows.dot(Y) - targets))
        (up, down), (high, low) = self._scores(Y, batch)
        a, b = batch[1]
        means = (a.weights * high).sum(1, keepdims=True), (b.weights * low).sum(1, keepdims=True)
        return up.t_dot(-a.weights * (1 - high + means[1])) + down.t_dot(b.weights * (1 - means[0] + low))

    def value_f(self, x: np.ndarray, Y: np.ndarray, blocks: np.ndarray, batch: Any) -> np.ndarray:
        """Validation losses."""
        if self.loss == "squared":
            rows, targets, weights = batch[1][0]
            return 0.5 * np.sum(weights * (rows.dot(Y) - targets) ** 2, axis=1)
        _, (high, low) = self._scores(Y, batch)
        a, b = batch[1]
        # (1 - s + r)^2 over pairs, by means and variances: no pair is formed
        centre = 1 - (a.weights * high).sum(1) + (b.weights * low).sum(1)
        return 0.5 * (centre**2 + _variance(high, a.weights) + _variance(low, b.weights))

    def _scores(self, Y: np.ndarray, batch: Any) -> Any:
        rows = [part.rows for part in batch[1]]
        return rows, [part.dot(Y) for part in rows]


def _variance(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    centred = values - (weights * values).sum(1, keepdims=True)
    return np.sum(weights * centred**2, axis=1)
