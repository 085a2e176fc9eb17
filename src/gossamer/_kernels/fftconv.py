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


def lanes(dtype: Any) -> int:
    """Numbers in a vector of the instruction set that runs now."""
    return _native.fftconv.vector_bytes() // np.dtype(dtype).itemsize


@dataclass(frozen=True)
class Chain:
    """A compiled chain of transforms of ``points`` complex numbers.

    ``twisted`` chains work modulo ``z^points - i`` and hold ``2 * points`` real numbers, others modulo
    ``z^points - 1`` and hold two rows. ``factors`` lists all of the chain, with the two of the tile where ``columns``.
    """

    points: int
    factors: tuple[int, ...]
    columns: bool
    twisted: bool
    products: bool
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
) -> Chain:
    """The chain of these radices, followed by a tile of lanes x lanes points where ``columns``; kept for later calls.

    With ``products`` each is a product with a Fourier matrix, of any side up to 64, and lanes are channels.
    """
    kind = bool(columns), bool(twisted), bool(products)
    return _chain(int(points), tuple(radices), *kind, np.dtype(dtype), _native.active_isa())


@lru_cache(maxsize=64)
def _chain(
    points: int,
    radices: tuple[int, ...],
    columns: bool,
    twisted: bool,
    products: bool,
    dtype: np.dtype,
    isa: str,
) -> Chain:
    check_choice("dtype", dtype.name, DTYPES)
    width = lanes(dtype)
    tail = (width, width) if columns else ()
    sides = range(1, 65) if products else RADICES
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
        dtype,
        native(points, list(radices), columns, twisted, products),
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
    threads: int | None = None,
) -> np.ndarray:
    """``after * ((before * u) conv k) + skip * u`` for rows ``u`` (batch, channels, length).

    ``k`` (channels, taps) may be given by ``spectra``. Raw bfloat16 (uint16) runs in float32 and wants spectra.
    ``live`` (tiles,) bytes says which tiles of the spectrum are kept; the rest must be zero in ``spectra``.
    """
    y = np.empty_like(u) if out is None else out
    taps = _check(plan, u, k, taps, spectra, before=before, after=after, skip=skip, y=y)
    if live is not None:
        if not plan.columns:
            raise ArgumentError("live: expected a chain of columns")
        expect_array("live", live, np.uint8, (plan.points // int(plan.native.lanes) ** 2,))
    if u.size:
        run = getattr(plan.native, f"convolve_{_held(u)}")
        run(u, taps, k, spectra, before, after, skip, y, live, get_threads(threads))
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
    needs: Sequence[bool] = (True, True, True, True, True),
    threads: int | None = None,
) -> list[np.ndarray | None]:
    """Gradients of :func:`convolve` with respect to u, k, before, after and skip, those that ``needs`` says."""
    wanted = [
        bool(need) and (i < 2 or (before, after, skip)[i - 2] is not None) for i, need in enumerate(needs)
    ]
    taps = _check(plan, u, k, taps, spectra, before=before, after=after, skip=skip, dy=dy)
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
            du, dk, dbefore, dafter, dskip, get_threads(threads),
        )  # fmt: skip
    return [du if wanted[0] else None, dk, dbefore, dafter, dskip]


def spectra_of(plan: Chain, k: np.ndarray, threads: int | None = None) -> np.ndarray:
    """Spectra of ``k`` (channels, taps) in the chain's order, times 1 / points."""
    if k.ndim != 2 or k.dtype != plan.dtype or not k.flags.c_contiguous:
        raise ArgumentError(
            f"k is {k.dtype} {k.shape}: expected contiguous {plan.dtype} of shape (channels, taps)"
        )
    out = np.empty(plan.spectra_shape(len(k)), plan.dtype)
    if out.size:
        plan.native.spectrum(k, out, get_threads(threads))
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
    if u.shape[2] > room:
        raise ShapeError(f"u has length {u.shape[2]}: the chain holds {room}")
    for name, array in arrays.items():
        if array is not None:
            expect_array(name, array, held, u.shape[1:2] if name == "skip" else u.shape)
    for name, array in {"u": u, "k": k, "spectra": spectra, **arrays}.items():
        if array is not None and not (array.flags.c_contiguous and array.flags.aligned):
            raise ArgumentError(f"{name}: expected contiguous, aligned rows")
    for name in ("y",):
        out = arrays.get(name)
        if out is not None and not out.flags.writeable:
            raise ArgumentError(f"{name} is read-only")
    return taps
