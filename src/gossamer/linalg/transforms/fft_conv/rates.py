"""What a machine does per second in transforms and matrix products: measured once, or assumed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import scipy.fft

from gossamer._kernels import fftconv as kernels
from gossamer.linalg.transforms.fft_conv import chains


@dataclass(frozen=True)
class Rates:
    """Rates of one thread, float32; float64 is taken to be half as fast.

    Attributes
    ----------
    tile, cost : float
        Seconds a point of a convolution by codelets: fixed, and for each unit of the cost of its passes.
    rows : float
        Seconds a point for bringing channels into lanes, where sequences are too short or odd for columns.
    far : float
        Factor on passes once a sequence has outgrown the second-level cache.
    products : tuple of (int, float)
        Floating-point operations a second of products with square matrices of these sides: gamma of the paper's model.
    transform : float
        The same of SciPy's real transforms, by the convention of ``2.5 N log2 N``.
    measured : bool
        Whether this machine was measured.
    """

    tile: float = 0.75e-9
    cost: float = 0.06e-9
    rows: float = 4e-9
    far: float = 1.5
    products: tuple[tuple[int, float], ...] = ((4, 6e9), (16, 25e9), (64, 45e9))
    transform: float = 2.5e9
    measured: bool = False

    def codelet(self, points: int, radices: Sequence[int], columns: bool, width: int, dtype: str) -> float:
        """Seconds a point of one convolution, there and back."""
        scale = 2.0 if dtype == "float64" else 1.0
        far = self.far if points > 1 << 16 else 1.0
        if columns:
            return scale * far * (self.tile + self.cost * chains.pass_cost(radices))
        return scale * (self.rows + self.cost * chains.pass_cost(radices))

    def gemm(self, factors: Sequence[int], dtype: str) -> float:
        """Operations a second of a chain of products, which the slowest factor weighs on by its share of the work."""
        sides, speeds = zip(*self.products, strict=True)
        seconds = sum(f / float(np.interp(f, sides, speeds)) for f in factors)
        return sum(factors) / seconds / (2.0 if dtype == "float64" else 1.0)

    def fft(self, dtype: str) -> float:
        """Operations a second of SciPy's transforms."""
        return self.transform / (2.0 if dtype == "float64" else 1.0)


_rates = Rates()


def current_rates() -> Rates:
    """The rates that plans go by."""
    return _rates


def calibrate_fft_conv(repeats: int = 5) -> Rates:
    """Measure this machine (a second or so); plans go by it from then on.

    Parameters
    ----------
    repeats : int
        Runs of each measurement, of which the fastest counts.

    Returns
    -------
    rates : Rates
        What :func:`gossamer.linalg.plan_fft_conv` uses now.
    """
    global _rates
    rng = np.random.default_rng(0)
    width = kernels.lanes(np.float32)
    costs, seconds = [], []
    for rest in (1, 2, 8, 16, 128):
        costs.append(chains.pass_cost(chains.cheapest_radices(rest)))
        seconds.append(_codelet_seconds(rest * width * width, 1 << 17, width, repeats))
    cost, tile = np.polyfit(costs, seconds, 1)
    cost, tile = max(float(cost), 1e-12), max(float(tile), 1e-11)
    far = _codelet_seconds(1 << 18, 1 << 18, width, repeats)
    far /= tile + cost * chains.pass_cost(chains.cheapest_radices((1 << 18) // (width * width)))
    u = rng.standard_normal((1, 16 * width, 60), dtype=np.float32)
    plan = kernels.chain(60, chains.cheapest_radices(60), columns=False, twisted=True)
    spectra = kernels.spectra_of(plan, u[0], threads=1)
    took = _least(lambda: kernels.convolve(plan, u, None, taps=60, spectra=spectra, threads=1), repeats)
    rows_cost = max(took / u.size - cost * chains.pass_cost(chains.cheapest_radices(60)), 1e-11)
    products = []
    for side in (4, 16, 64):
        A, X = rng.standard_normal((side, side), np.float32), rng.standard_normal((side, 4096), np.float32)
        products.append((side, 2 * side * side * 4096 / _least(partial(np.matmul, A, X), repeats)))
    x = rng.standard_normal((16, 8192), dtype=np.float32)
    took = _least(lambda: scipy.fft.irfft(scipy.fft.rfft(x), 8192), repeats)
    transform = 16 * 2 * 2.5 * 8192 * math.log2(8192) / took
    _rates = Rates(tile, cost, float(rows_cost), max(far, 1.0), tuple(products), transform, True)
    return _rates


def _codelet_seconds(points: int, total: int, width: int, repeats: int) -> float:
    """Seconds a point of a convolution by codelets, in rows of so many points."""
    u = np.random.default_rng(0).standard_normal((1, max(1, total // points), points), dtype=np.float32)
    plan = kernels.chain(points, chains.cheapest_radices(points // width**2), columns=True, twisted=True)
    spectra = kernels.spectra_of(plan, u[0], threads=1)
    out = np.empty_like(u)
    run = partial(kernels.convolve, plan, u, None, taps=points, spectra=spectra, out=out, threads=1)
    return _least(run, repeats) / u.size


def _least(run: Callable[[], object], repeats: int) -> float:
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


__all__ = ["Rates", "calibrate_fft_conv", "current_rates"]
