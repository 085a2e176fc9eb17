"""How good lists of recommendations are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gossamer._core.checks import check_int
from gossamer._core.errors import ArgumentError, ShapeError, bad_argument
from gossamer._core.random import RandomState, check_random_state
from gossamer.learn.recommend.interactions import Seen, as_interactions


def rank_metrics(recommended: Any, truth: Any, ks: Sequence[int] = (10, 20)) -> dict[str, float]:
    r"""Recall, NDCG, precision and hit rate of ranked lists against what users chose later.

    With :math:`h_r` whether rank r is a hit and t the number of true items of a user: recall is
    :math:`\sum_{r \le k} h_r / t`, NDCG :math:`\sum_{r \le k} h_r / \log_2(r + 1)` over its largest value, that of
    :math:`\min(k, t)` hits in front, precision :math:`\sum_{r \le k} h_r / k`, hit whether there is any.

    Parameters
    ----------
    recommended : array of int, shape (m, width)
        Items of m users, the best first; -1 is none. Each item once a row.
    truth : sparse matrix or array, shape (m, n_items)
        Above zero: true items of the same users. Users without any are left out of the means.
    ks : sequence of int
        Lengths at which lists are cut, at most ``width``.

    Returns
    -------
    dict of str to float
        ``recall@k``, ``ndcg@k``, ``precision@k`` and ``hit@k`` for every k, and ``users``, over how many.

    Raises
    ------
    ShapeError, ArgumentError
        For rows that do not match, lengths out of range, items outside the table or twice in a row, no true item.

    Notes
    -----
    Equivalent to recbole's and cornac's definitions. Vectorised: ``O(m width log nnz)``.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.learn import rank_metrics
    >>> found = rank_metrics([[2, 0], [1, 2]], np.array([[1, 1, 0], [0, 1, 0]]), ks=[2])
    >>> found["recall@2"], round(found["ndcg@2"], 4)
    (0.75, 0.6934)
    """
    ranked, wanted = np.asarray(recommended), as_interactions(truth, "truth")
    if ranked.ndim != 2 or ranked.dtype.kind not in "iu" or ranked.shape[0] != wanted.shape[0]:
        raise ShapeError(
            f"recommended is {ranked.dtype} of shape {ranked.shape}: expected integers, {wanted.shape[0]} rows"
        )
    if ranked.size and (ranked.min() < -1 or ranked.max() >= wanted.shape[1]):
        raise bad_argument(
            "recommended", f"{ranked.min()}..{ranked.max()}", f"items 0 to {wanted.shape[1] - 1}, or -1"
        )
    lengths = [check_int("ks", k, low=1, high=ranked.shape[1]) for k in ks]
    in_order = np.sort(ranked, axis=1)
    if ((in_order[:, 1:] == in_order[:, :-1]) & (in_order[:, 1:] >= 0)).any():
        raise ArgumentError("recommended has an item twice in a row: expected each once")
    counts = np.diff(wanted.indptr)
    asked = counts > 0
    if not asked.any():
        raise ArgumentError("truth has no true item: expected at least one")
    hits = _hits(ranked, Seen(wanted))[asked]
    counts = counts[asked]
    gains = 1 / np.log2(np.arange(2, ranked.shape[1] + 2))
    ideal = np.concatenate([[0], np.cumsum(gains)])
    found: dict[str, float] = {}
    for k in lengths:
        first = hits[:, :k]
        found[f"recall@{k}"] = float((first.sum(axis=1) / counts).mean())
        found[f"ndcg@{k}"] = float((first @ gains[:k] / ideal[np.minimum(counts, k)]).mean())
        found[f"precision@{k}"] = float(first.mean())
        found[f"hit@{k}"] = float(first.any(axis=1).mean())
    return {**found, "users": float(asked.sum())}


def sampled_rank_metrics(
    recommender: Any, truth: Any, k: int = 10, n_negatives: int = 99, random_state: RandomState = None
) -> dict[str, float]:
    """Hit rate and NDCG of one true item among random ones, the protocol of NeuMF's paper.

    Easier than ranking all items, and not always of the same order: report :func:`rank_metrics` beside it.

    Parameters
    ----------
    recommender : fitted recommender
        With ``score`` and the ``seen_`` items of its training.
    truth : sparse matrix or array, shape (n_users, n_items)
        Of each user with true items one is drawn.
    k : int
        Length of the lists.
    n_negatives : int
        Items that the user had neither in training nor in ``truth``, drawn with replacement.
    random_state : int, Generator or None
        Of the draws.

    Returns
    -------
    dict of str to float
        ``hit@k`` and ``ndcg@k``; ties count against the true item.
    """
    wanted, rng = as_interactions(truth, "truth"), check_random_state(random_state)
    k, n_negatives = check_int("k", k, low=1), check_int("n_negatives", n_negatives, low=1)
    users = np.flatnonzero(np.diff(wanted.indptr))
    if wanted.shape != recommender.seen_.shape or not len(users):
        raise ShapeError(f"truth {wanted.shape}: expected {recommender.seen_.shape}, and a true item")
    either, truths = Seen(as_interactions(recommender.seen_ + wanted)), Seen(wanted)
    positives = np.array([rng.choice(truths.items_of(int(user))) for user in users])
    negatives = either.draw_others(np.repeat(users, n_negatives), rng).reshape(len(users), -1)
    scores = recommender.score(users)
    rows = np.arange(len(users))
    own = scores[rows, positives]
    ranks = (scores[rows[:, None], negatives] >= own[:, None]).sum(axis=1)
    return {
        f"hit@{k}": float((ranks < k).mean()),
        f"ndcg@{k}": float(np.where(ranks < k, 1 / np.log2(ranks + 2), 0).mean()),
    }


def _hits(ranked: np.ndarray, truths: Seen) -> np.ndarray:
    rows = np.repeat(np.arange(len(ranked)), ranked.shape[1])
    flat = ranked.reshape(-1).astype(np.int64)
    return (truths.contains(rows, np.maximum(flat, 0)) & (flat >= 0)).reshape(ranked.shape)
