"""The smallest and fastest model within 5, 10 and 25 % of the base model's perplexity, against llama.cpp's 4 bits.

Both sides bring the models that they have; those whose loss is within the budget compete, with the smallest file and
with the fastest. Losses are paired with the base model window by window: llama.cpp's files dequantised in float32, ours
in our engine as it decodes (int8 activations). One half of the windows chooses, the other is reported. Some of ours
are trained on the valid split of WikiText-2; so there are two competitions: one counts WikiText-2 only, the other asks
for the budget on speeches as well, which nothing was fitted to.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.artifacts import CACHE
from benchmarks.decoding import CONTEXT, IDS, PROMPT, OurDecoder, decode_race
from benchmarks.gqsa_quality import made, summary_of
from benchmarks.harness import Claim
from gossamer._core.files import read_json, write_json

BUDGETS = (5, 10, 25)
OURS = (
    "balanced-5",
    "balanced-10",
    "balanced-25",
    "w2-g32",
    "w2-g16",
    "gqsa-w4s50",
    "gqsa-w4s30",
    "gqsa-w4s20",
)
WINDOW, WINDOWS = 256, 24


class Model(NamedTuple):
    """One model on disk: where, its bytes, and its losses over the base model's, window by window."""

    name: str
    path: Path
    nbytes: int
    excess: np.ndarray
    elsewhere: np.ndarray

    def loss(self, half: int) -> float:
        """Percent of perplexity lost on one half of the windows of WikiText-2."""
        return _percent(self.excess[half::2])

    def fits(self, budget: float, both: bool) -> bool:
        """Whether the windows that choose are within the budget."""
        return self.loss(0) <= budget and (not both or _percent(self.elsewhere[0::2]) <= budget)


def _percent(excess: np.ndarray) -> float:
    return 100 * math.expm1(float(excess.mean()))


def budgets(full: bool) -> Iterator[Claim]:
    """Size and speed at each budget."""
    ours, theirs = _ours(full), _theirs()
    yield from _elsewhere(ours)
    for both in (False, True):
        for budget in BUDGETS:
            yield from _compete(ours, theirs, budget, both)


def _elsewhere(models: list[Model]) -> Iterator[Claim]:
    """What is lost on a text that nothing was fitted to, by the bound that holds for the trained source."""
    from benchmarks import llama_peer

    original = llama_peer.bundled_model()
    base = math.exp(_losses(original.name, partial(_exact, original))[1].mean())
    for model in models:
        if not model.name.endswith("head"):
            yield Claim(
                f"Perplexity on speeches, which nothing was fitted to: {model.name}",
                "<= 1.6x",
                base * math.exp(model.elsewhere.mean()),
                "perplexity",
                base,
                "the original model",
                note=f"{len(model.elsewhere)} windows of {WINDOW} of the State of the Union addresses; "
                f"on WikiText-2, on whose other split it was fitted, {_percent(model.excess):+.1f} %",
            )


def _compete(ours: list[Model], theirs: list[Model], budget: int, both: bool) -> Iterator[Claim]:
    from benchmarks import llama_peer

    title = f"within {budget} % of the perplexity" + (", on speeches too" if both else "")
    mine, rivals = ([m for m in models if m.fits(budget, both)] for models in (ours, theirs))
    if not mine:
        print(f"none of ours is {title}", flush=True)
        return
    small, rival = (min(models, key=lambda m: m.nbytes) for models in (mine, rivals))
    yield Claim(
        f"Smallest model {title}: its files",
        "< 1x",
        small.nbytes / 1e6,
        "MB",
        rival.nbytes / 1e6,
        f"llama.cpp, {rival.name}",
        note=_about(small, rival),
    )
    peer = llama_peer.fastest({m.name: m.path for m in rivals}, PROMPT, IDS, CONTEXT)
    fast, race = max(
        (
            (m, decode_race(OurDecoder(str(m.path), 2), peer, 7))
            for m in sorted(mine, key=lambda m: m.nbytes)[:3]
        ),
        key=lambda found: found[1].ratio,
    )
    rival = next(m for m in rivals if f" {m.name}," in peer.name)
    yield Claim.from_race(
        f"Fastest model {title}: decode",
        "> 1x",
        race,
        peer_name=peer.name,
        note=f"{_about(fast, rival)}; ours with 2 threads, the fastest of the three smallest, interleaved",
    )
    peer.close()


