"""Which causes are in a sample: probable states, marginals, means, with as many states as the sample needs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from gossamer._core.checks import check_int
from gossamer._core.errors import bad_argument
from gossamer._core.results import Result
from gossamer.learn.coding.e_step import EStep, Params, evaluate, pieces
from gossamer.learn.coding.states import check_states, count_states, list_states

MOST_ADAPTIVE = 1 << 18  # states a point, beyond which no more causes are allowed


@dataclass(frozen=True, kw_only=True)
class PosteriorResult(Result):
    """Posteriors of samples over the causes in them.

    Attributes
    ----------
    states : ndarray, shape (n, k, H)
        The most probable states, the best first; int8 where values are small integers.
    log_prob : ndarray, shape (n, k)
        Their log-probabilities.
    marginal : ndarray, shape (n, H)
        Probability that a cause is there.
    mean : ndarray, shape (n, H)
        Posterior mean of the cause, times its amplitude where it has one.
    reconstruction : ndarray, shape (n, d)
        Posterior mean of what the causes superpose to.
    n_active, n_candidates : ndarray, shape (n,)
        Most causes, and candidates, that were allowed.
    """

    states: np.ndarray = field(repr=False)
    log_prob: np.ndarray = field(repr=False)
    marginal: np.ndarray = field(repr=False)
    mean: np.ndarray = field(repr=False)
    reconstruction: np.ndarray = field(repr=False)
    n_active: np.ndarray = field(repr=False)
    n_candidates: np.ndarray = field(repr=False)


def infer(
    model: Any,
    X: np.ndarray,
    params: Params,
    step: EStep,
    top_k: int,
    adaptive: bool,
    max_active: int | None,
    n_candidates: int | None,
) -> PosteriorResult:
    """Posterior of each row of X; see :meth:`TruncatedCoding.posterior`."""
    H, d = params["W"].shape
    value = np.array(model._values())
    candidates, active = step.candidates, step.active
    most_candidates = H if n_candidates is None else check_int("n_candidates", n_candidates, low=1, high=H)
    most_active = H if max_active is None else check_int("max_active", max_active, low=1, high=H)
    if not adaptive:
        candidates = candidates if n_candidates is None else most_candidates
        active = active if max_active is None else most_active
        if active > candidates:
            raise bad_argument("max_active", active, f"at most n_candidates, {candidates}")
        check_states(H, candidates, active, len(value))
    k = min(top_k, count_states(H, candidates, active, len(value)))
    small = bool((value == np.round(value)).all() and np.abs(value).max() < 128)
    n = len(X)
    states = np.zeros((n, k, H), np.int8 if small else np.float64)
    log_prob, marginal, mean = np.empty((n, k)), np.empty((n, H)), np.empty((n, H))
    reconstruction = np.empty((n, d))
    used = np.empty((2, n), np.int64)
    todo = np.arange(n)
    while True:
        step = replace(step, candidates=candidates, active=active)
        listed = list_states(candidates, active, value)
        crowded = []
        for ids in np.array_split(todo, max(-(-len(todo) // 2048), 1)):
            at = 0
            for Y in pieces(X[ids], model, step):
                here = ids[at : at + len(Y)]
                at += len(Y)
                evaluation = evaluate(Y, model, params, step, None)
                chosen, q = evaluation.tree.chosen, evaluation.posterior
                mean[here], reconstruction[here] = model._expected(Y, params, evaluation)
                marginal[here] = _marginals(q, chosen, listed, H, len(value))
                best = _largest(q, k)
                with np.errstate(divide="ignore"):
                    log_prob[here] = np.log(np.take_along_axis(q, best, axis=1))
                states[here] = _expand(best, chosen, listed, H, value)
                crowded.append(here[(states[here, 0] != 0).sum(axis=1) == active])
        used[:, todo] = [[active], [candidates]]
        todo = np.concatenate(crowded) if crowded else todo[:0]
        larger = min(candidates + 1, most_candidates)
        wider = min(active + 1, most_active, max(larger, candidates))
        if not adaptive or not len(todo) or wider <= active:
            break
        if count_states(H, max(larger, candidates), wider, len(value)) > MOST_ADAPTIVE:
            break
        candidates, active = max(larger, candidates), wider
    dtype = X.dtype
    return PosteriorResult(
        success=not (adaptive and len(todo)),
        message=f"{len(todo)} samples have as many causes as were allowed"
        if len(todo)
        else "no sample is crowded",
        states=states,
        log_prob=log_prob.astype(dtype),
        marginal=marginal.astype(dtype),
        mean=mean.astype(dtype),
        reconstruction=reconstruction.astype(dtype),
        n_active=used[0],
        n_candidates=used[1],
    )


def _marginals(q: np.ndarray, chosen: np.ndarray, listed: np.ndarray, H: int, values: int) -> np.ndarray:
    out = q[:, 1 : 1 + H * values].reshape(len(q), H, values).sum(axis=2)
    among = q[:, 1 + H * values :] @ (listed != 0)
    np.put_along_axis(out, chosen, np.take_along_axis(out, chosen, axis=1) + among, axis=1)
    return np.clip(out, 0.0, 1.0)


def _largest(q: np.ndarray, k: int) -> np.ndarray:
    best = np.argpartition(-q, k - 1, axis=1)[:, :k]
    order = np.argsort(-np.take_along_axis(q, best, axis=1), axis=1, kind="stable")
    return np.take_along_axis(best, order, axis=1)


def _expand(
    best: np.ndarray, chosen: np.ndarray, listed: np.ndarray, H: int, value: np.ndarray
) -> np.ndarray:
    """The states at columns `best` (n, k): (n, k, H)."""
    n, k = best.shape
    out = np.zeros((n, k, H))
    first = 1 + H * len(value)
    row, place = np.nonzero((best > 0) & (best < first))
    alone = best[row, place] - 1
    out[row, place, alone // len(value)] = value[alone % len(value)]
    row, place = np.nonzero(best >= first)
    out[row[:, None], place[:, None], chosen[row]] = listed[best[row, place] - first]
    return out
