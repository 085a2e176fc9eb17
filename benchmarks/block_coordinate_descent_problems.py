"""The paper's problems: random data A, B and C, the lattice D, the moons E, and two real data sets."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from gossamer.datasets.locate import data_file
from gossamer.solve import LabelPropagation, LeastSquares, Logistic, MultinomialLogistic


def design(seed: int, m: int = 1000, n: int = 10_000) -> Any:
    """Sparse columns of very different lengths."""
    rng = np.random.default_rng(seed)
    kept = rng.random((m, n)) < 10 * np.log(m) / m
    A = np.where(kept, (rng.standard_normal((m, n)) + 1) * (10 * rng.standard_normal(n)), 0.0)
    return sp.csc_array(A)


def truth(seed: int, n: int = 10_000) -> np.ndarray:
    """A tenth of normal weights."""
    rng = np.random.default_rng([seed, 1])
    return rng.standard_normal(n) * (rng.random(n) < 0.1)


def least_squares(seed: int) -> LeastSquares:
    """Data set A."""
    A = design(seed)
    return LeastSquares(A, A @ truth(seed) + np.random.default_rng([seed, 2]).standard_normal(A.shape[0]))


def logistic(seed: int) -> Logistic:
    """Data set B: signs, a tenth of them wrong."""
    A, rng = design(seed), np.random.default_rng([seed, 2])
    y = np.where(A @ truth(seed) > 0, 1.0, -1.0)
    return Logistic(A, np.where(rng.random(len(y)) < 0.1, -y, y))


def multinomial(seed: int) -> MultinomialLogistic:
    """Data set C: fifty classes."""
    rng = np.random.default_rng([seed, 3])
    A = design(seed, n=1000)
    scores = A @ rng.standard_normal((1000, 50)) + rng.standard_normal((1000, 50))
    labels = np.unique(scores.argmax(axis=1), return_inverse=True)[1]
    return MultinomialLogistic(A, labels)


def lattice(seed: int, side: int = 50) -> tuple[LabelPropagation, np.ndarray]:
    """Data set D, and the colour of each unlabelled node on the chessboard."""
    rng = np.random.default_rng(seed)
    line = sp.diags_array([np.ones(side - 1), np.ones(side - 1)], offsets=[-1, 1])
    W = 1e5 * sp.csr_array(sp.kron(line, sp.eye_array(side)) + sp.kron(sp.eye_array(side), line))
    y = np.zeros(side * side)
    y[rng.choice(side * side, 100, replace=False)] = 10 * rng.standard_normal(100)
    problem = LabelPropagation(W, y)
    return problem, np.indices((side, side)).sum(axis=0).ravel()[problem.unlabelled] % 2


def moons(seed: int) -> LabelPropagation:
    """Data set E: a graph of five neighbours, without parts that hold no label."""
    from scipy.sparse.csgraph import connected_components
    from sklearn.datasets import make_moons
    from sklearn.neighbors import kneighbors_graph

    X, classes = make_moons(2000, noise=0.2, random_state=seed)
    directed = kneighbors_graph(X, 5)
    W = sp.csr_array(directed.maximum(directed.T))
    chosen = np.random.default_rng(seed).choice(2000, 100, replace=False)
    y = np.zeros(2000)
    y[chosen] = 2.0 * classes[chosen] - 1
    _, part = connected_components(W, directed=False)
    kept = np.flatnonzero(np.isin(part, part[chosen]))
    return LabelPropagation(W[kept][:, kept], y[kept])


def isolet() -> tuple[np.ndarray, np.ndarray]:
    """Spoken letters: (1560, 617) by columns, and centred letter numbers; columns are centred too."""
    with np.load(data_file("uci-feature-selection/isolet.npz", "ISOLET")) as file:
        X, y = file["X"].astype(np.float64), file["y"].astype(np.float64).ravel()
    return np.asfortranarray(X - X.mean(axis=0)), y - y.mean()


def a8a() -> tuple[Any, np.ndarray]:
    """Census data: (22696, 123) by columns, and the two classes."""
    from sklearn.datasets import load_svmlight_file

    X, y = load_svmlight_file(str(data_file("a8a/a8a_training.txt.gz", "a8a")), n_features=123)
    return sp.csc_array(X), y
