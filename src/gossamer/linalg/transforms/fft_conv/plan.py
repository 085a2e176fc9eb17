"""Choose how a convolution runs: engine, length of the transform and its factors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import scipy.fft

from gossamer._core.checks import check_choice, check_int
from gossamer._core.errors import ArgumentError
from gossamer._kernels import fftconv as kernels
from gossamer.linalg.transforms.fft_conv import chains
from gossamer.linalg.transforms.fft_conv.rates import Rates, current_rates

ENGINES = ("auto", "codelet", "gemm", "fft")
DTYPES = ("float32", "float64", "bfloat16")


@dataclass(frozen=True)
class FFTConvPlan:
    """What a convolution will run, and why.

    Attributes
    ----------
    engine : {"codelet", "gemm", "fft"}
        Straight-line butterflies in registers, matrix products with short Fourier matrices, or SciPy's transforms.
    size : int
        N, real numbers that a transform holds: length and filter together, or the length when circular.
    points : int
        Complex numbers that are transformed: N / 2 for a padded convolution, which runs modulo ``z^(N/2) - i``; N
        for a circular one, where two rows of the batch share a transform.
    factors : tuple of int
        Lengths of the short transforms, first to last. Their product is ``points``; empty for "fft".
    columns : bool
        Whether lanes of a vector are neighbours of one sequence; else they are channels.
    circular : bool
        No padding: the end of a sequence meets its beginning.
    dtype : str
        Of the arithmetic: "float32", "float64", or "bfloat16" for products of bfloat16 numbers with float32 sums.
    reason : str
        Why, in words.
    flops : int
        Floating-point operations of the whole call.
    seconds : float
        Predicted time on one thread.
    """

    engine: str
    size: int
    points: int
    factors: tuple[int, ...]
    columns: bool
    circular: bool
    dtype: str
    reason: str
    flops: int
    seconds: float

    @property
    def sums(self) -> str:
        """Dtype of sums, twiddle factors and spectra."""
        return "float32" if self.dtype == "bfloat16" else self.dtype

    def __str__(self) -> str:
        chain = " x ".join(map(str, self.factors)) or str(self.size)
        lanes = {True: ", lanes along the sequence", False: ", lanes across channels"}[self.columns]
        kind = "circular" if self.circular else "padded"
        return (
            f"{self.engine}: {kind}, N={self.size} as {self.points} complex numbers = {chain}"
            f"{lanes if self.engine == 'codelet' else ''}, {self.dtype}; {self.flops / 1e6:.3g} MFLOP, "
            f"about {1e3 * self.seconds:.3g} ms on one thread ({self.reason})"
        )


def plan_fft_conv(
    length: int,
    taps: int | None = None,
    *,
    channels: int = 1,
    batch: int = 1,
    dtype: Any = np.float32,
    fft_size: int | None = None,
    circular: bool = False,
    allow_alias: bool = False,
    engine: str = "auto",
    factors: Sequence[int] | str | None = None,
) -> FFTConvPlan:
    """Choose engine, transform length and factors of a convolution by predicted time.

    Parameters
    ----------
    length : int
        L of the sequences.
    taps : int, optional
        Length of the filter; L by default. Taps beyond L do not reach an output and are dropped.
    channels, batch : int
        How many sequences there are.
    dtype : dtype or str
        float32, float64 or "bfloat16": products of bfloat16 numbers with float32 sums, which engine "gemm" has.
    fft_size : int, optional
        Least N; ``L + taps - 1`` by default. Without ``allow_alias`` it changes no result.
    circular : bool
        The filter wraps around after ``fft_size`` (L by default) points.
    allow_alias : bool
        Take ``fft_size`` as it is though it is too small, which wraps around: circular in all but name.
    engine : {"auto", "codelet", "gemm", "fft"}
        "auto" takes the least predicted time.
    factors : sequence of int, optional
        Of ``points``, for "codelet" (2, 3, 4, 5, 7, 8 or 16 each) or "gemm" (2 to 128 each). "paper" takes those of
        the publication's table for the least of its sizes that holds the convolution, as matrix products.

    Returns
    -------
    plan : FFTConvPlan

    Raises
    ------
    ArgumentError
        If ``fft_size`` aliases, has prime factors above 7 where it must be kept, ``factors`` do not fit, or bfloat16 is
        asked of another engine than "gemm".
    """
    check_choice("engine", engine, ENGINES)
    length = check_int("length", length, low=0)
    taps = min(length if taps is None else check_int("taps", taps, low=1), max(length, 1))
    name = check_choice("dtype", dtype if dtype == "bfloat16" else np.dtype(dtype).name, DTYPES)
    if factors == "paper" or name == "bfloat16":
        if engine not in ("auto", "gemm"):
            raise ArgumentError(f"engine={engine!r}: expected 'gemm' with factors='paper' and in bfloat16")
        engine = "gemm"
    if fft_size is not None:
        check_int("fft_size", fft_size, low=1)
    wraps = circular or (allow_alias and fft_size is not None and fft_size < length + taps - 1)
    if wraps and fft_size is not None and fft_size < length:
        raise ArgumentError(
            f"fft_size={fft_size}: expected at least the length of the sequence, {length}, to wrap around"
        )
    needed = max(length + taps - 1, 1)
    if not wraps and fft_size is not None and fft_size < needed:
        raise ArgumentError(
            f"fft_size={fft_size}: expected at least L + taps - 1 = {needed}, or circular=True or allow_alias=True"
        )
    size = max(fft_size or (length if wraps else needed), 1)
    chosen: tuple[int, ...] | None = None
    if factors == "paper":
        chosen = chains.published_factors(size if wraps else -(-size // 2), exactly=wraps)
    elif isinstance(factors, str):
        raise ArgumentError(f"factors={factors!r}: expected numbers or 'paper'")
    elif factors is not None:
        chosen = tuple(check_int("factors", f, low=1) for f in factors)
    return _choose(
        size,
        wraps,
        max(channels, 1),
        max(batch, 1),
        name,
        engine,
        chosen,
        kernels.lanes("float32" if name == "bfloat16" else name),
        current_rates(),
    )


@lru_cache(maxsize=512)
def _choose(
    size: int,
    circular: bool,
    channels: int,
    batch: int,
    dtype: str,
    engine: str,
    factors: tuple[int, ...] | None,
    width: int,
    rates: Rates,
) -> FFTConvPlan:
    transforms = channels * (-(-batch // 2) if circular else batch)  # of `points`, there and back
    found: list[FFTConvPlan] = []

    def offer(
        kind: str, points: int, parts: tuple[int, ...], columns: bool, seconds: float, flops: float
    ) -> None:
        total = points if circular else 2 * points
        found.append(
            FFTConvPlan(kind, total, points, parts, columns, circular, dtype, "", int(flops), seconds)
        )

    if engine in ("auto", "codelet"):
        for points, radices, columns in _codelets(size, circular, factors, width, engine == "codelet"):
            tail = (width, width) if columns else ()
            lost = 1.0 if columns else -(-channels // width) * width / channels
            per_point = rates.codelet(points, radices, columns, width, dtype)
            seconds = points * lost * per_point * (transforms + channels / 2)
            flops = points * (transforms + channels / 2) * (8 * math.log2(max(points, 2)) + 8)
            offer("codelet", points, (*radices, *tail), columns, seconds, flops)
    if engine == "gemm" or (engine == "auto" and factors and not found):
        points, parts = _gemm_factors(size, circular, factors)
        work = points * (transforms + channels / 2) * 2 * sum(6 * f for f in parts)
        offer("gemm", points, parts, False, work / rates.gemm(parts, dtype), work)
    if engine in ("auto", "fft") and factors is None:
        total = size if circular else int(scipy.fft.next_fast_len(size, real=True))
        work = 2.5 * total * math.log2(max(total, 2)) * (2 * channels * batch + channels)
        plan = FFTConvPlan(
            "fft", total, total // 2 + 1, (), False, circular, dtype, "", int(work), work / rates.fft(dtype)
        )
        found.append(plan)
    best = min(found, key=lambda plan: plan.seconds)
    others = ", ".join(f"{p.engine} {1e3 * p.seconds:.3g} ms" for p in found if p.engine != best.engine)
    reason = "asked for" if engine != "auto" else f"least predicted time{'; ' + others if others else ''}"
    return FFTConvPlan(**{**best.__dict__, "reason": reason})


def _codelets(
    size: int, circular: bool, factors: tuple[int, ...] | None, width: int, asked: bool
) -> list[tuple[int, tuple[int, ...], bool]]:
    """Chains (points, radices, columns) that hold ``size``."""
    least = size if circular else -(-size // 2)
    if factors is not None:
        points = math.prod(factors)
        if points < least or (circular and points != size):
            raise ArgumentError(
                f"factors={factors}: expected a product of {least}{'' if circular else ' or more'}"
            )
        bad = [f for f in factors if f not in kernels.RADICES]
        if bad:
            if not asked:
                return []
            raise ArgumentError(f"factors={factors}: expected each of {kernels.RADICES} for engine='codelet'")
        columns = len(factors) >= 2 and factors[-2:] == (width, width)
        radices = (factors[:-2] or (1,)) if columns else factors
        return [(points, radices, columns)]
    if circular:
        if not chains.is_smooth(size):
            if asked:
                raise ArgumentError(
                    f"fft_size={size}: expected prime factors 2, 3, 5 and 7 for engine='codelet'; "
                    f"nearest valid: {chains.next_smooth(size)}"
                )
            return []
        square = width * width
        columns = size % square == 0
        return [(size, chains.cheapest_radices(size // square if columns else size), columns)]
    square = width * width
    found = []
    rest, tried = -(-least // square), 0
    while tried < 6:  # a little more padding may buy cheaper radices
        rest = chains.next_smooth(rest)
        found.append((rest * square, chains.cheapest_radices(rest), True))
        rest, tried = rest + 1, tried + 1
    if least <= 4 * square:
        points = chains.next_smooth(least)
        found.append((points, chains.cheapest_radices(points), False))
    return found


def _gemm_factors(size: int, circular: bool, factors: tuple[int, ...] | None) -> tuple[int, tuple[int, ...]]:
    least = size if circular else -(-size // 2)
    if factors is None:
        if circular and not chains.is_smooth(size):
            raise ArgumentError(
                f"fft_size={size}: expected prime factors 2, 3, 5 and 7 for engine='gemm'; "
                f"nearest valid: {chains.next_smooth(size)}"
            )
        points = least if circular else chains.next_smooth(least)
        return points, chains.balanced_factors(points)
    points = math.prod(factors)
    if points < least or (circular and points != size):
        raise ArgumentError(
            f"factors={factors}: expected a product of {least}{'' if circular else ' or more'}"
        )
    if any(not 2 <= f <= kernels.LARGEST_SIDE for f in factors):
        raise ArgumentError(f"factors={factors}: expected each from 2 to {kernels.LARGEST_SIDE}")
    return points, factors
