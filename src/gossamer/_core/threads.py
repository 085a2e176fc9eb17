"""How many threads a computation may use."""

from __future__ import annotations

import os

from gossamer._core.checks import check_int

_threads: int | None = None


def available_cores() -> int:
    """Cores that this process may run on (its affinity mask, not the machine's count)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def get_threads(threads: int | None = None) -> int:
    """Resolve ``threads``: the argument, else :func:`set_threads`, else ``GOSSAMER_THREADS``, else all cores."""
    if threads is not None:
        return check_int("threads", threads, low=1)
    if _threads is not None:
        return _threads
    from_environment = os.environ.get("GOSSAMER_THREADS")
    if from_environment:
        return check_int(
            "GOSSAMER_THREADS",
            int(from_environment) if from_environment.isdigit() else from_environment,
            low=1,
        )
    return available_cores()


def set_threads(threads: int | None) -> None:
    """Set the process-wide number of threads; None goes back to the default."""
    global _threads
    _threads = None if threads is None else check_int("threads", threads, low=1)
