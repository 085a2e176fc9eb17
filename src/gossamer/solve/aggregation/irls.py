"""Iteratively re-weighted least squares for the subspace of the flag family, in coordinates of the gradients' span."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import pdist, squareform

from gossamer._core.checks import check_choice, check_float
from gossamer._core.errors import bad_argument

SMALLEST = 1e-7  # singular values below this, relative to the largest, are rounding of the Gram matrix
SAME = 1e-12  # squared distance of unit vectors below which their difference has no direction


@dataclass(frozen=True)
class Loss:
    """A function of ``v = ||Y^T x||^2`` that falls with v, and the weight ``-loss'(v)`` of its quadratic majoriser."""

    value: Callable[[np.ndarray], np.ndarray]
    weight: Callable[[np.ndarray], np.ndarray]


def make_loss(name: str, beta_params: tuple[float, float], eps: float) -> Loss:
    """The loss of that name: ``sqrt(1 - v)``, ``1 - v``, or minus the logarithm of a Beta density."""
    check_choice("loss", name, ("sqrt", "sq", "beta"))
    eps = check_float("eps", eps, low=0, closed="neither")
    try:
        alpha, beta = (float(value) for value in beta_params)
    except (TypeError, ValueError):
        raise bad_argument("beta_params", beta_params, "a pair of positive numbers") from None
    if not (0 < alpha < np.inf and 0 < beta < np.inf):
        raise bad_argument("beta_params", beta_params, "a pair of positive numbers")
    if name != "beta" and (alpha, beta) != (1.0, 0.5):
        raise bad_argument(
            "beta_params", beta_params, f"(1.0, 0.5) with loss={name!r}", "loss='beta' takes others"
        )
    if name == "sqrt":
        return Loss(lambda v: np.sqrt(_rest(v)), lambda v: 0.5 / np.sqrt(_rest(v) + eps))
    if name == "sq":
        return Loss(lambda v: 1 - v, np.ones_like)

    def value(v: np.ndarray) -> np.ndarray:
        return -(alpha - 1) * np.log(np.maximum(v, eps)) - (beta - 1) * np.log(np.maximum(1 - v, eps))

    def weight(v: np.ndarray) -> np.ndarray:
        slope = (alpha - 1) / np.maximum(v, eps) - (beta - 1) / np.maximum(1 - v, eps)
        return np.maximum(slope, 0.0)

    return Loss(value, weight)


@dataclass(frozen=True)
class Span:
    """Unit gradients in an orthonormal basis of their span: ``u_i = Q X_i``, ``Q = U back``.

    Attributes
    ----------
    norms : ndarray, shape (p,)
        Of the gradients.
    live : ndarray of bool, shape (p,)
        Which of them have a direction.
    X : ndarray, shape (rank, count of live)
        Coordinates; rows are singular directions, largest first.
    back : ndarray, shape (count of live, rank)
        Takes coordinates to coefficients of unit gradients.
    """

    norms: np.ndarray
    live: np.ndarray
    X: np.ndarray
    back: np.ndarray

    @classmethod
    def of_gram(cls, K: np.ndarray) -> Span:
        """From ``K = G G^T`` (p, p). O(p^3)."""
        norms = np.sqrt(np.maximum(np.diagonal(K), 0))
        live = norms > 0
        scale = norms[live]
        unit = K[np.ix_(live, live)] / scale[:, None] / scale
        values, vectors = np.linalg.eigh((unit + unit.T) / 2)
        s = np.sqrt(np.maximum(values[::-1], 0))
        vectors = vectors[:, ::-1]
        kept = s > SMALLEST * (s[0] if len(s) else 0.0)
        s, vectors = s[kept], vectors[:, kept]
        return cls(norms, live, s[:, None] * vectors.T, vectors / s)

    @property
    def rank(self) -> int:
        """Dimension of the span."""
        return len(self.X)


@dataclass(frozen=True)
class Fit:
    """A subspace in coordinates of the span, how it was reached, and what it says of the workers."""

    Z: np.ndarray
    quality: np.ndarray
    weights: np.ndarray
    objective: list[float]
    nit: int
    converged: bool
    message: str


