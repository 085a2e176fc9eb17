"""EoRA (arXiv 2410.21271): what low rank wins back on SmolLM2-135M-Instruct, and what its fused product saves.

Calibration: 12 windows of 256 tokens of WikiText-2 valid; evaluation: 12 windows of 256 of WikiText-2 test; inputs of
the original model ("dense") unless said otherwise. Recovery is the share of the gap in log-perplexity between the
compressed and the base model. The parts are short, so that each can run on a machine that is quiet for a minute.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np

from benchmarks.harness import Claim, compare, run

LENGTH, COUNT = 256, 12
PAPER = "LLaMA3-8B, 2:4 + 4 bits: +31.31 points on ARC-Easy; 3 bits: +10.84 on ARC-Challenge"


@cache
def texts() -> tuple[Any, np.ndarray, np.ndarray]:
    """The model, calibration windows and evaluation windows."""
    import torch

    from gossamer.compress import calibration_windows, load_model
    from gossamer.compress.calibrate.windows import evaluation_windows
    from gossamer.datasets.wikitext2 import load_wikitext2

    torch.set_num_threads(2)
    source = load_model("smollm2-135m")
    valid, test = load_wikitext2("valid")[:400_000], load_wikitext2("test")[:60_000]
    return (
        source,
        calibration_windows(valid, source.tokenizer, LENGTH, COUNT),
        evaluation_windows(test, source.tokenizer, LENGTH, COUNT),
    )


@cache
def rounded(bits: int) -> dict[str, np.ndarray]:
    """Every linear layer rounded to nearest in groups of 32, dense."""
    from gossamer.linalg import GroupQuant

    source = texts()[0]
    family = GroupQuant(bits=bits, group=32)
    return {path: family.project(source.weight(path).numpy()).to_dense() for path in source.linears()}


@cache
def pruned() -> dict[str, np.ndarray]:
    """2:4 by Wanda, then 4 bits in groups of 32 to nearest, dense."""
    from gossamer.compress.compensate.pair import Pair
    from gossamer.compress.compensate.walk import walk
    from gossamer.linalg import NM

    source, ids, _ = texts()
    found: dict[str, np.ndarray] = {}
    family = NM(2, 4).quantized(bits=4, group=32)

    def fit(layer: Any) -> None:
        metric = np.diagonal(layer.moment.C).astype(np.float32)
        found[layer.path] = family.project(source.weight(layer.path).numpy(), metric=metric).to_dense()

    nothing = {path: np.zeros(source.weight(path).shape, np.float32) for path in source.linears()}
    walk(Pair(source, nothing), ids, None, fit, inputs="dense")
    return found


def quality(weights: dict[str, np.ndarray] | None = None) -> float:
    """Perplexity with other weights."""
    from gossamer.compress import perplexity

    source, _, test = texts()
    return perplexity(source, test, LENGTH, COUNT, weights=weights)


def repaired(
    weights: dict[str, np.ndarray], rank: int, method: str, inputs: str = "dense"
) -> tuple[float, float]:
    """Perplexity after compensation, and the seconds that it took."""
    from gossamer.compress import eora

    source, ids, _ = texts()
    started = time.perf_counter()
    result = eora(source, weights, ids, rank=rank, method=method, inputs=inputs, solver="gram", unseen="keep")
    seconds = time.perf_counter() - started
    return quality({p: weights[p] + a.B @ a.A for p, a in result.adapters.items()}), seconds


def three_bits(full: bool) -> Iterator[Claim]:
    """RTN 3 bits, rank 32, against plain SVD."""
    base, broken = quality(), quality(rounded(3))
    own, seconds = repaired(rounded(3), 32, "eora")
    svd, _ = repaired(rounded(3), 32, "svd")
    share = math.log(broken / own) / math.log(broken / base)
    note = (
        f"base {base:.1f}, 3 bits {broken:.1f}; {COUNT} windows of {LENGTH} of WikiText-2 test; Gram solver"
    )
    yield Claim(
        "RTN 3 bits: gap in log-perplexity recovered at rank 32",
        ">= 60",
        100 * share,
        "%",
        paper=PAPER,
        note=note,
    )
    yield Claim(
        "RTN 3 bits: perplexity at rank 32",
        "<= 0.75x",
        own,
        "perplexity",
        svd,
        "plain SVD, rank 32",
        note=note,
    )
    yield Claim(
        "Time of a whole compensation, 3,072 tokens, 2 threads", "<= 120", seconds, "s", note="Gram solver"
    )


def _two_of_four(method: str, target: str) -> Iterator[Claim]:
    own, _ = repaired(pruned(), 64, "eora")
    other, _ = repaired(pruned(), 64, method)
    note = f"{COUNT} windows of {LENGTH} of WikiText-2 test; rank 64, Gram solver"
    name = {"svd": "plain SVD, rank 64", "act": "scaled by activations (E|x|), rank 64"}[method]
    yield Claim(
        f"2:4 + 4 bits: perplexity at rank 64, against {method}",
        target,
        own,
        "perplexity",
        other,
        name,
        note=note,
    )


def against_svd(full: bool) -> Iterator[Claim]:
    """2:4 + 4 bits against plain SVD."""
    yield from _two_of_four("svd", "<= 0.75x")


def against_act(full: bool) -> Iterator[Claim]:
    """2:4 + 4 bits against scaling by activations."""
    yield from _two_of_four("act", "<= 0.85x")


def recovery(full: bool) -> Iterator[Claim]:
    """2:4 + 4 bits: the share of the gap, and sequential against dense inputs."""
    base, broken = quality(), quality(pruned())
    own, _ = repaired(pruned(), 64, "eora")
    share = math.log(broken / own) / math.log(broken / base)
    note = f"base {base:.1f}, compressed {broken:.1f}, compensated {own:.1f}; {COUNT} windows of {LENGTH}; Gram solver"
    yield Claim(
        "2:4 + 4 bits: gap in log-perplexity recovered at rank 64",
        ">= 60",
        100 * share,
        "%",
        paper=PAPER,
        note=note,
    )


def sequential(full: bool) -> Iterator[Claim]:
    """Inputs behind the compensated blocks against those of the original model."""
    dense, _ = repaired(pruned(), 64, "eora")
    own, _ = repaired(pruned(), 64, "eora", "sequential")
    yield Claim(
        '2:4 + 4 bits: inputs="sequential"',
        "<= 1x",
        own,
        "perplexity",
        dense,
        'inputs="dense"',
        note="rank 64",
    )


def fused(full: bool) -> Iterator[Claim]:
    """One product of 4096 x 4096 in 4 bits with a term of rank 64."""
    import torch

    from gossamer._core.arrays import bits_to_bfloat16
    from gossamer._kernels import linear, lowrank
    from gossamer.engine.prepare import prepare
    from gossamer.linalg import GroupQuant, LowRank, LowRankMatrix

    torch.set_num_threads(2)
    size, rank = 4096, 64
    rng = np.random.default_rng(0)
    base = GroupQuant(4, 32).project(rng.standard_normal((size, size)).astype(np.float32))
    floats = [rng.standard_normal(shape).astype(np.float32) * 0.1 for shape in ((size, rank), (rank, size))]
    family = LowRank(rank, "bfloat16")
    term = LowRankMatrix(
        family,
        (size, size),
        dict(zip(("left", "right"), (family._store(f, f.dtype) for f in floats), strict=True)),
    )
    whole, alone = prepare(base + term), prepare(base)
    B, A = (bits_to_bfloat16(term.factors[name]) for name in ("left", "right"))
    x = rng.standard_normal((size, 1)).astype(np.float32)
    threads = 2

    def ours() -> None:
        linear.matmat(whole, x, act="int8", threads=threads)

    def torch_unfused() -> None:
        y = torch.from_numpy(np.ascontiguousarray(linear.matmat(alone, x, act="int8", threads=threads).T))
        with torch.inference_mode():
            t = torch.nn.functional.linear(torch.from_numpy(x.T).bfloat16(), A)
            y += torch.nn.functional.linear(t, B)

    def own_unfused() -> None:
        y = np.ascontiguousarray(linear.matmat(alone, x, act="int8", threads=threads))
        lowrank.add(y, term.factors["left"], term.factors["right"], x)

    for name, peer in (
        ("the same W4 kernel, then A x and B t by torch in bfloat16", torch_unfused),
        ("the same W4 kernel, then our own low-rank kernel", own_unfused),
    ):
        race = compare(ours, peer, work=1, unit="products/s", rounds=61 if full else 31)
        yield Claim.from_race(
            f"Fused product, 4096 x 4096 W4, rank 64, one column: against {name}",
            ">= 1.2x",
            race,
            peer_name=name,
            paper="up to 1.4x on a GPU",
            note="bfloat16 factors, int8 activations, 2 threads; on a CPU the term's own bytes are a tenth of the "
            "product, and launching a kernel costs next to nothing, which bounds what fusion can save",
        )


PARTS = {
    "fused": fused,
    "three-bits": three_bits,
    "recovery": recovery,
    "against-svd": against_svd,
    "against-act": against_act,
    "sequential": sequential,
}

if __name__ == "__main__":
    run("eora", PARTS, packages=["torch", "peft"])
