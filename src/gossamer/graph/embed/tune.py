"""Weights and normalisation of FastRP, searched with powers that are computed once for several trials."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gossamer._core.checks import check_float, check_int
from gossamer._core.errors import ArgumentError, UnsupportedError, bad_argument
from gossamer._core.random import RandomState, check_random_state
from gossamer._core.results import Result
from gossamer.graph.embed.columns import column_moments, shift_and_scale
from gossamer.graph.embed.panels import Progress, compute
from gossamer.graph.embed.settings import Settings
from gossamer.graph.embed.walk import open_graph


@dataclass(frozen=True, kw_only=True)
class TuneResult(Result):
    """What :func:`tune_fastrp` found.

    Attributes
    ----------
    params : dict
        ``weights`` and ``beta`` of the best trial, for :func:`fastrp_embedding` with any number of columns.
    score : float
        Its score.
    history : dict of str to list
        ``beta``, ``weights`` and ``score`` of every trial.
    """

    params: dict[str, Any] = field(default_factory=dict)
    score: float = -np.inf


def tune_fastrp(
    A: Any,
    score_fn: Callable[[np.ndarray], float],
    *,
    d: int = 64,
    n_trials: int = 20,
    beta_range: tuple[float, float] = (-1, 0),
    weight_range: tuple[float, float] = (1, 64),
    q: int | tuple[int, int] = 4,
    trials_per_beta: int = 4,
    standardize: bool = True,
    directed: bool = False,
    n_threads: int | None = None,
    random_state: RandomState = None,
    progress: Progress | None = None,
) -> TuneResult:
    r"""Search weights and ``beta`` of :func:`fastrp_embedding` by a score, on few columns.

    With ``q=4`` weights are :math:`(0, 0, 1, \alpha)`, the family of the paper. With ``q=(4, 24)`` a window of powers
    is drawn as well: its last power between the two on a logarithmic scale, its first one below, and weights that
    grow from 1 to :math:`\alpha` in equal ratios. Sparse graphs of large diameter need that.

    Parameters
    ----------
    A : graph
        Anything that :func:`fastrp_embedding` takes.
    score_fn : callable
        Takes vectors (n, d) of float32 and returns a number, the higher the better. It sees one projection for all
        trials. Let it hold back some of the labels: :func:`holdout_score` makes such a function.
    d : int
        Columns during the search; what is found serves more of them as well.
    n_trials : int
        Vectors that are scored.
    beta_range, weight_range : (float, float)
        Where ``beta`` and, on a logarithmic scale, the last weight are drawn. Draws are spread evenly: each of
        n equal parts of the range has one.
    q : int or (int, int)
        The highest power, or its range.
    trials_per_beta : int
        Trials that share a ``beta`` and its powers.
    standardize : bool
        Whether columns are standardised before they are scored.
    directed : bool
        Whether edges have a direction.
    n_threads : int, optional
        At most this many.
    random_state : int, Generator or None
        Source of the projection and of all draws.
    progress : callable, optional
        Called with trials done and trials in all.

    Returns
    -------
    TuneResult
        Parameters, score, and every trial.

    Raises
    ------
    ArgumentError
        If a range is empty or out of bounds, or a score is not finite.
    UnsupportedError
        If ``score_fn`` cannot be called.

    Notes
    -----
    Powers cost O(q m d) for each ``beta``, a trial O(n q d) beside its score. Memory is n q d numbers.

    References
    ----------
    Chen et al., CIKM 2019, arXiv 1908.11512, section 4 (20 trials, d = 64).

    Examples
    --------
    >>> import networkx as nx
    >>> import numpy as np
    >>> from gossamer.graph import fastrp_embedding, holdout_score, tune_fastrp
    >>> G = nx.karate_club_graph()
    >>> club = np.array([G.nodes[i]["club"] for i in G])
    >>> score = holdout_score(club, np.arange(20), random_state=0)
    >>> found = tune_fastrp(G, score, d=16, n_trials=8, random_state=0)
    >>> fastrp_embedding(G, 32, **found.params, random_state=0).shape
    (34, 32)
    """
    if not callable(score_fn):
        raise UnsupportedError(f"score_fn is a {type(score_fn).__name__}: expected a function of vectors")
    n_trials = check_int("n_trials", n_trials, low=1)
    per_beta = check_int("trials_per_beta", trials_per_beta, low=1)
    betas = _range("beta_range", beta_range, -1, 1)
    smallest, largest = _range("weight_range", weight_range, 1e-6, 1e6)
    wide = not isinstance(q, (int, np.integer))
    lowest, highest = (check_int("q", k, low=1) for k in (q if wide else (q, q)))  # type: ignore[union-attr]
    if lowest > highest:
        raise bad_argument("q", q, "the lower one first")
    rng = check_random_state(random_state)
    seed = int(rng.integers(1 << 63))
    beta = _spread(rng, *betas, -(-n_trials // per_beta))
    ratio = np.exp(_spread(rng, np.log(smallest), np.log(largest), n_trials))
    last = (
        np.exp(_spread(rng, np.log(lowest), np.log(highest + 1), n_trials)).astype(int).clip(lowest, highest)
    )
    first = 1 + (rng.random(n_trials) * (last - 1)).astype(int) if wide else np.maximum(last - 1, 1)
    graph = open_graph(A, directed)
    history: dict[str, list[Any]] = {"beta": [], "weights": [], "score": []}
    for number, b in enumerate(beta):
        trials = range(number * per_beta, min((number + 1) * per_beta, n_trials))
        settings = Settings(d, None, float(b), q=int(last[trials].max()))
        plan = settings.plan(graph, seed, None, n_threads)
        powers = np.empty((plan.walk.n, settings.q * d), np.float32)
        compute(plan, powers)
        for trial in trials:
            weights = _window(int(first[trial]), int(last[trial]), float(ratio[trial]))
            score = float(score_fn(_combined(powers, weights, d, standardize, n_threads)))
            if not np.isfinite(score):
                raise ArgumentError(
                    f"score_fn gives {score} for weights={weights}, beta={b}: expected a number"
                )
            for name, value in (("beta", float(b)), ("weights", weights), ("score", score)):
                history[name].append(value)
            if progress is not None:
                progress(trial + 1, n_trials)
    best = int(np.argmax(history["score"]))
    params = {"weights": history["weights"][best], "beta": history["beta"][best]}
    return TuneResult(params=params, score=history["score"][best], history=history)


def holdout_score(
    labels: Any,
    nodes: Any,
    *,
    validation: float = 0.3,
    repeats: int = 3,
    C: float = 0.1,
    random_state: RandomState = None,
) -> Callable[[np.ndarray], float]:
    """Make a score of vectors from labels: logistic regressions learn from some nodes and are judged on others.

    Only labels of ``nodes`` are ever read. The splits are drawn once, so that trials are judged by the same ones.

    Parameters
    ----------
    labels : array, shape (n,) or (n, c)
        Classes; or, of any number of labels a node, whether it has them.
    nodes : array of int or bool
        Nodes whose labels may be used; keep those of the final test out.
    validation : float
        Share of ``nodes`` that judge.
    repeats : int
        Splits whose scores are averaged.
    C : float
        Inverse of the regularisation.
    random_state : int, Generator or None
        Source of the splits.

    Returns
    -------
    callable
        From vectors (n, d) to accuracy, or for several labels micro-F1 where each node's number of them is given.

    Raises
    ------
    ArgumentError
        If ``nodes`` are out of range, too few to split, or of one class.
    """
    from sklearn.linear_model import LogisticRegression

    labels, nodes = np.asarray(labels), np.asarray(nodes)
    if labels.ndim not in (1, 2):
        raise bad_argument("labels", f"an array of shape {labels.shape}", "shape (n,) or (n, c)")
    nodes = np.flatnonzero(nodes) if nodes.dtype == bool else nodes
    span = nodes.min(initial=0), nodes.max(initial=0)
    if nodes.ndim != 1 or nodes.dtype.kind not in "iu" or span[0] < 0 or span[1] >= len(labels):
        raise bad_argument(
            "nodes", f"{nodes.dtype} of shape {nodes.shape}", f"numbers from 0 to {len(labels) - 1}"
        )
    nodes = np.unique(nodes)
    known = labels[nodes]
    check_float("validation", validation, low=0, high=1, closed="neither")
    rng, held = check_random_state(random_state), round(validation * len(nodes))
    if not 0 < held < len(nodes):
        raise bad_argument("nodes", f"{len(nodes)} nodes", f"enough to hold back {validation} of them")
    splits = [
        np.split(rng.permutation(len(nodes)), [held]) for _ in range(check_int("repeats", repeats, low=1))
    ]
    if labels.ndim == 1 and any(len(np.unique(known[train])) < 2 for _, train in splits):
        raise bad_argument(
            "nodes", f"{len(nodes)} nodes", "two classes at least among those that are learnt from"
        )

    def chances(X: np.ndarray, y: np.ndarray, test: np.ndarray, train: np.ndarray) -> np.ndarray:
        if y[train].all() or not y[train].any():
            return np.full(len(test), float(y[train][0]))
        return LogisticRegression(C=C, max_iter=200).fit(X[train], y[train]).predict_proba(X[test])[:, 1]

    def score(X: np.ndarray) -> float:
        X, scores = X[nodes], []
        for test, train in splits:
            if known.ndim == 1:
                model = LogisticRegression(C=C, max_iter=200).fit(X[train], known[train])
                scores.append(model.score(X[test], known[test]))
                continue
            truth = known[test] > 0
            found = np.stack([chances(X, y > 0, test, train) for y in known.T], axis=1)
            rank = np.argsort(np.argsort(-found, axis=1, kind="stable"), axis=1)
            predicted = rank < truth.sum(axis=1, keepdims=True)
            scores.append(2 * (truth & predicted).sum() / max(truth.sum() + predicted.sum(), 1))
        return float(np.mean(scores))

    return score


def _range(name: str, pair: Any, low: float, high: float) -> tuple[float, float]:
    if np.shape(pair) != (2,) or not pair[0] <= pair[1]:
        raise bad_argument(name, pair, "two numbers, the lower one first")
    first, last = (check_float(name, value, low=low, high=high) for value in pair)
    return first, last


def _spread(rng: np.random.Generator, low: float, high: float, n: int) -> np.ndarray:
    """One draw from each of n equal parts of the range, in random order."""
    return low + (high - low) * (rng.permutation(n) + rng.random(n)) / n


def _window(first: int, last: int, ratio: float) -> tuple[float, ...]:
    grown = ratio ** (np.arange(last - first + 1) / max(last - first, 1))
    return (*(0.0,) * (first - 1), *grown.tolist())


def _combined(
    powers: np.ndarray, weights: tuple[float, ...], d: int, standardize: bool, threads: int | None
) -> np.ndarray:
    X = np.zeros((len(powers), d), np.float32)
    for k, weight in enumerate(weights):
        if weight:
            X += np.float32(weight) * powers[:, k * d : (k + 1) * d]
    if standardize:
        shift_and_scale(X, *column_moments(X, threads), threads)
    return X