def fit_subspace(
    X: np.ndarray,
    m: int,
    p: int,
    loss: Loss,
    *,
    lam: float = 0.0,
    max_iter: int = 5,
    tol: float = 1e-10,
    start: np.ndarray | None = None,
) -> Fit:
    r"""Minimise :math:`\sum_i \ell(v_i) + \frac{2\lambda}{p-1} \sum_{i<j} \ell(v_{ij})` over m-dimensional subspaces.

    Each step takes the m leading eigenvectors of :math:`X (\mathrm{diag}\,w + L) X^T`, where L is the Laplacian of the
    weights of the pairs; the pairs themselves are never formed. O(p^3) a step. Steps that do not lower the objective
    are not taken.

    Parameters
    ----------
    X : ndarray, shape (r, q)
        Coordinates of unit vectors.
    m : int
        Dimension of the subspace.
    p : int
        Workers, those without a direction too.
    loss : Loss
        Of a vector's share in the subspace.
    lam, max_iter, tol
        Weight of the pairs, most steps, fall of the objective that ends them.
    start : ndarray, shape (r, m), optional
        Orthonormal; the leading singular directions by default.
    """
    r = len(X)
    terms = _Terms(X, loss, 2 * lam / (p - 1))
    if m >= r:
        shares = terms.shares(np.eye(r))
        return _fit(
            np.eye(r), shares, terms, [terms.value(shares)], 0, True, "the subspace is the whole span"
        )
    Z = np.eye(r, m) if start is None else start
    shares = terms.shares(Z)
    objective = [terms.value(shares)]
    message = f"max_iter={max_iter} steps, the objective still fell by {tol:g} or more"
    for nit in range(1, max_iter + 1):
        moment = terms.moment(shares)
        if not moment.any():
            return _fit(
                Z, shares, terms, objective, nit - 1, False, "all weights are zero: no step is better"
            )
        _, vectors = np.linalg.eigh(moment)
        trial = vectors[:, : -m - 1 : -1]
        seen = terms.shares(trial)
        value = terms.value(seen)
        fall = objective[-1] - value
        if fall > 0:
            Z, shares = trial, seen
            objective.append(value)
        if fall < tol:
            return _fit(Z, shares, terms, objective, nit, True, f"the objective fell by less than {tol:g}")
    return _fit(Z, shares, terms, objective, max_iter, False, message)


class _Terms:
    """The terms of the objective: one a worker, and one a pair of workers that differ."""

    def __init__(self, X: np.ndarray, loss: Loss, pair_weight: float) -> None:
        self.X, self.loss = X, loss
        self.pair_weight = pair_weight
        if pair_weight:
            self.distances = pdist(X.T, "sqeuclidean")
            self.differ = self.distances > SAME

    def shares(self, Z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        P = Z.T @ self.X
        of_workers = np.clip(np.einsum("ij,ij->j", P, P), 0, 1)
        if not self.pair_weight:
            return of_workers, np.empty(0)
        inside = pdist(P.T, "sqeuclidean")[self.differ] if len(P) else np.zeros(int(self.differ.sum()))
        return of_workers, np.clip(inside / self.distances[self.differ], 0, 1)

    def value(self, shares: tuple[np.ndarray, np.ndarray]) -> float:
        own, pairs = shares
        return float(self.loss.value(own).sum() + self.pair_weight * self.loss.value(pairs).sum())

    def moment(self, shares: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        own, pairs = shares
        inner = np.diag(self.loss.weight(own))
        if self.pair_weight:
            edges = np.zeros_like(self.distances)
            edges[self.differ] = self.pair_weight * self.loss.weight(pairs) / self.distances[self.differ]
            adjacency = squareform(edges)
            inner += np.diag(adjacency.sum(axis=0)) - adjacency
        moment = self.X @ inner @ self.X.T
        return (moment + moment.T) / 2


def _fit(
    Z: np.ndarray,
    shares: tuple[np.ndarray, np.ndarray],
    terms: _Terms,
    objective: list[float],
    nit: int,
    converged: bool,
    message: str,
) -> Fit:
    return Fit(Z, shares[0], terms.loss.weight(shares[0]), objective, nit, converged, message)


def _rest(v: np.ndarray) -> np.ndarray:
    return np.maximum(1 - v, 0)
