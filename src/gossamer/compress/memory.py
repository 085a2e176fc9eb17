"""Resident memory of this process, now and at its peak."""

from __future__ import annotations

import ctypes
import resource
import sys
from pathlib import Path


def resident() -> int:
    """Bytes of this process that are in memory; the peak so far where the system does not say."""
    return _status("VmRSS") or _lifetime_peak()


def reset_peak() -> None:
    """Begin to measure the peak anew, where the system lets us (Linux)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def peak() -> int:
    """Highest :func:`resident` since :func:`reset_peak`, or of the process's life where that is not to be had."""
    return _status("VmHWM") or _lifetime_peak()


def give_back() -> None:
    """Return freed memory to the system, where the C library can (glibc keeps much of it otherwise)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def _status(key: str) -> int:
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(key + ":"):
                return int(line.split()[1]) * 1024
    except OSError:
        return 0
    return 0


def _lifetime_peak() -> int:
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale
