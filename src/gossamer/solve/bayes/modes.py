"""Products of a tensor with one matrix a mode: what a Kronecker matrix does to a vector, without the matrix."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def mode_products(T: np.ndarray, matrices: Sequence[np.ndarray]) -> np.ndarray:
    """Multiply every mode of T (N_1, ..., N_I, P) by its matrix (M_i, N_i): (P, M_1 ... M_I).

    Each product takes the first mode and leaves it behind the others, so that every one is a plain matrix product and
    columns end up in front. For P = 1 the result is ``(A_1 kron ... kron A_I) vec(T)``.
    """
    columns = T.size // int(np.prod([A.shape[1] for A in matrices]))
    for A in matrices:
        T = T.reshape(A.shape[1], -1).T @ A.T
    return T.reshape(columns, -1)


def outer(vectors: Sequence[np.ndarray]) -> np.ndarray:
    """The Kronecker product of vectors: (N_1 ... N_I,), the last one varies fastest."""
    whole = vectors[0]
    for v in vectors[1:]:
        whole = np.multiply.outer(whole, v).reshape(-1)
    return whole


def contract(T: np.ndarray, weights: Sequence[np.ndarray], keep: int) -> np.ndarray:
    """Sum T (N_1 ... N_I,) over all modes but one, weighted by a vector each: (N_keep,)."""
    for w in weights[:keep]:
        T = w @ T.reshape(len(w), -1)
    for w in weights[:keep:-1]:
        T = T.reshape(-1, len(w)) @ w
    return T.reshape(-1)
