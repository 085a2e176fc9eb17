"""Genotypes that share factors with outcomes, as bytes on a disk; fits in a process of their own."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

FACTORS, OUTCOMES = 10, 82


def genotypes(n: int, p: int, seed: int = 0) -> tuple[Path, np.ndarray]:
    """A file of int8 (n, p), written once, and outcomes (n, 82) in float32.

    Allele frequencies are U(.05, .5); for each person they move by ten latent factors, which the outcomes share.
    """
    rng = np.random.default_rng(seed)
    factors = rng.standard_normal((n, FACTORS), dtype=np.float32)
    mixing = (
        rng.standard_normal((FACTORS, OUTCOMES), dtype=np.float32)
        * np.linspace(2, 1, FACTORS, dtype=np.float32)[:, None]
    )
    outcomes = factors @ mixing + 3 * rng.standard_normal((n, OUTCOMES), dtype=np.float32)
    frequency = rng.uniform(0.05, 0.5, p).astype(np.float32)
    loading = rng.standard_normal((FACTORS, p), dtype=np.float32)
    path = Path(tempfile.gettempdir()) / f"gossamer-genotypes-{n}-{p}-{seed}.i8"
    if not path.exists() or path.stat().st_size != n * p:
        part = path.with_suffix(".part")
        with open(part, "wb") as file:
            for start in range(0, n, 50):
                moved = frequency * (1 + 0.1 * (factors[start : start + 50] @ loading))
                limit = np.clip(256 * moved, 1, 255).astype(np.uint8)
                count = np.zeros(limit.shape, np.int8)
                for _ in range(2):
                    count += np.frombuffer(rng.bytes(limit.size), np.uint8).reshape(limit.shape) < limit
                file.write(count.tobytes())
        part.rename(path)
    return path, outcomes


def exact_values(path: Path, Y: np.ndarray, p: int) -> tuple[np.ndarray, np.ndarray]:
    """Singular values of the cross-covariance, and the cross-covariance (p, q), by blocks of features."""
    X = np.memmap(path, np.int8, "r", shape=(len(Y), p))
    centred = Y - Y.mean(axis=0)
    cross = np.concatenate(
        [X[:, a : a + 10_000].astype(np.float32).T @ centred for a in range(0, p, 10_000)]
    ) / (len(Y) - 1)
    return np.linalg.svd(cross, compute_uv=False), cross


def measured(what: str, n: int, p: int, **options: Any) -> dict[str, Any]:
    """Run one fit in a process of its own: seconds, growth of its memory in MB, and where its weights are."""
    call = [
        sys.executable,
        "-m",
        "benchmarks.stochastic_cca_genotypes",
        what,
        str(n),
        str(p),
        json.dumps(options),
    ]
    done = subprocess.run(call, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """``what n p options``: fit and print."""
    what, n, p, options = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), json.loads(sys.argv[4])
    path, Y = genotypes(n, p)
    X = np.memmap(path, np.int8, "r", shape=(n, p))
    if what == "ours":
        from gossamer.learn import StochasticPLS

        model: Any = StochasticPLS(**options)
    elif what == "scikit-learn":
        from sklearn.cross_decomposition import PLSSVD

        model = PLSSVD(scale=False, **options)
    else:
        from cca_zoo.stochastic import StochasticCCAEY

        model = StochasticCCAEY(shrinkage=1.0, **options)
    before = psutil.Process().memory_info().rss
    start = time.perf_counter()
    if what == "ours":
        model.fit(X, Y)
    elif what == "scikit-learn":
        model.fit(X.astype(np.float32), Y)
    else:
        model.fit([X.astype(np.float32), Y])
    seconds = time.perf_counter() - start
    # not ru_maxrss, which begins with what the parent had
    peak = int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024  # type: ignore[index]
    growth = peak - before
    weights = model.weights_ if hasattr(model, "weights_") else (model.x_weights_, model.y_weights_)
    out = Path(tempfile.gettempdir()) / f"gossamer-genotypes-{what}.npz"
    np.savez(out, x=weights[0], y=weights[1])
    print(json.dumps({"seconds": seconds, "growth": growth / 2**20, "weights": str(out)}))


if __name__ == "__main__":
    main()
