"""Uniform grids: the scale and zero of a group, rounding to them, and both inside the error-compensating sweep."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gossamer._core.checks import check_choice, check_int
from gossamer._core.errors import ArgumentError

BITS = (2, 3, 4, 8)
# 1 first, so that it wins ties; more than 1 because rounding z may have cut off an end
_RANGES = np.array([1.0, 1.05, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.55])
_SMALLEST = 2.0**-24  # the smallest positive float16
_NORMAL = 2.0**-14  # below this a float16 has fewer than 11 significant bits


@dataclass(frozen=True)
class Grid:
    r"""A uniform grid of :math:`2^b` values, :math:`\hat w = (q - z)\,s`, with ``s`` (and ``z``) fitted to a group.

    Parameters
    ----------
    bits : {2, 3, 4, 8}
        Bits of a code ``q``.
    symmetric : bool
        ``s = max|w| / (2^(b-1) - 1)`` and ``z = 2^(b-1)``; otherwise ``s = (max w - min w) / (2^b - 1)``,
        where the range is widened to contain 0.
    zero : {"int", "float"}
        Asymmetric grids hold ``z`` rounded to an integer code, so that 0 is on the grid, or ``m = s z = -min
        w`` as float16, so that both ends of the range are.
    clip : {"auto", "minmax", "mse"}
        ``"minmax"`` takes the full range of a group; ``"mse"`` tries eleven ranges from 1.05 to 0.55 of it and takes
        that of the least squared error, weighed by the importance of the entries; ``"auto"`` is mse where an
        importance is given, that is where a projection has a metric.

    Notes
    -----
    Scales are float16 and codes are computed against the rounded scale. A scale is at least the ``floor``
    that the caller gives and never 0; scales in the subnormal range are rounded up, lest they clip.
    """

    bits: int = 4
    symmetric: bool = False
    zero: str = "int"
    clip: str = "auto"

    def __post_init__(self) -> None:
        check_choice("bits", self.bits, BITS)
        check_choice("symmetric", self.symmetric, (True, False))
        check_choice("zero", self.zero, ("int", "float"))
        check_choice("clip", self.clip, ("auto", "minmax", "mse"))

    @property
    def top(self) -> int:
        """The largest code."""
        return 2**self.bits - 1

    def fit(
        self, w: np.ndarray, floor: float = 0.0, importance: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Fit scales and zeros to groups.

        Parameters
        ----------
        w : ndarray, shape (..., G)
            Weights; entries that do not matter are 0.
        floor : float
            Least scale.
        importance : ndarray, broadcasting to ``w``, optional
            Weight of each squared error in the choice of the range.

        Returns
        -------
        scale : ndarray of float16, shape (...)
        zero : ndarray of uint8 or float16, shape (...), or None
            None if symmetric.

        Raises
        ------
        ArgumentError
            If a scale or zero exceeds the range of float16.
        """
        low, high = np.minimum(w.min(axis=-1), 0), np.maximum(w.max(axis=-1), 0)
        if self.clip == "minmax" or (self.clip == "auto" and importance is None):
            return self._parameters(low, high, floor)
        best_scale: np.ndarray | None = None
        best_zero: np.ndarray | None = None
        least = np.full(low.shape, np.inf)
        for factor in _RANGES.astype(w.dtype):
            scale, zero = self._parameters(factor * low, factor * high, floor)
            of_group = _Fixed(self, scale[..., None], None if zero is None else zero[..., None])
            error = w - of_group.round(w)[1]
            error *= error
            if importance is not None:
                error = error * importance
            loss = error.sum(axis=-1, dtype=np.float64)
            better = loss < least
            least = np.where(better, loss, least)
            if best_scale is None:
                best_scale, best_zero = scale, zero
                continue
            best_scale = np.where(better, scale, best_scale)
            if zero is not None and best_zero is not None:
                best_zero = np.where(better, zero, best_zero)
        assert best_scale is not None
        return best_scale, best_zero

    def encode(self, w: np.ndarray, scale: np.ndarray, zero: np.ndarray | None) -> np.ndarray:
        """Codes (..., G) as uint8 of the grid values nearest to ``w`` (..., G)."""
        step = scale.astype(np.float32)[..., None]
        if zero is not None and zero.dtype == np.float16:
            codes = np.rint((w + zero.astype(np.float32)[..., None]) / step)
        else:
            codes = np.rint(w / step)
            codes += self._offset(zero)
        return np.clip(codes, 0, self.top, out=codes).astype(np.uint8)

    def decode(self, codes: np.ndarray, scale: np.ndarray, zero: np.ndarray | None) -> np.ndarray:
        """The values (..., G) in float32 that codes (..., G) stand for."""
        step = scale.astype(np.float32)[..., None]
        w = codes.astype(np.float32)
        if zero is not None and zero.dtype == np.float16:
            w *= step
            w -= zero.astype(np.float32)[..., None]
        else:
            w -= self._offset(zero)
            w *= step
        return w

    def of_zero(self, scale: np.ndarray, zero: np.ndarray | None) -> np.ndarray:
        """The code nearest to a weight of 0, shape (...): what pads a short group."""
        return self.encode(np.zeros((*scale.shape, 1), np.float32), scale, zero)[..., 0]

    def check_zero(self, zero: np.ndarray | None) -> None:
        """Refuse a stored zero of the other kind."""
        if zero is not None and zero.dtype != _zero_dtype(self):
            expected = np.dtype(_zero_dtype(self))
            raise ArgumentError(f"zero is {zero.dtype}: expected {expected} for zero={self.zero!r}")

    def _offset(self, zero: np.ndarray | None) -> np.ndarray | np.float32:
        return np.float32(2 ** (self.bits - 1)) if zero is None else zero.astype(np.float32)[..., None]

    def _parameters(
        self, low: np.ndarray, high: np.ndarray, floor: float
    ) -> tuple[np.ndarray, np.ndarray | None]:
        if self.symmetric:
            return round_scale(np.maximum(-low, high) / (2 ** (self.bits - 1) - 1), floor), None
        scale = round_scale((high - low) / self.top, floor)
        if self.zero == "float":
            with np.errstate(over="ignore"):
                return scale, _representable((-low).astype(np.float16))
        return scale, np.clip(np.rint(-low / scale.astype(np.float32)), 0, self.top).astype(np.uint8)


