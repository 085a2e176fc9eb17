"""Convolutions of real rows by chains of short transforms, and those transforms alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from gossamer._core.checks import check_choice
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._core.threads import get_threads
from gossamer._kernels import _native
from gossamer._kernels.views import expect_array

RADICES = (1, 2, 3, 4, 5, 7, 8, 16)
DTYPES = ("float32", "float64")
LARGEST_SIDE = 128


def lanes(dtype: Any) -> int:
    """Numbers in a vector of the instruction set that runs now."""
    return _native.fftconv.vector_bytes() // np.dtype(dtype).itemsize


@dataclass(frozen=True)
class Chain:
    """A compiled chain of transforms of ``points`` complex numbers.

    ``twisted`` chains work modulo ``z^points - i`` and hold ``2 * points`` real numbers, others modulo
    ``z^points - 1`` and hold two rows. ``factors`` lists all of the chain, with the two of the tile where ``columns``.
    ``bfloat16`` chains are products of matrices in bfloat16, with float32 sums and twiddle factors.
    """

    points: int
    factors: tuple[int, ...]
    columns: bool
    twisted: bool
    products: bool
    bfloat16: bool
    dtype: np.dtype
    native: Any

    @property
    def group(self) -> int:
        """Channels that share one array of spectra."""
        return 1 if self.columns else int(self.native.lanes)

    def spectra_shape(self, channels: int) -> tuple[int, int]:
        """Shape of the spectra of as many channels."""
        return -(-channels // self.group), int(self.native.spectrum_reals)


def chain(
    points: int,
    radices: Sequence[int],
    *,
    columns: bool,
    twisted: bool,
    dtype: Any = np.float32,
    products: bool = False,
    bfloat16: bool = False,
) -> Chain:
    """The chain of these radices, followed by a tile of lanes x lanes points where ``columns``; kept for later calls.

    With ``products`` each is a product with a Fourier matrix, of any side up to 128, and lanes are channels.
    """
    kind = bool(columns), bool(twisted), bool(products), bool(bfloat16)
    return _chain(int(points), tuple(radices), *kind, np.dtype(dtype), _native.active_isa())


@lru_cache(maxsize=64)
def _chain(
    points: int,
    radices: tuple[int, ...],
    columns: bool,
    twisted: bool,
    products: bool,
    bfloat16: bool,
    dtype: np.dtype,
    isa: str,
) -> Chain:
    check_choice("dtype", dtype.name, DTYPES)
    width = lanes(dtype)
    tail = (width, width) if columns else ()
    sides = range(1, LARGEST_SIDE + 1) if products else RADICES
    if bfloat16 and not (products and dtype == np.float32):
        raise ArgumentError("bfloat16: expected a chain of products with dtype float32")
    if not radices or any(radix not in sides for radix in radices) or (products and columns):
        raise ArgumentError(f"radices={radices}: expected at least one, each of {tuple(sides)}")
    if math.prod((*radices, *tail)) != points or points < 1:
        raise ArgumentError(f"radices={radices}: expected a product of {points} with the tile's {tail}")
    native = getattr(_native.fftconv, "Plan32" if dtype == np.float32 else "Plan64")
    return Chain(
        points,
        (*radices, *tail),
        columns,
        twisted,
        products,
        bfloat16,
        dtype,
        native(points, list(radices), columns, twisted, products, bfloat16),
    )


def convolve(
    plan: Chain,
    u: np.ndarray,
    k: np.ndarray | None,
    *,
    taps: int | None = None,
    spectra: np.ndarray | None = None,
    before: np.ndarray | None = None,
    after: np.ndarray | None = None,
    skip: np.ndarray | None = None,
    live: np.ndarray | None = None,
    out: np.ndarray | None = None,
    step: int = 0,
    history: int = 0,
    threads: int | None = None,
) -> np.ndarray:
    """``after * ((before * u) conv k) + skip * u`` for rows ``u`` (batch, channels, length).

    ``k`` (channels, taps) may be given by ``spectra``. Raw bfloat16 (uint16) runs in float32 and wants spectra.
    ``live`` (tiles,) bytes says which tiles of the spectrum are kept; the rest must be zero in ``spectra``. With a
    ``step`` rows of any length are taken window by window, ``step`` outputs each, and u may have ``history`` points
    before the first output's: ``taps - 1``, or none for an empty past.
    """
    history = int(history)
    y = np.empty((*u.shape[:2], max(u.shape[2] - history, 0)), u.dtype) if out is None else out
    taps = _check(
        plan, u, k, taps, spectra, step, history, before=before, after=after, skip=skip, y=y, live=live
    )
    if y.size:
        run = getattr(plan.native, f"convolve_{_held(u)}")
        run(u, taps, k, spectra, before, after, skip, y, live, history, int(step), get_threads(threads))
    return y


def differentiate(
    plan: Chain,
    dy: np.ndarray,
    u: np.ndarray,
    k: np.ndarray | None,
    *,
    taps: int | None = None,
    spectra: np.ndarray | None = None,
    before: np.ndarray | None = None,
    after: np.ndarray | None = None,
    skip: np.ndarray | None = None,
    live: np.ndarray | None = None,
    needs: Sequence[bool] = (True, True, True, True, True),
    step: int = 0,
    threads: int | None = None,
) -> list[np.ndarray | None]:
    """Gradients of :func:`convolve` with respect to u, k, before, after and skip, those that ``needs`` says.

    With ``live`` that of k is of the tiles that are kept.
    """
    wanted = [
        bool(need) and (i < 2 or (before, after, skip)[i - 2] is not None) for i, need in enumerate(needs)
    ]
    taps = _check(plan, u, k, taps, spectra, step, before=before, after=after, skip=skip, dy=dy, live=live)
    channels, real = u.shape[1], plan.dtype
    du = np.empty_like(u) if wanted[0] or wanted[2] else None
    dbefore = np.empty_like(u) if wanted[2] else None
    dafter = np.empty_like(u) if wanted[3] else None
    dk = np.zeros((channels, taps), real) if wanted[1] else None
    dskip = np.zeros(channels) if wanted[4] else None
    if u.size and any(wanted):
        run = getattr(plan.native, f"differentiate_{_held(u)}")
        run(
            dy, u, taps, k, spectra, before, after, skip,
            du, dk, dbefore, dafter, dskip, live, int(step), get_threads(threads),
        )  # fmt: skip
    return [du if wanted[0] else None, dk, dbefore, dafter, dskip]


def spectra_of(
    plan: Chain,
    k: np.ndarray,
    threads: int | None = None,
    *,
    live: np.ndarray | None = None,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """Spectra of ``k`` (channels, taps) in the chain's order, times 1 / points; zero in tiles that are not live.

    ``weights`` (points,) in the order of memory, the last axis but one as lanes, multiply those of columns.
    """
    if k.ndim != 2 or k.dtype != plan.dtype or not k.flags.c_contiguous:
        raise ArgumentError(
            f"k is {k.dtype} {k.shape}: expected contiguous {plan.dtype} of shape (channels, taps)"
        )
    _check_live(plan, live)
    if weights is not None:
        _check_weights(plan, weights)
    out = np.empty(plan.spectra_shape(len(k)), plan.dtype)
    if out.size:
        plan.native.spectrum(k, out, live, weights, get_threads(threads))
    return out


def transform(plan: Chain, x: np.ndarray, *, inverse: bool = False, threads: int | None = None) -> np.ndarray:
    """Complex rows (rows, points) to their spectra in the chain's order, or back without the factor 1 / points."""
    expect_array("x", x, np.complex64 if plan.dtype == np.float32 else np.complex128, (len(x), plan.points))
    if not x.flags.c_contiguous:
        raise ArgumentError("x: expected contiguous rows")
    out = np.empty_like(x)
    if x.size:
        plan.native.transform(
            x.view(plan.dtype).reshape(*x.shape, 2),
            out.view(plan.dtype).reshape(*x.shape, 2),
            bool(inverse),
            get_threads(threads),
        )
    return out


