"""One EM step of any model by expectation truncation: posteriors over states, sums under them, new parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from gossamer._core.threads import hold_blas
from gossamer._kernels.coding import Tree, largest, normalise
from gossamer.learn.coding.cut import keep_largest
from gossamer.learn.coding.rows import Rows, Sums
from gossamer.learn.coding.states import count_states

PIECE = 1 << 22  # numbers of a posterior at once: 32 MB
KEPT = 1 << 25  # of all posteriors that wait for the second pass of a step: 256 MB

Params = dict[str, Any]


@dataclass(frozen=True)
class EStep:
    """Which states an E-step sums over, and its temperature."""

    candidates: int
    active: int
    T: float = 1.0
    anneal_prior: bool = False


class Evaluation(NamedTuple):
    """Posterior of some points over their states."""

    tree: Tree
    posterior: np.ndarray
    """(n, columns)"""
    evidence: np.ndarray
    """(n,) log of the sum over states"""
    step: EStep


def pieces(block: Any, model: Any, step: EStep) -> list[np.ndarray]:
    """The rows of a block in float64, so few at once that their posterior is small."""
    values = len(model._values())
    columns = count_states(model.n_components, step.candidates, step.active, values)
    size = max(PIECE // columns, 1)
    return [np.ascontiguousarray(block[i : i + size], np.float64) for i in range(0, len(block), size)]


def evaluate(Y: np.ndarray, model: Any, params: Params, step: EStep, threads: int | None) -> Evaluation:
    """Posterior of each row of Y, shape (n, d), over its states."""
    H, values = model.n_components, len(model._values())
    seen: list[Any] = []
    if step.candidates == H:
        chosen = np.tile(np.arange(H, dtype=np.int32), (len(Y), 1))
    else:
        if callable(model.selection):
            scores = np.asarray(model.selection(Y, params), np.float64)
        else:
            scores, *seen = model._look(Y, params)
        if scores.shape != (len(Y), H):
            raise ValueError(f"selection returned scores of shape {scores.shape}: expected {(len(Y), H)}")
        chosen = largest(scores, step.candidates, threads)
    tree = Tree(chosen, step.active, values, H)
    joint, base = model._joint(Y, params, tree, step, threads, *seen)
    return Evaluation(tree, joint, normalise(joint, threads) + base, step)


def evaluate_block(block: Any, *shared: Any) -> list[Evaluation]:
    """All pieces of a block; shared: model, params, step, threads."""
    model, params, step, threads = shared
    return [evaluate(Y, model, params, step, threads) for Y in pieces(block, model, step)]


def evidence_of_block(block: Any, *shared: Any) -> np.ndarray:
    """Log evidence of each row."""
    return np.concatenate([e.evidence for e in evaluate_block(block, *shared)])


def expect_block(block: Any, kept: list[Evaluation] | None, used: np.ndarray | None, *shared: Any) -> Sums:
    """What the M-step needs of a block, over the rows that are used."""
    model, params, _, threads = shared
    total: Sums = {}
    for Y, weight, evaluation in _with_posteriors(block, kept, used, shared):
        sums = model._moments(Y, params, evaluation, weight, threads)
        sums |= {"points": weight.sum(), "evidence": weight @ evaluation.evidence}
        total = {key: total[key] + value for key, value in sums.items()} if total else sums
    return total


def residual_block(
    block: Any, kept: list[Evaluation] | None, used: np.ndarray | None, fresh: Params, *shared: Any
) -> Sums:
    """Expected squared residuals of a block at parameters `fresh`, under the posterior at the old ones."""
    model, threads = shared[0], shared[3]
    return {
        "residual": sum(
            model._residual(Y, fresh, evaluation, weight, threads)
            for Y, weight, evaluation in _with_posteriors(block, kept, used, shared)
        )
    }


def _with_posteriors(block: Any, kept: list[Evaluation] | None, used: np.ndarray | None, shared: Any) -> Any:
    model, params, step, threads = shared
    at = 0
    for k, Y in enumerate(pieces(block, model, step)):
        evaluation = evaluate(Y, model, params, step, threads) if kept is None else kept[k]
        weight = np.ones(len(Y))
        if used is not None:
            weight = used[at : at + len(Y)].astype(float)
            evaluation.posterior[weight == 0] = 0.0
        at += len(Y)
        yield Y, weight, evaluation


def em_step(
    rows: Rows, model: Any, params: Params, step: EStep, truncation: float
) -> tuple[Params, float, int]:
    """One step of EM.

    Parameters
    ----------
    rows : LocalRows or DaskRows
    model : TruncatedCoding
    params : dict
    step : EStep
    truncation : float
        Share of the points expected to hold more causes than a state may that is left out.

    Returns
    -------
    (params, bound, n_used)
        Bound on the log-likelihood a point at the old parameters.
    """
    with hold_blas():  # from end to end: a product on two threads would leave one spinning into the next pass
        return _em_step(rows, model, params, step, truncation)


def _em_step(
    rows: Rows, model: Any, params: Params, step: EStep, truncation: float
) -> tuple[Params, float, int]:
    within, _ = model._within(params, step.active)
    n = rows.shape[0]
    n_used = max(int(np.floor(n * (1 - (1 - within) * truncation) + 1e-9)), 1)
    shared = (model, params, step, rows.threads)
    second_pass = n_used < n or model._refines()
    values = len(model._values())
    kept: list[Any] = [None] * len(rows.blocks)
    used: list[Any] = [None] * len(rows.blocks)
    keep = rows.keeps and n * count_states(model.n_components, step.candidates, step.active, values) <= KEPT
    if second_pass and keep:
        kept = rows.map(evaluate_block, rows.blocks, shared=shared)
    if n_used < n:
        if keep:
            evidence = [np.concatenate([e.evidence for e in block]) for block in kept]
        else:
            evidence = rows.map(evidence_of_block, rows.blocks, shared=shared)
        used = keep_largest(rows, evidence, n_used)
    sums = rows.total(rows.map(expect_block, rows.blocks, kept, used, shared=shared))
    bound = float(sums["evidence"]) / n_used + model._constant(params) - float(np.log(within))
    fresh = model._maximise(params, sums, step)
    if model._refines():
        residual = rows.total(rows.map(residual_block, rows.blocks, kept, used, shared=(fresh, *shared)))
        fresh = model._refine(fresh, residual, n_used)
    return fresh, bound, n_used
