"""Predict ratings from users' and items' factors and biases."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from gossamer._core.checks import check_array, check_int
from gossamer._core.errors import ShapeError
from gossamer._core.random import RandomState
from gossamer.solve import CompletionResult, matrix_completion


class RatingsFactorizer(RegressorMixin, BaseEstimator):
    r"""Ratings as ``mean + b_user + b_item + u_user v_item``, fitted by alternating regressions (ALS-WR).

    Parameters
    ----------
    rank : int
        Length of the factors; cut to the smaller side.
    ridge : float
        Penalty of factors and biases, times the number of ratings of the user or item if ``weighted_ridge``.
    weighted_ridge : bool
        As above.
    biases : bool
        Fit the mean and the biases.
    method : {"auto", "exact", "qr", "cg", "shared", "sketch"}
        Solver of the regressions.
    max_iter : int
        Most sweeps.
    tol : float
        Relative change of the error on the ratings at which sweeps end.
    clip : bool
        Keep predictions within the range of the ratings seen.
    warm_start : bool
        Start a further ``fit`` from the factors of the last one, for the users and items that both have.
    random_state : int, Generator or None
        Of the start.
    n_jobs : int, optional
        Threads; the result does not depend on them.

    Attributes
    ----------
    users_, items_ : ndarray
        Ids, sorted; rows of the factors belong to them.
    result_ : CompletionResult
        Factors, biases and history.
    range_ : (float, float)
        Least and largest rating seen.
    n_iter_ : int
        Sweeps of the last fit.

    Raises
    ------
    ShapeError, ArgumentError
        Pairs without two columns, ratings that are not finite, parameters out of range.

    Notes
    -----
    X has two columns of ids, numbers or strings, so that scikit-learn's common checks, which draw X at random, do not
    apply; cloning, parameter search and cross-validation do. Several ratings of one pair are averaged. For a user or
    an item that was not seen, the mean and the other's bias are predicted.

    References
    ----------
    Zhou, Wilkinson, Schreiber, Pan, "Large-scale parallel collaborative filtering for the Netflix prize", 2008; Gu,
    Song, Yin, Zhang, arXiv 2302.11068 (approximate regressions).

    Examples
    --------
    >>> from gossamer.learn import RatingsFactorizer
    >>> pairs = [("ann", 1), ("ann", 2), ("bob", 1), ("cid", 2)]
    >>> model = RatingsFactorizer(rank=1, random_state=0).fit(pairs, [5, 3, 5, 2])
    >>> model.predict([("bob", 2), ("eve", 1)]).shape
    (2,)
    """

    def __init__(
        self,
        rank: int = 10,
        *,
        ridge: float = 0.1,
        weighted_ridge: bool = True,
        biases: bool = True,
        method: str = "auto",
        max_iter: int = 20,
        tol: float = 1e-4,
        clip: bool = True,
        warm_start: bool = False,
        random_state: RandomState = None,
        n_jobs: int | None = None,
    ) -> None:
        self.rank = rank
        self.ridge = ridge
        self.weighted_ridge = weighted_ridge
        self.biases = biases
        self.method = method
        self.max_iter = max_iter
        self.tol = tol
        self.clip = clip
        self.warm_start = warm_start
        self.random_state = random_state
        self.n_jobs = n_jobs

    def fit(self, X: Any, y: Any) -> RatingsFactorizer:
        """Fit to ratings.

        Parameters
        ----------
        X : array or sequence of pairs, shape (n, 2)
            Ids of user and item.
        y : array, shape (n,)
            Ratings.
        """
        users, items = _pairs(X)
        return self._fit(users, items, _ratings(y, len(users)), warm=self.warm_start)

    def partial_fit(self, X: Any, y: Any) -> RatingsFactorizer:
        """Add ratings, also of new users and items, and go on from the factors that there are.

        A rating of a pair that had one replaces it.
        """
        users, items = _pairs(X)
        y = _ratings(y, len(users))
        if hasattr(self, "_ratings_seen"):
            old_users, old_items, old = self._ratings_seen
            both = (
                np.concatenate([self.users_[old_users], users]),
                np.concatenate([self.items_[old_items], items]),
            )
            codes = [np.unique(ids, return_inverse=True)[1] for ids in both]
            keys = codes[0].astype(np.int64) * (int(codes[1].max()) + 1) + codes[1]
            kept = ~np.isin(keys[: len(old)], keys[len(old) :])
            kept = np.concatenate([kept, np.ones(len(y), bool)])
            users, items, y = both[0][kept], both[1][kept], np.concatenate([old, y])[kept]
        return self._fit(users, items, y, warm=True)

    def _fit(self, users: np.ndarray, items: np.ndarray, y: np.ndarray, *, warm: bool) -> RatingsFactorizer:
        before: Any = (self.users_, self.items_, self.result_) if warm and hasattr(self, "result_") else None
        user_ids, i = np.unique(users, return_inverse=True)
        item_ids, j = np.unique(items, return_inverse=True)
        shape = len(user_ids), len(item_ids)
        rank = min(check_int("rank", self.rank, low=1), *shape)
        init: Any = "spectral"
        if before is not None and len(before[2].S) == rank:
            init = tuple(
                _carried(ids, old, factor)
                for ids, old, factor in zip((user_ids, item_ids), before[:2], (before[2].U, before[2].V))
            )
        self.result_: CompletionResult = matrix_completion(
            i, j, y, shape, rank, method=self.method, ridge=self.ridge, weighted_ridge=self.weighted_ridge,
            biases=self.biases, maxiter=self.max_iter, tol=self.tol, init=init, duplicates="mean",
            random_state=self.random_state, threads=self.n_jobs,
        )  # fmt: skip
        self.users_: np.ndarray = user_ids
        self.items_: np.ndarray = item_ids
        self.range_ = (float(y.min()), float(y.max()))
        self.n_iter_ = self.result_.nit
        self._ratings_seen = (i, j, y)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Ratings of pairs, shape (n,)."""
        check_is_fitted(self, "result_")
        users, items = _pairs(X)
        i, known_user = _find(self.users_, users)
        j, known_item = _find(self.items_, items)
        r = self.result_
        out = np.full(len(users), r.mean)
        both = known_user & known_item
        out[both] = r.predict(i[both], j[both])
        if r.row_bias is not None and r.column_bias is not None:
            for alone, bias, place in (
                (known_user & ~both, r.row_bias, i),
                (known_item & ~both, r.column_bias, j),
            ):
                out[alone] += bias[place[alone]]
        return np.clip(out, *self.range_) if self.clip else out


def _pairs(X: Any) -> tuple[np.ndarray, np.ndarray]:
    """The two columns, each with a dtype of its own."""
    if hasattr(X, "iloc"):
        columns = [np.asarray(X.iloc[:, c]) for c in range(X.shape[1])]
    elif isinstance(X, np.ndarray):
        columns = list(X.T) if X.ndim == 2 else []
    else:
        columns = [np.asarray(column) for column in zip(*X, strict=True)]
    if len(columns) != 2 or not len(columns[0]):
        raise ShapeError(f"X has {len(columns)} columns: expected pairs (user, item), at least one")
    return columns[0], columns[1]


def _ratings(y: Any, count: int) -> np.ndarray:
    ratings = np.asarray(check_array("y", y, ndim=1), np.float64)
    if len(ratings) != count:
        raise ShapeError(f"y has {len(ratings)} ratings: expected {count}, as X has pairs")
    return ratings


def _find(ids: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places of ids, and whether they are there."""
    place = np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
    return place, ids[place] == wanted


def _carried(ids: np.ndarray, old: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Rows of an earlier factor for the ids that it knew, zeros for others."""
    place, known = _find(old, ids)
    return np.where(known[:, None], factor[place], 0.0)