def _held(u: np.ndarray) -> str:
    return "bfloat16" if u.dtype == np.uint16 else u.dtype.name


def _check(
    plan: Chain,
    u: np.ndarray,
    k: np.ndarray | None,
    taps: int | None,
    spectra: np.ndarray | None,
    step: int,
    history: int = 0,
    *,
    live: np.ndarray | None,
    **arrays: np.ndarray | None,
) -> int:
    held = u.dtype
    if held != plan.dtype and not (held == np.uint16 and plan.dtype == np.float32):
        raise ArgumentError(f"u is {held}: expected {plan.dtype}, as the chain, or raw bfloat16 with float32")
    if u.ndim != 3:
        raise ShapeError(f"u has shape {u.shape}: expected (batch, channels, length)")
    if (k is None) == (spectra is None):
        raise ArgumentError("k and spectra: expected one of them")
    if k is not None:
        if held == np.uint16:
            raise ArgumentError("k: expected spectra with raw bfloat16")
        expect_array("k", k, held, (u.shape[1], k.shape[-1]))
        taps = k.shape[1]
    else:
        expect_array("spectra", spectra, plan.dtype, plan.spectra_shape(u.shape[1]))  # type: ignore[arg-type]
    if taps is None or taps < 1:
        raise ArgumentError(f"taps={taps}: expected at least 1")
    room = (2 if plan.twisted else 1) * plan.points
    if step:
        _check_windows(plan, taps, step, history, room, arrays)
    elif history or u.shape[2] > room:
        raise ShapeError(f"u has length {u.shape[2]}: the chain holds {room}, without a history")
    _check_live(plan, live)
    rows = (*u.shape[:2], max(u.shape[2] - history, 0))
    for name, array in arrays.items():
        if array is not None:
            expect_array(name, array, held, u.shape[1:2] if name == "skip" else rows)
    for name, array in {"u": u, "k": k, "spectra": spectra, **arrays}.items():
        if array is not None and not (array.flags.c_contiguous and array.flags.aligned):
            raise ArgumentError(f"{name}: expected contiguous, aligned rows")
    out = arrays.get("y")
    if out is not None and not out.flags.writeable:
        raise ArgumentError("y is read-only")
    return taps


