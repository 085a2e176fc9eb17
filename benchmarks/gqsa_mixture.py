"""What a trained model keeps on text of other kinds, by what it was trained on: one source, or a mixture of three.

W4 with a fifth of the groups pruned, both stages, as many windows for both. Three texts evaluate: WikiText-2 test;
speeches from 1990 on, of which the mixture has older ones; and arithmetic problems, of a kind that neither has seen.
"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.gqsa_quality import MIXTURE, WINDOW, WINDOWS, made, summary_of
from benchmarks.harness import Claim

VARIANTS = {"gqsa-w4s20": "trained on WikiText-2", MIXTURE: "trained on a mixture"}


def mixture_quality(full: bool) -> Iterator[Claim]:
    """Perplexity on three texts against the base model's."""
    from gossamer.compress import load_model
    from gossamer.compress.assemble import base_artifact
    from gossamer.datasets import load_gsm8k, load_sotu, load_wikitext2
    from gossamer.engine import Engine

    problems = " ".join(f"{item.question} {item.rationale}" for item in load_gsm8k("test")[:150])
    texts = {
        "WikiText-2": load_wikitext2("test"),
        "speeches from 1990 on": load_sotu("evaluate"),
        "arithmetic problems": problems,
    }
    original = Engine(base_artifact(load_model("smollm2-135m")), threads=2, act="fp32")
    base = {name: original.perplexity(text, window=WINDOW, windows=WINDOWS) for name, text in texts.items()}
    for variant, title in VARIANTS.items():
        if made(variant, full) is None:
            continue
        engine = Engine.load(summary_of(variant).with_suffix(""), threads=2)
        for name, text in texts.items():
            yield Claim(
                f"Perplexity on {name}: W4, 20 % of the groups pruned, {title}",
                "<= 1.6x",
                engine.perplexity(text, window=WINDOW, windows=WINDOWS).perplexity,
                "perplexity",
                base[name].perplexity,
                "the original model",
                note=f"{WINDOWS} windows of {WINDOW}; mixture: equal shares of WikiText-2, speeches before 1990 and "
                "the model's own text; its end-to-end stage follows the original model's predictions as well",
            )
