"""A hundred thousand inner problems of a hundred unknowns, in a process whose memory is measured."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time

import numpy as np

from gossamer.solve import MultiBlockProblem, multi_block_bilevel


class WideQuadratic(MultiBlockProblem):
    r"""``g_i = y^T D y / 2 - y^T (x + c_i)``, ``f_i = |y - 1|^2 / 2``: c_i is computed from i, so nothing is stored.

    The minimiser is ``x = d - mean c`` with d the diagonal of D, whatever the noise.

    Parameters
    ----------
    m, d : int
        Blocks, and unknowns of each and of x.
    """

    mu, smooth = 1.0, 2.0

    def __init__(self, m: int, d: int) -> None:
        self.m, self.dim_x, self.dim_y = m, d, d
        self.diagonal = np.linspace(self.mu, self.smooth, d)

    def centre(self, blocks: np.ndarray) -> np.ndarray:
        """c of some blocks."""
        return np.sin(blocks[:, None] * np.arange(1.0, self.dim_y + 1))

    def sample(self, blocks: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
        """Noise of the inner gradients."""
        return rng.normal(0, 0.1 * size**-0.5, (len(blocks), self.dim_y))

    def grad_y_g(self, x: np.ndarray, Y: np.ndarray, blocks: np.ndarray, batch: np.ndarray) -> np.ndarray:
        """``D y - x - c``."""
        return self.diagonal * Y - x - self.centre(blocks) + batch

    def hvp_yy_g(
        self, x: np.ndarray, Y: np.ndarray, V: np.ndarray, blocks: np.ndarray, batch: np.ndarray
    ) -> np.ndarray:
        """``D v``."""
        return self.diagonal * V

    def jtvp_xy_g(
        self, x: np.ndarray, Y: np.ndarray, V: np.ndarray, blocks: np.ndarray, batch: np.ndarray
    ) -> np.ndarray:
        """``-v``, summed."""
        return -V.sum(axis=0)

    def grad_x_f(self, x: np.ndarray, Y: np.ndarray, blocks: np.ndarray, batch: np.ndarray) -> None:
        """The outer losses do not see x."""
        return

    def grad_y_f(self, x: np.ndarray, Y: np.ndarray, blocks: np.ndarray, batch: np.ndarray) -> np.ndarray:
        """``y - 1``."""
        return Y - 1.0

    def minimiser(self) -> np.ndarray:
        """Where the gradient of F vanishes."""
        total = np.zeros(self.dim_y)
        for lo in range(0, self.m, 1000):
            total += self.centre(np.arange(lo, min(lo + 1000, self.m))).sum(axis=0)
        return self.diagonal - total / self.m


def measured() -> dict[str, float]:
    """Peak memory and seconds of :func:`main` in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.mbbo_wide"], capture_output=True, text=True, check=True
    )
    return dict(json.loads(done.stdout))


def main() -> None:
    """v2 with 1000 of 100,000 blocks a step; prints what it took."""
    problem = WideQuadratic(100_000, 100)
    began = time.perf_counter()
    result = multi_block_bilevel(
        problem, np.zeros(100), maxiter=1000, blocks_per_step=1000, batch_size=4, lr=0.005, lr_lower=0.01, alpha=0.5,
        gamma=1.0, eval_every=0, random_state=0,
    )  # fmt: skip
    seconds = time.perf_counter() - began
    best = problem.minimiser()
    found = {
        "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "ms": 1e3 * seconds / result.nit,
        "error": float(np.linalg.norm(result.x - best) / np.linalg.norm(best)),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
