"""What low rank wins back on SmolLM2-135M-Instruct: the runs behind the EoRA benchmark.

Calibration: 12 windows of 256 tokens of WikiText-2 valid; evaluation: 12 windows of 256 of WikiText-2 test. What
several claims need is computed once a process.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from benchmarks.artifacts import CACHE
from gossamer._core.files import read_json, write_json

LENGTH, COUNT = 256, 12
ENDING = "\nAnswer:"


class Repair(NamedTuple):
    """A compensated model: its weights, their perplexity, and what the compensation cost."""

    weights: dict[str, np.ndarray]
    perplexity: float
    seconds: float
    cpu_seconds: float


@cache
def source() -> Any:
    """The model as it came, on two threads."""
    import torch

    from gossamer.compress import load_model

    torch.set_num_threads(2)
    return load_model("smollm2-135m")


@cache
def calibration(seed: int = 0) -> np.ndarray:
    """Windows of WikiText-2 valid; seeds take them from different thirds of the text."""
    from gossamer.compress import calibration_windows
    from gossamer.datasets.wikitext2 import load_wikitext2

    text = load_wikitext2("valid")
    part = text[seed * 350_000 :][: 400_000 if seed == 0 else 350_000]
    return calibration_windows(part, source().tokenizer, LENGTH, COUNT)


@cache
def task_windows() -> np.ndarray:
    """Half the windows from the calibration half of ARC-Easy, half from WikiText-2 valid."""
    from gossamer.compress.calibrate.mixes import task_mix
    from gossamer.datasets import load_arc, load_wikitext2

    sources = {"task": load_arc("easy", "calibrate"), "text": load_wikitext2("valid")[:400_000]}
    return task_mix(sources, source().tokenizer, {"task": 0.5, "text": 0.5}, length=LENGTH, count=COUNT)


@cache
def three_bit() -> dict[str, np.ndarray]:
    """Every linear layer rounded to nearest in 3 bits and groups of 32, dense."""
    from gossamer.linalg import GroupQuant

    family = GroupQuant(bits=3, group=32)
    return {path: family.project(source().weight(path).numpy()).to_dense() for path in source().linears()}


@cache
def two_of_four() -> dict[str, np.ndarray]:
    """2:4 by Wanda on the first calibration set, then 4 bits in groups of 32 to nearest, dense."""
    from gossamer.compress.compensate.pair import Pair
    from gossamer.compress.compensate.walk import walk
    from gossamer.linalg import NM

    found: dict[str, np.ndarray] = {}
    family = NM(2, 4).quantized(bits=4, group=32)

    def fit(layer: Any) -> None:
        metric = np.diagonal(layer.moment.C).astype(np.float32)
        found[layer.path] = family.project(source().weight(layer.path).numpy(), metric=metric).to_dense()

    nothing = {path: np.zeros(source().weight(path).shape, np.float32) for path in source().linears()}
    walk(Pair(source(), nothing), calibration(), None, fit, inputs="dense")
    return found


BROKEN = {"three bits": three_bit, "2:4 + 4 bits": two_of_four}


@cache
def quality(kind: str) -> float:
    """Perplexity of the base model or of a compressed one."""
    return _perplexity(None if kind == "base" else BROKEN[kind]())


@cache
def repaired(kind: str, rank: int, method: str, inputs: str = "dense", calib: int | str = 0) -> Repair:
    """Compensate a compressed model; ``calib`` is a seed, or "task" for the mix."""
    from gossamer.compress import eora

    weights = BROKEN[kind]()
    ids = task_windows() if calib == "task" else calibration(int(calib))
    started, cpu = time.perf_counter(), time.process_time()
    result = eora(
        source(), weights, ids, rank=rank, method=method, inputs=inputs, solver="gram", unseen="keep"
    )
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    whole = {path: weights[path] + a.B @ a.A for path, a in result.adapters.items()}
    return Repair(whole, _perplexity(whole), seconds, cpu)


def _perplexity(weights: Mapping[str, np.ndarray] | None) -> float:
    from gossamer.compress import perplexity
    from gossamer.compress.calibrate.windows import evaluation_windows
    from gossamer.datasets.wikitext2 import load_wikitext2

    test = evaluation_windows(load_wikitext2("test")[:60_000], source().tokenizer, LENGTH, COUNT)
    return perplexity(source(), test, LENGTH, COUNT, weights=weights)


def kept_answers(name: str, weights: Callable[[], Mapping[str, np.ndarray] | None], count: int) -> np.ndarray:
    """:func:`right_answers` of the model ``name``, kept on disk: many minutes each. ``weights`` makes it if it must."""
    path = CACHE / f"eora-arc-{name}-{count}.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, right_answers(weights(), count).tolist())
    return np.array(read_json(path))


def right_answers(weights: Mapping[str, np.ndarray] | None, count: int) -> np.ndarray:
    """Which of the first ``count`` evaluation questions of ARC-Easy are answered rightly, a boolean each.

    A choice's score is its log-likelihood after the question, divided by its bytes. The question runs through the
    model once for all its choices.
    """
    import torch

    from gossamer.compress.calibrate.stream import swapped
    from gossamer.datasets import load_arc

    encode, module = source().tokenizer.encode, source().module
    right = []
    with source().evaluating(), swapped(source(), weights or {}), torch.inference_mode():
        for question in load_arc("easy", "evaluate")[:count]:
            query = question.query if question.query.endswith(ENDING) else question.query + ENDING
            texts = [f" {choice}" for choice in question.choices]
            answers = [encode(text) for text in texts]
            longest = max(map(len, answers))
            padded = torch.tensor(
                [a + [0] * (longest - len(a)) for a in answers]
            )  # behind: nothing looks there
            first = module(torch.tensor([encode(query)]), use_cache=True, logits_to_keep=1)
            first.past_key_values.batch_repeat_interleave(len(texts))
            rest = module(padded, past_key_values=first.past_key_values).logits
            logits = torch.cat([first.logits.expand(len(texts), -1, -1), rest[:, :-1]], 1)
            found = logits.float().log_softmax(-1).gather(2, padded[:, :, None])[:, :, 0]
            scores = [
                float(row[: len(a)].sum()) / len(text.encode())
                for row, a, text in zip(found, answers, texts, strict=True)
            ]
            right.append(int(np.argmax(scores)) == question.gold)
    return np.array(right)
