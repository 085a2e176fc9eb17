"""Resident memory of this process, now and at its peak."""

from __future__ import annotations

import ctypes
import mmap
import resource
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np

_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_PAGEOUT = 21  # MADV_PAGEOUT of Linux 5.4


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
    trim = getattr(_LIBC, "malloc_trim", None)
    if trim is not None:
        trim(0)


def page_out(arrays: Iterable[np.ndarray]) -> None:
    """Let the system take back the memory of arrays that are not needed for a while (Linux; elsewhere nothing).

    Weights are mapped from their file: their pages are dropped here and read again when they are touched. The
    arrays keep their values in any case.
    """
    if _LIBC is None:
        return
    for array in arrays:
        start = -(-array.ctypes.data // mmap.PAGESIZE) * mmap.PAGESIZE  # whole pages only
        length = (array.ctypes.data + array.nbytes - start) // mmap.PAGESIZE * mmap.PAGESIZE
        if array.flags.c_contiguous and length > 0:
            # what an old kernel refuses stays in memory: no harm
            _LIBC.madvise(ctypes.c_void_p(start), ctypes.c_size_t(length), _PAGEOUT)


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
