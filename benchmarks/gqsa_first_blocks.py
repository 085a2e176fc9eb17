"""GQSA's block training on the first blocks of a model, the others being original: the comparison in minutes.

The same methods as in ``gqsa_quality``, on fewer blocks and tokens and without the end-to-end stage, so that it fits
into a quick run. What four of thirty blocks lose is small beside what all lose; the order is what it shows.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.harness import Claim
from gossamer.compress import Recipe, Rule, Training, load_model, load_recipe, perplexity
from gossamer.compress.blockwise import StreamStatistics
from gossamer.compress.calibrate.windows import calibration_windows, evaluation_windows, split_windows
from gossamer.compress.finetune.bqpo import BlockTrainer
from gossamer.datasets import load_wikitext2
from gossamer.linalg import GroupQuant, NMQuant

BLOCKS, WINDOWS, HELD_OUT, LENGTH, EPOCHS = 4, 64, 16, 256, 3
RATES = (1e-3, 3e-3)
EVALUATED = (256, 12)
SCALE = (
    f"blocks 0 to {BLOCKS - 1} compressed, the other 26 original; {WINDOWS} x {LENGTH} tokens of WikiText-2 valid, "
    f"{EPOCHS} epochs, no end-to-end stage; perplexity on {EVALUATED[1]} windows of {EVALUATED[0]} tokens of test"
)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Perplexity with the first blocks compressed, and bits a weight in these blocks."""

    perplexity: float
    bits: float


@cache
def source() -> Any:
    """The model that all variants share."""
    return load_model("smollm2-135m")


@cache
def original() -> float:
    """Perplexity of the model as it came."""
    return perplexity(source(), evaluated(), *EVALUATED)


def evaluated() -> Any:
    """The tokens of the evaluation."""
    windows = evaluation_windows(load_wikitext2("test"), source().tokenizer, *EVALUATED)
    return windows.reshape(-1)


@cache
def outcome(rule: Rule, epochs: int) -> Outcome:
    """Compress the first blocks by one rule; 0 epochs is one-shot."""
    model = source()
    recipe: Recipe = dataclasses.replace(load_recipe("gqsa-w4s50"), default=rule)
    windows = calibration_windows(load_wikitext2("valid"), model.tokenizer, LENGTH, WINDOWS + HELD_OUT)
    ids, held_out = split_windows(windows, HELD_OUT)
    settings = Training(epochs=epochs, weight_rates=RATES if epochs else (0.0,))
    weights: dict[str, Any] = {}
    rows = []
    with tempfile.TemporaryDirectory() as folder, model.evaluating():
        trainer = BlockTrainer(model, ids, held_out, settings, folder=Path(folder))
        statistics = StreamStatistics(model, ids, True, stream=trainer.inputs)
        for index in range(BLOCKS):
            moments = statistics.get(index)
            rules = {path: recipe.rule(path) for path in model.linears(model.blocks[index])}
            fitted = trainer.fit(index, rules, moments, lambda detail: None)
            dense = {path: item.matrix.to_dense() for path, item in fitted.items()}
            statistics.passed(index, dense)
            trainer.passed(index, dense)
            weights |= dense
            rows += [item.row for item in fitted.values()]
    entries = sum(row.shape[0] * row.shape[1] for row in rows)
    found = perplexity(model, evaluated(), *EVALUATED, weights=weights)
    print(f"  {rule.structure}, {epochs} epochs: {found:.2f}", flush=True)
    return Outcome(found, 8 * sum(row.nbytes for row in rows) / entries)


def first_blocks(full: bool) -> Iterator[Claim]:
    """W4 with half of the groups, trained, against what else the same bytes or a little more can do."""
    groups = load_recipe("gqsa-w4s50").rule("")
    two_bits = Rule(GroupQuant(bits=2, group=16))
    pattern = NMQuant(2, 4, bits=4, group=16)
    rivals = [
        ("the same groups, one-shot", groups, 0),
        ("2:4 + W4, one-shot (SparseGPT)", Rule(pattern), 0),
        ("2:4 + W4, one-shot (Wanda)", Rule(pattern, metric="diagonal"), 0),
        ("W2, one-shot (GPTQ)", two_bits, 0),
        ("W2 with the same training", two_bits, EPOCHS),
        ("2:4 + W4 with the same training", Rule(pattern), EPOCHS),
    ]
    ours = outcome(groups, EPOCHS)
    for title, rule, epochs in rivals:
        theirs = outcome(rule, epochs)
        yield Claim(
            f"First blocks: perplexity of W4 S50 after BQPO against {title}",
            "< 1x",
            ours.perplexity,
            "perplexity",
            theirs.perplexity,
            title,
            paper="W4 at 50 % ahead of 2:4 pruning and of W2, on models of 7 to 30 billion parameters",
            note=f"{ours.bits:.2f} against {theirs.bits:.2f} bits a weight; original {original():.1f}; {SCALE}",
        )
