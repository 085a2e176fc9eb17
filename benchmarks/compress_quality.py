"""Quality of the compression methods on a real model: their order is the claim, as in the literature.

SparseGPT below Wanda below magnitude at equal sparsity; GPTQ below round-to-nearest at equal bits. WikiText-2 (the
tokenised variant) valid calibrates, test evaluates; every figure states window and count. The base model is the
bundled 4-bit SmolLM2-135M-Instruct, dequantised; see the note on each claim for its perplexity.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from benchmarks.artifacts import BASE, compressed
from benchmarks.harness import Claim, run
from gossamer.datasets import load_wikitext2

ORDERS = [
    # what is equal, better, worse, where the order was reported
    (
        "50 % unstructured",
        "wanda-50",
        "magnitude-50",
        "Wanda, ICLR 2024: below magnitude on 7B models and larger",
    ),
    (
        "50 % unstructured",
        "sparsegpt-50",
        "wanda-50",
        "Wanda, ICLR 2024: close to SparseGPT, on either side of it",
    ),
    ("2:4", "wanda-2of4", "magnitude-2of4", "Wanda, ICLR 2024"),
    ("2:4", "sparsegpt-2of4", "wanda-2of4", "Wanda, ICLR 2024: SparseGPT ahead at 2:4"),
    ("4 bits", "gptq-w4", "rtn-w4", "GPTQ, ICLR 2023"),
    ("3 bits", "gptq-w3", "rtn-w3", "GPTQ, ICLR 2023: the gap widens at 3 bits"),
]
WINDOWS = {"quick": [(256, 12)], "full": [(256, 12), (1024, 16)]}


@cache
def perplexity(recipe: str | None, window: int, windows: int) -> float:
    """Perplexity on WikiText-2 test of the model under ``recipe``; None is the base model."""
    from gossamer.engine import Engine

    path, _ = compressed(recipe or BASE)
    engine = Engine.load(path, act="fp32")
    value = engine.perplexity(load_wikitext2("test"), window=window, windows=windows).perplexity
    print(f"  {recipe or 'base'}: {value:.2f} ({windows} windows of {window})", flush=True)
    return float(value)


def order(full: bool) -> Iterator[Claim]:
    """The better method of each pair against the other one."""
    for window, windows in WINDOWS["full" if full else "quick"]:
        for equal, better, worse, paper in ORDERS:
            yield Claim(
                f"Perplexity at {equal}: {better} below {worse}, {windows} windows of {window}",
                "< 1x",
                perplexity(better, window, windows),
                "perplexity",
                perplexity(worse, window, windows),
                f"our {worse}",
                paper=paper,
                note=f"base model {perplexity(None, window, windows):.2f} on the same windows; float32 activations",
            )


if __name__ == "__main__":
    run("compress-quality", {"order": order}, packages=["torch"])
