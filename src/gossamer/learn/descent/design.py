"""How the data of a linear model are handed to its solver."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse

SIZE = 64
"""Coordinates in a block, unless the user says otherwise."""


def with_constant(X: Any) -> Any:
    """X and a last column of ones, of the same kind: columns together in memory."""
    ones = np.ones((X.shape[0], 1), X.dtype)
    if scipy.sparse.issparse(X):
        return scipy.sparse.hstack([X, ones], format="csc")
    return np.asfortranarray(np.hstack([X, ones]))
