"""Least squares on a known support, group by group of bins: the fit of all samples, by Parseval's identity."""

from __future__ import annotations

import numpy as np
import scipy.linalg
import scipy.sparse
import scipy.sparse.linalg

from gossamer.linalg.transforms.sparse_wht.bits import characters, parity
from gossamer.linalg.transforms.sparse_wht.designs import Design

DENSE = 1024
"""Largest support whose normal equations are solved by a dense factorisation."""


def least_squares(
    design: Design, shifts: np.ndarray, bins: np.ndarray, support: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    r"""Amplitudes that leave the least in the bins, and their standard errors at unit variance.

    Terms meet in a group only where they share a bin: ``G[k, l] = sum_c [M_c^T k = M_c^T l] sum_p s_cp(k) s_cp(l)``.

    Parameters
    ----------
    design : Design
    shifts : ndarray, shape (C, P)
    bins : ndarray, shape (C, 2**b, P)
        Before anything was taken out of them.
    support : ndarray, shape (K,), uint64

    Returns
    -------
    coef, error : ndarray, shape (K,)
        The error is that of noise with variance 1 in each entry of a bin.
    """
    places = design.bins(support)
    if len(support) <= DENSE:
        return _dense(shifts, bins, support, places)
    return _sparse(shifts, bins, support, places)


def _dense(
    shifts: np.ndarray, bins: np.ndarray, support: np.ndarray, places: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    K = len(support)
    gram, right = np.zeros((K, K)), np.zeros(K)
    for d, u, j in zip(shifts, bins, places, strict=True):
        signs = characters(support, d)
        gram += (signs @ signs.T) * (j[:, None] == j[None, :])
        right += (signs * u[j]).sum(axis=1)
    try:
        inverse = scipy.linalg.inv(gram)
    except scipy.linalg.LinAlgError:  # two terms that no sample tells apart share what they explain
        inverse = scipy.linalg.pinvh(gram)
    return inverse @ right, np.sqrt(np.maximum(np.diagonal(inverse), 0))


def _sparse(
    shifts: np.ndarray, bins: np.ndarray, support: np.ndarray, places: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    K, P = len(support), shifts.shape[1]
    right = np.zeros(K)
    gram = scipy.sparse.csr_matrix((K, K))
    for d, u, j in zip(shifts, bins, places, strict=True):
        signs = (1 - 2 * parity(support[:, None] & d[None, :]).astype(np.int8)).astype(np.float32)
        right += np.einsum("kp,kp->k", signs, u[j])
        order = np.argsort(j, kind="stable")
        starts = np.r_[0, np.flatnonzero(np.diff(j[order])) + 1, K]
        members = np.diff(starts)
        first = np.repeat(np.arange(K), np.repeat(members, members))
        second = np.concatenate([np.tile(np.arange(a, a + m), m) for a, m in zip(starts, members)])
        rows, cols = order[first], order[second]
        values = np.einsum("ep,ep->e", signs[rows], signs[cols]).astype(np.float64)
        gram = gram + scipy.sparse.csr_matrix((values, (rows, cols)), shape=(K, K))
    coef, _ = scipy.sparse.linalg.cg(gram, right, x0=right / (P * len(shifts)), rtol=1e-13, maxiter=200)
    return coef, np.full(K, 1 / np.sqrt(P * len(shifts)))
