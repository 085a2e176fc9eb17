"""Stages of a long computation: how far, how long, how long still."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gossamer.compress import memory
from gossamer.compress.result import Progress

Callback = Callable[[Progress], None]


class Reporter:
    """Times stages and tells a callback about their steps."""

    def __init__(self, callback: Callback | None = None) -> None:
        self._callback = callback
        self.stages: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str, total: int) -> Iterator[Callable[..., None]]:
        """Time a stage; yields ``step(done, detail="")``, to be called after each of ``total`` steps."""
        started = time.perf_counter()

        def step(done: int, detail: str = "") -> None:
            memory.give_back()  # every step frees large arrays, which otherwise stay with the process
            if self._callback is not None:
                self._callback(Progress(name, done, total, time.perf_counter() - started, detail))

        step(0)
        try:
            yield step
        finally:
            self.stages[name] = self.stages.get(name, 0.0) + time.perf_counter() - started
