"""all-MiniLM-L6-v2 compressed: what its embeddings keep, and sentences a second against onnxruntime and torch.

Real sentences of differing length. Peers get padded batches of sequences of similar length (the order that suits
them), our engine gets the same sequences unpadded; tokenisation is left out of everybody's time; 2 threads each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from benchmarks.encoder_models import (
    OURS,
    TEXT,
    WORDS,
    batches,
    engine,
    questions,
    run_ort,
    run_torch,
    sentences,
    tokens,
)
from benchmarks.harness import Claim, compare, run

PEERS = {
    "onnxruntime, int8 dynamic, fused": partial(run_ort, fused=True),
    "onnxruntime, int8 dynamic, as exported": partial(run_ort, fused=False),
    "torch, bfloat16": partial(run_torch, "bfloat16"),
    "torch, float32": partial(run_torch, "float32"),
}
REASONS = {
    "w8": "",
    "2of4-w4-r32": "; the terms are multiplied in floating point, which costs more than 4 bits save",
    "w4s50-r32": "; panels are unpacked at every call, and the terms are multiplied in floating point",
    "monarch-b4": "; float32 weights, of which half as many are multiplied",
    "monarch-b4-r32": "; float32 weights",
}
"""Why speed falls short where it does."""
ONE_SHOT = "; one-shot"
TRAINED = (
    f"; both stages on {TEXT.windows} windows of {TEXT.length} tokens of speeches, the second towards the original's "
    "embeddings; terms fixed"
)
SPEED = {
    "w8": ">= 1.2x",
    "2of4-w4-r32": ">= 1x",
    "w4s50-r32": ">= 1x",
    "monarch-b4": ">= 1x",
    "monarch-b4-r32": ">= 1x",
}


def retention(full: bool) -> Iterator[Claim]:
    """Order of all similarities and nearest neighbours, against the original in float32."""
    yield from _kept(sentences(2000 if full else 128), "")
    yield from _kept(questions(1500 if full else 128), ", on questions of ARC-Easy")


def _kept(texts: list[str], where: str) -> Iterator[Claim]:
    from gossamer.engine.retention import retention as kept

    ids = tokens(texts)

    def embed(runner: Callable) -> np.ndarray:  # one at a time: nobody's padding matters
        return np.concatenate([runner(batch) for one in ids for batch in batches([one], 1)])

    reference = embed(run_torch("float32"))
    peer = kept(reference, embed(run_ort(True)))
    for name in OURS:
        found = kept(reference, engine(name).encoder.embed(ids))
        note = f"{found.texts} texts; mean cosine to the original {found.cosine:.4f}"
        note += "" if name == "w8" else TRAINED if name.endswith("trained") else ONE_SHOT
        size = f"; {engine(name).memory['weights'] / 1e6:.1f} MB in memory"
        yield Claim(
            f"{WORDS[name]}: Spearman correlation of all cosines with the original's{where}",
            ">= 0.95",
            found.spearman,
            "",
            peer.spearman,
            "onnxruntime, int8 dynamic",
            note=note + size,
        )
        yield Claim(
            f"{WORDS[name]}: nearest neighbours kept, of 10{where}",
            ">= 0.8",
            found.overlap,
            "share",
            peer.overlap,
            "onnxruntime, int8 dynamic",
            note=note,
        )


def _speed(size: int, full: bool) -> Iterator[Claim]:
    ids = tokens(sentences(128))[:64]
    lengths = sorted(map(len, ids))
    middle = lengths[len(ids) // 2]
    padded = batches(ids, size)

    def ours(name: str) -> None:
        encoder = engine(name).encoder
        if size == 1:
            for one in ids:
                encoder.embed([one])
        else:
            encoder.embed(ids, batch_size=size)

    for name in SPEED:  # training changes no format
        for title, make in PEERS.items():
            runner = make()

            def peer(runner: Callable = runner) -> None:
                for batch in padded:
                    runner(batch)

            race = compare(
                partial(ours, name),
                peer,
                work=len(ids),
                unit="sentences/s",
                rounds=15 if full else 7,
                warmup=2,
            )
            yield Claim.from_race(
                f"{WORDS[name]}: sentences/s, {size} at a time, against {title}",
                SPEED[name],
                race,
                peer_name=title,
                note=f"{len(ids)} sentences of {lengths[0]} to {lengths[-1]} tokens, median {middle}; 2 threads"
                + REASONS[name],
            )


def one(full: bool) -> Iterator[Claim]:
    """A sentence at a time."""
    yield from _speed(1, full)


def many(full: bool) -> Iterator[Claim]:
    """32 sentences at a time."""
    yield from _speed(32, full)


PARTS = {"retention": retention, "one": one, "many": many}

if __name__ == "__main__":
    run("encoder", PARTS, packages=["torch", "onnxruntime", "transformers"])