def _check_windows(
    plan: Chain, taps: int, step: int, history: int, room: int, arrays: dict[str, np.ndarray | None]
) -> None:
    if not plan.twisted or not 1 <= step <= room - taps + 1:
        raise ArgumentError(f"step={step}: expected 1 to {room - taps + 1}, of a twisted chain")
    if history not in (0, taps - 1):
        raise ArgumentError(f"history={history}: expected 0 or {taps - 1}, one less than taps")
    if any(arrays.get(name) is not None for name in ("before", "after", "skip")):
        raise ArgumentError("before, after, skip: expected none with windows")


def _check_live(plan: Chain, live: np.ndarray | None) -> None:
    if live is None:
        return
    if not plan.columns:
        raise ArgumentError("live: expected a chain of columns")
    expect_array("live", live, np.uint8, (plan.points // int(plan.native.lanes) ** 2,))


def decimate(x: np.ndarray, window: np.ndarray, coarse: int, threads: int | None = None) -> np.ndarray:
    """``out[m] = sum_n h[n - m factor] x[n]`` for rows x (rows, length), on a ring of ``coarse`` points.

    ``window`` (factor, 2 reach) holds ``h[r + (q - reach) factor]``; what passes the ring's end comes back with the
    sign changed. Factors are 2, 4, 8 and 16.
    """
    out = np.empty((len(x), coarse), x.dtype)
    _check_grids(x, window, x.shape[-1], coarse)
    if out.size:
        getattr(_native.fftconv, f"decimate_{x.dtype.name}")(x, window, out, get_threads(threads))
    return out


def interpolate(x: np.ndarray, window: np.ndarray, length: int, threads: int | None = None) -> np.ndarray:
    """``y[n] = sum_m h[n - m factor] x[m]``, n below ``length``: the transpose of :func:`decimate`."""
    y = np.empty((len(x), length), x.dtype)
    _check_grids(x, window, length, x.shape[-1])
    if y.size:
        getattr(_native.fftconv, f"interpolate_{x.dtype.name}")(x, window, y, get_threads(threads))
    return y


def lowpass(
    plan: Chain,
    u: np.ndarray,
    k: np.ndarray,
    window: np.ndarray,
    weights: np.ndarray,
    threads: int | None = None,
) -> np.ndarray:
    """``interpolate(decimate(u) conv decimate(k))`` row by row, the filter's spectrum times ``weights``.

    u is (batch, channels, length), k (channels, taps); the plan is that of the ring.
    """
    _check_lowpass(plan, u, k, window, weights)
    y = np.empty_like(u)
    if u.size:
        plan.native.lowpass(u, k, window, weights, y, get_threads(threads))
    return y


def lowpass_gradients(
    plan: Chain,
    dy: np.ndarray,
    u: np.ndarray,
    k: np.ndarray,
    window: np.ndarray,
    weights: np.ndarray,
    *,
    needs: Sequence[bool] = (True, True),
    threads: int | None = None,
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Gradients of :func:`lowpass` with respect to u and k, those that ``needs`` says."""
    _check_lowpass(plan, u, k, window, weights)
    expect_array("dy", dy, plan.dtype, u.shape)
    if not dy.flags.c_contiguous:
        raise ArgumentError("dy: expected contiguous rows")
    du = np.empty_like(u) if needs[0] else None
    dk = np.zeros_like(k) if needs[1] else None
    if u.size and any(needs):
        plan.native.lowpass_gradients(dy, u, k, window, weights, du, dk, get_threads(threads))
    return du, dk


def _check_lowpass(
    plan: Chain, u: np.ndarray, k: np.ndarray, window: np.ndarray, weights: np.ndarray
) -> None:
    if not (plan.columns and plan.twisted):
        raise ArgumentError("plan: expected a twisted chain of columns")
    if u.ndim != 3 or k.ndim != 2:
        raise ShapeError(
            f"u has shape {u.shape}, k {k.shape}: expected (batch, channels, length), (channels, taps)"
        )
    for rows in (u.reshape(-1, u.shape[2]), k):
        _check_grids(rows, window, rows.shape[-1], 2 * plan.points)
    expect_array("u", u, plan.dtype, (len(u), len(k), u.shape[2]))
    expect_array("k", k, plan.dtype, k.shape)
    _check_weights(plan, weights)


def _check_weights(plan: Chain, weights: np.ndarray) -> None:
    if not plan.columns or not weights.flags.c_contiguous:
        raise ArgumentError("weights: expected a contiguous array, and a chain of columns")
    expect_array("weights", weights, plan.dtype, (plan.points,))


def _check_grids(x: np.ndarray, window: np.ndarray, length: int, coarse: int) -> None:
    if x.ndim != 2 or x.dtype.name not in DTYPES or not x.flags.c_contiguous:
        raise ArgumentError(f"x is {x.dtype} {x.shape}: expected contiguous rows of {' or '.join(DTYPES)}")
    factor, taps = window.shape if window.ndim == 2 else (0, 0)
    if factor not in (2, 4, 8, 16) or taps < 2 or taps % 2 or not window.flags.c_contiguous:
        raise ShapeError(
            f"window has shape {window.shape}: expected (2, 4, 8 or 16, an even number), contiguous"
        )
    expect_array("window", window, x.dtype, (factor, taps))
    if not 0 <= length <= factor * coarse or taps // 2 > coarse:
        raise ShapeError(
            f"length={length}, coarse={coarse}: expected at most {factor * coarse} and {taps // 2} or more"
        )
