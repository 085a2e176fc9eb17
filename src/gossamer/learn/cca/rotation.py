"""The exact solution within subspaces that were found: which combinations of scores agree most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


class ScoreMoments:
    """Mean and covariance of the scores of all views, batch by batch."""

    def __init__(self) -> None:
        self.rows = 0
        self.mean = np.zeros(0)
        self.scatter = np.zeros((0, 0))

    def add(self, zs: Sequence[np.ndarray]) -> None:
        """Count the rows of a batch."""
        z = np.hstack(zs)
        mean = z.mean(axis=0)
        centred = z - mean
        if not self.rows:
            self.mean, self.scatter = np.zeros(z.shape[1]), np.zeros((z.shape[1],) * 2)
        total = self.rows + len(z)
        step = mean - self.mean
        self.scatter += centred.T @ centred + np.outer(step, step) * (self.rows * len(z) / total)
        self.mean = self.mean + step * (len(z) / total)
        self.rows = total

    @property
    def covariance(self) -> np.ndarray:
        """Of the scores, with n - 1."""
        return self.scatter / max(self.rows - 1, 1)


@dataclass(frozen=True)
class Rotation:
    """How to combine the scores of each view.

    Attributes
    ----------
    factors : list of ndarray, shape (K, K)
        Columns are components; a column of zeros where a view has no share in it.
    eigenvalues : ndarray, shape (K,)
        Of the restricted problem, descending.
    correlations : ndarray, shape (K,)
        Mean correlation of the combined scores over pairs of views.
    """

    factors: list[np.ndarray]
    eigenvalues: np.ndarray
    correlations: np.ndarray


def rotate(covariance: np.ndarray, grams: Sequence[np.ndarray], ridge: Sequence[float]) -> Rotation:
    """Solve the generalised eigenproblem of all views exactly within their K-dimensional subspaces.

    Parameters
    ----------
    covariance : ndarray, shape (I K, I K)
        Of the scores.
    grams : sequence of ndarray, shape (K, K)
        ``U_i^T U_i``.
    ridge : sequence of float
        One a view. A view with ridge 1 gets columns with ``w^T gram w = 1`` (unit weights), others unit variance.
    """
    views, K = len(grams), len(grams[0])
    cuts = [slice(i * K, (i + 1) * K) for i in range(views)]
    bases = []
    for cut, gram, a in zip(cuts, grams, ridge, strict=True):
        sizes, Q = np.linalg.eigh((1 - a) * covariance[cut, cut] + a * gram)
        kept = sizes > 1e-10 * max(sizes[-1], 0.0)
        bases.append(Q[:, kept] / np.sqrt(sizes[kept]))
    ranks = np.cumsum([0, *(basis.shape[1] for basis in bases)])
    inner = np.zeros((ranks[-1], ranks[-1]))
    for i in range(views):
        for j in range(views):
            if i != j:
                block = bases[i].T @ covariance[cuts[i], cuts[j]] @ bases[j]
                inner[ranks[i] : ranks[i + 1], ranks[j] : ranks[j + 1]] = block
    values, vectors = np.linalg.eigh((inner + inner.T) / 2)
    order = np.argsort(-values, kind="stable")[:K]
    eigenvalues = np.zeros(K)
    eigenvalues[: len(order)] = np.maximum(values[order], 0.0)
    factors = []
    for i, (cut, gram, a) in enumerate(zip(cuts, grams, ridge, strict=True)):
        own = vectors[ranks[i] : ranks[i + 1], order]
        factor = np.zeros((K, K))
        factor[:, : len(order)] = bases[i] @ own
        size = np.einsum("ik,ij,jk->k", factor, gram if a == 1 else covariance[cut, cut], factor)
        share = np.zeros(K)
        share[: len(order)] = (own**2).sum(axis=0)
        good = (size > 0) & (share > 1e-12)  # less is rounding of a view that has no share
        factor = np.where(good, factor / np.sqrt(np.where(good, size, 1.0)), 0.0)
        factors.append(factor)
    return Rotation(factors, eigenvalues, _pair_correlations(covariance, factors, cuts))


def _pair_correlations(
    covariance: np.ndarray, factors: list[np.ndarray], cuts: Sequence[slice]
) -> np.ndarray:
    deviations = [
        np.sqrt(np.maximum(np.einsum("ik,ij,jk->k", f, covariance[c, c], f), 0))
        for f, c in zip(factors, cuts)
    ]
    total, pairs = np.zeros(factors[0].shape[1]), 0
    for i in range(len(factors)):
        for j in range(i):
            both = np.einsum("ik,ij,jk->k", factors[i], covariance[cuts[i], cuts[j]], factors[j])
            size = deviations[i] * deviations[j]
            total += np.divide(both, size, out=np.zeros_like(both), where=size > 0)
            pairs += 1
    return np.clip(total / pairs, -1.0, 1.0)
