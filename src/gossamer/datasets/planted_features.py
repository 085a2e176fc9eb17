"""Vectors that are sparse sums of known features, for methods that look for such features."""

from __future__ import annotations

import numpy as np

from gossamer._core.checks import check_int
from gossamer._core.random import RandomState, check_random_state


def planted_features(
    tokens: int = 40_000, d: int = 64, features: int = 256, most: int = 16, random_state: RandomState = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Draw unit features and vectors that are sums of few of them, some features far more often than others.

    A vector has 1 to ``most`` features (geometric, five on average before the cut), chosen with the frequencies
    ``1 / (rank + 5)`` of Zipf and Mandelbrot, with sizes uniform in [0.5, 1.5].

    Parameters
    ----------
    tokens, d, features : int
        Vectors, their width, and features, which may be more than d.
    most : int
        Features of a vector at most.
    random_state : int, Generator or None
        Source of randomness.

    Returns
    -------
    atoms : ndarray of float32, shape (features, d)
        The features, of norm 1, from the most to the least frequent.
    x : ndarray of float32, shape (tokens, d)
        The vectors.
    """
    check_int("most", most, low=1, high=check_int("features", features, low=1))
    rng = check_random_state(random_state)
    atoms = rng.standard_normal((features, check_int("d", d, low=1)))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    weight = 1 / (np.arange(1, features + 1) + 5)
    x = np.empty((check_int("tokens", tokens, low=1), d), np.float32)
    for first in range(0, tokens, 4096):
        n = min(4096, tokens - first)
        counts = np.minimum(rng.geometric(0.2, n), most)
        keys = (
            np.log(rng.random((n, features))) / weight
        )  # the largest keys: a weighted sample without repeats
        order = np.argsort(-keys, axis=1)[:, :most]
        sizes = rng.uniform(0.5, 1.5, (n, most)) * (np.arange(most) < counts[:, None])
        x[first : first + n] = np.einsum("nk,nkd->nd", sizes, atoms[order])
    return atoms.astype(np.float32), x
