"""Coarsening in pairs along a vector: a matching, the prolongator that keeps the vector, the coarse matrix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse

from gossamer._kernels import multigrid, relax

EPSILON = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Aggregation:
    """A prolongator with at most one entry a row: ``p[i]`` in column ``group[i]``, none where ``group[i]`` is -1."""

    group: np.ndarray
    p: np.ndarray
    groups: int

    def then(self, coarser: Aggregation) -> Aggregation:
        """The product of this prolongator and the next one."""
        there = self.group >= 0
        group = np.where(there, coarser.group[self.group], -1).astype(self.group.dtype)
        p = np.where(group >= 0, self.p * coarser.p[self.group], 0.0)
        return Aggregation(group, p, coarser.groups)

    def to_csr(self) -> scipy.sparse.csr_array:
        """As a sparse matrix, shape (n, groups)."""
        there = self.group >= 0
        indptr = np.concatenate([[0], np.cumsum(there)]).astype(self.group.dtype)
        shape = (len(self.group), self.groups)
        return scipy.sparse.csr_array((self.p[there], self.group[there], indptr), shape=shape)


def compatible_pairs(matrix: relax.Rows, w: np.ndarray) -> np.ndarray:
    """The partner of each variable in a matching that is compatible with ``w``, or -1.

    The matching is at least half as heavy as the heaviest one in the weights ``log(|c_ij| / (0.999 min |c|))``, the
    matching of largest product: a matching of locally heaviest edges, for which the order of the weights is enough,
    so that the logarithm, which keeps it, is not taken.
    """
    return multigrid.match(matrix, multigrid.compatibility(matrix, w))


def aggregate(mate: np.ndarray, w: np.ndarray) -> Aggregation:
    """The prolongator of a matching: orthonormal columns, with ``w`` in its range.

    A pair has the entries ``w_i / sqrt(w_i^2 + w_j^2)``. Variables with ``|w_i| <= eps`` that have no partner, or one
    of their kind, are on the fine level only.
    """
    n = len(mate)
    i = np.arange(n)
    small = np.abs(w) <= EPSILON
    paired = mate >= 0
    partner = np.where(paired, mate, i)
    paired &= ~(small & small[partner])
    partner = np.where(paired, partner, i)
    first = (i <= partner) & ~(small & ~paired)
    number = np.cumsum(first) - 1
    group = np.where(paired | ~small, number[np.minimum(i, partner)], -1).astype(mate.dtype)
    norm = np.hypot(w, np.where(paired, w[partner], 0.0))
    p = np.divide(w, norm, out=np.zeros(n), where=group >= 0)
    return Aggregation(group, p, int(first.sum()))


def coarse_matrix(matrix: relax.Rows, step: Aggregation) -> scipy.sparse.csr_array:
    """``P^T A P``, symmetric to the last bit; O(nnz)."""
    indptr, indices, data = multigrid.galerkin(matrix, step.group, step.p, step.groups)
    return scipy.sparse.csr_array((data, indices, indptr), shape=(step.groups, step.groups))


def coarse_vector(step: Aggregation, w: np.ndarray) -> np.ndarray:
    """``P^T w``."""
    there = step.group >= 0
    return np.bincount(step.group[there], (step.p * w)[there], minlength=step.groups)


def smoothed(A: scipy.sparse.csr_array, P: scipy.sparse.csr_array) -> scipy.sparse.csr_array:
    """``(I - omega D^-1 A) P`` with ``omega = 4 / (3 ||D^-1 A||_inf)``."""
    scaled = scipy.sparse.diags_array(1 / A.diagonal()) @ A
    omega = 4 / (3 * float(abs(scaled).sum(axis=1).max()))
    P = scipy.sparse.csr_array(P - omega * (scaled @ P))
    P.sum_duplicates()
    return P
