"""What each option would cost and lose in each layer, predicted without fitting all of them in full."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from gossamer._core.errors import unknown_choice
from gossamer.compress.allocate.store import FitStore, StoredStatistics
from gossamer.compress.blockwise import parts
from gossamer.compress.calibrate.statistics import Statistics
from gossamer.compress.methods.layer import row_errors
from gossamer.compress.models.source import SourceModel
from gossamer.compress.progress import Reporter
from gossamer.compress.recipe import Recipe
from gossamer.compress.rule import Override, Rule

SAMPLED = 3
"""Blocks on which full fits are compared with quick ones."""


@dataclass(frozen=True)
class Candidates:
    """Options of the layers that are to be allocated.

    Attributes
    ----------
    paths : list of str
        The layers, in order.
    rules : list of Rule
        The options.
    loss : ndarray, shape (layers, options)
        Predicted rise of the loss in nats a token.
    nbytes, cost : ndarray, shape (layers, options)
        Bytes, and the cost that the allocation minimises.
    """

    paths: list[str]
    rules: list[Rule]
    loss: np.ndarray
    nbytes: np.ndarray
    cost: np.ndarray


def predict(
    source: SourceModel,
    recipe: Recipe,
    statistics: StoredStatistics,
    sensitivity: Mapping[str, np.ndarray],
    fits: FitStore,
    reporter: Reporter,
    costs: Mapping[str, float] | None = None,
) -> Candidates:
    r"""Predict the loss of every option in every layer, :math:`\frac12 \sum_o d_o (E H E^T)_{oo}`.

    The error E of an error-compensating fit is not computed for all layers: a quick fit (magnitude, or rounding) is
    made everywhere, and the ratio of the two losses is measured on a few blocks, for each option and each layer of
    a block. Those full fits are kept and serve again.
    """
    linears = source.linears()
    paths = [path for path in linears if recipe.override(path) is None]
    rules = list(recipe.options)
    row = {path: i for i, path in enumerate(paths)}
    quick = np.zeros((len(paths), len(rules)))
    nbytes = np.zeros_like(quick)
    groups = parts(source)
    sampled = sorted({int((k + 0.5) * len(groups) / SAMPLED) for k in range(SAMPLED)})
    ratios: dict[tuple[str, int], list[float]] = {}
    with reporter.stage("predict", len(groups)) as step:
        for index, group in enumerate(groups):
            moments = statistics.get(index)
            for path in (p for p in group if p in row):
                W = linears[path].weight.detach().numpy()
                for option, rule in enumerate(rules):
                    rule.check_fit(path, W.shape)
                    matrix = fits_quickly(rule, W)
                    loss = _loss(W - matrix.to_dense(), moments, path, sensitivity[path])
                    quick[row[path], option], nbytes[row[path], option] = loss, matrix.nbytes
                    if index in sampled and rule.metric != "none" and loss > 0:
                        dense = fits(path, W, rule, moments).matrix.to_dense()
                        full = _loss(W - dense, moments, path, sensitivity[path])
                        ratios.setdefault((_role(path), option), []).append(full / loss)
            step(index + 1)
    scale = np.ones_like(quick)
    for path, i in row.items():
        for option in range(len(rules)):
            measured = ratios.get((_role(path), option))
            if measured:
                scale[i, option] = float(np.exp(np.mean(np.log(np.maximum(measured, 1e-6)))))
    cost = nbytes if costs is None else _measured_cost(linears, paths, rules, costs)
    return Candidates(paths, rules, quick * scale, nbytes, cost)


def fits_quickly(rule: Rule, W: np.ndarray):  # type: ignore[no-untyped-def]
    """The projection without a metric: fast, and of the same size."""
    if rule.structure is None:
        from gossamer.linalg import Dense

        return Dense().project(W)
    return rule.structure.project(W)


def as_recipe(recipe: Recipe, candidates: Candidates, choice: np.ndarray, head: str) -> Recipe:
    """The concrete recipe of a choice: the most frequent option as the default, one override for every other layer."""
    common = int(np.bincount(choice, minlength=len(candidates.rules)).argmax())
    allocated = tuple(
        Override(path, candidates.rules[option])
        for path, option in zip(candidates.paths, choice)
        if int(option) != common
    )
    return replace(
        recipe,
        name=f"{recipe.name}-allocated",
        summary=f"{recipe.summary} (as allocated)",
        default=candidates.rules[common],
        overrides=(*allocated, *recipe.overrides),
        calibration=replace(recipe.calibration, stream="base"),  # as the allocation measured
        head=head,
        options=(),
        budget=None,
    )


def _loss(E: np.ndarray, moments: Statistics, path: str, sensitivity: np.ndarray) -> float:
    return 0.5 * float(sensitivity @ row_errors(E, moments.of(path)))


def _role(path: str) -> str:
    return path.rpartition(".")[2]


def _measured_cost(
    linears: Mapping[str, object], paths: list[str], rules: list[Rule], costs: Mapping[str, float]
) -> np.ndarray:
    for rule in rules:
        if rule.name not in costs:
            raise unknown_choice("costs lack option", rule.name, costs)
    sizes = np.array([linears[path].weight.numel() for path in paths], dtype=np.float64)  # type: ignore[attr-defined]
    return sizes[:, None] * np.array([costs[rule.name] for rule in rules])
