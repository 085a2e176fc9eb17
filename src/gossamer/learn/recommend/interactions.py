"""Who had what: the matrix that recommenders learn from, and items that a user did not have."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse

from gossamer._core.errors import ArgumentError, ShapeError, bad_argument

_ROUNDS = 50


def as_interactions(R: Any, name: str = "R") -> scipy.sparse.csr_array:
    """Turn a table of interactions into a canonical sparse matrix of ones.

    Parameters
    ----------
    R : sparse matrix or array, shape (n_users, n_items)
        What is above zero is an interaction.
    name : str
        What errors call it.

    Returns
    -------
    csr_array of float32, shape (n_users, n_items)
    """
    matrix = scipy.sparse.csr_array(R if scipy.sparse.issparse(R) else np.atleast_1d(np.asarray(R)))
    if matrix.ndim != 2 or not all(matrix.shape):
        raise ShapeError(
            f"{name} has shape {matrix.shape}: expected (n_users, n_items), at least one of each"
        )
    if matrix.dtype.kind not in "biuf":
        raise ArgumentError(f"{name} is {matrix.dtype}: expected numbers")
    if not np.isfinite(matrix.data).all():
        raise ArgumentError(f"{name} has NaN or infinite entries: expected 0 or 1")
    if (matrix.data < 0).any():
        raise ArgumentError(f"{name} has negative entries: expected 0 or 1, ratings cut at a threshold")
    matrix = matrix.copy()
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    matrix.data = np.ones(matrix.nnz, np.float32)
    return matrix


def check_users(ids: Any, n_users: int) -> np.ndarray:
    """Check numbers of users."""
    found = np.atleast_1d(np.asarray(ids))
    if found.ndim != 1 or found.dtype.kind not in "iu":
        raise ShapeError(f"user_ids is {found.dtype} of shape {found.shape}: expected integers, 1-D")
    if len(found) and (found.min() < 0 or found.max() >= n_users):
        raise bad_argument("user_ids", f"{found.min()}..{found.max()}", f"users between 0 and {n_users - 1}")
    return found.astype(np.int64)


class Seen:
    """What users had: whether a pair is among it, and random items that are not.

    Parameters
    ----------
    matrix : csr_array, shape (n_users, n_items)
        What the users had.
    """

    def __init__(self, matrix: scipy.sparse.csr_array) -> None:
        self.matrix, self.n_items = matrix, matrix.shape[1]
        rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
        self._keys = rows.astype(np.int64) * self.n_items + matrix.indices  # ascending

    def draw_others(self, users: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """An item that is new to each of the users, all with the same probability."""
        items = rng.integers(self.n_items, size=len(users))
        again = self.contains(users, items).nonzero()[0]
        for _ in range(_ROUNDS):
            if not len(again):
                return items
            items[again] = rng.integers(self.n_items, size=len(again))
            again = again[self.contains(users[again], items[again])]
        for place in again:  # users with few items left
            left = np.setdiff1d(np.arange(self.n_items), self.items_of(int(users[place])))
            if not len(left):
                raise ArgumentError(
                    f"user {users[place]} has every item: expected at least one that it has not"
                )
            items[place] = rng.choice(left)
        return items

    def items_of(self, user: int) -> np.ndarray:
        """The items of a user."""
        return self.matrix.indices[self.matrix.indptr[user] : self.matrix.indptr[user + 1]]

    def contains(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Which of the pairs are among it, bool."""
        keys = users.astype(np.int64) * self.n_items + items
        at = np.searchsorted(self._keys, keys).clip(max=max(len(self._keys) - 1, 0))
        return self._keys[at] == keys if len(self._keys) else np.zeros(len(keys), bool)
