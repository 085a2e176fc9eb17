"""Where the time of a decoded token goes: its stages with their seconds, weight bytes and operations."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from gossamer._core.checks import check_int
from gossamer._core.errors import ArgumentError
from gossamer._core.results import Result
from gossamer._kernels.dispatch import active_isa
from gossamer.engine.sampling import Sampling

if TYPE_CHECKING:
    from gossamer.engine.engine import Engine

_MATRICES = {
    "query, key, value": ("q_proj", "k_proj", "v_proj"),
    "attention output": ("o_proj",),
    "gate, up": ("gate_proj", "up_proj"),
    "down": ("down_proj",),
}


@dataclass(frozen=True, kw_only=True, repr=False)
class ProfileResult(Result):
    """Stages of a decoded token.

    Attributes
    ----------
    rows : list of dict
        ``stage``, ``seconds`` a token, ``share`` of the token, ``bytes`` of weights or cache that it reads, ``flops``
        (two an entry of the dense matrix or of the cache). The seconds of a stage are those of one thread alone and
        the mean over threads of the work they share; what threads wait for each other is a stage of its own.
    seconds : float
        A token, all in all.
    bytes, flops : int
        Of a token.
    context : int
        Tokens before the middle of the measurement.
    threads : int
        Of the decoder.
    isa : str
        Instruction set of the kernels.
    """

    rows: list[dict[str, Any]] = field(repr=False)
    seconds: float
    bytes: int
    flops: int
    context: int
    threads: int
    isa: str


def profile(engine: Engine, prefill: int = 128, decode: int = 64) -> ProfileResult:
    """Decode greedily with the clocks of the native decoder on; they cost about a percent.

    Parameters
    ----------
    engine : Engine
        Of a decoder.
    prefill, decode : int
        Tokens of the prompt, not timed, and tokens that are drawn.

    Raises
    ------
    ArgumentError
        For an encoder, or if the context is too small.
    """
    if engine.kind != "llama":
        raise ArgumentError("profile: expected a decoder, this model is an encoder")
    check_int("prefill", prefill, low=1, high=engine.max_context)
    check_int("decode", decode, low=2, high=engine.max_context - prefill)
    ids = np.random.default_rng(0).integers(0, engine.vocab_size, prefill).tolist()
    decoder = engine.decoder
    session = decoder.new_session()
    session.prefill(ids)
    session.generate(2, Sampling())
    session = decoder.new_session()
    session.prefill(ids)
    session.decode(ids[0])  # the first drawn token needs no pass of its own
    total = 0.0

    def draw() -> None:
        nonlocal total
        start = time.perf_counter()
        session.generate(decode, Sampling())
        total = time.perf_counter() - start

    passes, parts = decoder.timed(draw)
    context = prefill + decode // 2
    sizes = _sizes(engine, context)
    rows, waiting, inside = [], 0.0, 0.0
    for name, serial, opened, busy in parts:
        seconds = serial + busy / decoder.threads
        waiting += opened - busy / decoder.threads
        inside += serial + opened
        read, flops = sizes.get(name, (0, 0))
        rows.append({"stage": name, "seconds": seconds / passes, "bytes": read, "flops": flops})
    rows.append({"stage": "synchronisation", "seconds": waiting / passes, "bytes": 0, "flops": 0})
    rows.append({"stage": "sampling, calls", "seconds": (total - inside) / passes, "bytes": 0, "flops": 0})
    whole = total / passes
    for row in rows:
        row["share"] = row["seconds"] / whole
    return ProfileResult(
        message=f"{passes} tokens on {decoder.threads} threads ({active_isa()}), about {context} tokens of context",
        rows=rows,
        seconds=whole,
        bytes=sum(row["bytes"] for row in rows),
        flops=sum(row["flops"] for row in rows),
        context=context,
        threads=decoder.threads,
        isa=active_isa(),
    )


def _sizes(engine: Engine, context: int) -> dict[str, tuple[int, int]]:
    """Bytes and flops of the stages that read weights or the cache."""
    weights = engine.decoder.describe()
    sizes = {}
    for stage, names in _MATRICES.items():
        own = [row for row in weights if row["path"].rsplit(".", 1)[-1] in names]
        sizes[stage] = (sum(r["bytes"] for r in own), sum(2 * r["shape"][0] * r["shape"][1] for r in own))
    head = weights[-1]  # the embedding, or the head of its own
    sizes["head"] = (head["bytes"], 2 * head["shape"][0] * head["shape"][1])
    cache, flops = engine.decoder.attention_cost(context)
    sizes["attention"] = (cache, flops)
    return sizes


__all__ = ["ProfileResult", "profile"]
