"""Resident memory that a contrastive loss adds, in MB: ``python -m benchmarks.pamc_memory {pamc|dense|blocks} n``."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from benchmarks.pamc import dense_full_loss, instance
from gossamer.nn import full_contrastive_loss, pamc_loss

STATUS = Path("/proc/self/status")


def _megabytes(field: str) -> float:
    match = re.search(rf"{field}:\s+(\d+) kB", STATUS.read_text())
    assert match is not None
    return int(match[1]) * 1024 / 1e6


def _step(kind: str, z: Any, gamma: Any, labels: Any) -> None:
    if kind == "pamc":
        pamc_loss(z, gamma, labels).backward()
    elif kind == "blocks":
        full_contrastive_loss(z, gamma).backward()
    else:
        dense_full_loss(z, gamma).backward()


def main(kind: str, n: int) -> None:
    """Take one loss and its gradient."""
    _step(kind, *instance(50))  # libraries are loaded and warm
    data = instance(n)
    Path("/proc/self/clear_refs").write_text("5")  # the largest size so far is forgotten
    before = _megabytes("VmRSS")
    _step(kind, *data)
    print(_megabytes("VmHWM") - before)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
