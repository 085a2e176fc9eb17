"""How fast an engine is on this machine: medians and spreads over repeats."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from gossamer._core.checks import check_int
from gossamer._core.errors import ArgumentError
from gossamer._core.results import Result
from gossamer._kernels.dispatch import active_isa
from gossamer.engine.sampling import Sampling

if TYPE_CHECKING:
    from gossamer.engine.engine import Engine

_SEQUENCES = 16  # that an encoder embeds in one repeat


@dataclass(frozen=True, kw_only=True, repr=False)
class BenchmarkResult(Result):
    """Speed of an engine: medians of ``repeats`` runs, spreads as (largest - smallest) / median.

    Attributes
    ----------
    prefill_speed, decode_speed : float
        Tokens a second; ``decode_speed`` is 0 for encoders.
    prefill_spread, decode_spread : float
        Relative spreads.
    prefill, decode, repeats, threads : int
        What was run.
    isa : str
        Instruction set of the kernels.
    prefill_speeds, decode_speeds : list of float
        Tokens a second of every repeat.
    """

    prefill_speed: float
    decode_speed: float
    prefill_spread: float
    decode_spread: float
    prefill: int
    decode: int
    repeats: int
    threads: int
    isa: str
    prefill_speeds: list[float] = field(default_factory=list, repr=False)
    decode_speeds: list[float] = field(default_factory=list, repr=False)


def benchmark(engine: Engine, prefill: int = 128, decode: int = 128, repeats: int = 5) -> BenchmarkResult:
    """Time a prompt of random tokens, then greedy steps from it; one run warms up and is not counted.

    Parameters
    ----------
    engine : Engine
        What to measure. An encoder embeds 16 sequences of ``prefill`` tokens a repeat.
    prefill, decode : int
        Tokens of the prompt and of the answer.
    repeats : int
        Runs that count.

    Returns
    -------
    BenchmarkResult
    """
    check_int("repeats", repeats, low=1)
    check_int("prefill", prefill, low=1, high=engine.max_context)
    decode = check_int("decode", decode, low=0) if engine.kind == "llama" else 0
    if prefill + decode > engine.max_context:
        raise ArgumentError(f"prefill + decode = {prefill + decode}: expected at most {engine.max_context}")
    rng = np.random.default_rng(0)
    once = _decoder_times if engine.kind == "llama" else _encoder_times
    times = [
        once(engine, rng.integers(0, engine.vocab_size, prefill).tolist(), decode) for _ in range(repeats + 1)
    ]
    first = [prefill / t for t, _ in times[1:]]
    second = [decode / t if decode else 0.0 for _, t in times[1:]]
    return BenchmarkResult(
        message=f"median of {repeats} runs on {engine.threads} threads ({active_isa()})",
        prefill_speed=statistics.median(first),
        decode_speed=statistics.median(second),
        prefill_spread=_spread(first),
        decode_spread=_spread(second),
        prefill=prefill,
        decode=decode,
        repeats=repeats,
        threads=engine.threads,
        isa=active_isa(),
        prefill_speeds=first,
        decode_speeds=second,
    )


def _decoder_times(engine: Engine, ids: list[int], decode: int) -> tuple[float, float]:
    session = engine.decoder.new_session()
    start = time.perf_counter()
    session.prefill(ids)
    middle = time.perf_counter()
    session.generate(decode, Sampling(seed=0))
    return middle - start, time.perf_counter() - middle


def _encoder_times(engine: Engine, ids: list[int], decode: int) -> tuple[float, float]:
    start = time.perf_counter()
    engine.encoder.hidden([ids] * _SEQUENCES)
    return (time.perf_counter() - start) / _SEQUENCES, 0.0


def _spread(values: list[float]) -> float:
    middle = statistics.median(values)
    return (max(values) - min(values)) / middle if middle else 0.0


__all__ = ["BenchmarkResult", "benchmark"]
