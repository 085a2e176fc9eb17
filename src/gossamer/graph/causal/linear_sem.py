"""Linear structural equation models drawn at random: a graph, weights, and a table that they explain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gossamer._core.checks import check_choice, check_float, check_int
from gossamer._core.errors import bad_argument
from gossamer._core.lazy import require
from gossamer._core.random import RandomState, check_random_state
from gossamer.solve import topological_order, varsortability

NOISES = ("normal", "exponential", "laplace", "gumbel")
NV_RANGE = (0.5, 10.0)
"""Variances with ``var="nv"`` are uniform between these."""


@dataclass(frozen=True)
class LinearSEM:
    """Data of a linear structural equation model ``x = W^T x + z``, and the truth behind it.

    Attributes
    ----------
    X : ndarray, shape (n, d)
        Observations.
    W : ndarray, shape (d, d)
        Weights in the units of X; ``W[i, j]`` is the effect of i on j.
    sigma : ndarray, shape (d,)
        Standard deviations of the noise in the units of X.
    """

    X: np.ndarray
    W: np.ndarray
    sigma: np.ndarray

    @property
    def varsortability(self) -> float:
        """Share of paths along which the variance grows, see :func:`gossamer.solve.varsortability`."""
        return varsortability(self.X, self.W)


def simulate_dag(d: int, k: int = 4, *, graph: str = "er", random_state: RandomState = None) -> np.ndarray:
    """Draw a directed acyclic graph with about ``k d`` edges in a random order of its variables.

    Parameters
    ----------
    d : int
        Variables, at least 2.
    k : int
        Edges a variable in the mean.
    graph : {"er", "sf"}
        Erdős–Rényi: every pair with probability ``2 k / (d - 1)``. Scale-free: Barabási–Albert, each variable with
        edges to k others that are older and preferably well connected (needs networkx).
    random_state : int, Generator or None
        Source of randomness.

    Returns
    -------
    ndarray, shape (d, d), bool
        Edges from row to column.

    Raises
    ------
    ArgumentError
        If d or k is too small, k is not below d, or the kind is unknown.
    """
    d, k = check_int("d", d, low=2), check_int("k", k, low=1)
    rng = check_random_state(random_state)
    if check_choice("graph", graph, ("er", "sf")) == "er":
        edges = np.tril(rng.random((d, d)) < min(2 * k / (d - 1), 1.0), -1)
    else:
        if k >= d:
            raise bad_argument("k", k, f"less than d={d} for a scale-free graph")
        drawn = require("networkx", "graph").barabasi_albert_graph(d, k, seed=int(rng.integers(2**31)))
        edges = np.zeros((d, d), bool)
        for a, b in drawn.edges:
            edges[max(a, b), min(a, b)] = True
    order = rng.permutation(d)
    return edges[np.ix_(order, order)]


def simulate_linear_sem(
    d: int,
    n: int,
    *,
    k: int = 4,
    graph: str = "er",
    noise: str = "normal",
    var: str = "ev",
    sigma2: float = 1.0,
    w_range: tuple[float, float] = (0.5, 2.0),
    standardize: bool = False,
    random_state: RandomState = None,
) -> LinearSEM:
    """Draw a random linear structural equation model and observations of it.

    Parameters
    ----------
    d, n : int
        Variables and observations.
    k, graph
        As for :func:`simulate_dag`.
    noise : {"normal", "exponential", "laplace", "gumbel"}
        Distribution of the noise; its mean is zero.
    var : {"ev", "nv"}
        One variance for all variables, ``sigma2``, or one each, uniform on [0.5, 10].
    sigma2 : float
        The common variance; unused with "nv".
    w_range : (float, float)
        Sizes of the weights are uniform in it, signs are fair.
    standardize : bool
        Whether to scale columns to unit variance, and weights and noise with them. This takes away what the order of
        variances says about the graph.
    random_state : int, Generator or None
        Source of randomness.

    Returns
    -------
    LinearSEM
        ``X`` (n, d), ``W`` (d, d), ``sigma`` (d,).

    Raises
    ------
    ArgumentError
        For sizes, ranges and names that are not allowed.

    Examples
    --------
    >>> from gossamer.graph import simulate_linear_sem
    >>> data = simulate_linear_sem(20, 1000, k=2, var="nv", random_state=0)
    >>> data.X.shape, data.W.shape, data.sigma.shape
    ((1000, 20), (20, 20), (20,))
    """
    n = check_int("n", n, low=2)
    check_choice("noise", noise, NOISES)
    check_choice("var", var, ("ev", "nv"))
    low = check_float("w_range[0]", w_range[0], low=0)
    high = check_float("w_range[1]", w_range[1], low=low)
    rng = check_random_state(random_state)
    edges = simulate_dag(d, k, graph=graph, random_state=rng)
    W = np.where(edges, rng.uniform(low, high, edges.shape) * rng.choice([-1.0, 1.0], edges.shape), 0.0)
    if var == "ev":
        sigma = np.full(d, check_float("sigma2", sigma2, low=0, closed="neither") ** 0.5)
    else:
        sigma = np.sqrt(rng.uniform(*NV_RANGE, d))
    X = _draw(rng, noise, (n, d)) * sigma
    for j in topological_order(W):
        X[:, j] += X @ W[:, j]
    if standardize:
        X -= X.mean(axis=0)
        deviation = X.std(axis=0)
        X /= deviation
        W, sigma = W * deviation[:, None] / deviation, sigma / deviation
    return LinearSEM(X, W, sigma)


def _draw(rng: np.random.Generator, noise: str, shape: tuple[int, int]) -> np.ndarray:
    """Noise of mean zero and variance one."""
    if noise == "normal":
        return rng.standard_normal(shape)
    if noise == "exponential":
        return rng.exponential(1.0, shape) - 1.0
    if noise == "laplace":
        return rng.laplace(0.0, 0.5**0.5, shape)
    scale = 6**0.5 / np.pi
    return rng.gumbel(0.0, scale, shape) - np.euler_gamma * scale
