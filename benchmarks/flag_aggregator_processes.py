"""One training in a server and eleven workers, real processes over gloo, against the same in one process.

``python -m benchmarks.flag_aggregator_processes FOLDER`` forks the twelve; the server leaves its history in FOLDER.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from benchmarks.flag_aggregator_training import CONDITIONS, WORKERS, digits, train

CONDITION, RULE = CONDITIONS["random"], ("flag", {})


def compare_histories() -> tuple[np.ndarray, np.ndarray, float, float, float]:
    """Losses of both (steps, p), their accuracies, and the seconds that the processes took."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "benchmarks.flag_aggregator_processes", folder], check=True)
        took = time.perf_counter() - start
        found = np.load(Path(folder) / "server.npz")
        losses, reached = found["losses"], float(found["accuracy"])
    here, result = train(digits(), CONDITION, *RULE, 0)
    assert result is not None
    return losses, result.losses, reached, here, took


def main(folder: str) -> None:
    """Fork the processes and wait for them."""
    torch.set_num_threads(1)
    torch.optim.SGD([torch.zeros(1)], 1.0)  # its imports, once for all
    children = []
    for rank in range(WORKERS + 1):
        if (child := os.fork()) == 0:
            code = 1
            try:
                dist.init_process_group(
                    "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=WORKERS + 1
                )
                reached, result = train(digits(), CONDITION, *RULE, 0, workers=None)
                if result is not None:
                    np.savez(Path(folder) / "server.npz", losses=result.losses, accuracy=reached)
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    if any(codes):
        raise SystemExit(f"exit codes of the processes: {codes}")


if __name__ == "__main__":
    main(sys.argv[1])
