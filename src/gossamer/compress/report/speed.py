"""Speed of models, measured turn by turn so that the machine's moods hit all of them alike."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from gossamer._core.checks import check_int
from gossamer._core.lazy import require
from gossamer._core.threads import get_threads


@dataclass(frozen=True)
class Speed:
    """Speed of one model.

    Attributes
    ----------
    label : str
        What ran, and in which engine.
    prefill, decode : float
        Median tokens a second.
    decode_spread : float
        (Third quartile - first quartile) / median of the decode speeds; 0 for a single run.
    memory : int
        Bytes that the model holds while it runs; 0 where the engine does not tell.
    how : str
        How it was measured.
    """

    label: str
    prefill: float
    decode: float
    decode_spread: float
    memory: int
    how: str

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain values."""
        return asdict(self)

    @property
    def steady(self) -> bool:
        """Whether the middle half of the runs lies within a quarter of the median."""
        return self.decode_spread <= 0.25


@dataclass(frozen=True)
class Runner:
    """Something that can be timed.

    Attributes
    ----------
    label : str
        For reports.
    prefill, decode : int
        Tokens that are read, then written, each time.
    threads : int
        How many it uses.
    memory : int
        Bytes that it holds; 0 if unknown.
    once : callable
        Runs once and gives the seconds of the prefill and of the decoding that follows.
    """

    label: str
    prefill: int
    decode: int
    threads: int
    memory: int
    once: Callable[[], tuple[float, float]]


def race(
    runners: Sequence[Runner], repeats: int = 5, progress: Callable[[int, int], None] | None = None
) -> list[Speed]:
    """Time each runner ``repeats`` times, in turns.

    Parameters
    ----------
    runners : sequence of Runner
        From :func:`engine_runner` or :func:`llama_cpp_runner`.
    repeats : int
        How many rounds count.
    progress : callable, optional
        Hears (rounds done, all rounds).

    Returns
    -------
    list of Speed
        In the order of ``runners``.
    """
    repeats = check_int("repeats", repeats, low=1)
    times: list[list[tuple[float, float]]] = [[] for _ in runners]
    for turn in range(repeats):
        for runner, found in zip(runners, times):
            found.append(runner.once())
        if progress is not None:
            progress(turn + 1, repeats)
    return [_speed(runner, found, repeats, len(runners)) for runner, found in zip(runners, times)]


def engine_runner(label: str, engine: Any, prefill: int = 256, decode: int = 64) -> Runner:
    """Time a gossamer engine by its own benchmark, which warms up each time.

    Parameters
    ----------
    label : str
        For reports.
    engine : Engine
        Of a decoder, or of an encoder, which only reads.
    prefill, decode : int
        How many tokens each.
    """

    def once() -> tuple[float, float]:
        found = engine.benchmark(prefill=prefill, decode=decode, repeats=1)
        return prefill / found.prefill_speed, decode / found.decode_speed if found.decode_speed else 0.0

    return Runner(label, prefill, decode, engine.threads, sum(engine.memory.values()), once)


def llama_cpp_runner(
    label: str, path: str | os.PathLike[str], prefill: int = 256, decode: int = 64, threads: int | None = None
) -> Runner:
    """Time llama.cpp (``llama-cpp-python``) on a GGUF file: the same tokens, the same way.

    Parameters
    ----------
    label : str
        For reports.
    path : path
        The GGUF file.
    prefill, decode : int
        How many tokens each.
    threads : int, optional
        As many as gossamer would use by default.

    Raises
    ------
    MissingDependencyError
        If ``llama-cpp-python`` is not installed.
    """
    llama_cpp = require("llama_cpp", "bench")
    count = get_threads(threads)
    model = llama_cpp.Llama(
        os.fspath(path), n_ctx=prefill + decode + 8, n_batch=512, n_threads=count, n_threads_batch=count,
        logits_all=False, verbose=False,
    )  # fmt: skip
    vocabulary = model.n_vocab()
    ids = [(7919 * i + 31) % vocabulary for i in range(prefill)]

    def once() -> tuple[float, float]:
        model.reset()
        start = time.perf_counter()
        model.eval(ids)
        middle = time.perf_counter()
        for _ in range(decode):
            logits = llama_cpp.llama_get_logits_ith(model.ctx, -1)
            model.eval([int(np.ctypeslib.as_array(logits, (vocabulary,)).argmax())])
        return middle - start, time.perf_counter() - middle

    once()  # warm up, as the engine's benchmark does
    return Runner(label, prefill, decode, count, 0, once)


def _speed(runner: Runner, found: list[tuple[float, float]], repeats: int, racers: int) -> Speed:
    decode = [runner.decode / seconds if seconds else 0.0 for _, seconds in found]
    middle = statistics.median(decode)
    quartiles = statistics.quantiles(decode, n=4) if len(decode) > 1 else [middle, middle, middle]
    turns = f", {racers} models in turns" if racers > 1 else ""
    return Speed(
        label=runner.label,
        prefill=statistics.median(runner.prefill / seconds for seconds, _ in found),
        decode=middle,
        decode_spread=(quartiles[2] - quartiles[0]) / middle if middle else 0.0,
        memory=runner.memory,
        how=f"Median of {repeats} warm runs{turns}: a prompt of {runner.prefill} tokens, "
        f"then {runner.decode} tokens greedily, one by one; {runner.threads} threads.",
    )
