"""Resident memory that training adds, in MB: ``python -m benchmarks.quickselection_memory {sparse|dense} n rows``."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np

STATUS = Path("/proc/self/status")


def _megabytes(field: str) -> float:
    match = re.search(rf"{field}:\s+(\d+) kB", STATUS.read_text())
    assert match is not None
    return int(match[1]) * 1024 / 1e6


def main(kind: str, n: int, rows: int) -> None:
    """Train for two passes over random rows."""
    import torch

    from benchmarks.quickselection_peers import MaskedDAE
    from gossamer.nn import SparseDAE

    X = np.random.default_rng(0).standard_normal((rows, n), np.float32)
    # both libraries are loaded and warm, so that what is counted is the training
    SparseDAE(8, 8, batch_size=4).partial_fit(X[:4, :8])
    MaskedDAE(8, 8, None).step(torch.from_numpy(X[:4, :8].copy()))
    Path("/proc/self/clear_refs").write_text("5")  # the largest size so far is forgotten
    before = _megabytes("VmRSS")
    if kind == "sparse":
        model = SparseDAE(n, 1000, random_state=0)
        for _ in range(2):
            model.partial_fit(X)
            model.evolve()
    else:
        dense = MaskedDAE(n, 1000, None)
        for _ in range(2):
            for start in range(0, rows - 99, 100):
                dense.step(torch.from_numpy(X[start : start + 100]))
    print(_megabytes("VmHWM") - before)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
