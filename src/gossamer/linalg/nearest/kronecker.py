"""Fitting ``A kron B``: the rearrangement of Van Loan and Pitsianis, and exact half-steps in a metric."""

from __future__ import annotations

import numpy as np
import scipy.linalg

Shape = tuple[int, int]


def nearest_kronecker(W: np.ndarray, left: Shape, right: Shape) -> tuple[np.ndarray, np.ndarray]:
    r"""The exact Frobenius-nearest ``A kron B``, for ``A`` and ``B`` of given shapes.

    Rearranged so that each block of ``W`` becomes a row, ``A kron B`` has rank one: the answer is the leading
    singular pair. It is read off the smaller Gram matrix, in O(m^2 M + m^3) for an m x M rearrangement.

    References
    ----------
    Van Loan and Pitsianis, "Approximation with Kronecker products", 1993.
    """
    rearranged = rearrange(W.astype(np.float64), left, right)
    wide = rearranged.shape[0] <= rearranged.shape[1]
    matrix = rearranged if wide else rearranged.T
    top = len(matrix) - 1
    vector = scipy.linalg.eigh(matrix @ matrix.T, subset_by_index=(top, top))[1][:, 0]
    other = matrix.T @ vector
    balance = np.sqrt(np.linalg.norm(other))
    if balance > 0:
        vector, other = vector * balance, other / balance
    a, b = (vector, other) if wide else (other, vector)
    return a.reshape(left), b.reshape(right)


def rearrange(W: np.ndarray, left: Shape, right: Shape) -> np.ndarray:
    """The matrix whose row (i, j) is the block (i, j) of ``W``, flat: ``A kron B`` becomes of rank one."""
    blocks = _blocks(W, left, right).transpose(0, 2, 1, 3)
    return blocks.reshape(left[0] * left[1], right[0] * right[1])


def left_target(
    W: np.ndarray, B: np.ndarray, metric: np.ndarray | None, left: Shape, right: Shape
) -> tuple[np.ndarray, np.ndarray]:
    """The least-squares ``A`` for a fixed ``B``, and the metric in which its error is that of ``A kron B``.

    ``G_jl = trace(B H_jl B^T)`` over the blocks of ``H``: a vector (k,) for a diagonal metric or none.
    """
    if metric is None:
        gram = np.full(left[1], (B**2).sum())
    elif metric.ndim == 1:
        gram = metric.reshape(left[1], right[1]) @ (B**2).sum(axis=0)
    else:
        gram = np.einsum("jkml,kl->jm", metric.reshape(left[1], right[1], left[1], right[1]), B.T @ B)
    moment = np.einsum("iojk,ok->ij", _weighted(W, metric, left, right), B)
    return _solve(moment, gram), gram


def right_target(
    W: np.ndarray, A: np.ndarray, metric: np.ndarray | None, left: Shape, right: Shape
) -> tuple[np.ndarray, np.ndarray]:
    """The least-squares ``B`` for a fixed ``A``, and the metric in which its error is that of ``A kron B``."""
    if metric is None:
        gram = np.full(right[1], (A**2).sum())
    elif metric.ndim == 1:
        gram = (A**2).sum(axis=0) @ metric.reshape(left[1], right[1])
    else:
        gram = np.einsum("jkml,jm->kl", metric.reshape(left[1], right[1], left[1], right[1]), A.T @ A)
    moment = np.einsum("iojk,ij->ok", _weighted(W, metric, left, right), A)
    return _solve(moment, gram), gram


def _weighted(W: np.ndarray, metric: np.ndarray | None, left: Shape, right: Shape) -> np.ndarray:
    if metric is not None:
        W = W * metric if metric.ndim == 1 else W @ metric
    return _blocks(W, left, right)


def _blocks(W: np.ndarray, left: Shape, right: Shape) -> np.ndarray:
    return W.reshape(left[0], right[0], left[1], right[1])


def _solve(moment: np.ndarray, gram: np.ndarray) -> np.ndarray:
    if gram.ndim == 1:
        return moment * np.divide(1, gram, out=np.zeros_like(gram), where=gram > 0)
    return moment @ scipy.linalg.pinvh((gram + gram.T) / 2)
