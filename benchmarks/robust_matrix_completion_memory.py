"""Ten million entries at rank 64 in float32, in a process whose memory is measured."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from gossamer.solve import matrix_completion
from gossamer.solve.completion.entries import check_triples

SIDE, RANK, COUNT = 20_000, 64, 10_000_000


def measured() -> dict[str, float]:
    """What :func:`main` prints, from a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.robust_matrix_completion_memory"], capture_output=True, text=True, check=True
    )  # fmt: skip
    return dict(json.loads(done.stdout))


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


def _held() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return float(pages * resource.getpagesize())


def main() -> None:
    """Draw entries of a matrix of rank 64, order them, sweep twice."""
    rng = np.random.default_rng(0)
    width = SIDE * SIDE // COUNT  # one entry in each stretch of 40: no place twice
    rows = np.repeat(np.arange(SIDE, dtype=np.int32), SIDE // width)
    cols = np.tile(np.arange(0, SIDE, width, dtype=np.int32), SIDE)
    cols += rng.integers(width, size=COUNT, dtype=np.int32)
    U, V = (rng.standard_normal((SIDE, RANK)).astype(np.float32) for _ in range(2))
    vals = np.empty(COUNT, np.float32)
    for lo in range(0, COUNT, 200_000):
        part = slice(lo, lo + 200_000)
        vals[part] = np.einsum("ek,ek->e", U[rows[part]], V[cols[part]])
    before = _held()
    began = time.perf_counter()
    check_triples(rows, cols, vals, (SIDE, SIDE), dtype="float32")
    ordering = time.perf_counter() - began
    result = matrix_completion(
        rows,
        cols,
        vals,
        (SIDE, SIDE),
        RANK,
        method="cg",
        dtype="float32",
        maxiter=2,
        random_state=0,
        threads=1,
    )
    found = {
        "bytes": (_peak() - before) / COUNT,
        "mib": _peak() / 2**20,
        "ordering": ordering,
        "sweep": float(np.median(result.history["sweep_seconds"][1:])),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