def scale_floor(W: np.ndarray) -> float:
    """The least scale for a matrix: ``2^-24 max|W|``, relative so that small weights keep their grid."""
    return float(np.abs(W).max(initial=0.0)) * _SMALLEST


def check_group(group: int, width: int) -> int:
    """Resolve a group length (0 is the whole row of ``width``)."""
    return check_int("group", group, low=0) or width


def to_groups(W: np.ndarray, group: int, fill: float = 0) -> np.ndarray:
    """View or pad (O, K) as (O, ceil(K / group), group)."""
    rows, width = W.shape
    short = -width % group
    if short:
        W = np.pad(W, ((0, 0), (0, short)), constant_values=fill)
    return W.reshape(rows, -1, group)


def from_groups(groups: np.ndarray, width: int) -> np.ndarray:
    """Undo :func:`to_groups`."""
    return groups.reshape(len(groups), -1)[:, :width]


class SweepQuantizer:
    """A grid inside the sweep: a group's scale is fitted to its weights as they are when the group is reached.

    After the sweep ``groups()``, ``scale`` (O, n_groups) and ``zero`` (the same, or None) hold the result.
    """

    def __init__(
        self,
        grid: Grid,
        shape: tuple[int, int],
        span: int,
        floor: float,
        importance: np.ndarray | None = None,
    ) -> None:
        rows, width = shape
        groups = -(-width // span)
        self.grid, self.span, self._floor, self._importance = grid, span, floor, importance
        self._codes = np.zeros((width, rows), np.uint8)
        self._scale = np.zeros((groups, rows), np.float16)
        self._zero: np.ndarray | None = (
            None if grid.symmetric else np.zeros((groups, rows), _zero_dtype(grid))
        )
        self._fixed: _Fixed

    def begin(self, start: int, weights: np.ndarray, keep: np.ndarray | None) -> None:
        kept = weights if keep is None else np.where(keep, weights, 0)
        importance = None if self._importance is None else self._importance[start : start + weights.shape[1]]
        scale, zero = self.grid.fit(kept, self._floor, importance)
        self._scale[start // self.span] = scale
        if self._zero is not None:
            self._zero[start // self.span] = zero
        self._fixed = _Fixed(self.grid, scale, zero)

    def round(self, column: int, weights: np.ndarray) -> np.ndarray:
        self._codes[column], values = self._fixed.round(weights)
        return values

    def groups(self) -> np.ndarray:
        """Codes (O, n_groups, span); a short last group is filled with its code of 0."""
        codes = to_groups(np.ascontiguousarray(self._codes.T), self.span)
        short = len(self._codes) % self.span
        if short:
            last = self._scale[-1], None if self._zero is None else self._zero[-1]
            codes[:, -1, short:] = self.grid.of_zero(*last)[:, None]
        return codes

    @property
    def scale(self) -> np.ndarray:
        return np.ascontiguousarray(self._scale.T)

    @property
    def zero(self) -> np.ndarray | None:
        return None if self._zero is None else np.ascontiguousarray(self._zero.T)


class StaticQuantizer:
    """A grid inside the sweep whose scale and zero of every entry, both (O, K), are fixed beforehand."""

    span = 128

    def __init__(self, grid: Grid, scale: np.ndarray, zero: np.ndarray | None) -> None:
        self.grid = grid
        self._scale = np.ascontiguousarray(scale.T)
        self._zero = None if zero is None else np.ascontiguousarray(zero.T)

    def begin(self, start: int, weights: np.ndarray, keep: np.ndarray | None) -> None:
        """Nothing to fit."""

    def round(self, column: int, weights: np.ndarray) -> np.ndarray:
        zero = None if self._zero is None else self._zero[column]
        return _Fixed(self.grid, self._scale[column], zero).round(weights)[1]


class _Fixed:
    """:meth:`Grid.encode` and :meth:`Grid.decode` in one, for the loops that call them thousands of times.

    Scales and zeros broadcast to the weights as they are.
    """

    def __init__(self, grid: Grid, scale: np.ndarray, zero: np.ndarray | None) -> None:
        self._top = grid.top
        self._step = scale.astype(np.float32)
        self._through_zero = zero is None or zero.dtype != np.float16
        middle = np.float32(2 ** (grid.bits - 1))
        self._shift = middle if zero is None else zero.astype(np.float32)

    def round(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Codes, as floats of the dtype of ``weights``, and the values in float32 that they stand for."""
        if self._through_zero:
            codes = np.rint(weights / self._step)
            codes += self._shift
        else:
            codes = np.rint((weights + self._shift) / self._step)
        np.clip(codes, 0, self._top, out=codes)
        exact = codes.astype(np.float32, copy=False)
        if self._through_zero:
            return codes, (exact - self._shift) * self._step
        return codes, exact * self._step - self._shift


def _zero_dtype(grid: Grid) -> type:
    return np.uint8 if grid.zero == "int" else np.float16


def round_scale(scale: np.ndarray, floor: float) -> np.ndarray:
    """Round scales to float16 values that are at least ``floor`` and positive, upwards where they are tiny."""
    scale = np.maximum(scale, floor)
    with np.errstate(over="ignore"):
        half = _representable(scale.astype(np.float16))
    small = scale < _NORMAL
    if small.any():
        up = np.maximum(np.ceil(scale / _SMALLEST), 1) * _SMALLEST
        half = np.where(small, up.astype(np.float16), half)
    return half


def _representable(half: np.ndarray) -> np.ndarray:
    if np.isinf(half).any():
        raise ArgumentError("W has entries too large for float16 scales: a step of the grid exceeds 65504")
    return half
