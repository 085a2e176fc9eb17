"""How many threads a computation may use."""

from __future__ import annotations

import functools
import os
from contextlib import AbstractContextManager
from typing import Any

from gossamer._core.checks import check_int
from gossamer._core.lazy import require

_threads: int | None = None


def available_cores() -> int:
    """Cores that this process may run on (its affinity mask, not the machine's count)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def get_threads(threads: int | None = None) -> int:
    """How many threads a call uses: the argument, else :func:`set_threads`, else ``GOSSAMER_THREADS``, else all cores.

    Parameters
    ----------
    threads : int, optional
        What the call was told.

    Returns
    -------
    int
        At least 1.
    """
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
    """Set how many threads gossamer's kernels use in this process, where a call does not say it.

    Parameters
    ----------
    threads : int or None
        At least 1; None goes back to ``GOSSAMER_THREADS``, or to all cores. Other libraries' threads are not touched.

    Raises
    ------
    ArgumentError
        If it is not a positive integer.
    """
    global _threads
    _threads = None if threads is None else check_int("threads", threads, low=1)


def hold_blas(threads: int = 1) -> AbstractContextManager[Any]:
    """Let BLAS use so many threads within the context: its idle ones spin on cores that ours want.

    Needs threadpoolctl, which scikit-learn brings. Libraries that are loaded after the first call are not held.
    """
    limits: AbstractContextManager[Any] = _pools().limit(limits=threads, user_api="blas")
    return limits


@functools.cache
def _pools() -> Any:
    return require("threadpoolctl", "learn").ThreadpoolController()
