"""A budget in bytes or in quality, met by an allocation that is checked against the real loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t as student_t

from gossamer._core.errors import ArgumentError
from gossamer._core.files import read_json, write_json, write_text
from gossamer.compress.allocate.candidates import Candidates, as_recipe, predict
from gossamer.compress.allocate.knapsack import cheapest_within
from gossamer.compress.allocate.sensitivity import output_sensitivity
from gossamer.compress.allocate.store import FitStore, StoredStatistics
from gossamer.compress.blockwise import parts
from gossamer.compress.calibrate.stream import open_stream, swapped
from gossamer.compress.calibrate.table import Table
from gossamer.compress.methods.embedding import fit_embeddings, head_structure
from gossamer.compress.models.source import SourceModel
from gossamer.compress.progress import Reporter
from gossamer.compress.recipe import Budget, Recipe, load_recipe

TOKENS = 2048
"""Tokens of the calibration windows from which sensitivities are taken."""
EVALUATIONS = 5
"""Allocations whose real loss is measured at most."""
CONFIDENCE = 0.95
"""How sure it must be, from few held-out windows, that a quality budget holds on text like them."""


@dataclass(frozen=True)
class Allocation:
    """A met budget.

    Attributes
    ----------
    recipe : Recipe
        The concrete recipe.
    statistics : StoredStatistics
        The base model's second moments, for the final fit.
    fit : FitStore
        Fits made on the way.
    met : bool
        Whether the budget holds as measured.
    message : str
        In words.
    evaluations : list of dict
        Every allocation tried: predicted and measured relative loss, its confidence bound, bytes.
    target : dict
        The budget.
    counts : dict of str to int
        Layers by option.
    """

    recipe: Recipe
    statistics: StoredStatistics
    fit: FitStore
    met: bool
    message: str
    evaluations: list[dict[str, Any]] = field(default_factory=list)
    target: dict[str, Any] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """What reports show, as plain values."""
        last = self.evaluations[-1] if self.evaluations else {}
        return {
            **self.target,
            **{key: last[key] for key in ("predicted", "measured", "bound", "nbytes") if key in last},
            "evaluations": self.evaluations,
            "layers_by_option": self.counts,
            "message": self.message,
            "recipe": self.recipe.to_toml(),
        }


def allocate(
    source: SourceModel,
    recipe: Recipe,
    ids: np.ndarray,
    held_out: np.ndarray,
    folder: Path,
    reporter: Reporter,
    *,
    costs: Mapping[str, float] | None = None,
    seed: int = 0,
) -> Allocation:
    """Give every layer one of the recipe's options so that the budget is met.

    A budget in quality asks for the cheapest choice (bytes that a token reads, or measured costs) whose real
    perplexity stays within it: the predicted losses are scaled by what each try measures on ``held_out``, until a try
    lands close below the limit. A few windows say little about other text, so what must stay within the budget is
    the one-sided 95 % confidence bound of the loss (Student's t over the windows' own losses, each beside the base
    model's on the same window). A budget in bytes asks for the least predicted loss within it.

    Parameters
    ----------
    source : SourceModel
        A decoder.
    recipe : Recipe
        With options and a budget.
    ids, held_out : ndarray of int64, shape (windows, length)
        Windows for statistics, and others for the check.
    folder : Path
        Where statistics and fits are kept; a run that was killed finds them again.
    reporter : Reporter
        Told about the stages.
    costs : dict of str to float, optional
        Measured time a weight by option name; the default cost is bytes.
    seed : int
        Seed of the labels from which sensitivities are taken.

    Raises
    ------
    ArgumentError
        If no choice of options meets the budget; the message says how far they go.
    """
    statistics = StoredStatistics.gather(source, ids, folder / "statistics", reporter)
    fits = FitStore(folder / "fits")
    done = folder / "allocation.json"
    if done.exists() and (folder / "allocation.toml").exists():
        return Allocation(load_recipe(folder / "allocation.toml"), statistics, fits, **read_json(done))
    few = ids[: max(1, TOKENS // ids.shape[1])]
    sensitivity = output_sensitivity(source, few, seed=seed, reporter=reporter)
    candidates = predict(source, recipe, statistics, sensitivity, fits, reporter, costs)
    search = _Search(source, recipe, candidates, held_out, statistics, fits, reporter)
    allocation = search.within_loss() if recipe.budget and recipe.budget.max_loss else search.within_size()
    write_text(folder / "allocation.toml", allocation.recipe.to_toml())
    kept = ("met", "message", "evaluations", "target", "counts")
    write_json(done, {name: getattr(allocation, name) for name in kept})
    return allocation


def upper_bound(samples: np.ndarray, confidence: float = CONFIDENCE) -> float:
    """One-sided confidence bound of the mean of ``samples`` (Student's t); of a single one, itself."""
    if len(samples) < 2:
        return float(samples.mean())
    error = samples.std(ddof=1) / math.sqrt(len(samples))
    return float(samples.mean() + student_t.ppf(confidence, len(samples) - 1) * error)


class _Search:
    def __init__(
        self,
        source: SourceModel,
        recipe: Recipe,
        candidates: Candidates,
        held_out: np.ndarray,
        statistics: StoredStatistics,
        fits: FitStore,
        reporter: Reporter,
    ) -> None:
        self.source, self.recipe, self.candidates, self.held_out = source, recipe, candidates, held_out
        self.statistics, self.fits, self.reporter = statistics, fits, reporter
        self.budget: Budget = recipe.budget  # type: ignore[assignment]
        self.rows = np.arange(len(candidates.paths))
        self.evaluations: list[dict[str, Any]] = []
        self.base: np.ndarray | None = None
        self.tables: tuple[str, dict[str, Table]] | None = None

    def within_loss(self) -> Allocation:
        """The cheapest choice within a relative loss."""
        assert self.budget.max_loss is not None
        limit = math.log1p(self.budget.max_loss)
        head = "w8" if self.recipe.head == "auto" else self.recipe.head
        loss, cost = self.candidates.loss, self.candidates.cost
        floor = self._measure(None, head, "head only")["bound_nats"]
        best: tuple[np.ndarray, dict[str, Any]] | None = None
        factor = 1.0
        for attempt in range(EVALUATIONS):
            room = (limit - floor) * (0.97 if attempt else 0.9) / factor
            try:
                choice = cheapest_within(cost, loss, room)
            except ArgumentError:
                choice = loss.argmin(axis=1)
            if best is not None and np.array_equal(choice, best[0]):
                break
            found = self._measure(choice, head, f"try {attempt + 1} of at most {EVALUATIONS}")
            predicted = float(loss[self.rows, choice].sum())
            gained = max(found["bound_nats"] - floor, 1e-9)
            if found["bound_nats"] <= limit:
                if best is None or cost[self.rows, choice].sum() < cost[self.rows, best[0]].sum():
                    best = (choice, found)
                if found["bound_nats"] >= 0.93 * limit:
                    break
            elif np.array_equal(choice, loss.argmin(axis=1)):
                break
            factor = gained / max(predicted, 1e-12)
        if best is None:
            least = min(self.evaluations[1:], key=lambda found: found["bound"])
            raise ArgumentError(
                f"max_loss={self.budget.max_loss:.4g}: the options of recipe {self.recipe.name!r} lose at least "
                f"{least['measured']:.4g} on this model (with {CONFIDENCE:.0%} confidence not more than "
                f"{least['bound']:.4g}); allow more, hold out more windows, or add options of more bits"
            )
        self.evaluations.append(self.evaluations.pop(self.evaluations.index(best[1])))
        message = (
            f"measured loss {best[1]['measured']:.2%} on {len(self.held_out)} held-out windows, with "
            f"{CONFIDENCE:.0%} confidence at most {best[1]['bound']:.2%}, within {self.budget.max_loss:.2%}"
        )
        return self._allocation(best[0], head, True, message)

    def within_size(self) -> Allocation:
        """The least predicted loss within a number of bytes."""
        assert self.budget.target_size is not None
        heads = ("w8", "w4") if self.recipe.head == "auto" else (self.recipe.head,)
        loss, nbytes = self.candidates.loss, self.candidates.nbytes
        plans, smallest = [], math.inf
        for head in heads:
            fixed = self._fixed_bytes(head)
            smallest = min(smallest, fixed + float(nbytes.min(axis=1).sum()))
            try:
                choice = cheapest_within(loss, nbytes, self.budget.target_size - fixed)
            except ArgumentError:
                continue
            nats = self._measure(None, head, f"head {head} only")["nats"] if len(heads) > 1 else 0.0
            plans.append((nats + float(loss[self.rows, choice].sum()), head, choice))
        if not plans:
            raise ArgumentError(
                f"target_size={self.budget.target_size}: the options of recipe {self.recipe.name!r} need at least "
                f"{smallest:.0f} bytes for this model; allow more, or add options of fewer bits"
            )
        _, head, choice = min(plans, key=lambda plan: plan[0])
        found = self._measure(choice, head, "check")
        met = found["nbytes"] <= self.budget.target_size
        message = (
            f"{found['nbytes']} bytes of {self.budget.target_size}, measured loss {found['measured']:.2%}"
        )
        return self._allocation(choice, head, met, message)

    def _allocation(self, choice: np.ndarray, head: str, met: bool, message: str) -> Allocation:
        names, counts = np.unique([self.candidates.rules[k].name for k in choice], return_counts=True)
        targets = (("max_loss", self.budget.max_loss), ("target_size", self.budget.target_size))
        return Allocation(
            recipe=as_recipe(self.recipe, self.candidates, choice, head),
            statistics=self.statistics,
            fit=self.fits,
            met=met,
            message=message,
            evaluations=self.evaluations,
            target={name: value for name, value in targets if value is not None},
            counts={str(name): int(count) for name, count in zip(names, counts)},
        )

    def _measure(self, choice: np.ndarray | None, head: str, detail: str) -> dict[str, Any]:
        """Real loss of a choice on the held-out windows, above the base model's, and its confidence bound."""
        if self.base is None:
            self.base = self._losses({}, None, "base model")
        if self.tables is None or self.tables[0] != head:
            self.tables = (head, fit_embeddings(self.source, head)[1])
        concrete = None if choice is None else as_recipe(self.recipe, self.candidates, choice, head)
        rise = self._losses(self.tables[1], concrete, detail) - self.base
        nats, bound = float(rise.mean()), upper_bound(rise)
        options = self.candidates
        predicted = 0.0 if choice is None else float(options.loss[self.rows, choice].sum())
        linear = 0 if choice is None else int(options.nbytes[self.rows, choice].sum())
        found = {
            "what": detail,
            "head": head,
            "nats": nats,
            "bound_nats": bound,
            "measured": math.expm1(min(nats, 700.0)),
            "bound": math.expm1(min(bound, 700.0)),
            "predicted": math.expm1(min(predicted, 700.0)),
            "nbytes": linear + self._fixed_bytes(head),
        }
        self.evaluations.append(found)
        return found

    def _losses(self, tables: dict[str, Table], concrete: Recipe | None, detail: str) -> np.ndarray:
        source = self.source
        first = source.embeddings[0]
        groups = parts(source)
        step: Callable[..., None]
        with source.evaluating(), self.reporter.stage("allocate", len(groups)) as step:
            stream = open_stream(source, self.held_out, tables.get(first))
            for index, paths in enumerate(groups):
                weights = {}
                for path in paths:
                    if concrete is None:
                        break
                    W = source.weight(path).detach().numpy()
                    item = self.fits(path, W, concrete.rule(path), self.statistics.get(index))
                    weights[path] = item.matrix.to_dense()
                with swapped(source, weights):
                    stream.advance(source.module.get_submodule(source.blocks[index]))
                step(index + 1, detail)
            return stream.losses(tables)

    def _fixed_bytes(self, head: str) -> int:
        """Bytes of what is not allocated: embeddings, norms, and layers with rules of their own."""
        source = self.source
        total = sum(tensor.numel() * tensor.element_size() for tensor in source.rest().values())
        for path in source.embeddings:
            shape = tuple(source.weight(path).shape)
            structure = head_structure(head, shape[1])
            bits = 32.0 if structure is None else structure.bits_per_weight(shape)
            total += math.ceil(shape[0] * shape[1] * bits / 8)
        for path, layer in source.linears().items():
            rule = self.recipe.override(path)
            if rule is not None:
                shape = tuple(layer.weight.shape)
                bits = 32.0 if rule.structure is None else rule.structure.bits_per_weight(shape)
                total += math.ceil(shape[0] * shape[1] * bits / 8)
        return int(total)
