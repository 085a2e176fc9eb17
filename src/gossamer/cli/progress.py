"""Progress on stderr: a live bar with the time left on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from gossamer.cli.output import stderr

_QUIET_SECONDS = 5.0


@contextmanager
def progress_bar(title: str = "", enabled: bool = True) -> Iterator[Callable[[Any], None]]:
    """Yield a callback that takes ``compress.Progress`` values: ``stage``, ``done``, ``total``, ``left``, ``detail``.

    On a terminal each stage has a bar; in a log each stage prints a line when it starts and then one every few
    seconds.
    """
    console = stderr()
    if not enabled:
        yield lambda event: None
    elif console.is_terminal:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]}", style="dim"),
        )
        with Progress(*columns, console=console) as live:
            yield _Bars(live, title)
    else:
        yield _Lines(console, title)


class _Bars:
    def __init__(self, live: Progress, title: str) -> None:
        self._live, self._title = live, title
        self._tasks: dict[str, Any] = {}

    def __call__(self, event: Any) -> None:
        if event.stage not in self._tasks:
            name = f"{self._title}{event.stage}"
            self._tasks[event.stage] = self._live.add_task(name, total=event.total, left="")
        self._live.update(
            self._tasks[event.stage], completed=event.done, total=event.total, left=_remark(event)
        )


class _Lines:
    def __init__(self, console: Any, title: str) -> None:
        self._console, self._title = console, title
        self._stage, self._said = "", 0.0

    def __call__(self, event: Any) -> None:
        now = time.monotonic()
        if event.stage == self._stage and event.done < event.total and now - self._said < _QUIET_SECONDS:
            return
        self._stage, self._said = event.stage, now
        text = f"{self._title}{event.stage} {event.done}/{event.total} {_remark(event)}".rstrip()
        self._console.print(text, markup=False)


def _remark(event: Any) -> str:
    if event.done >= event.total:
        return f"{event.seconds:.0f} s"
    left = event.left
    about = "" if left is None else f"{left:.0f} s left" if left < 90 else f"{left / 60:.1f} min left"
    return "  ".join(part for part in (about, event.detail) if part)