def _about(ours: Model, theirs: Model) -> str:
    error = 100 * ours.excess[1::2].std(ddof=1) / math.sqrt(len(ours.excess) // 2)
    here, there = ((m.loss(1), _percent(m.elsewhere[1::2])) for m in (ours, theirs))
    return (
        f"ours {ours.name}, {here[0]:+.1f} % (standard error {error:.1f}); theirs {theirs.name}, {there[0]:+.1f} %; "
        f"{WINDOWS // 2} windows of {WINDOW} of WikiText-2 test, others chose; on {WINDOWS // 4} of the State of the "
        f"Union addresses ours {here[1]:+.1f} %, theirs {there[1]:+.1f} %"
    )


def _ours(full: bool) -> list[Model]:
    from gossamer.engine import Engine

    found = []
    for name in OURS:
        if made(name, full) is None:
            continue
        path = summary_of(name).with_suffix("")
        for title, folder in ((name, path), (f"{name} with a 4-bit head", _small_head(path))):
            nbytes = sum(file.stat().st_size for file in folder.iterdir())
            found.append(
                Model(title, folder, nbytes, *_excess(folder.name, partial(Engine.load, folder, threads=2)))
            )
            print(f"  {title}: {nbytes / 1e6:.1f} MB, {found[-1].loss(1):+.1f} %", flush=True)
    return found


def _small_head(path: Path) -> Path:
    """The same model, its embedding and head rounded to 4 bits after the training; made once."""
    from gossamer.compress import load_model
    from gossamer.compress.methods.embedding import fit_embeddings
    from gossamer.engine.artifact import load_artifact, save_artifact

    folder = path.with_name(f"{path.name}-w4")
    if not folder.is_dir():
        artifact = load_artifact(path)
        for place, fitted in fit_embeddings(load_model("smollm2-135m"), "w4")[0].items():
            artifact.matrices[place] = fitted.matrix
        save_artifact(folder, artifact)
    return folder


def _theirs() -> list[Model]:
    from benchmarks import llama_peer

    found = []
    for name, path in (llama_peer.four_bit_files("w8") | llama_peer.four_bit_files("w4")).items():
        found.append(Model(name, path, path.stat().st_size, *_excess(path.name, partial(_exact, path))))
        print(f"  {name}: {found[-1].nbytes / 1e6:.1f} MB, {found[-1].loss(1):+.1f} %", flush=True)
    return found


def _excess(name: str, engine: Callable[[], Any]) -> list[np.ndarray]:
    from benchmarks import llama_peer

    original = llama_peer.bundled_model()
    base = _losses(original.name, partial(_exact, original))
    return [own - theirs for own, theirs in zip(_losses(name, engine), base, strict=True)]


def _exact(path: Path) -> Any:
    """A GGUF file dequantised to float32, in our engine."""
    from gossamer.compress import load_model
    from gossamer.compress.assemble import base_artifact
    from gossamer.engine import Engine

    return Engine(base_artifact(load_model(path)), threads=2, act="fp32")


def _losses(name: str, engine: Callable[[], Any]) -> list[np.ndarray]:
    """Negative log-likelihood of each window of WikiText-2 test, and of a text that nothing was fitted to.

    Measured once and kept under build/bench.
    """
    from gossamer.datasets import load_sotu, load_wikitext2

    kept = CACHE / f"losses-{name}-{WINDOWS}.json"
    if not kept.exists():
        ready, texts = engine(), ((load_wikitext2("test"), WINDOWS), (load_sotu(), WINDOWS // 2))
        found = [ready.perplexity(text, window=WINDOW, windows=count).window_nll for text, count in texts]
        write_json(kept, found)
    return [np.array(part) for part in read_json(kept)]
