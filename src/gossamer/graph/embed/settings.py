"""What an embedding is made of, checked once, and the plan that follows for a graph."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse

from gossamer._core.checks import check_array, check_choice, check_float, check_int
from gossamer._core.errors import ShapeError, bad_argument
from gossamer.graph.embed.panels import Plan
from gossamer.graph.embed.projection import gaussian_columns, sparse_columns, sparsity
from gossamer.graph.embed.walk import MATRICES, Graph, make_walk


@dataclass(frozen=True)
class Settings:
    """Parameters of an embedding, as :func:`fastrp_embedding` has them."""

    d: int = 128
    weights: Sequence[float] | None = (0, 0, 1, 4)
    beta: float = -0.5
    projection: str = "sparse"
    s: float | str = "sqrt"
    input_matrix: str = "transition"
    normalize: bool = True
    self_weight: float = 0.0
    q: int = 4

    def __post_init__(self) -> None:
        """Refuse what is out of range."""
        check_int("d", self.d, low=1)
        check_int("q", self.q, low=1)
        check_float("beta", self.beta, low=-1, high=1)
        check_choice("projection", self.projection, ("sparse", "gaussian"))
        check_choice("input_matrix", self.input_matrix, MATRICES)
        sparsity(self.s, 1)
        if self.weights is not None and (len(self.weights) == 0 or not any(self.alpha or ())):
            raise bad_argument("weights", tuple(self.weights), "at least one that is not zero")

    @property
    def alpha(self) -> tuple[float, ...] | None:
        """Weights of powers 0 to q without zeros at the end; None keeps powers apart."""
        if self.weights is None:
            return None
        alpha = [check_float("self_weight", self.self_weight)]
        alpha += [check_float("weights", weight) for weight in self.weights]
        while len(alpha) > 2 and alpha[-1] == 0:
            alpha.pop()
        return tuple(alpha)

    def plan(self, graph: Graph, seed: int, features: Any = None, n_threads: int | None = None) -> Plan:
        """What is computed for a graph; nodes without edges are counted in a warning to the caller's caller."""
        n, d, alpha = graph.shape[0], int(self.d), self.alpha
        walk = make_walk(graph, float(self.beta), self.input_matrix)
        alone = int((walk.degrees == 0).sum())
        if alone:
            message = f"{alone} of {n} nodes have no edges: their vectors are zero"
            warnings.warn(message, UserWarning, stacklevel=3)
        start = _Start(self, seed, walk.head)
        if features is not None:
            start.own = -(-d // 2)
            start.properties = _project(features, n, d - start.own, seed, start.random(0, start.own))
        return Plan(
            walk, start, d, alpha, int(self.q) if alpha is None else len(alpha) - 1, self.normalize, n_threads
        )


class _Start:
    """Columns that the powers multiply: random ones times ``head``, then projected properties of nodes."""

    def __init__(self, settings: Settings, seed: int, head: np.ndarray) -> None:
        self.settings, self.seed, self.head = settings, seed, head
        self.own, self.properties = int(settings.d), np.empty((len(head), 0), np.float32)

    def __call__(self, first: int, last: int) -> Any:
        if last <= self.own:
            return self.random(first, last)
        right = self.properties[:, max(first - self.own, 0) : last - self.own]
        if first >= self.own:
            return np.ascontiguousarray(right)
        left = self.random(first, self.own)
        return np.hstack([left.toarray() if scipy.sparse.issparse(left) else left, right])

    def random(self, first: int, last: int) -> Any:
        """Random columns; a panel that starts with properties may not, so that ``first`` is a multiple of GROUP."""
        n = len(self.head)
        if self.settings.projection == "gaussian":
            return (
                gaussian_columns(self.seed, n, self.own, first, last) * self.head.astype(np.float32)[:, None]
            )
        R = sparse_columns(self.seed, n, self.own, sparsity(self.settings.s, n), first, last).tocsr()
        R.data *= np.repeat(self.head, np.diff(R.indptr))
        return R.astype(np.float32)


def _project(features: Any, n: int, d: int, seed: int, beside: Any) -> np.ndarray:
    """Features (n, f) times a very sparse matrix (f, d), with entries as large in the mean as those ``beside``."""
    X = features if scipy.sparse.issparse(features) else check_array("features", np.asarray(features), ndim=2)
    if X.ndim != 2 or X.shape[0] != n or not X.shape[1]:
        raise ShapeError(f"features have shape {X.shape}: expected ({n}, f)")
    P = sparse_columns(seed ^ 1, X.shape[1], max(d, 1), sparsity("sqrt", X.shape[1]), 0, d).tocsr()
    mapped = X @ P
    mapped = (mapped.toarray() if scipy.sparse.issparse(mapped) else mapped).astype(np.float64)
    there = scipy.sparse.linalg.norm(beside) if scipy.sparse.issparse(beside) else np.linalg.norm(beside)
    size = np.linalg.norm(mapped)
    return (mapped * (there * np.sqrt(max(d, 1) / beside.shape[1]) / (size or 1))).astype(np.float32)
