"""Match3: the task that pairs of tokens cannot solve and triples can."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gossamer._core.checks import check_float, check_int
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._core.random import RandomState, check_random_state


def match3_dataset(
    n_samples: int, N: int = 12, M: int = 101, seed: RandomState = 0
) -> tuple[np.ndarray, np.ndarray]:
    r"""Draw sequences of numbers and say which of them belong to a triple that sums to zero modulo M.

    Token i is labelled 1 if there are j and k, which may be equal to each other or to i, with
    :math:`x_i + x_j + x_k \equiv 0 \pmod M`. About half of the labels are positive for N = 12, M = 101.

    Parameters
    ----------
    n_samples : int
        Sequences.
    N : int
        Tokens of a sequence.
    M : int
        Tokens are uniform in 0, ..., M - 1.
    seed : int, Generator or None
        Randomness.

    Returns
    -------
    tokens : array of int64, shape (n_samples, N)
        The sequences.
    labels : array of bool, shape (n_samples, N)
        Whether token i has a match.

    References
    ----------
    Sanford, Hsu, Telgarsky, "Representational Strengths and Limitations of Transformers", NeurIPS 2023.

    Examples
    --------
    >>> tokens, labels = match3_dataset(1000)
    >>> tokens.shape, bool(0.5 < labels.mean() < 0.57)
    ((1000, 12), True)
    """
    check_int("n_samples", n_samples, low=0)
    check_int("N", N, low=1)
    check_int("M", M, low=2)
    tokens = check_random_state(seed).integers(0, M, (n_samples, N))
    return tokens, match3_labels(tokens, M)


def match3_labels(tokens: np.ndarray, M: int) -> np.ndarray:
    """Labels of the sequences ``tokens`` (..., N), as :func:`match3_dataset` defines them. O(N^2) a sequence."""
    flat = tokens.reshape(-1, tokens.shape[-1]) % M
    sums = (flat[:, :, None] + flat[:, None, :]).reshape(len(flat), flat.shape[1] ** 2) % M
    occurs = np.zeros((len(flat), M), bool)
    occurs[np.arange(len(flat))[:, None], sums] = True
    return occurs[np.arange(len(flat))[:, None], -flat % M].reshape(tokens.shape)


def match3_construction(
    tokens: Any, M: int, gamma: float | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    r"""Queries, keys and values with which one unit of third-order attention solves Match3 exactly.

    With :math:`\theta = 2 \pi x / M`, the entry-wise product of
    :math:`(\cos\theta_i, -\cos\theta_i, -\sin\theta_i, -\sin\theta_i)`,
    :math:`(\cos\theta_j, \sin\theta_j, \cos\theta_j, \sin\theta_j)` and
    :math:`(\cos\theta_k, \sin\theta_k, \sin\theta_k, \cos\theta_k)` sums to
    :math:`\cos(\theta_i + \theta_j + \theta_k)`, which is 1 for a match and at most :math:`\cos(2 \pi / M)` otherwise.
    A null token, seen only as a pair with itself, has a logit half-way between and the value 0; real pairs have the
    value 1. So the output is above 1/2 where there is a match, and below elsewhere.

    Parameters
    ----------
    tokens : array of int, shape (..., N)
        Numbers modulo M.
    M : int
        The modulus.
    gamma : float, optional
        Sharpness; by default :math:`2 \log(2 N^2) / (1 - \cos(2 \pi / M))`, which suffices for every input.

    Returns
    -------
    Q : array, shape (..., N, 5)
        Queries.
    K1, K2 : arrays, shape (..., N + 1, 5)
        Keys; the last token is the null one.
    V1, V2 : arrays, shape (..., N + 1, 1)
        Values.
    pair_mask : array of bool, shape (N + 1, N + 1)
        Pairs that may be seen.

    Notes
    -----
    Logits reach gamma, about 6e3 for M = 101: float64, and ``scale=1``.

    Examples
    --------
    >>> from gossamer.nn import tensor_attention
    >>> Q, K1, K2, V1, V2, pair_mask = match3_construction([1, 2, 4, 50], M=101)
    >>> out = tensor_attention(Q, (K1, K2), (V1, V2), scale=1.0, mode="exact", pair_mask=pair_mask)
    >>> (out[:, 0] > 0.5).tolist()  # 1 + 50 + 50 = 101
    [True, False, False, True]
    """
    x = np.asarray(tokens)
    if x.ndim < 1 or not x.shape[-1]:
        raise ShapeError(f"tokens has shape {x.shape}: expected (..., N) with N >= 1")
    if x.dtype.kind not in "iu":
        raise ArgumentError(f"tokens is {x.dtype}: expected integers")
    check_int("M", M, low=2)
    N, edge = x.shape[-1], math.cos(2 * math.pi / M)
    if gamma is None:
        gamma = 2 * math.log(2 * N**2) / (1 - edge)
    check_float("gamma", gamma, low=0, closed="neither")
    theta = 2 * math.pi * (x % M) / M
    c, s, zero = np.cos(theta), np.sin(theta), np.zeros_like(theta)
    Q = gamma * np.stack([c, -c, -s, -s, np.full_like(c, (1 + edge) / 2)], -1)
    null = np.broadcast_to([0.0, 0, 0, 0, 1], (*x.shape[:-1], 1, 5))
    K1 = np.concatenate([np.stack([c, s, c, s, zero], -1), null], -2)
    K2 = np.concatenate([np.stack([c, s, s, c, zero], -1), null], -2)
    real = np.arange(N + 1) < N
    V = np.broadcast_to(real[:, None].astype(np.float64), (*x.shape[:-1], N + 1, 1)).copy()
    return Q, K1, K2, V, V.copy(), real[:, None] == real


__all__ = ["match3_construction", "match3_dataset"]
